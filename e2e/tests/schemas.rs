//! What `kubectl apply` refuses and takes: every bad manifest with a message that helps, every documented example.

use std::path::Path;

use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::namespace::with_temp_ns;
use serde_json::{Value, json};

/// `base` with the parts of `change`; null takes a field away.
fn changed(mut base: Value, change: Value) -> Value {
    if let (Value::Object(old), Value::Object(new)) = (&mut base, change) {
        for (key, value) in new {
            match (old.remove(&key), value) {
                (_, Value::Null) => {}
                (Some(known @ Value::Object(_)), value @ Value::Object(_)) => {
                    drop(old.insert(key, changed(known, value)))
                }
                (_, value) => drop(old.insert(key, value)),
            }
        }
    }
    base
}

fn object(kind: &str, spec: Value) -> Value {
    json!({ "apiVersion": "lessor.dev/v1alpha1", "kind": kind, "metadata": { "name": "tried" }, "spec": spec })
}

fn connection(change: Value) -> Value {
    let spec = json!({
        "connectionURL": "postgresql://{{username}}:{{password}}@db/app", "credentialsSecretRef": { "name": "admin" },
    });
    object("DatabaseConnection", changed(spec, change))
}

fn role(change: Value) -> Value {
    let spec = json!({
        "connectionRef": { "name": "db" }, "preset": "readonly", "defaultTTL": "1h", "maxTTL": "2h",
        "allow": [{ "serviceAccounts": ["app"] }],
    });
    object("DatabaseRole", changed(spec, change))
}

fn secret(change: Value) -> Value {
    object(
        "DynamicDatabaseSecret",
        changed(json!({ "roleRef": { "name": "app" }, "destination": { "name": "db" } }), change),
    )
}

fn destination(change: Value) -> Value {
    secret(json!({ "destination": change }))
}

/// Applies each without making anything, and expects a refusal that says all of the texts.
async fn each_is_refused(cases: Vec<(Value, &[&str])>) {
    with_temp_ns("refused", |client, namespace| async move {
        for (manifest, texts) in cases {
            let error = tried(&client, &namespace, &manifest).await.err();
            let said = error.unwrap_or_else(|| panic!("nobody refused {manifest}"));
            for text in texts {
                assert!(said.contains(text), "{manifest} is refused without {text:?}: {said}");
            }
        }
    })
    .await;
}

async fn tried(client: &Client, namespace: &str, manifest: &Value) -> Result<(), String> {
    let object: kube::api::DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let kind = kube::core::GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let (resource, _) = kube::discovery::pinned_kind(client, &kind).await.unwrap();
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let params = PatchParams::apply("lessor-e2e").force().dry_run().validation_strict();
    let done = api.patch("tried", &params, &Patch::Apply(&object)).await;
    done.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_connection_is_refused_at_once() {
    each_is_refused(vec![
        (connection(json!({ "connectionURL": null })), &["connectionURL is missing"]),
        (
            connection(json!({ "connectionURL": "postgresql://admin:hunter2@db/app" })),
            &["connectionURL holds a password"],
        ),
        (connection(json!({ "connectionURL": "postgresql://db/app" })), &["{{username}} and {{password}}"]),
        (connection(json!({ "credentialsSecretRef": null })), &["credentialsSecretRef must name the Secret"]),
        (connection(json!({ "credentialsSecretRef": { "name": "No" } })), &["spec.credentialsSecretRef.name"]),
        (connection(json!({ "plugin": "Postgres!" })), &["spec.plugin"]),
        (
            connection(json!({ "pool": { "maxOpenConnections": 0 } })),
            &["spec.pool.maxOpenConnections", "greater than or equal to 1"],
        ),
        (
            connection(json!({ "pool": { "maxOpenConnections": 2, "maxIdleConnections": 3 } })),
            &["maxIdleConnections must not be larger than maxOpenConnections"],
        ),
        (connection(json!({ "pool": { "maxConnectionLifetime": "1 day" } })), &["spec.pool.maxConnectionLifetime"]),
        (connection(json!({ "parameters": { "password": "x" } })), &["parameters may not set"]),
        (connection(json!({ "tls": { "caSecretRef": {} } })), &["spec.tls.caSecretRef.name", "Required"]),
        (connection(json!({ "connectionUrl": "x" })), &["connectionUrl"]),
        (
            connection(json!({ "rotateRoot": { "period": "1h", "schedule": "0 3 * * SUN" } })),
            &["give either period or schedule"],
        ),
        (connection(json!({ "rotateRoot": { "window": "2h" } })), &["window goes with schedule"]),
        (connection(json!({ "rotateRoot": { "onCreation": false } })), &["it needs a period or a schedule"]),
        (connection(json!({ "rotateRoot": { "schedule": "0 3 *" } })), &["spec.rotateRoot.schedule"]),
        (
            connection(json!({ "rotateRoot": {}, "parameters": { "rotation_period": "60" } })),
            &["take rotation_period, rotation_schedule"],
        ),
        (
            connection(
                json!({ "rotateRoot": {}, "connectionURL": "postgresql://db/app", "credentialsSecretRef": null }),
            ),
            &["that must be given"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_role_is_refused_at_once() {
    each_is_refused(vec![
        (role(json!({ "preset": null })), &["either preset or creationStatements"]),
        (role(json!({ "creationStatements": ["CREATE ROLE x"] })), &["either preset or creationStatements"]),
        (role(json!({ "preset": "admin" })), &["spec.preset", "readwrite"]),
        (role(json!({ "preset": null, "creationStatements": ["x"], "schema": "s" })), &["schema goes with preset"]),
        (role(json!({ "defaultTTL": "3h" })), &["defaultTTL must not be longer than maxTTL"]),
        (role(json!({ "defaultTTL": "0s" })), &["defaultTTL must be at least 1s"]),
        (role(json!({ "maxTTL": "7d" })), &["spec.maxTTL"]),
        (role(json!({ "connectionRef": null })), &["spec.connectionRef", "Required"]),
        (role(json!({ "allow": [{ "serviceAccounts": [] }] })), &["serviceAccounts"]),
        (role(json!({ "allow": [{ "serviceAccounts": ["*", "a"] }] })), &["names, or \"*\" alone"]),
        (
            role(json!({ "allow": [{ "namespace": "a", "namespaceSelector": {}, "serviceAccounts": ["a"] }] })),
            &["namespace and namespaceSelector exclude each other"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_dynamic_secret_is_refused_at_once() {
    let both = json!(["username", "password"]);
    each_is_refused(vec![
        (secret(json!({ "roleRef": null })), &["give either roleRef or", "engineRef"]),
        (secret(json!({ "ttl": "0s" })), &["ttl must be at least 1s"]),
        (secret(json!({ "ttl": "soon" })), &["spec.ttl"]),
        (secret(json!({ "renewalPercent": 95 })), &["spec.renewalPercent", "less than or equal to 90"]),
        (
            secret(json!({ "refreshAfter": "5s", "rotation": { "grace": "1s" } })),
            &["refreshAfter must be at least 10s"],
        ),
        (secret(json!({ "refreshAfter": "1m" })), &["refreshAfter must be longer than rotation.grace"]),
        (secret(json!({ "serviceAccountName": "" })), &["spec.serviceAccountName"]),
        (
            secret(json!({ "additionalUsers": [{ "name": "a-b", "roleRef": { "name": "r" } }] })),
            &["spec.additionalUsers[0].name"],
        ),
        (
            secret(json!({ "additionalUsers": [
                { "name": "a", "roleRef": { "name": "r" } }, { "name": "a", "roleRef": { "name": "s" } },
            ] })),
            &["spec.additionalUsers", "duplicate"],
        ),
        (
            secret(json!({
                "destination": { "formats": { "URL": "url" } },
                "additionalUsers": [{ "name": "a", "roleRef": { "name": "r" }, "formats": { "URL": "jdbc" } }],
            })),
            &["additionalUsers.formats and destination.formats write the same key"],
        ),
        (destination(json!({ "name": "Upper" })), &["spec.destination.name"]),
        (destination(json!({ "type": "kubernetes.io/service-account-token" })), &["destination.type", "Opaque"]),
        (destination(json!({ "type": "kubernetes.io/tls" })), &["tls.crt and tls.key"]),
        (destination(json!({ "labels": { "lessor.dev/x": "y" } })), &["the operator's own"]),
        (destination(json!({ "labels": { "a b": "y" } })), &["labels: a key is"]),
        (destination(json!({ "labels": { "a": "not a label" } })), &["labels: a value consists of"]),
        (destination(json!({ "annotations": { "-": "y" } })), &["annotations: a key is"]),
        (destination(json!({ "formats": { "URL": "odbc" } })), &["spec.destination.formats.URL", "\"jdbc\""]),
        (destination(json!({ "formats": { "password": "url" } })), &["give the text another key"]),
        (destination(json!({ "templates": { "a/b": "x" } })), &["templates: a key consists of"]),
        (
            destination(json!({ "formats": { "a": "url" }, "templates": { "a": "x" } })),
            &["formats and templates write the same key"],
        ),
        (destination(json!({ "exclude": both })), &["leaves nothing of the credential"]),
        (destination(json!({ "exclude": ["url"] })), &["spec.destination.exclude[0]"]),
        (destination(json!({ "endpoint": { "port": 0 } })), &["spec.destination.endpoint.port"]),
        (destination(json!({ "endpoint": { "host": "a b" } })), &["spec.destination.endpoint.host"]),
        (destination(json!({ "endpoint": { "parameters": { "password": "x" } } })), &["endpoint.parameters"]),
        (destination(json!({ "immutable": true })), &["immutable"]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_says_what_to_do_instead() {
    with_temp_ns("fixed", |client, namespace| async move {
        apply(&client, &namespace, &secret(json!({})).to_string()).await.unwrap();
        for (change, text) in [
            (json!({ "name": "other" }), "destination.name cannot change: make a new object"),
            (json!({ "type": "example.org/x" }), "destination.type cannot change"),
        ] {
            let said = tried(&client, &namespace, &destination(change)).await.unwrap_err();
            assert!(said.contains(text), "{said}");
        }
    })
    .await;
}

/// The YAML blocks of a text in Markdown that are Lessor's objects.
pub fn examples(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("apiVersion: lessor.dev/")).map(str::to_owned).collect()
}

fn objects(yaml: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    documents.map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_example_is_taken() {
    with_temp_ns("documented", |_, namespace| async move {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = 0;
        for file in std::fs::read_dir(root.join("docs")).unwrap() {
            let path = file.unwrap().path();
            for object in examples(&std::fs::read_to_string(&path).unwrap()).iter().flat_map(|text| objects(text)) {
                found += 1;
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(
                    file.path(),
                    changed(object.clone(), json!({ "metadata": { "namespace": namespace } })).to_string(),
                )
                .unwrap();
                // As its reader would: with the strict validation of kubectl.
                let (taken, said) =
                    kubectl(&["apply", "--dry-run=server", "--filename", file.path().to_str().unwrap()]).await;
                assert!(taken, "{}: {said}\n{object}", path.display());
            }
        }
        assert!(found >= 5, "{found} examples");
    })
    .await;
}
