//! The engine killed under load, and databases that are down or black-holed: no user without a lease, no lease lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::http::Http;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres::{self, Postgres};
use lessor_e2e::proxy::{Mode, Proxy};
use serde_json::{Value, json};

const ROUNDS: usize = 20;
const CLIENTS: usize = 16;
/// How many credentials are issued in a round before the kill.
const BEFORE_KILL: usize = 24;

/// An initialised server with a role on the database at `address`; gives a client with the root token and the role's name.
async fn server_with_role(address: &str) -> (Lessor, Http, String) {
    let lessor = Lessor::server().await;
    let root = lessor.initialise().await;
    lessor.unsealed().await;
    let http = lessor.http().with_token(&root);
    let role = unique("fault");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", postgres::connection(address)).await.expect_status(204);
    let body = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h" });
    http.post(&format!("database/roles/{role}"), body).await.expect_status(204);
    (lessor, http, role)
}

/// The pattern of the names that the engine gives to users of a role: `v-<who>-<role>-…`, of each at most eight letters.
fn users_of(role: &str) -> String {
    format!("v-%-{}-%", &role[..8])
}

async fn leases(http: &Http, role: &str) -> BTreeSet<String> {
    let prefix = format!("database/creds/{role}/");
    let answer = http.list(&format!("sys/leases/lookup/{prefix}")).await;
    let keys = answer.body["data"]["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().filter_map(Value::as_str).map(|key| format!("{prefix}{key}")).collect()
}

/// A credential that a client was given: lease id and username.
type Held = Arc<Mutex<Vec<(String, String)>>>;

/// Takes credentials until told to stop or the server is gone.
async fn take(http: Http, role: String, held: Held, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(answer) = http.try_get(&format!("database/creds/{role}")).await else { return };
        let answer = answer.expect_status(200);
        held.lock().unwrap().push((answer.text("/lease_id").to_owned(), answer.text("/data/username").to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_leaves_no_user_without_a_lease_and_loses_no_lease() {
    let (mut lessor, http, role) = server_with_role(&postgres::address()).await;
    let database = Postgres::connect().await;
    let held = Held::default();
    for _ in 0..ROUNDS {
        let (stop, before) = (Arc::new(AtomicBool::new(false)), held.lock().unwrap().len());
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(take(http.clone(), role.clone(), held.clone(), stop.clone()))).collect();
        eventually("the clients are served", Duration::from_secs(60), || async {
            let issued = held.lock().unwrap().len() - before;
            if issued >= BEFORE_KILL { Ok(()) } else { Err(issued) }
        })
        .await;
        lessor.kill().await;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        lessor.start_again().await;
        lessor.unsealed().await;
    }

    // A statement that was on its way when the engine died may still have been carried out: let the server end its sessions.
    eventually("the dead engine's sessions have ended", Duration::from_secs(30), || async {
        equals(database.busy_sessions(&variable("LESSOR_PG_ADMIN_USER")).await, 0)
    })
    .await;
    let held = held.lock().unwrap().clone();
    assert!(held.len() >= ROUNDS * BEFORE_KILL);
    let leased = leases(&http, &role).await;
    let users: BTreeSet<_> = database.roles(&users_of(&role)).await.into_iter().collect();
    eprintln!("{ROUNDS} kills: {} credentials held, {} users, {} leases", held.len(), users.len(), leased.len());
    // What was half made when the engine died has a record, though perhaps no user; never the other way round.
    assert!(leased.len() >= users.len(), "{} leases for {} users", leased.len(), users.len());
    for (lease, user) in &held {
        assert!(leased.contains(lease), "a client holds a lease that the engine has lost, of {user}");
        assert!(users.contains(user), "a client holds the user {user}, and it is gone");
    }
    // Each lease takes its own user and no other, so whoever is left has none.
    http.post(&format!("sys/leases/revoke-prefix/database/creds/{role}"), json!({})).await.expect_status(204);
    assert_eq!(database.roles(&users_of(&role)).await, Vec::<String>::new(), "users that no lease named");
    assert!(leases(&http, &role).await.is_empty());
}

#[tokio::test]
async fn a_database_that_is_down_gives_a_clear_error_and_leaves_nothing_behind() {
    let proxy = Proxy::start(postgres::address()).await;
    let (_lessor, http, role) = server_with_role(&proxy.address().to_string()).await;
    let database = Postgres::connect().await;
    http.get(&format!("database/creds/{role}")).await.expect_status(200);

    proxy.set(Mode::Refuse);
    let refused = http.get(&format!("database/creds/{role}")).await;
    assert!((400..600).contains(&refused.status), "{}", refused.status);
    assert!(refused.error().contains("pg"), "it names the connection: {}", refused.error());
    assert!(refused.body["data"].is_null());

    proxy.set(Mode::Pass);
    eventually("only the first credential is left", Duration::from_secs(30), || async {
        equals((leases(&http, &role).await.len(), database.roles(&users_of(&role)).await.len()), (1, 1))
    })
    .await;
    http.get(&format!("database/creds/{role}")).await.expect_status(200);
    http.post(&format!("sys/leases/revoke-prefix/database/creds/{role}"), json!({})).await.expect_status(204);
}

#[tokio::test]
async fn the_backlog_of_revocations_drains_when_the_database_is_back() {
    const CREDENTIALS: usize = 20;
    let proxy = Proxy::start(postgres::address()).await;
    let (_lessor, http, role) = server_with_role(&proxy.address().to_string()).await;
    let database = Postgres::connect().await;
    for _ in 0..CREDENTIALS {
        http.get(&format!("database/creds/{role}")).await.expect_status(200);
    }
    proxy.set(Mode::Refuse);
    let later = json!({ "sync": false });
    http.post(&format!("sys/leases/revoke-prefix/database/creds/{role}"), later).await.expect_status(202);
    eventually("the failures are seen", Duration::from_secs(30), || async {
        let stuck = http.get("sys/lessor/leases/stuck").await.expect_status(200);
        equals(stuck.body["data"]["leases"].as_array().map(Vec::len), Some(CREDENTIALS))
    })
    .await;
    assert_eq!(database.roles(&users_of(&role)).await.len(), CREDENTIALS);

    proxy.set(Mode::Pass);
    let (_, took) = eventually("every user is dropped", Duration::from_secs(60), || async {
        equals((leases(&http, &role).await.len(), database.roles(&users_of(&role)).await.len()), (0, 0))
    })
    .await;
    eprintln!("a backlog of {CREDENTIALS} drained {took:.1?} after the database was back");
}

#[tokio::test]
async fn a_black_holed_database_delays_no_other() {
    let proxy = Proxy::start(postgres::address()).await;
    let (_lessor, http, dark) = server_with_role(&proxy.address().to_string()).await;
    http.post("database/config/bright", postgres::connection(&postgres::address())).await.expect_status(204);
    let bright = unique("bright");
    let body = json!({ "db_name": "bright", "creation_statements": postgres::CREATION, "default_ttl": "1h" });
    http.post(&format!("database/roles/{bright}"), body).await.expect_status(204);
    for _ in 0..20 {
        http.get(&format!("database/creds/{dark}")).await.expect_status(200);
    }
    proxy.set(Mode::Swallow);
    let later = json!({ "sync": false });
    http.post(&format!("sys/leases/revoke-prefix/database/creds/{dark}"), later).await.expect_status(202);

    let begun = std::time::Instant::now();
    for _ in 0..20 {
        let answer = http.get(&format!("database/creds/{bright}")).await.expect_status(200);
        let lease = json!({ "lease_id": answer.text("/lease_id") });
        http.post("sys/leases/revoke", lease).await.expect_status(204);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?} for 20 on the database that is well", begun.elapsed());

    proxy.set(Mode::Pass);
    let database = Postgres::connect().await;
    eventually("the dark database's users are dropped", Duration::from_secs(90), || async {
        equals(database.roles(&users_of(&dark)).await.len(), 0)
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_tokens_mounts_and_leases() {
    let (mut lessor, http, role) = server_with_role(&postgres::address()).await;
    let database = Postgres::connect().await;
    let answer = http.get(&format!("database/creds/{role}")).await.expect_status(200);
    let (lease, user) = (answer.text("/lease_id").to_owned(), answer.text("/data/username").to_owned());
    assert!(lessor.stop().await, "{}", lessor.log());
    assert!(database.has_role(&user).await, "a stop revokes nothing");
    lessor.start_again().await;
    lessor.unsealed().await;
    http.post("sys/leases/renew", json!({ "lease_id": lease })).await.expect_status(200);
    http.post("sys/leases/revoke", json!({ "lease_id": lease })).await.expect_status(204);
    assert!(!database.has_role(&user).await);
}
