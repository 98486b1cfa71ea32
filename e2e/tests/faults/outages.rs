//! A database that is down for a while, and an engine that is stopped and started: clear errors, nothing lost, nothing left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::proxy::{Mode, Proxy};
use lessor_e2e::site::Site;
use serde_json::json;

const OURS: &str = "v-%";

async fn behind_a_proxy() -> (Site, Proxy) {
    let site = Site::start(&[]).await;
    let proxy = Proxy::start(site.address()).await;
    site.connect("pg", &proxy.address().to_string()).await;
    site.role("app", "pg", json!({})).await;
    (site, proxy)
}

async fn counts(site: &Site) -> (usize, usize) {
    (site.leases("database/creds/app/").await.len(), site.users(OURS).await.len())
}

#[tokio::test]
async fn a_database_that_is_down_gives_a_clear_error_and_leaves_nothing_behind() {
    let (site, proxy) = behind_a_proxy().await;
    site.issue("app").await;

    proxy.set(Mode::Refuse);
    let refused = site.http.get("database/creds/app").await;
    assert!(refused.status >= 500, "{}", refused.status);
    assert!(refused.error().contains("pg"), "it names the connection: {}", refused.error());
    assert!(refused.body["data"].is_null());

    proxy.set(Mode::Pass);
    let settled = "only the first credential is left";
    eventually(settled, Duration::from_secs(30), || async { equals(counts(&site).await, (1, 1)) }).await;
    site.issue("app").await;
}

#[tokio::test]
async fn the_backlog_of_revocations_drains_when_the_database_is_back() {
    const CREDENTIALS: usize = 20;
    let (site, proxy) = behind_a_proxy().await;
    for _ in 0..CREDENTIALS {
        site.issue("app").await;
    }
    proxy.set(Mode::Refuse);
    let later = json!({ "sync": false });
    site.http.post("sys/leases/revoke-prefix/database/creds/app", later).await.expect_status(202);
    eventually("the failures are seen", Duration::from_secs(30), || async {
        let stuck = site.http.get("sys/lessor/leases/stuck").await.expect_status(200);
        equals(stuck.body["data"]["leases"].as_array().map(Vec::len), Some(CREDENTIALS))
    })
    .await;
    assert_eq!(site.users(OURS).await.len(), CREDENTIALS);

    proxy.set(Mode::Pass);
    let (_, took) =
        eventually("every user is dropped", Duration::from_secs(60), || async { equals(counts(&site).await, (0, 0)) })
            .await;
    eprintln!("a backlog of {CREDENTIALS} drained {took:.1?} after the database was back");
}

#[tokio::test]
async fn a_restart_keeps_tokens_mounts_and_leases() {
    let (mut site, _proxy) = behind_a_proxy().await;
    let given = site.issue("app").await;
    assert!(site.lessor.stop().await, "{}", site.lessor.log());
    assert!(site.users(OURS).await.contains_key(&given.user), "a stop revokes nothing");
    site.lessor.start_again().await;
    site.lessor.unsealed().await;
    site.http.post("sys/leases/renew", json!({ "lease_id": given.lease })).await.expect_status(200);
    site.login(&given.user, &given.password).await.expect("the credential still works");
    site.http.post("sys/leases/revoke", json!({ "lease_id": given.lease })).await.expect_status(204);
    assert!(site.users(OURS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_the_root_password_fails_no_request() {
    const ROTATIONS: usize = 10;
    let site = Site::start(&["max_connections=100"]).await;
    let mut connection = site.connection(&site.address());
    // Connections are opened all the time, so that some fall into every moment of a rotation.
    connection["max_idle_connections"] = json!(1);
    connection["max_connection_lifetime"] = json!("1s");
    site.http.post("database/config/pg", connection).await.expect_status(204);
    site.role("app", "pg", json!({})).await;
    let done = AtomicBool::new(false);
    let clients = (0..8).map(|_| async {
        let mut given = 0;
        while !done.load(Ordering::Relaxed) {
            let answer = site.http.get("database/creds/app").await.expect_status(200);
            let lease = json!({ "lease_id": answer.text("/lease_id") });
            site.http.post("sys/leases/revoke", lease).await.expect_status(204);
            given += 1;
        }
        given
    });
    let rotate = async {
        for _ in 0..ROTATIONS {
            site.http.post("database/rotate-root/pg", json!({})).await.expect_status(204);
        }
        done.store(true, Ordering::Relaxed);
    };
    let (given, ()) = tokio::join!(join_all(clients), rotate);
    eprintln!(
        "{ROTATIONS} rotations of the root password beside {} credentials: 0 errors",
        given.iter().sum::<usize>()
    );
}
