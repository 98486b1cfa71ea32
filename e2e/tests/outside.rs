//! What others do to a credential: its lease revoked, its user dropped, its Secret edited or deleted. It is whole again in time.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use lessor_e2e::cluster::apply;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::json;

use crate::manifests::{database, dynamic_secret};
use crate::nothing::uid;
use crate::operator::{OPERATOR, credential};

/// From an outside event to a credential that works.
const REPAIRED: Duration = Duration::from_secs(30);

/// Waits until the Secret holds a user that works, other than `old`; returns its name.
async fn works_again(client: &Client, namespace: &str, name: &str, old: &str) -> String {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (user, took) = eventually("the Secret holds another user that works", REPAIRED, || async {
        let secret = secrets.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let text = |key: &str| data.get(key).map(|bytes| String::from_utf8(bytes.0.clone()).unwrap());
        let (user, password) = text("username").zip(text("password")).ok_or("no credential")?;
        if user == old {
            return Err(format!("still {old}"));
        }
        postgres::login(&user, &password.into()).await.map(|_| user).map_err(|error| error.to_string())
    })
    .await;
    eprintln!("{namespace}/{name}: a working credential again after {took:.2?}");
    user
}

/// An object whose old users live for a moment only.
fn quick(name: &str) -> String {
    format!("{}  rotation: {{grace: 1s}}\n", dynamic_secret(name, "app", "app"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_secret_is_made_again_and_its_user_ends_after_the_grace() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("deleted", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("patient", "app", "app")).await.unwrap();
        apply(&client, &namespace, &quick("quick")).await.unwrap();
        let (patient, password) = credential(&client, &namespace, "patient").await;
        let (impatient, _) = credential(&client, &namespace, "quick").await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        for name in ["patient", "quick"] {
            secrets.delete(name, &DeleteParams::default()).await.unwrap();
        }
        works_again(&client, &namespace, "patient", &patient).await;
        works_again(&client, &namespace, "quick", &impatient).await;
        let database = Postgres::connect().await;
        eventually("the user of before is dropped after its grace", REPAIRED, || async {
            equals(database.has_role(&impatient).await, false)
        })
        .await;
        postgres::login(&patient, &password).await.expect("within its grace the user of before works on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_secret_is_repaired() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("edited", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &quick("app-db")).await.unwrap();
        let (user, _) = credential(&client, &namespace, "app-db").await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let patch = |patch: serde_json::Value| {
            let secrets = secrets.clone();
            async move { secrets.patch("app-db", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap() }
        };
        patch(json!({ "stringData": { "password": "typed by hand" } })).await;
        let next = works_again(&client, &namespace, "app-db", &user).await;

        // What others add stays; what they take away comes back, without another user.
        let label = "app.kubernetes.io/managed-by";
        patch(json!({ "metadata": { "labels": { label: null } }, "stringData": { "beside": "theirs" } })).await;
        eventually("the label is back", REPAIRED, || async {
            let labels: BTreeMap<String, String> =
                secrets.get("app-db").await.unwrap().metadata.labels.unwrap_or_default();
            equals(labels.get(label).cloned(), Some("lessor-operator".to_owned()))
        })
        .await;
        let data = secrets.get("app-db").await.unwrap().data.unwrap();
        assert_eq!((&data["username"].0[..], &data["beside"].0[..]), (next.as_bytes(), &b"theirs"[..]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_somebody_revoked_is_replaced() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("revoked", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        let (user, _) = credential(&client, &namespace, "app-db").await;
        let engine = Installed::as_operator(&client).await;
        let leases = engine.leases_of(&uid(&client, &namespace, "app-db").await).await;
        let (status, body) = engine.post("sys/leases/revoke", json!({ "lease_id": leases[0] })).await;
        assert_eq!(status, 204, "{}", body["errors"]);
        works_again(&client, &namespace, "app-db", &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_somebody_dropped_is_replaced() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("dropped", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        let (user, _) = credential(&client, &namespace, "app-db").await;
        // The absence of a user says something only once the engine has met it: its own look at the database, a dry run here.
        let engine = Installed::as_operator(&client).await;
        let (status, body) = engine.get(&format!("sys/lessor/orphans/database/{namespace}.postgres")).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        Postgres::connect().await.run(&format!("DROP ROLE \"{user}\"")).await;
        works_again(&client, &namespace, "app-db", &user).await;
    })
    .await;
}
