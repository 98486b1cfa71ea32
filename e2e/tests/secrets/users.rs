//! Several users in one Secret, users that are replaced in time, and the documented examples.

use std::time::Duration;

use lessor::base::Secret as Hidden;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::{Value, json};

use super::{SOON, condition, data, dynamic, object};
use crate::manifests::database;
use crate::operator::{OPERATOR, credential};
use crate::schemas::examples;

#[tokio::test(flavor = "multi_thread")]
async fn several_users_of_one_secret_live_and_go_together() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("several", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &second_role("migrations")).await.unwrap();
        let with = |users: Value| {
            dynamic("both", json!({ "additionalUsers": users, "rotation": { "grace": "1s" } }), json!({}))
        };
        let migrations = json!({ "name": "m", "roleRef": { "name": "migrations" }, "formats": { "M_URL": "url" } });
        apply(&client, &namespace, &with(json!([migrations]))).await.unwrap();
        condition(&namespace, "both", "Ready=True", &[]).await;
        let first = data(&client, &namespace, "both").await;
        for user in ["", "m_"] {
            let password = Hidden::new(first[&format!("{user}password")].as_str());
            postgres::login(&first[&format!("{user}username")], &password).await.expect("each user works");
        }
        assert!(first["M_URL"].contains(&first["m_username"]));

        // A change for one of them replaces all, and the old ones go.
        let mut shorter = migrations.clone();
        shorter["ttl"] = json!("10m");
        apply(&client, &namespace, &with(json!([shorter]))).await.unwrap();
        let server = Postgres::connect().await;
        eventually("both old users are dropped", SOON, || async {
            equals([server.has_role(&first["username"]).await, server.has_role(&first["m_username"]).await], [false; 2])
        })
        .await;
        let second = data(&client, &namespace, "both").await;
        assert!(second["username"] != first["username"] && second["m_username"] != first["m_username"]);

        let (deleted, said) = kubectl(&["delete", "dds", "both", "--namespace", &namespace]).await;
        assert!(deleted, "{said}");
        eventually("both users end with the object", SOON, || async {
            equals(
                [server.has_role(&second["username"]).await, server.has_role(&second["m_username"]).await],
                [false; 2],
            )
        })
        .await;

        // None is made when one cannot be.
        let nobodys = json!({ "name": "n", "roleRef": { "name": "nobodys" } });
        apply(&client, &namespace, &with(json!([migrations, nobodys]))).await.unwrap();
        condition(&namespace, "both", "Ready=False", &["nobodys"]).await;
        assert!(data(&client, &namespace, "both").await.is_empty());
    })
    .await;
}

fn second_role(name: &str) -> String {
    object(
        "DatabaseRole",
        name,
        json!({
            "connectionRef": { "name": "postgres" }, "defaultTTL": "1h", "maxTTL": "24h",
            "creationStatements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"],
            "allow": [{ "serviceAccounts": ["app"] }],
        }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_after_brings_a_new_user_and_ends_the_old_one() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("refresh", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        let fields = json!({ "refreshAfter": "10s", "rotation": { "grace": "2s" } });
        apply(&client, &namespace, &dynamic("fresh", fields, json!({}))).await.unwrap();
        let (user, _) = credential(&client, &namespace, "fresh").await;
        let (_, took) = eventually("the user is another", SOON, || async {
            let found = data(&client, &namespace, "fresh").await;
            if found["username"] == user { Err("not yet") } else { Ok(()) }
        })
        .await;
        eprintln!("{namespace}: a new user after {took:.2?}");
        assert!(took > Duration::from_secs(5), "sooner than asked for");
        let server = Postgres::connect().await;
        eventually("the old user is dropped", SOON, || async { equals(server.has_role(&user).await, false) }).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_documentation_becomes_ready() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("examples", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &second_role("migrations")).await.unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/secrets.md");
        let found = examples(&std::fs::read_to_string(file).unwrap());
        for example in &found {
            apply(&client, &namespace, example).await.unwrap();
        }
        for name in ["shop-db", "shop-pooled", "shop-spring", "shop-url-only", "shop-both"] {
            assert!(found.iter().any(|example| example.contains(&format!("name: {name}\n"))), "{name}");
            condition(&namespace, name, "Ready=True", &[]).await;
        }
        let pooled = data(&client, &namespace, "shop-pooled").await;
        assert!(pooled["DATABASE_URL"].contains("@pgbouncer.shop.svc:6432/"));
    })
    .await;
}
