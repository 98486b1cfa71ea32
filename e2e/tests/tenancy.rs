//! Tenancy: a namespace gets what `allow` grants its own ServiceAccounts, and by no field anything of another tenant.

use std::time::Duration;

use kube::Client;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::eventually;
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::{restoring, with_temp_ns};
use serde_json::json;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(30);

/// Waits until an object is not Ready and says one of `texts`.
async fn refused(kind: &str, namespace: &str, name: &str, texts: &[&str]) {
    let what = format!("{kind}/{name} is refused with one of {texts:?}");
    eventually(&what, SOON, || async {
        let path = "jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.reason}: {.message}{end}";
        let found = kubectl(&["get", kind, name, "--namespace", namespace, "--output", path]).await.1;
        let said = found.starts_with("False") && texts.iter().any(|text| found.contains(text));
        if said { Ok(()) } else { Err(found) }
    })
    .await;
}

/// A namespace of the victim beside the test's own, with a role that its own ServiceAccount `app` may use.
async fn victim(client: &Client) -> String {
    let name = unique("victim");
    apply(client, "default", &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")).await.unwrap();
    apply(client, &name, &database()).await.unwrap();
    apply(client, &name, &dynamic_secret("app-db", "app", "app")).await.unwrap();
    credential(client, &name, "app-db").await;
    name
}

async fn intrude(client: &Client, own: &str, victim: &str) {
    // A ServiceAccount of the name that the victim allows, a connection and a role of their own.
    apply(client, own, &database()).await.unwrap();
    apply(client, own, &dynamic_secret("honest", "app", "app")).await.unwrap();
    credential(client, own, "honest").await;
    let object = |name: &str, role: &str, account: &str, rest: &str| {
        format!(
            "apiVersion: lessor.dev/v1alpha1\nkind: DynamicDatabaseSecret\nmetadata: {{name: {name}}}\nspec:\n  \
             roleRef: {role}\n  serviceAccountName: {account}\n  destination: {{name: {name}{rest}}}\n"
        )
    };
    let theirs = format!("{{name: app, namespace: {victim}}}");
    apply(client, own, &object("by-role", &theirs, "app", "")).await.unwrap();
    refused("dynamicdatabasesecret", own, "by-role", &["spec.allow"]).await;
    apply(client, own, &object("by-dots", &format!("{{name: {victim}.app}}"), "app", "")).await.unwrap();
    refused("dynamicdatabasesecret", own, "by-dots", &["spec.roleRef"]).await;
    let template = format!(
        ", templates: {{x: '{{{{ with secret \"database/creds/{victim}.app\" }}}}{{{{ .Data.password }}}}{{{{ end }}}}'}}"
    );
    apply(client, own, &object("by-template", "{name: app}", "app", &template)).await.unwrap();
    refused("dynamicdatabasesecret", own, "by-template", &["spec.destination.templates"]).await;
    for (name, role, account, rest) in [
        ("by-account", theirs.clone(), format!("{victim}/app"), String::new()),
        ("by-account-path", theirs.clone(), "../app".to_owned(), String::new()),
        ("by-path", format!("{{name: '../{victim}.app'}}"), "app".to_owned(), String::new()),
        ("by-namespace-path", format!("{{name: app, namespace: '../{victim}'}}"), "app".to_owned(), String::new()),
        ("by-destination-path", "{name: app}".to_owned(), "app".to_owned(), "/../x".to_owned()),
    ] {
        let answer = apply(client, own, &object(name, &role, &account, &rest)).await;
        let error = answer.expect_err(name).to_string();
        assert!(error.contains("spec."), "{name}: {error}");
    }
    // A destination has no namespace: what is given is not kept, and nothing arrives at the victim's.
    let elsewhere = object("by-destination", "{name: app}", "app", &format!(", namespace: {victim}"));
    if apply(client, own, &elsewhere).await.is_ok() {
        credential(client, own, "by-destination").await;
    }
    let (there, _) = kubectl(&["get", "secret", "by-destination", "--namespace", victim]).await;
    assert!(!there, "a Secret in another namespace");
    // The Secret of another is not taken over in one's own namespace either.
    let taken = dynamic_secret("by-secret", "app", "app")
        .replace("destination: {name: by-secret}", "destination: {name: honest}");
    apply(client, own, &taken).await.unwrap();
    refused("dynamicdatabasesecret", own, "by-secret", &["does not belong to"]).await;

    // Connections reach Secrets of their own namespace, roles connections of their own.
    apply(
        client,
        victim,
        "apiVersion: v1\nkind: Secret\nmetadata: {name: theirs}\nstringData: {username: u, password: p}\n",
    )
    .await
    .unwrap();
    let connection = |secret: &str| {
        format!(
            "apiVersion: lessor.dev/v1alpha1\nkind: DatabaseConnection\nmetadata: {{name: intruder}}\nspec:\n  \
             plugin: postgresql-database-plugin\n  connectionURL: 'postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:1/app'\n  \
             credentialsSecretRef: {{name: {secret}}}\n"
        )
    };
    apply(client, own, &connection("theirs")).await.unwrap();
    refused("databaseconnection", own, "intruder", &["does not exist"]).await;
    apply(client, own, &connection(&format!("'{victim}/theirs'"))).await.expect_err("a Secret of another namespace");
    let role = |connection: &str| {
        format!(
            "apiVersion: lessor.dev/v1alpha1\nkind: DatabaseRole\nmetadata: {{name: intruder}}\nspec:\n  \
             connectionRef: {{name: '{connection}'}}\n  creationStatements: ['CREATE ROLE \"{{{{name}}}}\"']\n  \
             allow: [{{serviceAccounts: [app]}}]\n"
        )
    };
    apply(client, own, &role(&format!("{victim}.postgres"))).await.unwrap();
    refused("databaserole", own, "intruder", &["there is no DatabaseConnection"]).await;
    apply(client, own, &role(&format!("../{victim}.postgres"))).await.expect_err("a connection of another namespace");

    // Straight at the engine, past the operator.
    let login = json!({ "role": format!("{victim}.app") });
    let (status, body) = Installed::log_in(client, own, "app", login).await;
    assert_eq!((status, &body["errors"][0]), (403, &json!("namespace not authorized")));
    let tenant = Installed::as_tenant(client, own, "app", &format!("{own}.app"), "u", "n").await;
    for path in
        [format!("database/creds/{victim}.app"), "sys/lessor/workloads".to_owned(), "database/config".to_owned()]
    {
        assert_eq!(tenant.get(&path).await.0, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_reaches_the_role_of_another_tenant() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("intruder", |client, own| async move {
        let victim = victim(&client).await;
        restoring(intrude(&client, &own, &victim), async {
            kubectl(&["delete", "namespace", &victim, "--wait=false"]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_list_admits_no_combination_that_it_does_not_name() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("infra", |client, own| async move {
        let account = |name: &str| format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n");
        // `app` of this namespace and `worker` of kube-public: neither two lists nor their combinations can say that.
        let mixed = database().replace(
            "    - serviceAccounts: [app]\n",
            "    - serviceAccounts: [app]\n    - {namespace: kube-public, serviceAccounts: [lessor-e2e-worker]}\n",
        );
        apply(&client, &own, &mixed).await.unwrap();
        apply(&client, &own, &account("lessor-e2e-worker")).await.unwrap();
        for name in ["app", "lessor-e2e-worker"] {
            apply(&client, "kube-public", &account(name)).await.unwrap();
        }
        apply(&client, &own, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        credential(&client, &own, "app-db").await;
        for (namespace, name, expected) in [
            (own.as_str(), "app", 200),
            ("kube-public", "lessor-e2e-worker", 200),
            (own.as_str(), "lessor-e2e-worker", 403),
            ("kube-public", "app", 403),
        ] {
            let login = json!({ "role": format!("{own}.app") });
            let (status, body) = Installed::log_in(&client, namespace, name, login).await;
            assert_eq!(status, expected, "{namespace}/{name}: {}", body["errors"]);
        }
        for name in ["app", "lessor-e2e-worker"] {
            kubectl(&["delete", "serviceaccount", name, "--namespace", "kube-public"]).await;
        }
    })
    .await;
}
