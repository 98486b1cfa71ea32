//! Rollouts are few: changes are batched, paused workloads are left alone, and what is in place already is not done again.

use lessor_e2e::cluster::kubectl;
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::with_temp_ns;
use serde_json::{Value, json};

use super::{SOON, apply_all, change, deployment, finished, get, mark, pod_spec, revision, secret, serving, variables};
use crate::manifests::{STAY, database};
use crate::operator::{OPERATOR, credential};

/// Gives the Secret of a DynamicDatabaseSecret other content without a new user.
async fn edit(namespace: &str, name: &str, text: &str) {
    change("dynamicdatabasesecret", namespace, name, json!({ "destination": { "templates": { "note": text } } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_changes_of_two_secrets_make_one_rollout_and_a_restarted_operator_none() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("batch", |client, namespace| async move {
        let restart = json!({ "settle": "8s", "targets": [{ "kind": "Deployment", "name": "app" }] });
        apply_all(&client, &namespace, &[database(), secret("one", "app", &restart), secret("two", "app", &restart)])
            .await;
        credential(&client, &namespace, "one").await;
        credential(&client, &namespace, "two").await;
        let from = |name: &str| json!({ "secretRef": { "name": name } });
        let pod = pod_spec(STAY, json!({ "env": variables("one"), "envFrom": [from("two")] }), json!({}));
        apply_all(&client, &namespace, &[deployment("app", pod, json!({}))]).await;
        serving(&namespace, &["app"]).await;

        for (name, text) in [("one", "a"), ("two", "b"), ("one", "c"), ("two", "d"), ("one", "e")] {
            edit(&namespace, name, text).await;
        }
        for name in ["one", "two"] {
            finished(&namespace, name, "").await;
        }
        let found = get("deployment", &namespace, "app").await;
        assert!(mark(&found, "one").is_some() && mark(&found, "two").is_some(), "{found:#}");
        assert_eq!(revision(&found), Some("2"), "one rollout for all changes");

        let selector = "app.kubernetes.io/component=operator";
        let system = lessor_e2e::cluster::LESSOR_NAMESPACE;
        let (deleted, said) =
            kubectl(&["delete", "pod", "--namespace", system, "--selector", selector, "--grace-period", "1"]).await;
        assert!(deleted, "{said}");
        // When the new one has served a new object, it has seen the old ones, too.
        apply_all(&client, &namespace, &[secret("three", "app", &restart)]).await;
        credential(&client, &namespace, "three").await;
        assert_eq!(revision(&get("deployment", &namespace, "app").await), Some("2"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_is_left_alone_until_it_is_resumed() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("paused", |client, namespace| async move {
        let target = |name: &str| json!({ "kind": "Deployment", "name": name });
        let restart = json!({ "settle": "1s", "targets": [target("paused"), target("other")] });
        apply_all(&client, &namespace, &[database(), secret("db", "app", &restart)]).await;
        credential(&client, &namespace, "db").await;
        let pod = || pod_spec(STAY, json!({ "env": variables("db") }), json!({}));
        let paused = deployment("paused", pod(), json!({}));
        apply_all(&client, &namespace, &[paused, deployment("other", pod(), json!({}))]).await;
        serving(&namespace, &["paused", "other"]).await;
        change("deployment", &namespace, "paused", json!({ "paused": true })).await;

        edit(&namespace, "db", "a").await;
        eventually("the other Deployment has moved", SOON, || async {
            let status = get("dynamicdatabasesecret", &namespace, "db").await["status"]["restart"].take();
            let left = status["waitingFor"] == json!(["Deployment/paused"]) && status["begun"].is_string();
            if left { Ok(()) } else { Err(status) }
        })
        .await;
        let found: Value = get("deployment", &namespace, "paused").await;
        assert_eq!((mark(&found, "db"), revision(&found)), (None, Some("1")));

        change("deployment", &namespace, "paused", json!({ "paused": false })).await;
        finished(&namespace, "db", "").await;
        assert_eq!(revision(&get("deployment", &namespace, "paused").await), Some("2"));
    })
    .await;
}
