//! The operator at rest: between renewals it asks the Kubernetes API for nothing but its watches and its Lease.
//!
//! By its name this runs before tests that take other engines away: logins there that nobody can end any more are looked for each
//! minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::eventually;
use lessor_e2e::figures;
use lessor_e2e::namespace::with_temp_ns;
use tokio::sync::Mutex;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

/// How many objects rest.
const OBJECTS: usize = 20;
/// How long nothing may be asked.
const QUIET: Duration = Duration::from_secs(40);
/// How long it may take to come to rest, what other tests have left included.
const SETTLED: Duration = Duration::from_secs(300);
/// How often a DatabaseConnection looks whether its Secret has changed.
const CONNECTION_LOOKS: Duration = Duration::from_secs(54);

/// Requests to the Kubernetes API since the operator's start, by verb and resource, without those that it lives by.
async fn requests() -> BTreeMap<String, f64> {
    let figures = figures::of_the_leader().await;
    let name = "lessor_operator_kubernetes_requests_total";
    let mut found = BTreeMap::new();
    for line in figures.lines_with(name).into_iter().filter(|line| !line.starts_with('#')) {
        let label = |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let call = format!("{} {}", label("verb").unwrap_or_default(), label("resource").unwrap_or_default());
        let count: f64 = line.rsplit_once(' ').and_then(|(_, count)| count.parse().ok()).unwrap_or_default();
        if !call.starts_with("watch ") && !call.ends_with(" leases") {
            *found.entry(call).or_default() += count;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_at_rest_cost_no_request() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("rest", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        let names: Vec<String> = (0..OBJECTS).map(|number| format!("app-{number}")).collect();
        for name in &names {
            apply(&client, &namespace, &dynamic_secret(name, "app", "app")).await.unwrap();
        }
        for name in &names {
            credential(&client, &namespace, name).await;
        }
        let every = ["get", "databaseconnections", "--all-namespaces", "--output", "name"];
        let connections = kubectl(&every).await.1.lines().count() as f64;
        let looks = connections * (QUIET.as_secs_f64() / CONNECTION_LOOKS.as_secs_f64()).ceil();
        let since = Mutex::new((Instant::now(), requests().await));
        let (asked, took) = eventually("nothing was asked for that long", SETTLED, || async {
            let (now, mut since) = (requests().await, since.lock().await);
            let more = |(call, count): (&String, &f64)| {
                let more = count - since.1.get(call).copied().unwrap_or_default();
                (more > 0.0).then(|| (call.clone(), more))
            };
            let asked: BTreeMap<String, f64> = now.iter().filter_map(more).collect();
            // The connections look at their Secrets; nobody else asks for anything.
            let disturbed = asked.iter().any(|(call, count)| call != "get secrets" || *count > looks);
            if disturbed {
                *since = (Instant::now(), now);
            }
            if since.0.elapsed() >= QUIET { Ok(asked) } else { Err(asked) }
        })
        .await;
        eprintln!("{OBJECTS} objects at rest for {QUIET:?}, after {took:.2?}: {asked:?} ({connections} connections)");
    })
    .await;
}
