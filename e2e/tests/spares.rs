//! Warm spares: users made ahead are handed out once, replaced when they are taken or useless, and never outlive their engine.

use std::collections::BTreeSet;
use std::time::Duration;

use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::site::{Credential, MEMBER, Site};
use serde_json::{Value, json};

const SPARES: u64 = 6;

const SOON: Duration = Duration::from_secs(30);

/// A site with the role `app`, whose spares are ready.
async fn site() -> Site {
    let site = Site::start(&["max_connections=60"]).await;
    site.connect("pg", &site.address()).await;
    site.role("app", "pg", json!({ "spares": SPARES })).await;
    ready(&site, SPARES).await;
    site
}

async fn ready(site: &Site, expected: u64) {
    eventually("the spares are ready", SOON, || async {
        let answer = site.http.get("sys/lessor/spares/database/app").await.expect_status(200);
        equals(answer.body["data"]["ready"].as_u64().unwrap_or(u64::MAX), expected)
    })
    .await;
}

/// The users that may not log in yet.
async fn waiting(site: &Site) -> BTreeSet<String> {
    let client = site.server.connect().await.expect("the superuser can log in");
    let query = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'v-spare-%' AND NOT rolcanlogin";
    client.query(query, &[]).await.expect("roles can be read").iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_spare_that_somebody_has() {
    let site = site().await;
    let recorded = site.leases("database/creds/app/").await;
    assert_eq!(
        (recorded.len() as u64, waiting(&site).await.len() as u64),
        (SPARES, SPARES),
        "each has a lease already"
    );
    // More at once than there are spares: some are made on demand.
    let taken = futures_util::future::join_all((0..30).map(|_| site.issue("app"))).await;
    let users: BTreeSet<_> = taken.iter().map(|credential| credential.user.clone()).collect();
    let leases: BTreeSet<_> = taken.iter().map(|credential| credential.lease.clone()).collect();
    assert_eq!((users.len(), leases.len()), (30, 30));
    assert!(users.iter().filter(|user| user.starts_with("v-spare-")).count() as u64 >= SPARES);
    for Credential { user, password, .. } in &taken {
        let client = site.login(user, password).await.unwrap_or_else(|error| panic!("{user}: {error}"));
        client.batch_execute("SELECT * FROM notes").await.expect("it has its rights");
    }
    ready(&site, SPARES).await;
    assert!(waiting(&site).await.is_disjoint(&users));
    // A lease that began as a spare's is like any other.
    let lease = &taken[0].lease;
    let renewed = site.http.post("sys/leases/renew", json!({ "lease_id": lease })).await.expect_status(200);
    assert_eq!(renewed.body["lease_duration"], 3600);
    site.http.post("sys/leases/revoke", json!({ "lease_id": lease })).await.expect_status(204);
    assert!(site.login(&taken[0].user, &taken[0].password).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn spares_of_what_a_role_was_are_dropped() {
    let site = site().await;
    let before = waiting(&site).await;
    site.role("app", "pg", json!({ "spares": 3, "creation_statements": format!("{MEMBER} SELECT 1;") })).await;
    eventually("new spares replace the old", SOON, || async {
        let now = waiting(&site).await;
        if now.len() == 3 && now.is_disjoint(&before) { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(site.http.delete("database/roles/app").await.status, 204, "spares are no reason to keep a role");
    eventually("no spare outlives its role", SOON, || async {
        equals((site.users("v-%").await.len(), site.leases("database/creds/app/").await.len()), (0, 0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_that_is_dropped_outside_is_nobodys_trouble() {
    let site = site().await;
    for user in waiting(&site).await {
        site.server.run("postgres", &format!("DROP ROLE \"{user}\"")).await;
    }
    let credential = site.issue("app").await;
    site.login(&credential.user, &credential.password).await.expect("whatever was handed out logs in");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spare_outlives_its_engine() {
    let mut site = site().await;
    let held = site.issue("app").await;
    ready(&site, SPARES).await;
    let before = waiting(&site).await;
    site.lessor.kill().await;
    site.lessor.start_again().await;
    site.lessor.unsealed().await;
    ready(&site, SPARES).await;
    eventually("the spares of before are gone", SOON, || async {
        let now = waiting(&site).await;
        if now.len() as u64 == SPARES && now.is_disjoint(&before) { Ok(()) } else { Err(now) }
    })
    .await;
    site.login(&held.user, &held.password).await.expect("what was handed out stays");
    let lookup = site.http.post("sys/leases/lookup", json!({ "lease_id": held.lease })).await.expect_status(200);
    assert_ne!(lookup.body["data"]["ttl"], Value::Null);
}
