//! Clients that issue, renew, revoke and rotate until the engine dies, and remember what they were promised.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lessor::base::{Random as _, Secret, random::SystemRandom};
use lessor_e2e::http::Http;
use lessor_e2e::proxy::Proxy;
use lessor_e2e::site::{Credential, Site};
use serde_json::{Value, json};

/// A connection to the database is cut within that many milliseconds of the one before.
const CUT_WITHIN: u32 = 250;

/// What a client knows of a lease that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was answered 200 and has not been given back.
    Held,
    /// Its revocation was asked for; what came of it the client has not heard, or heard that it takes longer.
    Ending,
    /// Its revocation was answered 204.
    Ended,
}

/// What all clients were promised, over all lives of the engine.
#[derive(Default)]
pub struct Promises {
    leases: Mutex<Vec<(Credential, State)>>,
    /// Answers of each kind, to show that the load did what it claims.
    pub renewed: AtomicUsize,
    pub static_rotated: AtomicUsize,
    pub root_rotated: AtomicUsize,
    pub refused: AtomicUsize,
}

impl Promises {
    /// How much was answered with success: credentials, static rotations, root rotations.
    pub fn kept(&self) -> [usize; 3] {
        let rotated = [&self.static_rotated, &self.root_rotated].map(|count| count.load(Ordering::Relaxed));
        [self.given(), rotated[0], rotated[1]]
    }

    pub fn given(&self) -> usize {
        self.leases.lock().unwrap().len()
    }

    pub fn leases(&self) -> Vec<(Credential, State)> {
        self.leases.lock().unwrap().clone()
    }

    fn add(&self, credential: Credential) -> usize {
        let mut leases = self.leases.lock().unwrap();
        leases.push((credential, State::Held));
        leases.len() - 1
    }

    fn set(&self, at: usize, state: State) {
        self.leases.lock().unwrap()[at].1 = state;
    }
}

/// What the clients of one round share.
#[derive(Clone)]
pub struct Round {
    pub http: Http,
    pub promises: Arc<Promises>,
    pub stop: Arc<AtomicBool>,
}

impl Round {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Counts an answer that is no success; while connections are cut only the database may be the reason.
    fn refused(&self, what: &str, status: u16, body: &Value) {
        let text = body["errors"][0].as_str().unwrap_or_default();
        assert!(status >= 500 || text.starts_with("failed to re"), "{what} was answered {status}: {text}");
        assert!(!text.contains("lease not found"), "{what}: the engine has forgotten a lease that is held");
        self.promises.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes credentials of a role, keeps half of them, renews a quarter and gives a quarter back.
    pub async fn lease(self, role: &'static str) {
        while self.goes_on() {
            let Ok(answer) = self.http.try_get(&format!("database/creds/{role}")).await else { return };
            if answer.status != 200 {
                self.refused("creds", answer.status, &answer.body);
                continue;
            }
            let credential = Credential::of(&answer.body);
            let lease = credential.lease.clone();
            let at = self.promises.add(credential);
            let done = match SystemRandom.below(4) {
                0 => self.revoke(at, &lease).await,
                1 => self.renew(&lease).await,
                _ => Some(()),
            };
            if done.is_none() {
                return;
            }
        }
    }

    async fn revoke(&self, at: usize, lease: &str) -> Option<()> {
        self.promises.set(at, State::Ending);
        let answer = self.http.try_post("sys/leases/revoke", json!({ "lease_id": lease })).await.ok()?;
        match answer.status {
            204 => self.promises.set(at, State::Ended),
            status => self.refused("revoke", status, &answer.body),
        }
        Some(())
    }

    async fn renew(&self, lease: &str) -> Option<()> {
        let body = json!({ "lease_id": lease, "increment": "2h" });
        let answer = self.http.try_post("sys/leases/renew", body).await.ok()?;
        match answer.status {
            200 => drop(self.promises.renewed.fetch_add(1, Ordering::Relaxed)),
            status => self.refused("renew", status, &answer.body),
        }
        Some(())
    }

    /// Rotates a static role again and again; every password that is handed out meanwhile must log in.
    pub async fn rotate(self, site: Arc<Site>, role: &'static str) {
        while self.goes_on() {
            let Ok(answer) = self.http.try_post(&format!("database/rotate-role/{role}"), json!({})).await else {
                return;
            };
            match answer.status {
                204 => drop(self.promises.static_rotated.fetch_add(1, Ordering::Relaxed)),
                status => self.refused("rotate-role", status, &answer.body),
            }
            let Ok(answer) = self.http.try_get(&format!("database/static-creds/{role}")).await else { return };
            if answer.status != 200 {
                self.refused("static-creds", answer.status, &answer.body);
                continue;
            }
            let (user, password) = account(&answer.body);
            let Err(error) = site.login(&user, &password).await else { continue };
            // A change that failed may have been tried again between the answer and the login: then the answer is another.
            let Ok(again) = self.http.try_get(&format!("database/static-creds/{role}")).await else { return };
            let same = again.status == 200 && account(&again.body).1.expose() == password.expose();
            assert!(!same, "static-creds/{role} hands out a password that does not log in: {error:?}");
        }
    }

    /// Rotates the root password of the connection again and again.
    pub async fn rotate_root(self, connection: &'static str) {
        while self.goes_on() {
            let path = format!("database/rotate-root/{connection}");
            let Ok(answer) = self.http.try_post(&path, json!({})).await else { return };
            match answer.status {
                204 => drop(self.promises.root_rotated.fetch_add(1, Ordering::Relaxed)),
                status => self.refused("rotate-root", status, &answer.body),
            }
        }
    }

    /// Cuts connections to the database at random moments.
    pub async fn cut(self, proxy: Arc<Proxy>) {
        while self.goes_on() {
            pause(CUT_WITHIN).await;
            proxy.cut(SystemRandom.below(u32::MAX));
        }
    }
}

/// The user and the password that `static-creds` answers.
pub fn account(body: &Value) -> (String, Secret) {
    let text = |field: &str| body["data"][field].as_str().unwrap_or_else(|| panic!("no {field}")).to_owned();
    (text("username"), Secret::new(text("password")))
}

/// A random time below that many milliseconds: what is broken is broken at no chosen moment.
pub async fn pause(most: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(SystemRandom.below(most)))).await;
}
