//! What the operator may do in the cluster: nothing with Secrets in all of it, and in single namespaces only what they need.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams};
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::postgres::Postgres;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(30);

/// The objects that the chart makes with these values.
async fn rendered(settings: &[&str]) -> Vec<Value> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/lessor");
    let mut command = Command::new(variable("HELM"));
    command.args(["template", "lessor", chart, "--namespace", LESSOR_NAMESPACE]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().await.expect("helm can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.map(|document| <Value as serde::Deserialize>::deserialize(document).expect("YAML")).collect()
}

/// The rules that hold in the whole cluster: of ClusterRoles that a ClusterRoleBinding names.
fn cluster_wide(objects: &[Value]) -> Vec<Value> {
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let bound: Vec<&Value> = of_kind("ClusterRoleBinding").map(|binding| &binding["roleRef"]["name"]).collect();
    let roles = of_kind("ClusterRole").filter(|role| bound.contains(&&role["metadata"]["name"]));
    roles.flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default()).collect()
}

fn names(rule: &Value, resource: &str) -> bool {
    let resources = rule["resources"].as_array().cloned().unwrap_or_default();
    resources.iter().any(|found| found == resource || found == "*")
}

#[tokio::test]
async fn no_right_on_secrets_or_tokens_is_cluster_wide() {
    for settings in [&[][..], &["operator.bindTenantRole=false"], &["operator.namespaces={shop,infra}"]] {
        let objects = rendered(settings).await;
        let rules = cluster_wide(&objects);
        assert!(settings.len() > 1 || !rules.is_empty(), "nothing was rendered: the test proves nothing");
        for rule in &rules {
            for resource in ["secrets", "serviceaccounts/token"] {
                assert!(!names(rule, resource), "{settings:?}: {rule}");
            }
            // What may be bound, and where to, is one role by its name.
            if names(rule, "clusterroles") || names(rule, "rolebindings") {
                assert_eq!(rule["resourceNames"], json!(["lessor-operator-tenant"]), "{settings:?}: {rule}");
            }
        }
        let reads: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "Role" || object["metadata"]["name"] == "lessor-operator-tenant")
            .filter(|role| {
                role["rules"].as_array().is_some_and(|rules| rules.iter().any(|rule| names(rule, "secrets")))
            })
            .collect();
        assert!(!reads.is_empty(), "{settings:?}: the operator must read Secrets somewhere");
    }
}

#[tokio::test]
async fn limited_to_namespaces_the_operator_has_roles_there_and_nowhere_else() {
    let objects = rendered(&["operator.namespaces={shop,infra}", "operator.releaseFinalizers=false"]).await;
    let operator =
        |object: &&Value| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("lessor-operator"));
    let of_kind = |kind: &'static str| objects.iter().filter(operator).filter(move |object| object["kind"] == kind);
    assert_eq!(of_kind("ClusterRole").count() + of_kind("ClusterRoleBinding").count(), 0);
    let mut places: Vec<_> = of_kind("Role").filter_map(|role| role["metadata"]["namespace"].as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["infra", LESSOR_NAMESPACE, "shop"]);
    // With it, no more than what lets the finalizers of a dying namespace go.
    let small = cluster_wide(&rendered(&["operator.namespaces={shop}"]).await);
    let small: Vec<_> = small.iter().filter(|rule| names(rule, "databaseroles") || names(rule, "namespaces")).collect();
    assert_eq!(small.len(), 2, "{small:?}");
    assert!(small.iter().all(|rule| rule["verbs"] == json!(["patch"]) || rule["resourceNames"] == json!(["shop"])));
}

async fn may(verb: &str, resource: &str, place: &[&str]) -> bool {
    let operator = format!("--as=system:serviceaccount:{LESSOR_NAMESPACE}:lessor-operator");
    kubectl(&[&["auth", "can-i", verb, resource, &operator], place].concat()).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_secrets_where_it_has_objects_and_only_there() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("rights", |client, namespace| async move {
        let here = ["--namespace", &namespace];
        for verb in ["get", "list", "watch", "create", "patch"] {
            assert!(!may(verb, "secrets", &["--all-namespaces"]).await, "{verb} cluster-wide");
            assert!(!may(verb, "secrets", &here).await, "{verb} before there is anything to do");
        }
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        credential(&client, &namespace, "app-db").await;
        assert!(may("get", "secrets", &here).await);
        assert!(!may("get", "secrets", &["--namespace", "kube-system"]).await);
        for resource in
            ["rolebindings.rbac.authorization.k8s.io/other", "clusterroles.rbac.authorization.k8s.io/cluster-admin"]
        {
            for verb in ["create", "patch", "delete", "bind"] {
                assert!(!may(verb, resource, &here).await, "{verb} {resource}");
            }
        }
        let kinds = "dynamicdatabasesecrets,databaseroles,databaseconnections";
        let (deleted, said) = kubectl(&["delete", kinds, "--all", "--namespace", &namespace]).await;
        assert!(deleted, "{said}");
        eventually("the operator gives its rights back", SOON, || async {
            if may("get", "secrets", &here).await { Err("not yet") } else { Ok(()) }
        })
        .await;
    })
    .await;
}

/// Sets the namespaces that the installed operator is limited to, as a JSON list; an empty one is all.
async fn limit(namespaces: &str) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/lessor");
    let mut command = Command::new(variable("HELM"));
    command.args([
        "--kube-context",
        &variable("LESSOR_CONTEXT"),
        "upgrade",
        "lessor",
        chart,
        "--reuse-values",
        "--wait",
    ]);
    command.args(["--namespace", LESSOR_NAMESPACE, "--set-json", &format!("operator.namespaces={namespaces}")]);
    let output = command.output().await.expect("helm can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Has a credential in the one namespace that the operator sees, then deletes that namespace: its Roles go first.
async fn live_and_die(client: Client, namespace: String) {
    apply(&client, &namespace, &database()).await.unwrap();
    apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
    let (user, _) = credential(&client, &namespace, "app-db").await;
    for resource in ["secrets", "dynamicdatabasesecrets.lessor.dev", "pods", "serviceaccounts/token"] {
        for verb in ["get", "list", "watch", "create"] {
            assert!(!may(verb, resource, &["--all-namespaces"]).await, "{verb} {resource}");
        }
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    let (_, took) = eventually("the namespace is gone", SOON, || async {
        equals(namespaces.get_opt(&namespace).await.unwrap().is_some(), false)
    })
    .await;
    eprintln!("a namespace that takes the operator's rights with it was gone after {took:.2?}");
    let database = Postgres::connect().await;
    eventually("the user is dropped", SOON, || async { equals(database.has_role(&user).await, false) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limited_to_a_namespace_the_operator_works_there_and_lets_it_go() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("limited", |client, _| async move {
        let namespace = unique("only");
        let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        apply(&client, "default", &text).await.unwrap();
        limit(&format!("[\"{namespace}\"]")).await;
        // Whatever happens: the tests after this one need the operator everywhere.
        restoring(live_and_die(client, namespace), limit("[]")).await;
    })
    .await;
}
