//! Dead databases among many: one black-holed, one refusing, and the others' clients notice nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::proxy::{Mode, Proxy};
use lessor_e2e::site::{Credential, Site};
use serde_json::json;

const HEALTHY: usize = 18;
const DEAD: [&str; 2] = ["dark", "refusing"];

/// Requests on each healthy connection.
const CYCLES: usize = 5;

/// Leases that wait for each of the dead databases.
const WAITING: usize = 10;

/// Credentials asked for from each of the dead databases, all the while.
const PATIENT: usize = 8;

/// By how much the slowest request may be slower than before, beside three times as slow: waiting for a dead database would
/// take 30 s.
const SLOWER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn one_black_holed_and_one_refusing_of_twenty_databases_harm_no_other() {
    let site = Site::start(&["max_connections=150"]).await;
    let (dark, refusing) = (Proxy::start(site.address()).await, Proxy::start(site.address()).await);
    for (name, proxy) in DEAD.iter().zip([&dark, &refusing]) {
        site.connect(name, &proxy.address().to_string()).await;
        site.role(name, name, json!({})).await;
        for _ in 0..WAITING {
            site.issue(name).await;
        }
    }
    let names: Vec<_> = (0..HEALTHY).map(|n| format!("healthy-{n}")).collect();
    for name in &names {
        site.connect(name, &site.address()).await;
        site.role(name, name, json!({})).await;
    }
    let before = use_all(&site, &names).await;

    dark.set(Mode::Swallow);
    refusing.set(Mode::Refuse);
    for name in DEAD {
        let path = format!("sys/leases/revoke-prefix/database/creds/{name}");
        site.http.post(&path, json!({ "sync": false })).await.expect_status(202);
    }
    let patient: Vec<_> = DEAD
        .iter()
        .flat_map(|name| vec![format!("database/creds/{name}"); PATIENT])
        .map(|path| {
            let http = site.http.clone();
            tokio::spawn(async move { http.get(&path).await.status })
        })
        .collect();

    let during = use_all(&site, &names).await.max(look_at_dead(&site).await);
    eprintln!("{HEALTHY} healthy databases: slowest request {before:.1?}; beside two dead ones {during:.1?}");
    assert!(during < before * 3 + SLOWER, "{before:?} before, {during:?} during");
    for asked in patient {
        assert!(asked.await.unwrap() >= 500, "a dead database gives no credential");
    }

    dark.set(Mode::Pass);
    refusing.set(Mode::Pass);
    eventually("the dead databases' users are dropped, too", Duration::from_secs(120), || async {
        equals((site.users("v-%").await.len(), site.leases("database/creds/").await.len()), (0, 0))
    })
    .await;
}

/// Works on all healthy connections at once; returns how long the slowest request took.
async fn use_all(site: &Site, names: &[String]) -> Duration {
    join_all(names.iter().map(|name| use_healthy(site, name))).await.into_iter().max().unwrap()
}

/// Everything that a client does with a connection; returns how long the slowest request took.
async fn use_healthy(site: &Site, name: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..CYCLES {
        let read = timed(&mut slowest, site.http.get(&format!("database/config/{name}"))).await.expect_status(200);
        assert_eq!(read.body["data"]["plugin_name"], json!("postgresql-database-plugin"));
        let given = timed(&mut slowest, site.http.get(&format!("database/creds/{name}"))).await.expect_status(200);
        let lease = json!({ "lease_id": Credential::of(&given.body).lease });
        timed(&mut slowest, site.http.post("sys/leases/renew", lease.clone())).await.expect_status(200);
        timed(&mut slowest, site.http.post("sys/leases/revoke", lease)).await.expect_status(204);
    }
    timed(&mut slowest, site.http.post(&format!("database/config/{name}"), site.connection(&site.address())))
        .await
        .expect_status(204);
    timed(&mut slowest, site.http.post(&format!("database/reset/{name}"), json!({}))).await.expect_status(204);
    timed(&mut slowest, site.http.list("database/config")).await.expect_status(200);
    slowest
}

/// The dead connections themselves can still be looked at and reset; returns how long the slowest request took.
async fn look_at_dead(site: &Site) -> Duration {
    let mut slowest = Duration::ZERO;
    for name in DEAD {
        timed(&mut slowest, site.http.get(&format!("database/config/{name}"))).await.expect_status(200);
        timed(&mut slowest, site.http.post(&format!("database/reset/{name}"), json!({}))).await.expect_status(204);
    }
    slowest
}

async fn timed<T>(slowest: &mut Duration, request: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let answer = request.await;
    *slowest = begun.elapsed().max(*slowest);
    answer
}
