//! The Secret of a DynamicDatabaseSecret on a real cluster: whose it is, what arrives in it, and what is refused.

mod forms;
mod users;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use lessor::base::Secret as Hidden;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres;
use serde_json::{Value, json};

use crate::manifests::database;
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(60);

fn object(kind: &str, name: &str, spec: Value) -> String {
    json!({ "apiVersion": "lessor.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec }).to_string()
}

/// A DynamicDatabaseSecret of the role `app`; `fields` replace or add to its spec, `destination` to its destination.
fn dynamic(name: &str, fields: Value, destination: Value) -> String {
    let mut spec =
        json!({ "roleRef": { "name": "app" }, "serviceAccountName": "app", "destination": { "name": name } });
    let extend = |into: &mut Value, from: Value| {
        if let (Value::Object(into), Value::Object(from)) = (into, from) {
            into.extend(from);
        }
    };
    extend(&mut spec["destination"], destination);
    extend(&mut spec, fields);
    object("DynamicDatabaseSecret", name, spec)
}

fn secrets(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

/// The keys of a Secret as texts; empty while there is none.
async fn data(client: &Client, namespace: &str, name: &str) -> BTreeMap<String, String> {
    let secret = secrets(client, namespace).get_opt(name).await.unwrap();
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect()
}

async fn merge(client: &Client, namespace: &str, name: &str, patch: Value) {
    secrets(client, namespace).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// Waits for a condition `Type=Status` whose reason and message say all of `texts`.
async fn condition(namespace: &str, name: &str, condition: &str, texts: &[&str]) {
    let (kind, status) = condition.split_once('=').unwrap();
    let path = format!(
        "jsonpath={{range .status.conditions[?(@.type==\"{kind}\")]}}{{.status}} {{.reason}}: {{.message}}{{end}}"
    );
    eventually(&format!("{name} is {condition} and says {texts:?}"), SOON, || async {
        let get = ["get", "dynamicdatabasesecret", name, "--namespace", namespace, "--output", &path];
        let found = kubectl(&get).await.1;
        let said = found.starts_with(status) && texts.iter().all(|text| found.contains(text));
        if said { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_touched_only_when_told() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("foreign", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        for (name, kind) in [("theirs", "Opaque"), ("typed", "example.org/db")] {
            let foreign = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "labels": { "theirs": "yes" } },
                "type": kind, "stringData": { "username": "by-hand", "other": "kept" },
            });
            apply(&client, &namespace, &foreign.to_string()).await.unwrap();
        }
        apply(&client, &namespace, &dynamic("theirs", json!({}), json!({}))).await.unwrap();
        condition(&namespace, "theirs", "Ready=False", &["DestinationConflict", "spec.destination.overwrite"]).await;
        assert_eq!(data(&client, &namespace, "theirs").await["username"], "by-hand");

        apply(&client, &namespace, &dynamic("typed", json!({}), json!({ "overwrite": true }))).await.unwrap();
        condition(&namespace, "typed", "Ready=False", &["DestinationTypeMismatch", "example.org/db"]).await;
        apply(&client, &namespace, &dynamic("theirs", json!({}), json!({ "overwrite": true, "labels": { "a": "1" } })))
            .await
            .unwrap();
        condition(&namespace, "theirs", "Ready=True", &[]).await;
        let taken = data(&client, &namespace, "theirs").await;
        assert!(taken["username"] != "by-hand" && taken["other"] == "kept", "{:?}", taken.keys());
        let password = Hidden::new(taken["password"].as_str());
        postgres::login(&taken["username"], &password).await.expect("the credential works");

        // Ours changes, theirs stays; another object does not get what this one keeps.
        merge(&client, &namespace, "theirs", json!({ "metadata": { "annotations": { "their": "note" } } })).await;
        apply(&client, &namespace, &dynamic("theirs", json!({}), json!({ "overwrite": true, "labels": { "b": "2" } })))
            .await
            .unwrap();
        eventually("labels follow the spec", SOON, || async {
            let found = secrets(&client, &namespace).get("theirs").await.unwrap().metadata;
            let labels = found.labels.unwrap_or_default();
            let has = |key: &str| labels.contains_key(key);
            assert!(found.annotations.unwrap_or_default().contains_key("their"));
            equals([has("a"), has("b"), has("theirs")], [false, true, true])
        })
        .await;
        assert_eq!(data(&client, &namespace, "theirs").await["username"], taken["username"], "no new user for a label");
        let second = dynamic("second", json!({}), json!({ "name": "theirs", "overwrite": true }));
        apply(&client, &namespace, &second).await.unwrap();
        condition(&namespace, "second", "Ready=False", &["DestinationConflict", "DynamicDatabaseSecret theirs"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_secret_is_refused_with_what_to_do() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("immutable", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic("fixed", json!({}), json!({}))).await.unwrap();
        let (user, password) = credential(&client, &namespace, "fixed").await;
        merge(&client, &namespace, "fixed", json!({ "immutable": true })).await;
        apply(&client, &namespace, &dynamic("fixed", json!({}), json!({ "templates": { "a": "b" } }))).await.unwrap();
        let told = ["DestinationImmutable", "kubectl delete secret fixed"];
        condition(&namespace, "fixed", "Degraded=True", &told).await;
        condition(&namespace, "fixed", "Ready=True", &[]).await;
        postgres::login(&user, &password).await.expect("its user lives on");

        let (deleted, said) = kubectl(&["delete", "secret", "fixed", "--namespace", &namespace]).await;
        assert!(deleted, "{said}");
        apply(&client, &namespace, &dynamic("fixed", json!({}), json!({ "templates": { "a": "c" } }))).await.unwrap();
        condition(&namespace, "fixed", "Degraded=False", &[]).await;
        eventually("the Secret is made anew", SOON, || async {
            equals(data(&client, &namespace, "fixed").await.get("a").cloned(), Some("c".to_owned()))
        })
        .await;

        let foreign = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "foreign" }, "immutable": true,
            "stringData": { "username": "by-hand" },
        });
        apply(&client, &namespace, &foreign.to_string()).await.unwrap();
        apply(&client, &namespace, &dynamic("foreign", json!({}), json!({ "overwrite": true }))).await.unwrap();
        condition(&namespace, "foreign", "Ready=False", &["DestinationImmutable", "kubectl delete secret foreign"])
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn type_labels_and_annotations_arrive_and_excluded_keys_do_not() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("shape", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        let shaped = |text: &str, label: &str| {
            dynamic("shaped", json!({ "ttl": "10m" }), json!({
                "type": "kubernetes.io/basic-auth", "labels": { "team": label }, "annotations": { "example.org/a": "b c" },
                "exclude": ["password"], "templates": { "url": format!("{{{{ .username }}}} {{{{ .password }}}} {text}") },
            }))
        };
        apply(&client, &namespace, &shaped("1", "one")).await.unwrap();
        condition(&namespace, "shaped", "Ready=True", &[]).await;
        let secret = secrets(&client, &namespace).get("shaped").await.unwrap();
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/basic-auth"));
        assert_eq!(secret.metadata.labels.unwrap_or_default()["team"], "one");
        assert_eq!(secret.metadata.annotations.unwrap_or_default()["example.org/a"], "b c");
        let written = data(&client, &namespace, "shaped").await;
        assert_eq!(written.keys().collect::<Vec<_>>(), ["url", "username"]);
        let ttl = ["get", "dds", "shaped", "--namespace", &namespace, "--output", "jsonpath={.status.lease.ttl}"];
        assert_eq!(kubectl(&ttl).await.1, "600");

        // The operator cannot write this user's password again, so only what needs it makes a new user.
        apply(&client, &namespace, &shaped("1", "two")).await.unwrap();
        eventually("the label follows", SOON, || async {
            let labels = secrets(&client, &namespace).get("shaped").await.unwrap().metadata.labels.unwrap_or_default();
            equals(labels["team"].clone(), "two".to_owned())
        })
        .await;
        assert_eq!(data(&client, &namespace, "shaped").await, written);
        apply(&client, &namespace, &shaped("2", "two")).await.unwrap();
        eventually("the template follows, with a new user", SOON, || async {
            let found = data(&client, &namespace, "shaped").await;
            let done = found["url"].ends_with(" 2") && found["username"] != written["username"];
            if done { Ok(()) } else { Err("not yet") }
        })
        .await;
    })
    .await;
}
