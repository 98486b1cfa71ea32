//! Injected pods in namespaces that enforce the Pod Security Standard `restricted`: every mode, every way to hear of a change,
//! whatever may be said about files and logins, and every kind of workload that makes pods.

mod certificates;
mod changes;
mod commands;
mod containers;
mod elsewhere;
mod files;
mod modes;
mod scale;
mod theirs;
mod unusual;
mod workloads;

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use serde_json::{Value, json};

use crate::manifests::{STAY, database};
use crate::operator::OPERATOR;

const SOON: Duration = Duration::from_secs(90);

/// A namespace that enforces `restricted`, with the database and the role `app`; `role` changes the role's text.
async fn in_restricted<F: Future<Output = ()>>(
    name: &str,
    role: impl Fn(String) -> String,
    test: impl FnOnce(Client, String) -> F,
) {
    let _steady = OPERATOR.read().await;
    with_temp_ns(name, |client, namespace| async move {
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(&labels)).await.unwrap();
        apply(&client, &namespace, &role(database())).await.unwrap();
        eventually("the role is Ready", SOON, || async {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            let get = ["get", "databaserole", "app", "--namespace", &namespace, "--output", path];
            equals(kubectl(&get).await.1, "True".to_owned())
        })
        .await;
        test(client, namespace).await;
    })
    .await;
}

/// The role as it is.
fn as_it_is(text: String) -> String {
    text
}

/// Users that live ten seconds and cannot be renewed beyond.
fn short_lived(text: String) -> String {
    text.replace("defaultTTL: 1h", "defaultTTL: 10s").replace("maxTTL: 24h", "maxTTL: 10s")
}

/// A pod in mode `exec`, whose program gets its user in variables and says so in the database.
fn pod_by_exec(namespace: &str) -> String {
    let annotations = [
        ("lessor.dev/inject", "true"),
        ("lessor.dev/role", "app"),
        ("lessor.dev/mode", "exec"),
        ("lessor.dev/secret-db", "database/creds/@NS.app"),
        ("lessor.dev/env-db", "PGUSER=username,PGPASSWORD=password"),
    ];
    pod("exec", namespace, &annotations, &format!("{} || exit 8; {STAY}", note("exec in @NS")))
}

/// A pod with annotations whose one container runs a shell text, as `restricted` demands it; `@NS` stands for the namespace.
fn pod(name: &str, namespace: &str, annotations: &[(&str, &str)], text: &str) -> String {
    let [host, port, database] = ["LESSOR_PG_HOST", "LESSOR_PG_PORT", "LESSOR_PG_DATABASE"].map(variable);
    let mut said = String::new();
    for (annotation, value) in annotations {
        let _ = writeln!(said, "    {annotation}: {}", json!(value.replace("@NS", namespace)));
    }
    let (text, image) = (json!(text.replace("@NS", namespace)), variable("LESSOR_TESTAPP_IMAGE"));
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations:
{said}spec:
  serviceAccountName: app
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: app
      image: "{image}"
      imagePullPolicy: IfNotPresent
      command: [ash, -c]
      args: [{text}]
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      env:
        - {{name: PGHOST, value: "{host}"}}
        - {{name: PGPORT, value: "{port}"}}
        - {{name: PGDATABASE, value: "{database}"}}
"#
    )
}

/// Applies an object by kubectl; returns what that says, warnings included.
async fn applied(namespace: &str, manifest: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(manifest.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    let (applied, told) = kubectl(&["apply", "--namespace", namespace, "--filename", &path]).await;
    assert!(applied, "{told}");
    told
}

/// The pod with further changes.
fn changed(pod: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut pod: Value = serde_yaml::from_str(pod).expect("the pod is YAML");
    change(&mut pod);
    pod.to_string()
}

/// A pod template of that pod, with the label `app`.
fn template(pod: &str) -> Value {
    let mut pod: Value = serde_yaml::from_str(pod).expect("the pod is YAML");
    let labels = json!({ "app": pod["metadata"]["name"] });
    json!({ "metadata": { "annotations": pod["metadata"]["annotations"].take(), "labels": labels }, "spec": pod["spec"].take() })
}

/// What a shell does to write a note.
fn note(body: &str) -> String {
    format!("psql --quiet --set ON_ERROR_STOP=1 --command \"INSERT INTO notes (body) VALUES ('{body}')\"")
}

/// The template of a file for shells.
const EXPORTS: &str = "{{ with secret \"database/creds/@NS.app\" }}export PGUSER='{{ .Data.username }}' \
                       PGPASSWORD='{{ .Data.password }}'{{ end }}\n";

/// The annotations of a pod that uses such a file, before those of a test.
const BASE: [(&str, &str); 3] =
    [("lessor.dev/inject", "true"), ("lessor.dev/role", "app"), ("lessor.dev/template-db", EXPORTS)];

async fn uid(client: &Client, namespace: &str, pod: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    pods.get(pod).await.unwrap().metadata.uid.unwrap()
}
