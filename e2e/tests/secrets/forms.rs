//! The forms of a credential on a real cluster: libpq itself logs in with each, however awkward names and passwords are.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::{Value, json};

use super::{SOON, data, dynamic, object};
use crate::manifests::database;
use crate::operator::{OPERATOR, credential};

/// What the awkward passwords begin with; the rest is generated.
const AWKWARD: &str = r#"a'b"c\d:e@f/g?h#i %&+=$j"#;

/// Objects whose users have names and passwords, and live in a database, that mean something in every form.
fn awkward(database: &str) -> Vec<String> {
    let encoded = database.replace('%', "%25").replace(' ', "%20").replace('/', "%2F");
    let address = postgres::address();
    let role = |statement: String| {
        let spec = json!({
            "connectionRef": { "name": "awkward" }, "defaultTTL": "1h", "maxTTL": "24h",
            "creationStatements": [statement], "allow": [{ "serviceAccounts": ["app"] }],
        });
        spec
    };
    let password = format!("printf `{}%s` .password", AWKWARD.replace('%', "%%"));
    let templates = json!({
        "url2": format!("postgresql://{{{{ .username | urlEscape }}}}:{{{{ {password} | urlEscape }}}}@{{{{ .address }}}}/{{{{ .database | urlEscape }}}}"),
        "conninfo2": format!("host={{{{ .host }}}} port={{{{ .port }}}} dbname={{{{ .database | conninfoQuote }}}} user={{{{ .username | conninfoQuote }}}} password={{{{ {password} | conninfoQuote }}}}"),
        "pgpass2": format!("{{{{ .host }}}}:{{{{ .port }}}}:{{{{ .database | pgpassEscape }}}}:{{{{ .username | pgpassEscape }}}}:{{{{ {password} | pgpassEscape }}}}\n"),
        "env2": format!("PGHOST={{{{ .host }}}}\nPGPORT={{{{ .port }}}}\nPGDATABASE={{{{ .database | envQuote }}}}\nPGUSER={{{{ .username | envQuote }}}}\nPGPASSWORD={{{{ {password} | envQuote }}}}\n"),
    });
    let formats = json!({ "url": "url", "conninfo": "conninfo", "pgpass": "pgpass", "env": "env", "json": "json", "jdbc": "jdbc" });
    let prefix = AWKWARD.replace('\'', "''");
    vec![
        object(
            "DatabaseConnection",
            "awkward",
            json!({
                "connectionURL": format!("postgresql://{{{{username}}}}:{{{{password}}}}@{address}/{encoded}?sslmode=disable&connect_timeout=9"),
                "credentialsSecretRef": { "name": "postgres-admin" },
                "usernameTemplate": "v:@/? %#&+=$-{{random 12}}",
                // The server has to see the password that the prefix belongs to.
                "parameters": { "password_authentication": "password" },
            }),
        ),
        object(
            "DatabaseRole",
            "awkward",
            role("CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'".into()),
        ),
        object(
            "DatabaseRole",
            "more-awkward",
            role(format!(
                "CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{prefix}{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}'"
            )),
        ),
        dynamic("forms", json!({ "roleRef": { "name": "awkward" } }), json!({ "formats": formats })),
        dynamic("escapes", json!({ "roleRef": { "name": "more-awkward" } }), json!({ "templates": templates })),
    ]
}

/// A pod that logs in with every form, with libpq itself as the judge.
fn consumer() -> String {
    let text = r#"set -e
        try() { echo "$1" >&2; shift; test "$("$@" --no-password --no-psqlrc --tuples-only --no-align --command 'SELECT current_user')" = "$user"; }
        for form in forms: escapes:2; do
          cd "/${form%:*}"; suffix=${form#*:}; user=$(cat username)
          try url psql "$(cat url$suffix)"
          try conninfo psql "$(cat conninfo$suffix)"
          cp pgpass$suffix /tmp/pgpass; chmod 600 /tmp/pgpass
          (set -a; . ./env$suffix; unset PGPASSWORD; PGPASSFILE=/tmp/pgpass; try pgpass psql)
          (set -a; . ./env$suffix; try env psql)
        done"#;
    let volume = |name: &str| json!({ "name": name, "secret": { "secretName": name } });
    let mount = |name: &str| json!({ "name": name, "mountPath": format!("/{name}") });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "consumer" },
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532 },
            "volumes": [volume("forms"), volume("escapes"), { "name": "tmp", "emptyDir": {} }],
            "containers": [{
                "name": "psql", "image": variable("LESSOR_TESTAPP_IMAGE"), "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", text],
                "volumeMounts": [mount("forms"), mount("escapes"), { "name": "tmp", "mountPath": "/tmp" }],
            }],
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_logs_in_however_awkward_the_names_are() {
    let _steady = OPERATOR.read().await;
    let server = Postgres::connect().await;
    let name = unique("sh:op /%");
    server.run(&format!("CREATE DATABASE \"{name}\"")).await;
    let database_name = name.as_str();
    with_temp_ns("forms", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        for manifest in awkward(database_name) {
            apply(&client, &namespace, &manifest).await.unwrap();
        }
        let (user, _) = credential(&client, &namespace, "forms").await;
        assert!(user.starts_with("v:@/? %#&+=$-"), "{user}");
        credential(&client, &namespace, "escapes").await;
        apply(&client, &namespace, &consumer()).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        eventually("the consumer has logged in with every form", SOON, || async {
            let phase = pods.get("consumer").await.unwrap().status.and_then(|status| status.phase).unwrap_or_default();
            match phase.as_str() {
                "Succeeded" => Ok(()),
                "Failed" => panic!("{}", kubectl(&["logs", "consumer", "--namespace", &namespace]).await.1),
                _ => Err(phase),
            }
        })
        .await;

        let forms = data(&client, &namespace, "forms").await;
        let told: Value = serde_json::from_str(&forms["json"]).unwrap();
        assert_eq!(told["username"], user.as_str());
        assert_eq!(told["password"], forms["password"].as_str());
        // What pgjdbc reads is what a URL decoder makes of the same parts.
        let account = forms["url"].split_once("://").unwrap().1.split_once('@').unwrap().0;
        let (name, password) = account.split_once(':').unwrap();
        let wanted = format!("?user={name}&password={password}&sslmode=disable");
        assert!(forms["jdbc"].starts_with("jdbc:postgresql://") && forms["jdbc"].ends_with(&wanted));
        assert!(!forms["url"].contains("connect_timeout"), "that is the engine's own");
    })
    .await;
    server.run(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await;
}
