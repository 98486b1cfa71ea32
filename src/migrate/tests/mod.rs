//! Manifests as their users have them, and what becomes of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::base::clock::SystemClock;

/// The new objects without comments, and everything that is said.
fn migrated(text: &str, options: &Options) -> (Vec<Value>, Vec<String>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let found = documents("-", text).unwrap().into_iter().map(|object| Found { object, wanted: true });
    let migration = Migration::of(found.collect(), options, &clock).unwrap();
    let objects = documents("out", &migration.yaml()).unwrap();
    (objects, migration.findings().iter().map(ToString::to_string).collect())
}

fn options() -> Options {
    Options { namespace: None, vso_namespace: "vault-secrets-operator-system".into(), take_over: false }
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind} in {objects:#?}"));
    assert!(found.next().is_none(), "several {kind} in {objects:#?}");
    one
}

/// Asserts that something of each is said, and nothing else.
fn says(findings: &[String], expected: &[&str]) {
    for wanted in expected {
        assert!(findings.iter().any(|finding| finding.contains(wanted)), "{wanted:?} is not in {findings:#?}");
    }
    let other = findings.iter().filter(|finding| !expected.iter().any(|wanted| finding.contains(wanted)));
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_whole_set_of_objects_comes_over() {
    let (objects, findings) = migrated(include_str!("complete.yaml"), &options());
    let engine = of_kind(&objects, "CredentialEngine");
    assert_eq!(engine["metadata"], json!({ "name": "vault-auth", "namespace": "shop" }));
    assert_eq!(
        engine["spec"],
        json!({
            "address": "https://vault.example.com:8200",
            "caCert": { "secretRef": { "name": "vault-ca", "key": "ca.crt" } },
            "tlsServerName": "vault.internal",
            "namespace": "team-a",
            "auth": { "kubernetes": { "mount": "k8s-prod", "role": "shop", "audiences": ["vault"] } },
            "allowedNamespaces": { "names": ["shop-staging"] },
        })
    );
    let secret = of_kind(&objects, "DynamicDatabaseSecret");
    assert_eq!(secret["metadata"]["labels"], json!({ "app": "shop" }));
    assert!(secret["metadata"].get("annotations").is_none());
    let spec = &secret["spec"];
    assert_eq!(spec["engineRef"], json!({ "name": "vault-auth" }));
    assert_eq!((&spec["mount"], &spec["path"]), (&json!("database"), &json!("creds/shop")));
    assert_eq!((&spec["serviceAccountName"], &spec["renewalPercent"]), (&json!("shop"), &json!(75)));
    assert_eq!(
        spec["destination"],
        json!({
            "name": "shop-db",
            "type": "Opaque",
            "labels": { "app": "shop" },
            "annotations": { "example.com/owner": "shop" },
            "exclude": ["username", "password"],
            "templates": { "DATABASE_URL": "postgresql://{{ .username | urlquery }}:{{ .password | urlquery }}@db/shop\n" },
        })
    );
    let targets = json!([{ "kind": "Deployment", "name": "shop" }, { "kind": "Rollout", "name": "shop-canary" }]);
    assert_eq!(spec["restart"]["targets"], targets);
    says(&findings, &[]);
}

#[test]
fn static_roles_become_static_secrets_and_key_value_secrets_are_named() {
    let (objects, findings) = migrated(include_str!("static.yaml"), &options());
    let of_name = |name: &str| objects.iter().find(|object| object["metadata"]["name"] == name).unwrap();
    for (name, namespace) in [("reports", Some("vault-secrets-operator-system")), ("legacy", None)] {
        let object = of_name(name);
        assert_eq!(object["kind"], "StaticDatabaseSecret");
        assert_eq!(object["spec"]["path"], format!("static-creds/{name}"));
        assert_eq!(object["spec"]["engineRef"]["namespace"].as_str(), namespace);
    }
    assert!(!objects.iter().any(|object| object["metadata"]["name"] == "web"));
    says(
        &findings,
        &[
            "VaultStaticSecret data/web: spec.type: not carried over: it reads a key-value engine",
            "VaultPKISecret data/tls: kind: not carried over",
            "VaultDynamicSecret data/reports: spec.refreshAfter: differs",
            "VaultDynamicSecret data/reports: spec.destination: differs",
            "VaultDynamicSecret data/reports: spec.destination.transformation.excludeRaw: differs",
            "VaultStaticSecret data/legacy: spec.refreshAfter: differs",
            "VaultStaticSecret data/legacy: spec.destination: differs",
            "VaultStaticSecret data/legacy: spec.destination.transformation.excludeRaw: differs",
            "VaultStaticSecret data/legacy: spec.syncConfig: differs",
            "VaultStaticSecret data/legacy: spec.destination.create: differs",
        ],
    );
}

#[test]
fn what_logins_share_is_put_together() {
    let (objects, findings) = migrated(include_str!("global.yaml"), &options());
    let engines: Vec<_> = objects.iter().filter(|object| object["kind"] == "CredentialEngine").collect();
    assert_eq!(engines.len(), 2, "{engines:#?}");
    // The login needs a Secret of the namespace that uses it, so the CredentialEngine goes there.
    let approle = engines.iter().find(|engine| engine["metadata"]["name"] == "approle").unwrap();
    assert_eq!(approle["metadata"]["namespace"], "shop");
    assert_eq!(
        approle["spec"]["auth"]["appRole"],
        json!({ "mount": "approle-shop", "roleID": "0815", "secretIDRef": { "name": "shop-secret-id", "key": "id" } })
    );
    assert_eq!(approle["spec"]["namespace"], "shared");
    let workload = engines.iter().find(|engine| engine["metadata"]["name"] == "workload").unwrap();
    assert_eq!(
        workload["spec"]["auth"]["jwt"],
        json!({ "mount": "jwt-cluster", "role": "from-global", "audiences": [] })
    );
    assert_eq!(workload["spec"]["allowedNamespaces"], json!({ "selector": {} }));
    let orders = objects.iter().find(|object| object["metadata"]["name"] == "orders").unwrap();
    assert_eq!(orders["spec"]["engineRef"], json!({ "name": "workload", "namespace": "platform" }));
    assert_eq!((&orders["spec"]["serviceAccountName"], &orders["spec"]["mount"]), (&json!("orders"), &json!("sub/db")));
    says(
        &findings,
        &[
            "VaultAuthGlobal platform/common: spec.headers: not carried over",
            "VaultConnection platform/vault: spec.caCertSecretRef: not carried over: the CredentialEngine reads Secret ca",
            "VaultDynamicSecret shop/orders: spec.namespace: not carried over: the login is to namespace \"shared\"",
            "VaultDynamicSecret shop/orders: spec.revoke: differs",
        ],
    );
}

#[test]
fn nothing_is_dropped_in_silence() {
    let (objects, findings) = migrated(include_str!("odd.yaml"), &options());
    let secret = of_kind(&objects, "DynamicDatabaseSecret");
    assert_eq!(secret["spec"]["engineRef"]["namespace"], "vault-secrets-operator-system");
    assert_eq!(secret["spec"]["renewalPercent"], 10);
    assert_eq!(secret["spec"]["method"], "POST");
    assert_eq!(secret["spec"]["destination"]["templates"], json!({ "ok": "{{ .username }}" }));
    says(
        &findings,
        &[
            "VaultAuth odd/cloud: spec.method: not carried over: Lessor has no login by aws",
            "VaultConnection odd/vault: spec.headers.X-Team: not carried over",
            "VaultConnection odd/vault: spec.newField: not carried over: this field is not known",
            "VaultConnection odd/vault: spec.timeout: differs",
            "VaultConnection odd/spare: spec: differs: no VaultAuth uses it",
            "VaultDynamicSecret odd/db: spec.destination.immutable: not carried over: this field is not known",
            "VaultDynamicSecret odd/db: spec.vaultAuthRef: not carried over: VaultAuth vault-secrets-operator-system/default was not given",
            "VaultDynamicSecret odd/db: spec.vaultAuthRef: differs: the VaultAuth names no ServiceAccount",
            "VaultDynamicSecret odd/db: spec.destination.transformation.templates.password: not carried over",
            "VaultDynamicSecret odd/db: spec.destination.transformation.templates.lease: not carried over",
            "VaultDynamicSecret odd/db: spec.destination.transformation.transformationRefs[0]: not carried over: SecretTransformation odd/none was not given",
            "VaultDynamicSecret odd/db: spec.destination.transformation.excludeRaw: differs",
            "VaultDynamicSecret odd/db: spec.destination.labels.app.kubernetes.io/managed-by: differs",
            "VaultDynamicSecret odd/db: spec.renewalPercent: differs",
            "VaultDynamicSecret odd/db: spec.revoke: differs",
            "VaultDynamicSecret odd/db: spec.refreshAfter: differs",
            "VaultDynamicSecret odd/db: spec.rolloutRestartTargets[0].kind: not carried over",
            "VaultDynamicSecret odd/db: metadata.annotations.argocd.argoproj.io/tracking-id: differs",
            "VaultDynamicSecret odd/wrong: spec.renewalPercent: not carried over: the object cannot be read",
            "VaultDynamicSecret odd/deploy: spec.path: not carried over: aws/creds/deploy is a path of the aws engine",
            "ConfigMap odd/other: apiVersion: differs",
            "SecretTransformation odd/idle: spec: differs: nobody refers to it",
            "VaultAuthGlobal odd/idle: spec: differs: no VaultAuth refers to it",
        ],
    );
}

#[test]
fn lists_and_objects_without_a_namespace_are_read() {
    let list =
        json!({ "apiVersion": "v1", "kind": "List", "items": documents("-", include_str!("complete.yaml")).unwrap() });
    let (objects, _) = migrated(&list.to_string(), &options());
    assert_eq!(objects.len(), 2);
    let bare = include_str!("complete.yaml").replace("  namespace: shop\n", "");
    let (objects, findings) = migrated(&bare, &options());
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(of_kind(&objects, "DynamicDatabaseSecret")["metadata"].get("namespace"), None);
    let put = Options { namespace: Some("other".into()), take_over: true, ..options() };
    let (objects, _) = migrated(&bare, &put);
    let secret = of_kind(&objects, "DynamicDatabaseSecret");
    assert_eq!(
        (&secret["metadata"]["namespace"], &secret["spec"]["destination"]["overwrite"]),
        (&json!("other"), &json!(true))
    );
}

#[test]
fn comments_tell_where_an_object_comes_from_and_quote_no_header() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let found =
        documents("-", include_str!("odd.yaml")).unwrap().into_iter().map(|object| Found { object, wanted: true });
    let migration = Migration::of(found.collect(), &options(), &clock).unwrap();
    assert!(!migration.is_complete());
    let yaml = migration.yaml();
    assert!(yaml.starts_with("# "), "{yaml}");
    assert!(yaml.contains("---\n# From VaultDynamicSecret odd/db.\n# "), "{yaml}");
    assert!(!yaml.contains("canary"), "{yaml}");
}

#[test]
fn text_that_is_no_yaml_is_named() {
    let error = documents("app.yaml", "a: 1\n---\n{").unwrap_err().to_string();
    assert!(error.starts_with("app.yaml: document 2 is no YAML"), "{error}");
    assert_eq!(documents("-", "# nothing\n---\n").unwrap(), Vec::<Value>::new());
}
