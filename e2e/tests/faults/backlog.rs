//! Thousands of leases that expire while their database is black-holed: service goes on, and nothing is dropped in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::http::Http;
use lessor_e2e::proxy::{Mode, Proxy};
use lessor_e2e::site::Site;
use serde_json::{Value, json};

use super::{number, p99_and_max};

/// The cheapest user there is: no password, so that the server hashes nothing.
const CHEAP: &str = "CREATE ROLE \"{{name}}\" LOGIN";

/// Clients that make the backlog.
const MAKERS: usize = 32;

/// Credentials that are made to find out how long the backlog takes.
const SAMPLE: usize = 400;

/// Clients of the healthy database, and what each asks for in one measurement.
const CLIENTS: usize = 8;
const REQUESTS: usize = 50;

/// How often the healthy database is measured, at most, while the other is black-holed.
const MEASUREMENTS: usize = 3;

/// How long after their expiry the measurement begins: what is due has been picked up then.
const PICKED_UP: Duration = Duration::from_secs(2);

/// One back-off, its jitter and a deadline: what may pass before the first revocation is tried again.
const FIRST_TRY: Duration = Duration::from_secs(400);

/// The least that a backlog drains at, users a second.
const SLOWEST_DRAIN: u64 = 50;

/// More resident memory than that for the backlog would be holding it in memory: a kilobyte for each lease, and what serving takes.
fn memory_limit(leases: usize) -> u64 {
    64 * 1024 + leases as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_a_black_holed_database_delays_nobody_and_drains() {
    let backlog = number("LESSOR_TEST_BACKLOG", 5_000);
    let site = Site::quiet(&["max_connections=150", "synchronous_commit=off", "max_wal_size=4GB"]).await;
    let proxy = Proxy::start(site.address()).await;
    let mut dark = site.connection(&proxy.address().to_string());
    dark["max_open_connections"] = json!(16);
    site.http.post("database/config/dark", dark).await.expect_status(204);
    site.connect("bright", &site.address()).await;
    site.role("dark", "dark", json!({ "creation_statements": CHEAP, "max_ttl": "24h" })).await;
    site.role("bright", "bright", json!({})).await;

    let sample = Instant::now();
    make(&site.http, SAMPLE, Instant::now() + Duration::from_secs(3600)).await;
    site.http.post("sys/leases/revoke-prefix/database/creds/dark", json!({})).await.expect_status(204);
    // All expire at the same moment, when all of them will have been made.
    let each = sample.elapsed() / u32::try_from(SAMPLE).unwrap();
    let expire = Instant::now() + each * u32::try_from(backlog).unwrap() * 5 / 4 + Duration::from_secs(15);
    make(&site.http, backlog, expire).await;
    let made = sample.elapsed();
    let (resident, before) = (site.lessor.resident_kib(), measure(&site.http).await);
    assert!(Instant::now() < expire, "making {backlog} leases took longer than they live");
    assert_eq!(site.users("v-root-dark-%").await.len(), backlog);

    proxy.set(Mode::Swallow);
    tokio::time::sleep_until((expire + PICKED_UP).into()).await;
    let limit = before.0 * 3 + Duration::from_millis(50);
    let mut during = measure(&site.http).await;
    // Whatever else the machine does may disturb one measurement; what the backlog does would disturb all.
    for _ in 1..MEASUREMENTS {
        if during.0 > limit {
            during = measure(&site.http).await;
        }
    }
    let grown = site.lessor.resident_kib().saturating_sub(resident);
    eprintln!(
        "{backlog} leases made in {made:.0?}; issuing beside them: p99 {:.1?}, longest {:.1?}; when all have expired and their database is black-holed: \
         p99 {:.1?}, longest {:.1?}; {grown} KiB more resident",
        before.0, before.1, during.0, during.1
    );
    assert!(during.0 <= limit, "{:?} before, {:?} during", before.0, during.0);
    assert!(grown < memory_limit(backlog), "{grown} KiB more resident for {backlog} leases");
    nothing_is_dropped_in_silence(&site, backlog).await;

    // As when a server comes back: it knows nothing of the connections of before.
    proxy.cut_all();
    proxy.set(Mode::Pass);
    drains(&site, backlog).await;
}

/// Takes credentials of the role `dark` that all end at `expire`.
async fn make(http: &Http, count: usize, expire: Instant) {
    let left = Arc::new(AtomicUsize::new(count));
    let makers = (0..MAKERS).map(|_| async {
        let take = |left: usize| left.checked_sub(1);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let ttl = expire.saturating_duration_since(Instant::now()).as_secs().max(1);
            http.get(&format!("database/creds/dark?ttl={ttl}")).await.expect_status(200);
        }
    });
    join_all(makers).await;
}

/// Issues on the healthy database; returns p99 and the longest.
async fn measure(http: &Http) -> (Duration, Duration) {
    let clients = (0..CLIENTS).map(|_| async {
        let mut took = Vec::new();
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            http.get("database/creds/bright").await.expect_status(200);
            took.push(begun.elapsed());
        }
        took
    });
    p99_and_max(join_all(clients).await.concat())
}

/// Every lease is still there, every user too, and the stuck list says how many wait and why.
async fn nothing_is_dropped_in_silence(site: &Site, backlog: usize) {
    let (stuck, _) = eventually("the stuck list shows the whole backlog", Duration::from_secs(180), || async {
        let stuck = site.http.get("sys/lessor/leases/stuck").await.expect_status(200).body;
        if stuck["data"]["total"] == json!(backlog) { Ok(stuck) } else { Err(stuck["data"]["total"].clone()) }
    })
    .await;
    let shown = stuck["data"]["leases"].as_array().unwrap();
    assert!(
        shown.iter().any(|lease| lease["error"].as_str().is_some_and(|error| error.contains("dark"))),
        "and says why"
    );
    assert_eq!(site.leases("database/creds/dark/").await.len(), backlog);
    assert_eq!(site.users("v-root-dark-%").await.len(), backlog);
}

async fn drains(site: &Site, backlog: usize) {
    let back = Instant::now();
    eventually("the first user is dropped", FIRST_TRY, || async {
        let left = site.users("v-root-dark-%").await.len();
        if left < backlog { Ok(()) } else { Err(left) }
    })
    .await;
    let (first, deadline) = (back.elapsed(), Duration::from_secs(30 + backlog as u64 / SLOWEST_DRAIN));
    let (_, took) = eventually("the backlog has drained", deadline, || async {
        equals((site.leases("database/creds/dark/").await.len(), site.users("v-root-dark-%").await.len()), (0, 0))
    })
    .await;
    let stuck = site.http.get("sys/lessor/leases/stuck").await.expect_status(200).body;
    assert_eq!(stuck["data"]["leases"], Value::Array(Vec::new()));
    eprintln!("the database is back: first user dropped after {first:.1?}, all {backlog} {took:.1?} later");
}
