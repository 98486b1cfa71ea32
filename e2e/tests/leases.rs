//! Leases that stand in the way, run out of room, or no longer match the database: deletion, quotas, tidying and the orphan
//! sweep, against a real server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::http::Answer;
use lessor_e2e::proxy::{Mode, Proxy};
use lessor_e2e::site::{Credential, Site};
use serde_json::{Value, json};

const OURS: &str = "v-root-%";

/// For what ends by itself when the database is well, back-offs included.
const SETTLED: Duration = Duration::from_secs(60);

/// One deadline of a driver's call, and what comes on top of it.
const ONE_DEADLINE: Duration = Duration::from_secs(45);

/// From a `DROP USER` by hand to the end of its lease: a lease's first minute, a sweep, and what a loaded machine takes.
const NOTICED: Duration = Duration::from_secs(150);

/// A site whose connection `pg` leads through a proxy, with the role `app`.
async fn site() -> (Site, Proxy) {
    let site = Site::start(&[]).await;
    let proxy = Proxy::start(site.address()).await;
    site.connect("pg", &proxy.address().to_string()).await;
    site.role("app", "pg", json!({})).await;
    (site, proxy)
}

async fn issue(site: &Site, role: &str, count: usize) -> Vec<Credential> {
    join_all((0..count).map(|_| site.issue(role))).await
}

fn names(given: &[Credential]) -> BTreeSet<String> {
    given.iter().map(|credential| credential.user.clone()).collect()
}

async fn users(site: &Site) -> BTreeSet<String> {
    site.users(OURS).await.into_keys().collect()
}

async fn nothing_is_left(site: &Site) {
    eventually("leases and users are gone", SETTLED, || async {
        equals((site.leases("").await, users(site).await), (BTreeSet::new(), BTreeSet::new()))
    })
    .await;
}

/// The refusal says how many leases live and which ways there are.
fn assert_refused(answer: &Answer, leases: usize) {
    let text = answer.error();
    let hints = [format!("{leases} live lease"), "cascade=true".to_owned(), "force=true".to_owned()];
    assert!(answer.status == 400 && hints.iter().all(|hint| text.contains(hint)), "{}: {text}", answer.status);
}

fn left_behind(answer: &Answer) -> BTreeSet<String> {
    let list = answer.body["data"]["left_behind"].as_array().expect("the users that are left behind");
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_role_or_connection_with_live_leases_goes_only_when_told_how() {
    let (site, _proxy) = site().await;
    site.role("other", "pg", json!({})).await;
    let given = issue(&site, "app", 3).await;
    let other = issue(&site, "other", 2).await;
    assert_refused(&site.http.delete("database/roles/app").await, 3);
    assert_refused(&site.http.delete("database/config/pg").await, 5);
    let both = site.http.delete("database/config/pg?cascade=true&force=true").await.expect_status(400);
    assert!(both.error().contains("exclude"), "{}", both.error());
    assert_eq!(users(&site).await, &names(&given) | &names(&other), "a refusal changes nothing");
    site.issue("app").await;

    site.http.delete("database/roles/app?cascade=true").await.expect_status(204);
    eventually("the role's users go, and no others", SETTLED, || async { equals(users(&site).await, names(&other)) })
        .await;
    site.http.get("database/roles/app").await.expect_status(404);
    site.issue("other").await;

    site.http.delete("database/config/pg?cascade=true").await.expect_status(204);
    nothing_is_left(&site).await;
    site.http.get("database/config/pg").await.expect_status(404);
    site.http.list("database/config").await.expect_status(404);
    site.http.delete("database/roles/other").await.expect_status(204);
}

#[tokio::test]
async fn a_cascade_with_the_database_down_returns_and_is_done_when_it_is_back() {
    let (mut site, proxy) = site().await;
    let given = issue(&site, "app", 3).await;
    proxy.set(Mode::Refuse);
    site.http.delete("database/config/pg?cascade=true").await.expect_status(204);
    site.http.get("database/config/pg").await.expect_status(404);
    let refused = site.http.get("database/creds/app").await;
    assert!(refused.status >= 400, "nothing is issued over a connection that is leaving");
    assert_eq!(users(&site).await, names(&given));
    // What was promised is kept by another life of the engine, too.
    site.lessor.kill().await;
    site.lessor.start_again().await;
    site.lessor.unsealed().await;
    site.http.get("database/config/pg").await.expect_status(404);

    proxy.set(Mode::Pass);
    nothing_is_left(&site).await;
    site.connect("pg", &proxy.address().to_string()).await;
    site.issue("app").await;
}

#[tokio::test]
async fn force_with_the_database_black_holed_says_soon_who_is_left_behind() {
    let (site, proxy) = site().await;
    let given = issue(&site, "app", 5).await;
    proxy.set(Mode::Swallow);
    let begun = Instant::now();
    let answer = site.http.delete("database/config/pg?force=true").await.expect_status(200);
    assert!(begun.elapsed() < ONE_DEADLINE, "{:?} for {} leases", begun.elapsed(), given.len());
    assert_eq!(left_behind(&answer), names(&given));
    assert!(site.leases("").await.is_empty(), "they are forgotten");
    site.http.get("database/config/pg").await.expect_status(404);
    assert_eq!(users(&site).await, names(&given));
}

#[tokio::test]
async fn force_with_the_database_well_leaves_nobody_behind() {
    let (site, _proxy) = site().await;
    issue(&site, "app", 3).await;
    site.http.delete("database/roles/app?force=true").await.expect_status(204);
    nothing_is_left(&site).await;
}

#[tokio::test]
async fn a_mount_takes_its_leases_with_it_or_says_who_is_left_behind() {
    let (site, proxy) = site().await;
    issue(&site, "app", 3).await;
    site.http.delete("sys/mounts/database").await.expect_status(204);
    nothing_is_left(&site).await;

    site.http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    site.connect("pg", &proxy.address().to_string()).await;
    site.role("app", "pg", json!({})).await;
    let given = issue(&site, "app", 3).await;
    proxy.set(Mode::Refuse);
    let refused = site.http.delete("sys/mounts/database").await.expect_status(400);
    assert!(refused.error().contains("failed to revoke"), "{}", refused.error());
    assert!(site.http.get("database/creds/app").await.status >= 400, "a mount that is leaving issues nothing");
    assert_eq!(site.leases("").await.len(), 3, "no lease loses its engine");
    let forced = site.http.delete("sys/mounts/database?force=true").await.expect_status(200);
    assert_eq!(left_behind(&forced), names(&given));
    assert!(site.leases("").await.is_empty());
    assert_eq!(users(&site).await, names(&given));
}

#[tokio::test]
async fn a_quota_of_leases_holds_under_a_crowd_and_over_a_restart() {
    let (mut site, _proxy) = site().await;
    site.role("free", "pg", json!({})).await;
    let quota = json!({ "path": "database/creds/app", "max_leases": 5 });
    site.http.post("sys/quotas/lease-count/app", quota).await.expect_status(204);
    let answers = join_all((0..20).map(|_| site.http.get("database/creds/app"))).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(given.len(), 5);
    for answer in refused {
        assert!(answer.expect_status(429).error().contains("lease count quota exceeded"));
    }
    site.issue("free").await;
    assert_eq!(users(&site).await.len(), 6, "whoever was refused has no user either");

    site.lessor.kill().await;
    site.lessor.start_again().await;
    site.lessor.unsealed().await;
    site.http.get("database/creds/app").await.expect_status(429);
    let lease = json!({ "lease_id": given[0].text("/lease_id") });
    site.http.post("sys/leases/revoke", lease).await.expect_status(204);
    site.issue("app").await;
    site.http.get("database/creds/app").await.expect_status(429);
    let read = site.http.get("sys/quotas/lease-count/app").await.expect_status(200);
    assert_eq!((&read.body["data"]["max_leases"], &read.body["data"]["counter"]), (&json!(5), &json!(5)));

    let mount = json!({ "path": "database/", "max_leases": 6 });
    site.http.post("sys/quotas/lease-count/all", mount).await.expect_status(204);
    site.http.get("database/creds/free").await.expect_status(429);
    site.http.delete("sys/quotas/lease-count/all").await.expect_status(204);
    site.http.delete("sys/quotas/lease-count/app").await.expect_status(204);
    site.issue("free").await;
    site.issue("app").await;
}

#[tokio::test]
async fn tidying_goes_on_in_the_background_and_counts_show_what_is_stuck() {
    let (site, proxy) = site().await;
    let given = issue(&site, "app", 4).await;
    let count =
        || async { site.http.get("sys/leases/count?type=irrevocable").await.expect_status(200).body["data"].clone() };
    assert_eq!(count().await["lease_count"], json!(0));
    let tidy = site.http.post("sys/leases/tidy", json!({})).await.expect_status(202);
    assert!(tidy.body["warnings"][0].as_str().unwrap().contains("Tidy operation"), "{}", tidy.body["warnings"]);
    let lookup = json!({ "lease_id": given[0].lease });
    site.http.post("sys/leases/lookup", lookup).await.expect_status(200);
    assert_eq!(users(&site).await, names(&given), "tidying ends no lease");

    proxy.set(Mode::Refuse);
    site.http.post("sys/leases/revoke-prefix/database/creds/app", json!({ "sync": false })).await.expect_status(202);
    eventually("all that wait are counted", SETTLED, || async {
        let counts = count().await;
        equals((counts["lease_count"].clone(), counts["counts"]["database/"].clone()), (json!(4), json!(4)))
    })
    .await;
    site.http.post("sys/leases/tidy", json!({})).await.expect_status(202);
    proxy.set(Mode::Pass);
    nothing_is_left(&site).await;
}

/// Users that only look like the engine's, or carry another's mark.
const FOREIGN: &str = "CREATE ROLE \"v-token-app-aB3dEfGhIjKlMnOpQrSt-1700000000\" LOGIN;
    CREATE ROLE \"v-root-app-aB3dEfGhIjKlMnOpQrSt-1700000001\" LOGIN;
    CREATE ROLE \"v-marked-by-another\" LOGIN;
    COMMENT ON ROLE \"v-marked-by-another\" IS 'lessor 6a8f5b1e-0000-4000-8000-000000000000/pg';
    CREATE ROLE somebody LOGIN;";

#[tokio::test]
async fn the_sweep_finds_planted_orphans_and_touches_nobody_else() {
    let (site, proxy) = site().await;
    site.server.run("postgres", FOREIGN).await;
    let foreign: BTreeSet<_> = site.users("%").await.into_keys().collect();
    let live = names(&issue(&site, "app", 2).await);
    site.role("planted", "pg", json!({})).await;
    let planted = names(&issue(&site, "planted", 3).await);
    proxy.set(Mode::Refuse);
    let forced = site.http.post("sys/leases/revoke-force/database/creds/planted", json!({})).await.expect_status(200);
    assert!(forced.body["warnings"][0].as_str().unwrap().contains("may be left"), "{}", forced.body["warnings"]);
    proxy.set(Mode::Pass);

    let list = |answer: &Answer, name: &str| -> BTreeSet<String> {
        let rows = answer.body["data"][name].as_array().unwrap_or_else(|| panic!("no {name}"));
        rows.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let dry = site.http.get("sys/lessor/orphans/database/pg").await.expect_status(200);
    assert_eq!((list(&dry, "orphans"), &dry.body["data"]["dry_run"]), (planted.clone(), &json!(true)));
    let unmarked = list(&dry, "unmarked");
    assert!(unmarked.iter().any(|name| name.starts_with("v-token-")) && unmarked.is_subset(&foreign), "{unmarked:?}");
    let everybody = || async { site.users("%").await.into_keys().collect::<BTreeSet<_>>() };
    assert_eq!(everybody().await, &(&foreign | &live) | &planted, "a dry run drops nobody");
    let metrics = site.http.get("sys/metrics").await.expect_status(200);
    let orphans =
        metrics.body["Gauges"].as_array().unwrap().iter().find(|gauge| gauge["Name"] == json!("lessor_orphans"));
    assert_eq!(orphans.unwrap()["Value"], json!(planted.len()));

    let removed = site.http.post("sys/lessor/orphans/database/pg", json!({ "remove": true })).await.expect_status(200);
    assert_eq!(list(&removed, "removed"), planted);
    assert_eq!(everybody().await, &foreign | &live, "foreign users are never touched, nor leased ones");
    let again = site.http.get("sys/lessor/orphans/database/pg").await.expect_status(200);
    assert_eq!((list(&again, "orphans"), list(&again, "unmarked")), (BTreeSet::new(), unmarked));
}

#[tokio::test]
async fn orphans_go_by_themselves_where_that_is_allowed() {
    let (site, proxy) = site().await;
    site.http.post("database/config/pg", json!({ "remove_orphans": true })).await.expect_status(204);
    let live = names(&issue(&site, "app", 1).await);
    site.role("planted", "pg", json!({})).await;
    issue(&site, "planted", 2).await;
    proxy.set(Mode::Refuse);
    site.http.post("sys/leases/revoke-force/database/creds/planted", json!({})).await.expect_status(200);
    proxy.set(Mode::Pass);
    eventually("the sweep has dropped the orphans", NOTICED, || async { equals(users(&site).await, live.clone()) })
        .await;
}

#[tokio::test]
async fn a_user_that_was_dropped_by_hand_takes_its_lease_with_it() {
    let (site, _proxy) = site().await;
    let given = issue(&site, "app", 3).await;
    for dropped in &given[..2] {
        site.server.run("postgres", &format!("DROP ROLE \"{}\"", dropped.user)).await;
    }
    let renewed = site.http.post("sys/leases/renew", json!({ "lease_id": given[0].lease })).await.expect_status(400);
    assert_eq!(renewed.error(), "lease not found", "the words that make clients ask for another credential");
    let (_, took) = eventually("the lease of the other has ended, too", NOTICED, || async {
        equals(site.leases("").await, BTreeSet::from([given[2].lease.clone()]))
    })
    .await;
    eprintln!("a user dropped by hand was noticed after {took:.0?}");
    let renewed = site.http.post("sys/leases/renew", json!({ "lease_id": given[1].lease })).await.expect_status(400);
    assert_eq!(renewed.error(), "lease not found");
    site.http.post("sys/leases/renew", json!({ "lease_id": given[2].lease })).await.expect_status(200);
}
