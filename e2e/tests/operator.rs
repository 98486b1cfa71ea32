//! The operator on a real cluster: a custom resource becomes a Secret with a working user, and what is wrong is said.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use lessor::base::Secret as Hidden;
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use tokio::sync::RwLock;

use crate::manifests::{database, dynamic_secret};

const SOON: Duration = Duration::from_secs(30);

/// Held for writing while the operator is restarted, so that no other test is measured meanwhile.
pub static OPERATOR: RwLock<()> = RwLock::const_new(());

/// Username and password of a Secret, once it is there.
pub async fn credential(client: &Client, namespace: &str, name: &str) -> (String, Hidden) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let what = format!("the Secret {name} holds a credential");
    let (data, took) = eventually(&what, SOON, || async {
        let secret = secrets.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let text = |key: &str| data.get(key).map(|bytes| String::from_utf8(bytes.0.clone()).expect("texts"));
        text("username").zip(text("password")).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    eprintln!("{namespace}/{name}: a credential after {took:.2?}");
    (data.0, Hidden::new(data.1))
}

/// The Ready condition of an object, as `status reason: message`; empty while there is none.
pub async fn ready(kind: &str, namespace: &str, name: &str) -> String {
    let path = "jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.reason}: {.message}{end}";
    kubectl(&["get", kind, name, "--namespace", namespace, "--output", path]).await.1
}

/// Waits for a Ready condition that is False and says all of `texts`.
pub async fn refused(kind: &str, namespace: &str, name: &str, texts: &[&str]) {
    let what = format!("{kind}/{name} is not Ready and says {texts:?}");
    eventually(&what, SOON, || async {
        let found = ready(kind, namespace, name).await;
        let said = found.starts_with("False") && texts.iter().all(|text| found.contains(text));
        if said { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_holds_a_working_user_until_its_object_is_deleted() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("operator", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        let (user, password) = credential(&client, &namespace, "app-db").await;
        let session = postgres::login(&user, &password).await.expect("the credential works");
        session.execute("INSERT INTO notes (body) VALUES ('by the Secret')", &[]).await.expect("the grant works");
        drop(session);
        eventually("the status names the user", SOON, || async {
            let path = "jsonpath={.status.username}";
            let get = ["get", "dynamicdatabasesecret", "app-db", "--namespace", &namespace, "--output", path];
            equals(kubectl(&get).await.1, user.clone())
        })
        .await;
        assert!(ready("dynamicdatabasesecret", &namespace, "app-db").await.starts_with("True"));

        let (deleted, said) = kubectl(&["delete", "dynamicdatabasesecret", "app-db", "--namespace", &namespace]).await;
        assert!(deleted, "{said}");
        let database = Postgres::connect().await;
        eventually("the user is dropped", SOON, || async { equals(database.has_role(&user).await, false) }).await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        eventually("the Secret is gone", SOON, || async {
            equals(secrets.get_opt("app-db").await.unwrap().is_some(), false)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_operator_makes_no_new_lease() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("restart", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("before", "app", "app")).await.unwrap();
        let (user, _) = credential(&client, &namespace, "before").await;
        let versions = || async {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
            secrets
                .get("before")
                .await
                .unwrap()
                .data
                .map(|data| BTreeMap::from_iter(data.into_iter().map(|(k, v)| (k, v.0))))
        };
        let held = versions().await;

        let selector = "app.kubernetes.io/component=operator";
        let delete = ["delete", "pod", "--namespace", LESSOR_NAMESPACE, "--selector", selector, "--grace-period", "1"];
        let (deleted, said) = kubectl(&delete).await;
        assert!(deleted, "{said}");
        // When the new one has served a new object, it has seen the old one, too.
        apply(&client, &namespace, &dynamic_secret("after", "app", "app")).await.unwrap();
        let (other, _) = credential(&client, &namespace, "after").await;
        assert_ne!(user, other);
        assert_eq!(versions().await, held, "the Secret was rewritten");
        let database = Postgres::connect().await;
        assert!(database.has_role(&user).await, "the user of before is dropped");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_stands_in_the_condition_of_its_object() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("conditions", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        let stranger = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: stranger}\n";
        apply(&client, &namespace, stranger).await.unwrap();
        for (name, role, account) in
            [("denied", "app", "stranger"), ("roleless", "nobodys", "app"), ("nameless", "app", "absent")]
        {
            apply(&client, &namespace, &dynamic_secret(name, role, account)).await.unwrap();
        }
        refused("dynamicdatabasesecret", &namespace, "denied", &["stranger"]).await;
        refused("dynamicdatabasesecret", &namespace, "roleless", &["spec.roleRef", "nobodys"]).await;
        refused("dynamicdatabasesecret", &namespace, "nameless", &["spec.serviceAccountName", "absent"]).await;

        let down = "apiVersion: lessor.dev/v1alpha1\nkind: DatabaseConnection\nmetadata: {name: down}\nspec:\n  \
                    plugin: postgresql-database-plugin\n  \
                    connectionURL: 'postgresql://{{username}}:{{password}}@127.0.0.1:1/app'\n  \
                    credentialsSecretRef: {name: postgres-admin}\n";
        apply(&client, &namespace, down).await.unwrap();
        refused("databaseconnection", &namespace, "down", &["127.0.0.1:1"]).await;

        let open = down.replace("{{username}}:{{password}}", "admin:hunter2");
        let error = apply(&client, &namespace, &open).await.expect_err("a password in the URL is refused").to_string();
        assert!(error.contains("connectionURL"), "{error}");
    })
    .await;
}
