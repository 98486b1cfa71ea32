//! Changes of users under real Deployments: nobody is refused, everybody is found, and nothing is rolled without need.

mod consumers;
mod load;
mod logins;
mod pace;

use std::time::Duration;

use kube::Client;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::postgres::Postgres;
use serde_json::{Value, json};

/// For what takes a rollout of a few pods, however busy the machine is.
const SOON: Duration = Duration::from_secs(300);

/// An object as JSON; null while there is none.
async fn get(kind: &str, namespace: &str, name: &str) -> Value {
    let (found, text) = kubectl(&["get", kind, name, "--namespace", namespace, "--output", "json"]).await;
    if found { serde_json::from_str(&text).unwrap_or(Value::Null) } else { Value::Null }
}

/// Merges `change` into the specification of an object.
async fn change(kind: &str, namespace: &str, name: &str, change: Value) {
    let patch = json!({ "spec": change }).to_string();
    let (done, said) =
        kubectl(&["patch", kind, name, "--namespace", namespace, "--type", "merge", "--patch", &patch]).await;
    assert!(done, "{said}");
}

/// The Degraded condition, as `reason: message`; `None` while all is as expected.
fn degraded(object: &Value) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == "Degraded" && found["status"] == "True")?;
    Some(format!("{}: {}", found["reason"].as_str()?, found["message"].as_str()?))
}

/// The hash that the pod template of a Deployment carries for the Secret `secret`.
fn mark(workload: &Value, secret: &str) -> Option<String> {
    let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
    annotations[format!("lessor.dev/secret-hash-{secret}")].as_str().map(str::to_owned)
}

/// How often the template of a Deployment was changed, its making included.
fn revision(deployment: &Value) -> Option<&str> {
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str()
}

/// A role with short lives.
fn role(name: &str, default_ttl: &str, max_ttl: &str) -> String {
    format!(
        r#"
apiVersion: lessor.dev/v1alpha1
kind: DatabaseRole
metadata: {{name: {name}}}
spec:
  connectionRef: {{name: postgres}}
  creationStatements:
    - CREATE ROLE "{{{{name}}}}" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}';
    - GRANT app_rw TO "{{{{name}}}}";
  defaultTTL: {default_ttl}
  maxTTL: {max_ttl}
  allow:
    - serviceAccounts: [app]
"#
    )
}

/// A DynamicDatabaseSecret whose old users end a second after their last pod.
fn secret(name: &str, role: &str, restart: &Value) -> String {
    let object = json!({
        "apiVersion": "lessor.dev/v1alpha1",
        "kind": "DynamicDatabaseSecret",
        "metadata": { "name": name },
        "spec": {
            "roleRef": { "name": role },
            "serviceAccountName": "app",
            "destination": { "name": name },
            "rotation": { "grace": "1s" },
            "restart": restart,
        },
    });
    object.to_string()
}

/// Variables for `psql` out of the Secret `secret`.
fn variables(secret: &str) -> Value {
    let of = |name: &str, key: &str| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } });
    json!([of("PGUSER", "username"), of("PGPASSWORD", "password")])
}

/// A pod's specification that runs a shell text, with more settings for its one container and for the pod.
fn pod_spec(text: &str, container: Value, pod: Value) -> Value {
    let mut whole = json!({
        "name": "app",
        "image": variable("LESSOR_TESTAPP_IMAGE"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c"],
        "args": [text],
    });
    merge(&mut whole, container);
    let mut spec = json!({
        "serviceAccountName": "app",
        "terminationGracePeriodSeconds": 5,
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532 },
        "containers": [whole],
    });
    merge(&mut spec, pod);
    spec
}

/// A Deployment of that pod, with more settings for its specification.
fn deployment(name: &str, pod: Value, settings: Value) -> String {
    let mut spec = json!({
        "selector": { "matchLabels": { "app": name } },
        "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
    });
    merge(&mut spec, settings);
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": spec }).to_string()
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Applies objects, each a text of its own.
async fn apply_all(client: &Client, namespace: &str, objects: &[String]) {
    for object in objects {
        apply(client, namespace, object).await.unwrap();
    }
}

/// Waits until all pods of Deployments serve.
async fn serving(namespace: &str, names: &[&str]) {
    for name in names {
        eventually(&format!("{name} serves"), SOON, || async {
            let found = get("deployment", namespace, name).await;
            let wanted = found["spec"]["replicas"].as_i64();
            equals(found["status"]["availableReplicas"].as_i64(), wanted.or(Some(1)))
        })
        .await;
    }
}

/// Waits until the last change of a DynamicDatabaseSecret has reached every pod, and returns its status.
async fn finished(namespace: &str, name: &str, before: &str) -> Value {
    let what = format!("the consumers of {name} have moved");
    let (status, _) = eventually(&what, SOON, || async {
        let status = get("dynamicdatabasesecret", namespace, name).await["status"].take();
        let hash = status["restart"]["hash"].as_str().unwrap_or_default();
        if hash != before && status["restart"]["finished"].is_string() { Ok(status) } else { Err(status) }
    })
    .await;
    status
}

/// Waits until a user is dropped.
async fn dropped(user: &str) {
    let database = Postgres::connect().await;
    eventually("the old user is dropped", SOON, || async { equals(database.has_role(user).await, false) }).await;
}
