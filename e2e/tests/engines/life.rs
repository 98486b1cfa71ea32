//! The life of a user from another engine: made, renewed, exchanged with overlap, kept over a restart, ended.

use kube::Client;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::other_engine::OtherEngine;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::{Value, json};

use super::{SOON, borrowed, dropped, ready_by_approle, status};
use crate::nothing::restart_operator;
use crate::operator::{OPERATOR, credential};

/// The longest life was found out at the making; on a busy machine a moment of it had passed by then.
fn lives_for(seconds: u64, status: &Value) {
    let longest = status["longestLife"].as_u64().unwrap_or_default();
    assert!((seconds - 15..=seconds).contains(&longest), "{seconds} s: {status}");
}

/// From its making to the end of its object, with a successor in between.
async fn a_whole_life(client: Client, namespace: String, other: &OtherEngine) {
    ready_by_approle(&client, &namespace, other, ("20s", "60s"), ("10m", "1h")).await;
    let more = json!({ "rotation": { "grace": "10s" } });
    apply(&client, &namespace, &borrowed("app-db", other, more)).await.unwrap();
    let (user, password) = credential(&client, &namespace, "app-db").await;
    let session = postgres::login(&user, &password).await.expect("the credential works");
    session.execute("INSERT INTO notes (body) VALUES ('from another engine')", &[]).await.expect("the grant works");
    drop(session);
    let first = status(&namespace, "app-db").await;
    lives_for(60, &first);

    eventually("its lease is renewed", SOON, || async {
        let now = status(&namespace, "app-db").await;
        let renewed =
            now["lease"]["ref"] == first["lease"]["ref"] && now["lease"]["renewed"] != first["lease"]["renewed"];
        if renewed { Ok(()) } else { Err(now) }
    })
    .await;
    let (next, took) = eventually("another user follows it", SOON * 2, || async {
        let now = status(&namespace, "app-db").await;
        let name = now["username"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() || name == user { Err(now) } else { Ok(name) }
    })
    .await;
    postgres::login(&user, &password).await.expect("the first user still works while its successor is delivered");
    let (new, new_password) = credential(&client, &namespace, "app-db").await;
    assert_eq!(new, next);
    postgres::login(&new, &new_password).await.expect("and so does the successor");
    let gone = dropped(&user).await;
    eprintln!("{user} was followed by {next} after {took:.1?} and dropped {gone:.1?} later");
    assert_eq!(other.leases().await.len(), 1);

    let (deleted, said) = kubectl(&["delete", "dynamicdatabasesecret", "app-db", "--namespace", &namespace]).await;
    assert!(deleted, "{said}");
    dropped(&next).await;
    assert_eq!(other.leases().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_renewed_exchanged_with_overlap_and_ended_with_its_object() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("borrowed", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        a_whole_life(client, namespace, &other).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_an_openbao_is_renewed_exchanged_and_ended() {
    let Some(other) = OtherEngine::openbao() else { return };
    let _steady = OPERATOR.read().await;
    with_temp_ns("openbao", |client, namespace| async move {
        lessor_e2e::namespace::restoring(a_whole_life(client, namespace, &other), other.unmount()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ends_before_its_lease_is_followed_in_time() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("tokens", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        ready_by_approle(&client, &namespace, &other, ("1h", "24h"), ("20s", "45s")).await;
        let more = json!({ "rotation": { "grace": "5s" } });
        apply(&client, &namespace, &borrowed("app-db", &other, more)).await.unwrap();
        let (user, password) = credential(&client, &namespace, "app-db").await;
        lives_for(45, &status(&namespace, "app-db").await);
        eventually("another user follows it", SOON * 2, || async {
            let now = status(&namespace, "app-db").await;
            if now["username"] == user.as_str() { Err(now) } else { Ok(()) }
        })
        .await;
        postgres::login(&user, &password).await.expect("the first user still works while its successor is delivered");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_operator_makes_no_login_and_no_lease() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("kept", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        ready_by_approle(&client, &namespace, &other, ("1h", "24h"), ("1h", "24h")).await;
        apply(&client, &namespace, &borrowed("before", &other, json!({}))).await.unwrap();
        let (user, _) = credential(&client, &namespace, "before").await;
        let (leases, tokens) = (other.leases().await, other.tokens().await);
        for round in 0..2 {
            restart_operator().await;
            let name = format!("after-{round}");
            // When the new one has served a new object, it has seen the old one, too.
            apply(&client, &namespace, &borrowed(&name, &other, json!({}))).await.unwrap();
            credential(&client, &namespace, &name).await;
            let (deleted, said) = kubectl(&["delete", "dynamicdatabasesecret", &name, "--namespace", &namespace]).await;
            assert!(deleted, "{said}");
        }
        eventually("what was made for the new objects is gone", SOON, || async {
            let now = (other.leases().await, other.tokens().await);
            if now == (leases.clone(), tokens.clone()) { Ok(()) } else { Err(now) }
        })
        .await;
        assert_eq!(credential(&client, &namespace, "before").await.0, user);
        assert!(Postgres::connect().await.has_role(&user).await);
        eprintln!("2 restarts: 0 new leases and 0 new logins for what was there");
    })
    .await;
}
