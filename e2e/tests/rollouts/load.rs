//! Rotation under load: a rollout takes longer than the TTL, and no login is refused.

use std::time::{Duration, Instant};

use kube::Client;
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::other_engine::OtherEngine;
use lessor_e2e::postgres;
use serde_json::{Value, json};

use super::logins::{Listener, program};
use super::{apply_all, degraded, deployment, get, pod_spec, role, secret};
use crate::engines::{borrowed, ready_by_approle};
use crate::manifests::database;
use crate::operator::{OPERATOR, credential};

/// Rotations that are waited for; `LESSOR_TEST_ROTATIONS=10` is the long form. `usual` ones where nobody says.
fn rotations(usual: usize) -> usize {
    std::env::var("LESSOR_TEST_ROTATIONS").ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// What the consumers are rolled with.
fn restart() -> Value {
    json!({ "targets": [{ "kind": "Deployment", "name": "app" }] })
}

/// A user of the installed engine that lives for `default_ttl`, and at most for `max_ttl`.
fn installed(default_ttl: &str, max_ttl: &str) -> Vec<String> {
    vec![database(), role("short", default_ttl, max_ttl), secret("db", "short", &restart())]
}

/// Six replicas, each ten seconds from its start to Ready, replaced one after the other; they log in four times a second with
/// the user `db` of `objects`.
async fn six_slow_replicas(client: &Client, namespace: &str, objects: &[String]) -> (String, lessor::base::Secret) {
    apply_all(client, namespace, objects).await;
    let held = credential(client, namespace, "db").await;
    let mut environment = super::variables("db");
    for (name, variable) in
        [("PGHOST", "LESSOR_PG_HOST"), ("PGPORT", "LESSOR_PG_PORT"), ("PGDATABASE", "LESSOR_PG_DATABASE")]
    {
        let value = lessor_e2e::environment::variable(variable);
        environment.as_array_mut().unwrap().push(json!({ "name": name, "value": value }));
    }
    let probe = json!({ "tcpSocket": { "port": 8080 }, "periodSeconds": 1, "timeoutSeconds": 5 });
    let pod = pod_spec(&program(10), json!({ "env": environment, "readinessProbe": probe }), json!({}));
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    apply_all(client, namespace, &[deployment("app", pod, json!({ "replicas": 6, "strategy": strategy }))]).await;
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_while_users_change_under_a_slow_rollout() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("load", |client, namespace| async move {
        nobody_is_refused(client, namespace, installed("60s", "180s"), rotations(2)).await;
    })
    .await;
}

/// The same user out of another engine.
async fn out_of(client: &Client, namespace: &str, other: &OtherEngine) -> Vec<String> {
    ready_by_approle(client, namespace, other, ("60s", "180s"), ("10m", "24h")).await;
    vec![borrowed("db", other, json!({ "rotation": { "grace": "1s" }, "restart": restart() }))]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_while_users_of_another_engine_change() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("load-other", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        let objects = out_of(&client, &namespace, &other).await;
        // Other tests run beside this one, and a second rotation would need a rollout that is twice as fast.
        nobody_is_refused(client, namespace, objects, rotations(1)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_while_users_of_an_openbao_change() {
    let Some(other) = OtherEngine::openbao() else { return };
    let _steady = OPERATOR.read().await;
    with_temp_ns("load-openbao", |client, namespace| async move {
        let test = async {
            let objects = out_of(&client, &namespace, &other).await;
            nobody_is_refused(client.clone(), namespace, objects, rotations(1)).await;
        };
        restoring(test, other.unmount()).await;
    })
    .await;
}

async fn nobody_is_refused(client: Client, namespace: String, objects: Vec<String>, wanted: usize) {
    six_slow_replicas(&client, &namespace, &objects).await;
    let listener = Listener::new(&client, &namespace, "app");
    let begun = Instant::now();
    let limit = Duration::from_secs(240 * (wanted as u64 + 1));
    let mut hashes = Vec::new();
    while hashes.len() < wanted {
        let what = format!("rotation {} of {wanted} has reached every pod", hashes.len() + 1);
        let (status, _) = eventually(&what, limit.saturating_sub(begun.elapsed()), || async {
            let object = get("dynamicdatabasesecret", &namespace, "db").await;
            let (restart, wrong) = (object["status"]["restart"].clone(), degraded(&object));
            let hash = restart["hash"].as_str().unwrap_or_default().to_owned();
            let counts = listener.counts();
            assert!(counts.errors.is_empty(), "{:?} (Degraded: {wrong:?})", counts.errors.first());
            if restart["finished"].is_string() && !hashes.contains(&hash) {
                Ok((hash, restart, wrong))
            } else {
                Err(wrong)
            }
        })
        .await;
        let (hash, restart, wrong) = status;
        hashes.push(hash);
        let (counts, took) = (listener.counts(), &restart["lastDuration"]);
        eprintln!(
            "rotation {} after {:.0?}: rollout {took} s, {} logins by {} pods, {} refused, Degraded: {wrong:?}",
            hashes.len(),
            begun.elapsed(),
            counts.logins(),
            counts.pods,
            counts.errors.len()
        );
    }
    let counts = listener.counts();
    eprintln!(
        "{} logins, {} rotations, {} refused; {} pods of which {} ended",
        counts.logins(),
        hashes.len(),
        counts.errors.len(),
        counts.pods,
        counts.ended
    );
    assert!(counts.errors.is_empty(), "{:?}", counts.errors);
    assert!(counts.ended >= 6 * wanted as u64, "only {} pods were heard to their end", counts.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_max_ttl_that_is_shorter_than_the_rollout_is_said_before_the_first_error() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("short", |client, namespace| async move {
        let (user, password) = six_slow_replicas(&client, &namespace, &installed("30s", "60s")).await;
        let listener = Listener::new(&client, &namespace, "app");
        let (said, took) = eventually("Degraded says that maxTTL is too short", Duration::from_secs(60), || async {
            let object = get("dynamicdatabasesecret", &namespace, "db").await;
            degraded(&object)
                .filter(|said| said.contains("MaxTTLTooShort") || said.contains("RolloutTooSlow"))
                .ok_or(object["status"].clone())
        })
        .await;
        eprintln!("after {took:.1?}: {said}");
        assert!(listener.counts().errors.is_empty(), "pods were refused before: {:?}", listener.counts().errors);
        postgres::login(&user, &password).await.expect("the first user still lives");
    })
    .await;
}
