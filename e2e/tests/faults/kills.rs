//! `kill -9` at random moments under load, while connections to the database are cut: what was promised holds afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::proxy::Proxy;
use lessor_e2e::site::{ADMIN, Site};
use serde_json::json;

use super::load::{Promises, Round, State, account, pause};
use super::number;

/// Leased to clients; the users of `spared` are made ahead.
const ROLES: [&str; 2] = ["plain", "spared"];
const CLIENTS_OF_EACH: usize = 6;
const SPARES: usize = 12;

const STATIC_ROLES: [&str; 2] = ["static-a", "static-b"];

/// What must have succeeded in a round before the kill: credentials, static rotations, root rotations.
const BEFORE_KILL: [usize; 3] = [12, 1, 1];

/// After these, the kill comes at a random moment within that many milliseconds.
const KILL_WITHIN: u32 = 400;

/// For what ends by itself once the database can be reached, back-offs included.
const SETTLED: Duration = Duration::from_secs(60);

/// The engine's users, all roles together.
const OURS: &str = "v-%";

async fn site(proxy: &Proxy, site: Site) -> Site {
    site.connect("pg", &proxy.address().to_string()).await;
    site.role("plain", "pg", json!({})).await;
    site.role("spared", "pg", json!({ "spares": SPARES })).await;
    for name in STATIC_ROLES {
        site.server
            .run("postgres", &format!("CREATE ROLE \"{name}\" LOGIN; GRANT \"{name}\" TO {ADMIN} WITH ADMIN OPTION"))
            .await;
        let body = json!({ "db_name": "pg", "username": name, "rotation_period": "24h" });
        site.http.post(&format!("database/static-roles/{name}"), body).await.expect_status(204);
    }
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_with_cut_connections_breaks_no_promise() {
    let kills = number("LESSOR_TEST_KILLS", 10);
    let fresh = Site::start(&["max_connections=100"]).await;
    let proxy = Arc::new(Proxy::start(fresh.address()).await);
    let mut shared = Arc::new(site(&proxy, fresh).await);
    let promises = Arc::<Promises>::default();
    let (mut checked, mut slowest) = (0, Duration::ZERO);
    for round in 1..=kills {
        run(&shared, &proxy, &promises).await;
        // Whoever shared it has ended with the round.
        let site = Arc::get_mut(&mut shared).expect("the clients have ended");
        site.lessor.kill().await;
        site.lessor.start_again().await;
        site.lessor.unsealed().await;
        slowest = prove_passwords(site).await.max(slowest);
        checked = prove_leases(site, &promises, checked).await;
        if round % 10 == 0 {
            eprintln!("{round} kills: {}", tally(&promises));
        }
    }
    let site = Arc::get_mut(&mut shared).expect("the clients have ended");
    prove_leases(site, &promises, 0).await;
    assert!(site.login(ADMIN, site.admin_password()).await.is_err(), "the first root password still logs in");
    prove_nothing_is_left(site).await;
    eprintln!(
        "{kills} kills: {}; 0 users without a lease, 0 leases lost, 0 passwords unknown; issuing again at most {slowest:.1?} after \
         a start",
        tally(&promises)
    );
}

fn tally(promises: &Promises) -> String {
    let count = |counter: &std::sync::atomic::AtomicUsize| counter.load(Ordering::Relaxed);
    let ended = promises.leases().iter().filter(|(_, state)| *state == State::Ended).count();
    format!(
        "{} credentials, {} renewals, {ended} revocations, {} static and {} root rotations answered, {} requests refused",
        promises.given(),
        count(&promises.renewed),
        count(&promises.static_rotated),
        count(&promises.root_rotated),
        count(&promises.refused),
    )
}

/// Loads the engine and kills it.
async fn run(site: &Arc<Site>, proxy: &Arc<Proxy>, promises: &Arc<Promises>) {
    let round = Round { http: site.http.clone(), promises: promises.clone(), stop: Arc::new(AtomicBool::new(false)) };
    let before = promises.kept();
    let mut clients = Vec::new();
    for role in ROLES {
        clients.extend((0..CLIENTS_OF_EACH).map(|_| tokio::spawn(round.clone().lease(role))));
    }
    clients.extend(STATIC_ROLES.map(|role| tokio::spawn(round.clone().rotate(site.clone(), role))));
    clients.push(tokio::spawn(round.clone().rotate_root("pg")));
    clients.push(tokio::spawn(round.clone().cut(proxy.clone())));
    eventually("the clients are served", SETTLED, || async {
        let kept = promises.kept();
        let enough = (0..BEFORE_KILL.len()).all(|at| kept[at] >= before[at] + BEFORE_KILL[at]);
        if enough { Ok(()) } else { Err((before, kept)) }
    })
    .await;
    pause(KILL_WITHIN).await;
    let killed = tokio::process::Command::new("kill").args(["-KILL", &site.lessor.pid().to_string()]).status().await;
    assert!(killed.unwrap().success());
    round.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

/// What `static-creds` hands out logs in, and so does the engine itself, with what it remembers of its own password; returns how
/// long it took until it did.
async fn prove_passwords(site: &Site) -> Duration {
    for role in STATIC_ROLES {
        let (answer, _) = eventually("a static password is handed out", SETTLED, || async {
            let answer = site.http.get(&format!("database/static-creds/{role}")).await;
            if answer.status == 200 { Ok(answer) } else { Err(answer.body["errors"].clone()) }
        })
        .await;
        let (user, password) = account(&answer.body);
        if let Err(error) = site.login(&user, &password).await {
            let again = site.http.get(&format!("database/static-creds/{role}")).await.expect_status(200);
            let (user, now) = account(&again.body);
            assert!(now.expose() != password.expose(), "the password of {role} is unknown: {error:?}");
            site.login(&user, &now).await.expect("the password of a static role that has just been changed");
        }
    }
    site.http.post("database/reset/pg", json!({})).await.expect_status(204);
    let (given, took) = eventually("the engine logs in", SETTLED, || async {
        let answer = site.http.get("database/creds/plain").await;
        if answer.status == 200 { Ok(answer) } else { Err(answer.body["errors"].clone()) }
    })
    .await;
    let lease = json!({ "lease_id": given.text("/lease_id"), "sync": false });
    site.http.post("sys/leases/revoke", lease).await.expect_status(202);
    took
}

/// No lease that a client holds is lost, none that was revoked is left, and no user is without a lease. Logs in with those
/// that were issued since `checked` were; returns how many there are now.
async fn prove_leases(site: &Site, promises: &Promises, checked: usize) -> usize {
    // A statement that was on its way when the engine died may still be carried out.
    eventually("the dead engine's sessions have ended", SETTLED, || async {
        let busy = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{ADMIN}' AND state <> 'idle'");
        equals(site.server.count(&busy).await, 0)
    })
    .await;
    let users = site.users(OURS).await;
    let mut leased = BTreeSet::new();
    for role in ROLES {
        leased.extend(site.leases(&format!("database/creds/{role}/")).await);
    }
    let given = promises.leases();
    let names: BTreeSet<_> = given.iter().map(|(credential, _)| &credential.user).collect();
    assert_eq!(names.len(), given.len(), "a user was handed out twice");
    for (at, (credential, state)) in given.iter().enumerate() {
        let user = &credential.user;
        match state {
            State::Held => {
                assert!(
                    leased.contains(&credential.lease),
                    "a client holds a lease that the engine has lost, of {user}"
                );
                assert!(users.contains_key(user), "a client holds the user {user}, and it is gone");
                if at >= checked {
                    let login = site.login(user, &credential.password).await;
                    assert!(login.is_ok(), "a client holds {user}, who does not log in: {:?}", login.err());
                    prove_expiry(site, &credential.lease, users[user]).await;
                }
            }
            State::Ended => assert!(!users.contains_key(user), "{user} was revoked, and is still there"),
            State::Ending => {}
        }
    }
    prove_no_orphans(site).await;
    given.len()
}

/// The database lets a user log in at least until its lease ends.
async fn prove_expiry(site: &Site, lease: &str, valid_until: Option<i64>) {
    let looked = site.http.post("sys/leases/lookup", json!({ "lease_id": lease })).await.expect_status(200);
    let ttl = looked.body["data"]["ttl"].as_i64().unwrap();
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    assert!(valid_until.is_some_and(|until| until >= now + ttl), "the user's own expiry comes before its lease's");
}

/// The engine's own comparison finds nothing; `prove_nothing_is_left` checks it without asking the engine.
async fn prove_no_orphans(site: &Site) {
    let answer = site.http.get("sys/lessor/orphans/database/pg").await.expect_status(200);
    for list in ["orphans", "unmarked"] {
        assert_eq!(answer.body["data"][list], json!([]), "users without a lease");
    }
}

/// Each lease takes its own user and no other: whoever is left after all are revoked had none.
async fn prove_nothing_is_left(site: &Site) {
    site.role("spared", "pg", json!({ "spares": 0 })).await;
    for role in ROLES {
        site.http.post(&format!("sys/leases/revoke-prefix/database/creds/{role}"), json!({})).await.expect_status(204);
    }
    eventually("every lease has taken its user with it", SETTLED, || async {
        let leases: usize = site.leases("database/creds/").await.len();
        equals((leases, site.users(OURS).await), (0, BTreeMap::new()))
    })
    .await;
    let stuck = site.http.get("sys/lessor/leases/stuck").await.expect_status(200);
    assert_eq!(stuck.body["data"]["leases"], json!([]));
}
