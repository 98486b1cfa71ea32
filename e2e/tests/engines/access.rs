//! Who may use another engine, as whom, and what is said when it is not so.

use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::other_engine::OtherEngine;
use lessor_e2e::postgres;
use lessor_e2e::postgres::Postgres;
use serde_json::{Value, json};

use super::{ACCOUNT, SOON, borrowed, engine, ready_by_approle};
use crate::operator::{OPERATOR, credential, refused};

/// Lets the engine of a namespace ask the cluster whose tokens it is shown.
async fn may_review(client: &kube::Client, namespace: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": format!("{namespace}-engine") },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator" },
        "subjects": [{ "kind": "ServiceAccount", "name": "engine", "namespace": namespace }],
    });
    apply(client, namespace, &binding.to_string()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_logs_in_with_its_own_service_account() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("accounts", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        let test = async {
            may_review(&client, &namespace).await;
            other.mount_database("1h", "24h").await;
            let mount = other.mount_kubernetes(&namespace).await;
            let auth = json!({ "kubernetes": { "mount": mount, "role": "app" } });
            let stranger = ACCOUNT.replace("app", "stranger");
            for object in [ACCOUNT, &stranger, &engine(&other.address, auth, json!({}))] {
                apply(&client, &namespace, object).await.unwrap();
            }
            apply(&client, &namespace, &borrowed("app-db", &other, json!({}))).await.unwrap();
            let (user, password) = credential(&client, &namespace, "app-db").await;
            postgres::login(&user, &password).await.expect("the credential works");

            let denied = borrowed("denied", &other, json!({ "serviceAccountName": "stranger" }));
            apply(&client, &namespace, &denied).await.unwrap();
            refused("dynamicdatabasesecret", &namespace, "denied", &["LoginRefused", "stranger", "vault"]).await;
            let pathless = borrowed("elsewhere", &other, json!({ "path": "config/pg" }));
            apply(&client, &namespace, &pathless).await.unwrap();
            refused("dynamicdatabasesecret", &namespace, "elsewhere", &["EngineDenied", "config/pg"]).await;
            // What went wrong leaves no login behind.
            assert_eq!(other.leases().await.len(), 1);
        };
        let restore = async {
            kubectl(&["delete", "clusterrolebinding", &format!("{namespace}-engine")]).await;
        };
        restoring(test, restore).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_allowed_is_refused_until_it_is() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("owner", |client, owner| async move {
        let other = OtherEngine::start(&client, &owner).await;
        ready_by_approle(&client, &owner, &other, ("1h", "24h"), ("1h", "24h")).await;
        with_temp_ns("guest", |client, guest| async move {
            apply(&client, &guest, ACCOUNT).await.unwrap();
            let reference = json!({ "engineRef": { "name": "vault", "namespace": owner } });
            apply(&client, &guest, &borrowed("app-db", &other, reference)).await.unwrap();
            refused("dynamicdatabasesecret", &guest, "app-db", &["EngineNotAllowed", &owner, "allowedNamespaces"])
                .await;
            assert_eq!(other.leases().await, Vec::<String>::new());

            let allow = json!({ "spec": { "allowedNamespaces": { "names": [guest] } } }).to_string();
            let patch =
                ["patch", "credentialengine", "vault", "--namespace", &owner, "--type", "merge", "--patch", &allow];
            let (done, said) = kubectl(&patch).await;
            assert!(done, "{said}");
            let (user, password) = credential(&client, &guest, "app-db").await;
            postgres::login(&user, &password).await.expect("the credential works");
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_says_what_is_wrong_with_it() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("wrong", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        let login = |id: &str| json!({ "appRole": { "roleID": id, "secretIDRef": { "name": "absent" } } });
        apply(&client, &namespace, &engine(&other.address, login("nobody"), json!({}))).await.unwrap();
        refused("credentialengine", &namespace, "vault", &["SecretNotFound", "spec.auth.appRole.secretIDRef"]).await;
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: absent}\nstringData: {id: canary}\n";
        apply(&client, &namespace, secret).await.unwrap();
        refused("credentialengine", &namespace, "vault", &["LoginRefused", "auth/approle"]).await;
        let kubernetes = json!({ "kubernetes": { "role": "app" } });
        let address = format!("http://engine.{namespace}.svc.cluster.local:1");
        let elsewhere = engine(&address, kubernetes.clone(), json!({})).replace("\"vault\"", "\"elsewhere\"");
        apply(&client, &namespace, &elsewhere).await.unwrap();
        refused("credentialengine", &namespace, "elsewhere", &["EngineUnreachable", "spec.address"]).await;

        let own =
            engine(&other.address, json!({ "kubernetes": { "role": "app", "audiences": ["lessor"] } }), json!({}));
        apply(&client, &namespace, &own.replace("\"vault\"", "\"own\"")).await.unwrap();
        refused("credentialengine", &namespace, "own", &["InvalidSpec", "that of the installed engine"]).await;

        let two = engine(&other.address, json!({ "kubernetes": { "role": "a" }, "jwt": { "role": "b" } }), json!({}));
        let open = engine("ftp://vault", kubernetes, json!({}));
        for (object, text) in [(two, "one of kubernetes, jwt and appRole"), (open, "spec.address")] {
            let error = apply(&client, &namespace, &object).await.expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
        let both = borrowed("both", &other, json!({ "roleRef": { "name": "app" } }));
        let timed = borrowed("timed", &other, json!({ "ttl": "1h" }));
        for (object, text) in [(both, "either roleRef or"), (timed, "ttl goes with roleRef")] {
            let error = apply(&client, &namespace, &object).await.expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_engine_follows_its_password() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("account", |client, namespace| async move {
        let other = OtherEngine::start(&client, &namespace).await;
        ready_by_approle(&client, &namespace, &other, ("1h", "24h"), ("1h", "24h")).await;
        let account = unique("fixed");
        let admin = lessor_e2e::environment::variable("LESSOR_PG_ADMIN_USER");
        let database = Postgres::connect().await;
        database.run(&format!("CREATE ROLE \"{account}\" LOGIN PASSWORD 'x'; GRANT \"{account}\" TO {admin} WITH ADMIN OPTION;")).await;
        let role = json!({ "db_name": "pg", "username": account, "rotation_period": "1h" });
        other.write(&format!("{}/static-roles/fixed", other.mount), role).await;
        let spec = json!({
            "engineRef": { "name": "vault" }, "mount": other.mount, "path": "static-creds/fixed", "serviceAccountName": "app",
            "destination": { "name": "fixed" },
        });
        let kind = "StaticDatabaseSecret";
        let object = json!({ "apiVersion": "lessor.dev/v1alpha1", "kind": kind, "metadata": { "name": "fixed" }, "spec": spec });
        apply(&client, &namespace, &object.to_string()).await.unwrap();
        let (user, first) = credential(&client, &namespace, "fixed").await;
        assert_eq!(user, account);
        postgres::login(&user, &first).await.expect("the password works");

        other.write(&format!("{}/rotate-role/fixed", other.mount), Value::Null).await;
        eventually("the Secret holds the new password", SOON, || async {
            let (user, now) = credential(&client, &namespace, "fixed").await;
            if now == first {
                return Err("the first one".to_owned());
            }
            postgres::login(&user, &now).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        database.run(&format!("DROP OWNED BY \"{account}\"; DROP ROLE \"{account}\"")).await;
    })
    .await;
}
