//! Secrets planted on every way through the system are looked for in all that it writes: logs, events, statuses, errors.

use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::eventually;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use lessor_e2e::site::{ADMIN, Credential, Site};
use serde_json::{Value, json};

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
    // 200: it warns of statements without VALID UNTIL.
    http.post("database/roles/broken", broken).await.expect_status(200);
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
    let for_people = |line: &&str| line.starts_with("Root Token: ") || line.starts_with("    $ export VAULT_TOKEN=");
    let log: String = lessor.log().lines().filter(|line| !for_people(line)).collect();
    assert_clean("the log", &log, &secrets);
}

/// Passwords are made of these only, so that even those that nobody is ever told can be looked for.
const CANARY: &[u8] = b"QXZqxz";

const CANARY_POLICY: &str = r#"length = 32 rule "charset" { charset = "QXZqxz" }"#;

/// Whether a text has a password by [`CANARY_POLICY`] in it, or half of one.
fn has_canary(text: &str) -> bool {
    text.as_bytes().split(|byte| !CANARY.contains(byte)).any(|run| run.len() >= 16)
}

/// A line of a key that is in no certificate and no other key.
fn line_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).max_by_key(|line| line.len()).unwrap().to_owned()
}

/// A server that logs every statement, and a connection whose passwords are all made by the policy.
async fn canary_site() -> Site {
    let site = Site::start(&["log_statement=all", "log_connections=on", "log_error_verbosity=verbose"]).await;
    let policy = json!({ "policy": CANARY_POLICY });
    let written = site.http.post("sys/policies/password/canary", policy).await;
    assert!(matches!(written.status, 200 | 204), "{}", written.body);
    let mut connection = site.connection(&site.address());
    connection["password_policy"] = json!("canary");
    site.http.post("database/config/pg", connection).await.expect_status(204);
    for name in ["rotated", "broken-static"] {
        site.server
            .run("postgres", &format!("CREATE ROLE \"{name}\" LOGIN; GRANT \"{name}\" TO {ADMIN} WITH ADMIN OPTION"))
            .await;
    }
    let adopted = site.server.connect().await.unwrap();
    adopted.batch_execute("SET log_statement = 'none'").await.unwrap();
    adopted.batch_execute("CREATE ROLE adopted LOGIN PASSWORD 'canary-adopted-password'").await.unwrap();
    site
}

/// The answers that have passwords in them, by design: creds with and without spares, static creds, a generated password.
async fn answers_with_passwords(site: &Site) -> Vec<Value> {
    let http = &site.http;
    site.role("app", "pg", json!({})).await;
    site.role("spared", "pg", json!({ "spares": 3 })).await;
    eventually("spares are ready", std::time::Duration::from_secs(30), || async {
        let spares = http.get("sys/lessor/spares/database/spared").await.expect_status(200);
        if spares.body["data"]["ready"] == json!(3) { Ok(()) } else { Err(spares.body["data"].clone()) }
    })
    .await;
    let rotated = json!({ "db_name": "pg", "username": "rotated", "rotation_period": "24h" });
    http.post("database/static-roles/rotated", rotated).await.expect_status(204);
    let mut answers = Vec::new();
    for path in ["creds/app", "creds/spared", "static-creds/rotated"] {
        answers.push(http.get(&format!("database/{path}")).await.expect_status(200).body);
        http.post("database/rotate-role/rotated", json!({})).await.expect_status(204);
        http.post("database/rotate-root/pg", json!({})).await.expect_status(204);
    }
    answers.push(http.get("database/static-creds/rotated").await.expect_status(200).body);
    answers.push(http.get("sys/policies/password/canary/generate").await.expect_status(200).body);
    answers
}

/// Everything that goes wrong while a password is at hand; the errors.
async fn errors(site: &Site) -> Vec<Value> {
    let http = &site.http;
    let broken = "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE;";
    site.role("broken", "pg", json!({ "creation_statements": broken })).await;
    let adopt = json!({ "db_name": "pg", "username": "adopted", "rotation_period": "24h", "password": "canary-wrong-adopted",
        "skip_import_rotation": true });
    let statements = "ALTER ROLE \"{{name}}\" PASSWORD '{{password}}' NONSENSE;";
    let broken_static = json!({ "db_name": "pg", "username": "broken-static", "rotation_period": "24h",
        "rotation_statements": [statements] });
    let rsa = json!({ "db_name": "pg", "credential_type": "rsa_private_key", "creation_statements": "SELECT 1" });
    http.post("database/roles/rsa", rsa).await;
    let mut root = site.connection(&site.address());
    root["root_rotation_statements"] = json!([statements]);
    root["password_policy"] = json!("canary");
    root["verify_connection"] = json!(false);
    root["username"] = json!("adopted");
    root["password"] = json!("canary-adopted-password");
    http.post("database/config/broken", root).await.expect_status(204);
    let answers = [
        http.get("database/creds/broken").await,
        http.get("database/creds/rsa").await,
        http.post("database/static-roles/adopted", adopt).await,
        http.post("database/static-roles/broken-static", broken_static).await,
        http.post("database/rotate-role/broken-static", json!({})).await,
        http.post("database/rotate-root/broken", json!({})).await,
    ];
    for (at, answer) in answers.iter().enumerate() {
        assert!(answer.status >= 400, "number {at} was to fail");
    }
    answers.map(|answer| answer.body).into()
}

/// What can be read of all that was configured, and what monitoring sees.
async fn readings(site: &Site) -> Vec<Value> {
    let mut found = Vec::new();
    for path in [
        "database/config/pg",
        "database/config/broken",
        "database/roles/app",
        "database/roles/certified",
        "database/static-roles/rotated",
        "database/static-roles/adopted",
        "sys/lessor/spares/database/spared",
        "sys/lessor/orphans/database/pg",
        "sys/lessor/leases/stuck",
        "sys/metrics",
    ] {
        found.push(site.http.get(path).await.expect_status(200).body);
    }
    found
}

/// A role whose users log in by certificates; the authority's key and a user's.
async fn private_keys(site: &Site) -> [String; 2] {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = json!({ "ca_cert": params.self_signed(&key).unwrap().pem(), "ca_private_key": key.serialize_pem(),
        "key_type": "ec" });
    let statements = "CREATE ROLE \"{{name}}\" LOGIN VALID UNTIL '{{expiration}}'";
    let certified = json!({ "credential_type": "client_certificate", "credential_config": authority,
        "creation_statements": statements });
    site.role("certified", "pg", certified).await;
    let given = site.http.get("database/creds/certified").await.expect_status(200);
    [line_of(&key.serialize_pem()), line_of(given.text("/data/private_key"))]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_or_key_is_seen_but_in_the_answer_that_hands_it_out() {
    let site = canary_site().await;
    let begun = site.server.log().len();
    let answers = answers_with_passwords(&site).await;
    assert!(answers.iter().all(|answer| has_canary(&answer.to_string())), "passwords that the search would find");
    let [authority, key] = private_keys(&site).await;
    let errors = errors(&site).await;
    let adopt = json!({ "db_name": "pg", "username": "adopted", "rotation_period": "24h",
        "password": "canary-adopted-password", "skip_import_rotation": true });
    site.http.post("database/static-roles/adopted", adopt).await.expect_status(204);
    let adopted = site.http.get("database/static-creds/adopted").await.expect_status(200);
    assert_eq!(adopted.text("/data/password"), "canary-adopted-password");
    let readings = readings(&site).await;
    let lease = Credential::of(&answers[0]).lease;
    site.http.post("sys/leases/revoke", json!({ "lease_id": lease })).await.expect_status(204);
    assert!(site.login(ADMIN, site.admin_password()).await.is_err(), "the root password was rotated");

    let secrets = [
        ("the root token", site.http.token().unwrap().to_owned()),
        ("the first root password", site.admin_password().expose().to_owned()),
        ("an adopted password", "canary-adopted-password".to_owned()),
        ("a wrong password for adoption", "canary-wrong-adopted".to_owned()),
        ("a lease id", lease),
        ("an authority's private key", authority),
        ("a leased private key", key),
    ];
    let text = |answers: &[Value]| answers.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    for (place, text) in [
        ("the engine's log", site.lessor.log()),
        ("PostgreSQL's log", site.server.log()[begun..].to_owned()),
        ("an error", text(&errors)),
        ("what can be read", text(&readings)),
    ] {
        assert_clean(place, &text, &secrets);
        let shown = text.lines().find(|line| has_canary(line));
        assert!(shown.is_none(), "{place} shows a generated password, in a line of {} bytes", shown.unwrap().len());
    }
    assert!(site.server.log()[begun..].contains("SCRAM-SHA-256$"), "statements with passwords were logged");
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
