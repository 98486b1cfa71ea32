//! The operator's own login at the engine: made with its projected ServiceAccount token, renewed, and made anew when lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::fence::{Fence, NotLeading};
use crate::base::{Clock, Secret, Timestamp, clock};
use crate::client::{Client, Error};
use crate::wire::{Auth, Envelope};

/// Where and as what the operator logs in.
#[derive(Debug, Clone)]
pub struct LoginOptions {
    /// Mount of the kubernetes login, without `auth/`.
    pub mount: String,
    /// Its login role.
    pub role: String,
    /// The projected ServiceAccount token. The kubelet replaces the file, so it is read for each login.
    pub token_file: PathBuf,
}

/// The engine as the operator itself may use it.
pub struct Session {
    client: Client,
    options: LoginOptions,
    fence: Fence,
    clock: Arc<dyn Clock>,
    login: Mutex<Option<Login>>,
    reachable: AtomicBool,
    silent: AtomicBool,
}

#[derive(Clone)]
struct Login {
    client: Client,
    renew_at: Timestamp,
    expires: Timestamp,
    ttl: u64,
}

impl Session {
    /// A session that logs in when it is first used, and writes while `fence` is open.
    pub fn new(client: Client, options: LoginOptions, fence: Fence, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            options,
            fence,
            clock,
            login: Mutex::new(None),
            reachable: AtomicBool::new(false),
            silent: AtomicBool::new(false),
        }
    }

    /// Whether the last use got an answer.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Whether the last use got no answer; not before there was one.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Reads `path`; an absent object is `None`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read(&self, path: &str) -> Result<Option<Envelope>, Error> {
        let login = self.current().await?;
        let answer = match login.client.read(path).await {
            Err(error) if error.is_denied() => self.replace(&login).await?.client.read(path).await,
            answer => answer,
        };
        match self.note(answer) {
            Err(error) if error.is_not_found() => Ok(None),
            answer => answer,
        }
    }

    /// The keys below `path`; none when there are none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let answer = self.read(&format!("{path}?list=true")).await?;
        let keys = answer.and_then(|envelope| envelope.data).and_then(|mut data| data.get_mut("keys").map(Value::take));
        Ok(keys.and_then(|keys| serde_json::from_value(keys).ok()).unwrap_or_default())
    }

    /// Writes `body` to `path`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write(&self, path: &str, body: &Value) -> Result<Option<Envelope>, Error> {
        self.require_leadership(path)?;
        let login = self.current().await?;
        let answer = match login.client.write(path, body).await {
            Err(error) if error.is_denied() => self.replace(&login).await?.client.write(path, body).await,
            answer => answer,
        };
        self.note(answer)
    }

    /// Deletes `path`; what is absent already is no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.require_leadership(path)?;
        let login = self.current().await?;
        let answer = match login.client.delete(path).await {
            Err(error) if error.is_denied() => self.replace(&login).await?.client.delete(path).await,
            answer => answer,
        };
        match self.note(answer) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Refuses like an engine that cannot serve now.
    fn require_leadership(&self, path: &str) -> Result<(), Error> {
        if self.fence.is_open() {
            return Ok(());
        }
        Err(Error::Api { path: path.to_owned(), status: 503, errors: vec![NotLeading.to_string()] })
    }

    fn note<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        let silent = matches!(&answer, Err(error) if error.status().is_none());
        self.reachable.store(!silent, Ordering::Relaxed);
        self.silent.store(silent, Ordering::Relaxed);
        answer
    }

    async fn current(&self) -> Result<Login, Error> {
        let mut held = self.login.lock().await;
        let now = self.clock.now();
        match held.as_ref() {
            Some(login) if now < login.renew_at => return Ok(login.clone()),
            Some(login) if now < login.expires => {
                // A renewal that gives less than half means that the token's longest life is near.
                if let Ok(auth) = login.client.renew_self(None).await
                    && auth.lease_duration >= login.ttl / 2
                {
                    let renewed = self.logged_in(&auth, login.client.clone());
                    *held = Some(renewed.clone());
                    return Ok(renewed);
                }
            }
            _ => {}
        }
        let fresh = self.note(self.log_in().await)?;
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    /// Another login in place of one that the engine denied: an engine that restarted in memory knows no old token.
    async fn replace(&self, denied: &Login) -> Result<Login, Error> {
        let mut held = self.login.lock().await;
        if let Some(login) = held.as_ref()
            && login.client.token() != denied.client.token()
        {
            return Ok(login.clone());
        }
        let fresh = self.note(self.log_in().await)?;
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    async fn log_in(&self) -> Result<Login, Error> {
        let path = &self.options.token_file;
        let jwt = std::fs::read_to_string(path).map(Secret::new).map_err(|error| {
            Error::Config(format!("cannot read the ServiceAccount token {}: {error}", path.display()), None)
        })?;
        let body = json!({ "role": self.options.role, "jwt": jwt.expose().trim() });
        let auth = self.client.login(&self.options.mount, &body).await?;
        tracing::debug!(accessor = %auth.accessor, "logged in at the engine");
        let client = self.client.with_token(Secret::new(auth.client_token.clone()));
        Ok(self.logged_in(&auth, client))
    }

    fn logged_in(&self, auth: &Auth, client: Client) -> Login {
        let now = self.clock.now();
        let ttl = auth.lease_duration;
        Login { client, renew_at: clock::add_seconds(now, ttl * 2 / 3), expires: clock::add_seconds(now, ttl), ttl }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;
    use crate::client::ClientConfig;
    use crate::client::testing::FakeEngine;

    async fn session(engine: &FakeEngine, clock: &ManualClock) -> (Session, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "jwt").unwrap();
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let random = Arc::new(SeededRandom::new(1));
        let client = Client::new(ClientConfig::new(&engine.address), clock.clone(), random).unwrap();
        let options = LoginOptions { mount: "kubernetes".into(), role: "op".into(), token_file: file.path().into() };
        let fence = Fence::open(clock.clone());
        (Session::new(client, options, fence, clock), file)
    }

    fn login(token: &str) -> (u16, Value) {
        (200, json!({ "auth": { "client_token": token, "lease_duration": 90 } }))
    }

    #[tokio::test]
    async fn one_login_serves_until_it_is_renewed_and_then_replaced() {
        let engine = FakeEngine::start(|seen| match seen.path.as_str() {
            "auth/kubernetes/login" => login("t1"),
            "auth/token/renew-self" => (200, json!({ "auth": { "client_token": "t1", "lease_duration": 90 } })),
            _ => (200, json!({ "data": {} })),
        })
        .await;
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let (session, _file) = session(&engine, &clock).await;
        session.read("a").await.unwrap();
        session.read("b").await.unwrap();
        clock.advance(Duration::from_secs(61));
        session.read("c").await.unwrap();
        clock.advance(Duration::from_secs(91));
        session.read("d").await.unwrap();
        let (login, renew) = ("PUT auth/kubernetes/login", "PUT auth/token/renew-self");
        assert_eq!(engine.lines(), [login, "GET a", "GET b", renew, "GET c", login, "GET d"]);
        assert_eq!(engine.seen()[0].body, json!({ "role": "op", "jwt": "jwt" }));
    }

    #[tokio::test]
    async fn a_denied_token_is_replaced_once() {
        let mut logins = 0;
        let engine = FakeEngine::start(move |seen| match (seen.path.as_str(), seen.token.as_str()) {
            ("auth/kubernetes/login", _) => {
                logins += 1;
                login(&format!("t{logins}"))
            }
            ("a", "t2") => (200, json!({ "data": {} })),
            _ => (403, json!({ "errors": ["permission denied"] })),
        })
        .await;
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let (session, _file) = session(&engine, &clock).await;
        session.read("a").await.unwrap();
        assert!(session.read("forbidden").await.unwrap_err().is_denied());
        assert!(session.is_reachable());
    }
}
