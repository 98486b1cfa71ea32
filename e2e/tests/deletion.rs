//! Deletion never hangs and never leaks: with the engine down, objects go in time, and what they leave is cleaned up later.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams};
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::postgres::Postgres;

use crate::manifests::{database, dynamic_secret};
use crate::nothing::restart_operator;
use crate::operator::{OPERATOR, credential};

/// How long an object may be held by its finalizer while the engine is down.
const RELEASED: Duration = Duration::from_secs(30);
/// From the engine's return to the end of everything that waited for it.
const CLEANED: Duration = Duration::from_secs(90);

/// Scales the engine, and waits until it is so.
pub async fn scale_engine(replicas: &str) {
    let (scaled, said) =
        kubectl(&["scale", "statefulset/lessor-engine", "--namespace", LESSOR_NAMESPACE, "--replicas", replicas]).await;
    assert!(scaled, "{said}");
    eventually("the engine is scaled", Duration::from_secs(120), || async {
        let path = "jsonpath={.status.replicas}/{.status.readyReplicas}";
        let get = ["get", "statefulset/lessor-engine", "--namespace", LESSOR_NAMESPACE, "--output", path];
        let expected = if replicas == "0" { "0/".to_owned() } else { format!("{replicas}/{replicas}") };
        equals(kubectl(&get).await.1, expected)
    })
    .await;
}

/// The objects of Lessor's kinds in a namespace.
async fn left(namespace: &str) -> String {
    let kinds = "databaseconnections,databaseroles,dynamicdatabasesecrets";
    kubectl(&["get", kinds, "--namespace", namespace, "--output", "name"]).await.1
}

/// What the engine has of a namespace: connections, roles and logins.
async fn configured(engine: &Installed, namespace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in ["database/config", "database/roles", "auth/kubernetes/role"] {
        let keys = engine.list(path).await;
        found.extend(
            keys.into_iter().filter(|key| key.starts_with(&format!("{namespace}."))).map(|key| format!("{path}/{key}")),
        );
    }
    found
}

/// One namespace loses its objects one by one, another goes as a whole, while there is no engine; the operator is restarted,
/// too, before the engine is back.
async fn delete_without_engine(client: Client, objects: String, whole: String) {
    let mut users = Vec::new();
    for namespace in [&objects, &whole] {
        apply(&client, namespace, &database()).await.unwrap();
        apply(&client, namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        users.push(credential(&client, namespace, "app-db").await.0);
    }
    scale_engine("0").await;

    let kinds = "dynamicdatabasesecrets,databaseroles,databaseconnections";
    let delete = ["delete", kinds, "--all", "--wait=false", "--namespace", &objects];
    let (deleted, said) = kubectl(&delete).await;
    assert!(deleted, "{said}");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(&whole, &DeleteParams::default()).await.unwrap();
    let (_, took) = eventually("all objects are gone", RELEASED, || async {
        let left = [left(&objects).await, left(&whole).await].map(|text| text.replace("No resources found", ""));
        if left.iter().any(|text| text.contains("lessor.dev/")) { Err(left) } else { Ok(()) }
    })
    .await;
    eprintln!("without an engine the objects were gone after {took:.2?}");
    let (_, took) = eventually("the namespace is gone", RELEASED, || async {
        equals(namespaces.get_opt(&whole).await.unwrap().is_some(), false)
    })
    .await;
    eprintln!("and the namespace {took:.2?} later");

    // Nothing of it lives in the operator's memory only.
    restart_operator().await;
    let database = Postgres::connect().await;
    for user in &users {
        assert!(database.has_role(user).await, "without an engine nobody can have dropped {user}");
    }
    scale_engine("1").await;
    let (_, took) = eventually("the users are dropped", CLEANED, || async {
        let mut there = Vec::new();
        for user in &users {
            there.push(database.has_role(user).await);
        }
        equals(there, vec![false, false])
    })
    .await;
    eprintln!("the users were dropped {took:.2?} after the engine was back");
    let engine = Installed::as_operator(&client).await;
    for namespace in [&objects, &whole] {
        eventually("the engine has nothing of the namespace any more", CLEANED, || async {
            equals(configured(&engine, namespace).await, Vec::new())
        })
        .await;
    }
    eventually("no clean-up is left", CLEANED, || async {
        let get = [
            "get",
            "configmaps",
            "--namespace",
            LESSOR_NAMESPACE,
            "--selector",
            "lessor.dev/leftover",
            "--output",
            "name",
        ];
        equals(kubectl(&get).await.1, String::new())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_objects_and_namespaces_go_and_their_users_follow() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("objects", |client, objects| async move {
        let whole = lessor_e2e::environment::unique("whole");
        apply(&client, "default", &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {whole}}}\n"))
            .await
            .unwrap();
        // Whatever happens: the tests after this one need an engine.
        restoring(delete_without_engine(client, objects, whole), scale_engine("1")).await;
    })
    .await;
}
