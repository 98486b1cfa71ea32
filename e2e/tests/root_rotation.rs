//! rotateRoot on a real cluster: the engine changes the admin account's password, and from then on only it knows it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use lessor::base::Secret as Hidden;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::json;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(60);
/// The password that somebody has given the admin account.
const FIRST: &str = "first-Password-1";
/// The password that somebody gives it later, by hand.
const LATER: &str = "later-Password-2";

/// An account that may make users, which no other test knows.
async fn admin(database: &Postgres) -> String {
    let name = unique("root").replace('-', "_");
    database
        .run(&format!(
            "CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{FIRST}'; GRANT app_rw TO {name} WITH ADMIN OPTION; \
             GRANT pg_signal_backend TO {name}"
        ))
        .await;
    name
}

/// What the database has of an account's password.
async fn verifier(database: &Postgres, account: &str) -> String {
    database.text(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{account}'")).await
}

/// Has the operator look at the connection now and not within a minute: `number` is another one each time.
async fn look(namespace: &str, number: usize) {
    let patch = json!({ "spec": { "pool": { "maxIdleConnections": number } } }).to_string();
    let connection = ["databaseconnection", "postgres", "--namespace", namespace];
    let (patched, said) = kubectl(&[&["patch"][..], &connection, &["--type=merge", "--patch", &patch]].concat()).await;
    assert!(patched, "{said}");
}

/// Waits for the condition RootRotated to be `STATUS REASON`, and returns its message.
async fn root_rotated(namespace: &str, expected: &str) -> String {
    let path = "jsonpath={range .status.conditions[?(@.type==\"RootRotated\")]}{.status} {.reason}: {.message}{end}";
    let (message, took) = eventually(&format!("RootRotated is {expected}"), SOON, || async {
        let get = ["get", "databaseconnection", "postgres", "--namespace", namespace, "--output", path];
        let found = kubectl(&get).await.1;
        if found.starts_with(expected) { Ok(found) } else { Err(found) }
    })
    .await;
    eprintln!("{namespace}: after {took:.2?} {message}");
    message
}

async fn edit_secret(client: &Client, namespace: &str, password: &str) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let patch = json!({ "stringData": { "password": password } });
    secrets.patch("postgres-admin", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// A new user can be made and logs in.
async fn serves(client: &Client, namespace: &str) {
    let name = unique("db");
    apply(client, namespace, &dynamic_secret(&name, "app", "app")).await.unwrap();
    let (user, password) = credential(client, namespace, &name).await;
    postgres::login(&user, &password).await.expect("the new user logs in");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_password_is_the_engines_own_and_an_edited_secret_breaks_nothing() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("root", |client, namespace| async move {
        let superuser = Postgres::connect().await;
        let account = admin(&superuser).await;
        let [user, password] = ["LESSOR_PG_ADMIN_USER", "LESSOR_PG_ADMIN_PASSWORD"].map(variable);
        let manifest = database()
            .replace(
                &format!("username: \"{user}\", password: \"{password}\""),
                &format!("username: \"{account}\", password: \"{FIRST}\""),
            )
            .replace("  credentialsSecretRef:", "  rotateRoot: {period: 720h}\n  credentialsSecretRef:");
        apply(&client, &namespace, &manifest).await.unwrap();
        let said = root_rotated(&namespace, "True Rotated").await;
        assert!(said.contains("may be deleted"), "{said}");
        assert!(postgres::login(&account, &Hidden::new(FIRST)).await.is_err(), "the Secret's password still works");
        serves(&client, &namespace).await;
        let rotated = verifier(&superuser, &account).await;

        // Neither an edit of the Secret nor a lost status brings the old password back, or makes another one.
        edit_secret(&client, &namespace, "wrong-Password").await;
        look(&namespace, 1).await;
        let said = root_rotated(&namespace, "True SecretNotRead").await;
        assert!(said.contains("Secret") && said.contains("was edited since"), "{said}");
        let lost = r#"{"status": null}"#;
        let connection = ["databaseconnection", "postgres", "--namespace", &namespace];
        let patch = [&["patch"][..], &connection, &["--subresource=status", "--type=merge", "--patch", lost]].concat();
        let (patched, said) = kubectl(&patch).await;
        assert!(patched, "{said}");
        look(&namespace, 2).await;
        root_rotated(&namespace, "True Rotated").await;
        serves(&client, &namespace).await;
        assert_eq!(verifier(&superuser, &account).await, rotated, "the password was changed again");

        // What somebody sets in the database by hand and puts into the Secret is taken over, and changed in its turn.
        superuser.run(&format!("ALTER ROLE {account} PASSWORD '{LATER}'")).await;
        let by_hand = verifier(&superuser, &account).await;
        edit_secret(&client, &namespace, LATER).await;
        look(&namespace, 3).await;
        eventually("the password set by hand is changed", SOON, || async {
            equals(verifier(&superuser, &account).await == by_hand, false)
        })
        .await;
        assert!(postgres::login(&account, &Hidden::new(LATER)).await.is_err(), "the Secret's password still works");
        root_rotated(&namespace, "True Rotated").await;
        serves(&client, &namespace).await;
    })
    .await;
}
