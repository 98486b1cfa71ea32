//! What happens to another engine and at it: it goes and comes back, and its leases are ended by others.

use std::time::Duration;

use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::other_engine::{OtherEngine, close, open};
use lessor_e2e::postgres::{self, Postgres};
use serde_json::json;

use super::{SOON, borrowed, dropped, ready_by_approle, status};
use crate::operator::{OPERATOR, credential, refused};

/// How long an object may be held by its finalizer while its engine is down.
const RELEASED: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn without_its_engine_an_object_waits_goes_in_time_and_its_user_follows() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("down", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await.behind_a_door(&client, &namespace).await;
        ready_by_approle(&client, &namespace, &other, ("1h", "24h"), ("1h", "24h")).await;
        apply(&client, &namespace, &borrowed("early", &other, json!({}))).await.unwrap();
        let (early, password) = credential(&client, &namespace, "early").await;

        close(&namespace).await;
        apply(&client, &namespace, &borrowed("late", &other, json!({}))).await.unwrap();
        refused("dynamicdatabasesecret", &namespace, "late", &["Engine"]).await;
        eventually("the engine says so itself", SOON, || async {
            let said = crate::operator::ready("credentialengine", &namespace, "vault").await;
            if said.starts_with("False EngineUnreachable") { Ok(()) } else { Err(said) }
        })
        .await;
        let delete = ["delete", "dynamicdatabasesecret", "early", "--namespace", &namespace, "--wait=false"];
        let (deleted, said) = kubectl(&delete).await;
        assert!(deleted, "{said}");
        let (_, took) = eventually("the object is gone", RELEASED, || async {
            equals(kubectl(&["get", "dynamicdatabasesecret", "early", "--namespace", &namespace]).await.0, false)
        })
        .await;
        eprintln!("without its engine the object was gone after {took:.1?}");
        postgres::login(&early, &password).await.expect("nobody can have dropped its user");

        open(&namespace).await;
        let (late, password) = credential(&client, &namespace, "late").await;
        postgres::login(&late, &password).await.expect("the credential works");
        let took = dropped(&early).await;
        eprintln!("its user was dropped {took:.1?} after the next credential");
        assert_eq!(other.leases().await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_somebody_ended_there_is_replaced() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("ended", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        ready_by_approle(&client, &namespace, &other, ("1h", "24h"), ("1h", "24h")).await;
        apply(&client, &namespace, &borrowed("app-db", &other, json!({}))).await.unwrap();
        let (user, _) = credential(&client, &namespace, "app-db").await;
        let lease = format!("{}/creds/app/{}", other.mount, other.leases().await[0]);
        other.write("sys/leases/revoke", json!({ "lease_id": lease })).await;
        let (next, took) = eventually("the Secret holds another user", Duration::from_secs(30), || async {
            let now = status(&namespace, "app-db").await["username"].as_str().unwrap_or_default().to_owned();
            if now == user { Err(now) } else { Ok(now) }
        })
        .await;
        eprintln!("{next} after {took:.1?}");
        let (next, password) = credential(&client, &namespace, "app-db").await;
        postgres::login(&next, &password).await.expect("the credential works");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_takes_its_users_with_it() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("lender", |client, lender| async move {
        let other = OtherEngine::start(&client, &lender).await;
        let whole = lessor_e2e::environment::unique("borrower");
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {whole}}}\n");
        apply(&client, "default", &namespace).await.unwrap();
        ready_by_approle(&client, &whole, &other, ("1h", "24h"), ("1h", "24h")).await;
        apply(&client, &whole, &borrowed("app-db", &other, json!({}))).await.unwrap();
        let (user, _) = credential(&client, &whole, "app-db").await;
        let (deleted, said) = kubectl(&["delete", "namespace", &whole, "--wait=false"]).await;
        assert!(deleted, "{said}");
        eventually("the namespace is gone", SOON * 2, || async {
            equals(kubectl(&["get", "namespace", &whole]).await.0, false)
        })
        .await;
        let database = Postgres::connect().await;
        eventually("its user is dropped", SOON, || async { equals(database.has_role(&user).await, false) }).await;
        assert_eq!(other.leases().await, Vec::<String>::new());
    })
    .await;
}
