//! Who uses a Secret is found from the pods, whatever kind made them, and keeps the old user alive.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Client, discovery};
use lessor_e2e::cluster::apply;
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::{Value, json};

use super::{
    SOON, apply_all, change, degraded, deployment, dropped, finished, get, mark, pod_spec, revision, secret, serving,
    variables,
};
use crate::manifests::{STAY, database};
use crate::operator::{OPERATOR, credential};

/// A pod that mounts the volume `v`.
fn with_volume(volume: Value) -> Value {
    let mount = json!({ "volumeMounts": [{ "name": "v", "mountPath": "/db" }] });
    let mut volume = volume;
    volume["name"] = json!("v");
    pod_spec(STAY, mount, json!({ "volumes": [volume] }))
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_finds_users_in_env_env_from_volumes_and_projected_volumes() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("auto", |client, namespace| async move {
        let restart = json!({ "auto": true, "settle": "2s" });
        apply_all(&client, &namespace, &[database(), secret("db", "app", &restart)]).await;
        let (user, password) = credential(&client, &namespace, "db").await;
        let env_from = json!({ "envFrom": [{ "secretRef": { "name": "db" } }] });
        let projected = json!({ "projected": { "sources": [{ "secret": { "name": "db" } }] } });
        let alone = pod_spec(STAY, json!({ "env": variables("db") }), json!({}));
        let alone =
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "alone" }, "spec": alone }).to_string();
        let pods = [
            deployment("env", pod_spec(STAY, json!({ "env": variables("db") }), json!({})), json!({})),
            deployment("env-from", pod_spec(STAY, env_from, json!({})), json!({})),
            deployment("volume", with_volume(json!({ "secret": { "secretName": "db" } })), json!({})),
            deployment("projected", with_volume(projected), json!({})),
            deployment("stranger", pod_spec(STAY, json!({}), json!({})), json!({})),
            alone,
        ];
        apply_all(&client, &namespace, &pods).await;
        let users = ["env", "env-from", "volume", "projected"];
        serving(&namespace, &[&users[..], &["stranger"]].concat()).await;

        // Another TTL takes another lease.
        change("dynamicdatabasesecret", &namespace, "db", json!({ "ttl": "30m" })).await;
        eventually("all users roll, and a pod without a controller is waited for", SOON, || async {
            let status = get("dynamicdatabasesecret", &namespace, "db").await["status"].take();
            let restart = &status["restart"];
            let rolled =
                restart["begun"].is_string() && restart["waitingFor"].is_null() && restart["finished"].is_null();
            if rolled { Ok(()) } else { Err(status) }
        })
        .await;
        for name in users {
            let found = get("deployment", &namespace, name).await;
            assert!(mark(&found, "db").is_some() && revision(&found) == Some("2"), "{name}: {found:#}");
        }
        let stranger = get("deployment", &namespace, "stranger").await;
        assert_eq!((mark(&stranger, "db"), revision(&stranger)), (None, Some("1")));
        postgres::login(&user, &password).await.expect("the pod that nothing can restart still has its user");

        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.delete("alone", &DeleteParams::default()).await.unwrap();
        dropped(&user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_stuck_keeps_the_old_user_and_says_so() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("stuck", |client, namespace| async move {
        let restart = json!({ "settle": "1s", "targets": [{ "kind": "Deployment", "selector": { "matchLabels": { "restart": "yes" } } }] });
        apply_all(&client, &namespace, &[database(), secret("db", "app", &restart)]).await;
        let (user, password) = credential(&client, &namespace, "db").await;
        // Only with the first user it becomes ready.
        let text = format!("test \"$PGUSER\" != '{user}' || touch /tmp/ready; {STAY}");
        let probe = json!({ "exec": { "command": ["test", "-f", "/tmp/ready"] }, "periodSeconds": 1 });
        let pod = pod_spec(&text, json!({ "env": variables("db"), "readinessProbe": probe }), json!({}));
        let strategy = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
        let settings = json!({ "strategy": strategy, "progressDeadlineSeconds": 5 });
        let mut object: Value = serde_json::from_str(&deployment("app", pod, settings)).unwrap();
        object["metadata"]["labels"] = json!({ "restart": "yes" });
        apply_all(&client, &namespace, &[object.to_string()]).await;
        serving(&namespace, &["app"]).await;

        change("dynamicdatabasesecret", &namespace, "db", json!({ "ttl": "30m" })).await;
        eventually("Degraded says that the rollout is stuck", SOON, || async {
            let said = degraded(&get("dynamicdatabasesecret", &namespace, "db").await);
            said.clone().filter(|said| said.contains("RolloutStuck") && said.contains("Deployment/app")).ok_or(said)
        })
        .await;
        postgres::login(&user, &password).await.expect("the old pod still has its user");
        assert!(Postgres::connect().await.has_role(&user).await);

        let ready = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/args/0", "value": format!("touch /tmp/ready; {STAY}") }]);
        let patch = ["patch", "deployment", "app", "--namespace", &namespace, "--type", "json", "--patch", &ready.to_string()];
        let (done, said) = lessor_e2e::cluster::kubectl(&patch).await;
        assert!(done, "{said}");
        finished(&namespace, "db", "").await;
        dropped(&user).await;
    })
    .await;
}

/// A definition like Argo's, for clusters without Argo Rollouts. What it makes nobody reconciles.
const ROLLOUTS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io, annotations: {api-approved.kubernetes.io: "unapproved, for tests"}}
spec:
  group: argoproj.io
  names: {kind: Rollout, listKind: RolloutList, plural: rollouts, singular: rollout}
  scope: Namespaced
  versions:
    - name: v1alpha1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

async fn serve_rollouts(client: &Client) {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
    if discovery::pinned_kind(client, &kind).await.is_err() {
        apply(client, "default", ROLLOUTS).await.unwrap();
    }
    let found = || async { discovery::pinned_kind(client, &kind).await.map_err(|error| error.to_string()) };
    eventually("Rollouts are served", SOON, found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argo_rollout_is_restarted_like_any_workload() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("argo", |client, namespace| async move {
        serve_rollouts(&client).await;
        let restart = json!({ "settle": "1s", "targets": [{ "kind": "Rollout", "name": "app" }] });
        apply_all(&client, &namespace, &[database(), secret("db", "app", &restart)]).await;
        let (user, _) = credential(&client, &namespace, "db").await;
        let pod = pod_spec(STAY, json!({ "env": variables("db") }), json!({}));
        let labels = json!({ "app": "app" });
        let spec = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": pod } });
        let rollout = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "app" }, "spec": spec });
        let member = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app-1", "labels": labels }, "spec": pod });
        apply_all(&client, &namespace, &[rollout.to_string(), member.to_string()]).await;

        change("dynamicdatabasesecret", &namespace, "db", json!({ "ttl": "30m" })).await;
        eventually("the template carries the hash, owned by the operator alone", SOON, || async {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &argo());
            let found = serde_json::to_value(api.get("app").await.unwrap()).unwrap();
            let managers = found["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let ours: Vec<&Value> = managers.iter().filter(|manager| manager["manager"] == "lessor-restart").collect();
            let alone = ours.len() == 1 && ours[0]["operation"] == "Apply";
            if mark(&found, "db").is_some() && alone { Ok(()) } else { Err(managers) }
        })
        .await;
        assert!(Postgres::connect().await.has_role(&user).await, "its old pod still runs");
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.delete("app-1", &DeleteParams::default()).await.unwrap();
        dropped(&user).await;
    })
    .await;
}

fn argo() -> kube::api::ApiResource {
    kube::api::ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"))
}
