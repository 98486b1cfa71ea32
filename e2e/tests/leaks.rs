//! Secrets planted on every way through the system are looked for in all that it writes: logs, events, statuses, errors.

use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::eventually;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::json;

use crate::manifests::{STAY, database, dynamic_secret, pod, program};
use crate::operator::{OPERATOR, credential};

/// Fails naming the place and the secret's kind, never its text.
fn assert_clean(place: &str, text: &str, secrets: &[(&str, String)]) {
    assert!(!text.is_empty(), "nothing was found in {place}: the search proves nothing");
    for (kind, secret) in secrets {
        assert!(secret.len() >= 8, "{kind} is too short to be looked for");
        assert!(!text.contains(secret.as_str()), "{place} shows {kind}");
    }
}

#[tokio::test]
async fn the_engine_logs_no_secret_at_its_most_talkative() {
    let lessor = Lessor::dev("canary-root-token").await;
    let http = lessor.http().with_token("canary-root-token");
    let role = unique("leak");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", postgres::connection(&postgres::address())).await.expect_status(204);
    let body = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h" });
    http.post(&format!("database/roles/{role}"), body).await.expect_status(204);
    http.post("sys/auth/approle", json!({ "type": "approle" })).await.expect_status(204);
    http.post("auth/approle/role/app", json!({ "token_ttl": "1h" })).await.expect_status(204);
    let role_id = http.get("auth/approle/role/app/role-id").await.expect_status(200).text("/data/role_id").to_owned();
    let secret_id = http.post("auth/approle/role/app/secret-id", json!({})).await.expect_status(200);
    let secret_id = secret_id.text("/data/secret_id").to_owned();
    let login = http.post("auth/approle/login", json!({ "role_id": role_id, "secret_id": secret_id })).await;
    let token = login.expect_status(200).text("/auth/client_token").to_owned();
    let credential = http.get(&format!("database/creds/{role}")).await.expect_status(200);

    // And all that can go wrong on the way.
    http.with_token("canary-wrong-token").get("sys/mounts").await.expect_status(403);
    let wrong = json!({ "role_id": role_id, "secret_id": "canary-secret-id" });
    let wrong_login = http.post("auth/approle/login", wrong).await.expect_status(400);
    let mut refused = postgres::connection(&postgres::address());
    refused["password"] = json!("canary-admin-password");
    let refused = http.post("database/config/refused", refused).await.expect_status(400);
    let broken =
        json!({ "db_name": "pg", "creation_statements": "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE;" });
    http.post("database/roles/broken", broken).await.expect_status(204);
    let failed = http.get("database/creds/broken").await;
    assert!(failed.status >= 400);
    let config = http.get("database/config/pg").await.expect_status(200);
    http.post("sys/leases/revoke", json!({ "lease_id": credential.text("/lease_id") })).await.expect_status(204);

    let secrets = [
        ("the root token", "canary-root-token".to_owned()),
        ("an unknown token", "canary-wrong-token".to_owned()),
        ("a wrong secret id", "canary-secret-id".to_owned()),
        ("a wrong admin password", "canary-admin-password".to_owned()),
        ("the admin password", variable("LESSOR_PG_ADMIN_PASSWORD")),
        ("a secret id", secret_id),
        ("a token", token),
        ("a leased password", credential.text("/data/password").to_owned()),
        ("a lease id", credential.text("/lease_id").to_owned()),
    ];
    for (place, answer) in [
        ("a login's error", wrong_login),
        ("a connection's error", refused),
        ("a role's error", failed),
        ("a connection", config),
    ] {
        assert_clean(place, &answer.body.to_string(), &secrets);
    }
    // `dev` prints its root token, that being its purpose; a log line begins with its time or is JSON.
    let log: String = lessor.log().lines().filter(|line| !line.trim_start().starts_with("export ")).collect();
    assert_clean("the log", &log, &secrets);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_shows_no_secret_outside_secrets() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("leaks", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        let (_, password) = credential(&client, &namespace, "app-db").await;
        let text = program("/lessor/secrets/db", &namespace, &format!("cat /lessor/secrets/db >/tmp/copy; {STAY}"));
        apply(&client, &namespace, &pod("app", &namespace, &text)).await.unwrap();
        let database = Postgres::connect().await;
        eventually("the pod has worked", std::time::Duration::from_secs(60), || async {
            database.author_of(&namespace).await.ok_or("not yet")
        })
        .await;
        let read = ["exec", "app", "--namespace", &namespace, "--container", "app", "--", "cat", "/lessor/secrets/db"];
        let (read, file) = kubectl(&read).await;
        assert!(read, "the file can be read in its pod");
        let own = file.split("PGPASSWORD='").nth(1).and_then(|rest| rest.split('\'').next()).expect("the file's form");

        let secrets = [
            ("the admin password", variable("LESSOR_PG_ADMIN_PASSWORD")),
            ("the Secret's password", password.expose().to_owned()),
            ("the pod's password", own.to_owned()),
        ];
        let kinds = "databaseconnections,databaseroles,dynamicdatabasesecrets,pods,events,configmaps";
        let objects = kubectl(&["get", kinds, "--namespace", &namespace, "--output", "yaml"]).await.1;
        assert_clean("the objects of the namespace", &objects, &secrets);
        for (namespace, selector) in
            [(LESSOR_NAMESPACE, "app.kubernetes.io/name=lessor"), (&namespace, "lessor.dev/injected=true")]
        {
            let log = ["logs", "--namespace", namespace, "--selector", selector, "--all-containers", "--tail", "-1"];
            assert_clean(&format!("the logs in {namespace}"), &kubectl(&log).await.1, &secrets);
        }
    })
    .await;
}
