//! What a role may say of its users over the API: password policies, presets, names, and the advice that it is answered with.

use lessor::base::Secret;
use lessor_e2e::http::Http;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres_server::{PostgresServer, SUPERUSER};
use serde_json::{Value, json};

const CREATION: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";

/// The engine and a PostgreSQL of the test's own, joined by the connection `pg`.
async fn start() -> (Lessor, Http, PostgresServer) {
    let (lessor, server) = tokio::join!(Lessor::dev("root"), PostgresServer::start(&[]));
    let http = lessor.http().with_token("root");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", connection(&server)).await.expect_status(204);
    (lessor, http, server)
}

fn connection(server: &PostgresServer) -> Value {
    let url =
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", server.port());
    json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url, "username": SUPERUSER,
        "password": server.password().expose(),
    })
}

#[tokio::test]
async fn password_policies_are_kept_and_followed() {
    let (_lessor, http, server) = start().await;
    let policy = |charset: &str| format!("length = 24\nrule \"charset\" {{ charset = \"{charset}\" min-chars = 2 }}");
    http.list("sys/policies/password").await.expect_status(404);
    http.post("sys/policies/password/digits", json!({ "policy": policy("0123456789") })).await.expect_status(204);
    http.post("sys/policies/password/letters", json!({ "policy": policy("abcdef") })).await.expect_status(204);
    let listed = http.list("sys/policies/password").await.expect_status(200);
    assert_eq!(listed.body["data"]["keys"], json!(["digits", "letters"]));
    let read = http.get("sys/policies/password/digits").await.expect_status(200);
    assert_eq!(read.body["data"], json!({ "policy": policy("0123456789") }));
    let made = http.get("sys/policies/password/digits/generate").await.expect_status(200);
    let is_digits = |text: &str| text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(is_digits(made.text("/data/password")));
    let bad = http.post("sys/policies/password/bad", json!({ "policy": "length = 3" })).await.expect_status(400);
    assert!(bad.error().contains("* invalid password policy: "), "{}", bad.error());
    http.get("sys/policies/password/bad").await.expect_status(404);
    http.get("sys/policies/password/bad/generate").await.expect_status(404);
    let quotes =
        http.post("sys/policies/password/quotes", json!({ "policy": policy("abc'") })).await.expect_status(200);
    assert!(quotes.text("/warnings/0").contains("allows '"), "{}", quotes.body);

    // The role's policy wins over the connection's, and that over the built-in one.
    http.post("database/config/pg", json!({ "password_policy": "letters" })).await.expect_status(204);
    http.post("database/roles/r", json!({ "db_name": "pg", "creation_statements": CREATION })).await.expect_status(204);
    let answer = http.get("database/creds/r").await.expect_status(200);
    let (user, password) = (answer.text("/data/username"), answer.text("/data/password"));
    assert!(password.len() == 24 && password.chars().all(|c| "abcdef".contains(c)), "{password}");
    server.login("postgres", user, &Secret::new(password)).await.expect("the password works");
    let own = json!({ "credential_config": { "password_policy": "digits" } });
    http.post("database/roles/r", own).await.expect_status(204);
    let answer = http.get("database/creds/r").await.expect_status(200);
    assert!(is_digits(answer.text("/data/password")));
    http.delete("sys/policies/password/digits").await.expect_status(204);
    let gone = http.get("database/creds/r").await.expect_status(400);
    assert!(gone.error().contains("\"digits\""), "{}", gone.error());
    assert_eq!(
        server.count("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'").await,
        2,
        "nothing was left behind"
    );
}

#[tokio::test]
async fn a_role_with_a_preset_needs_no_statements() {
    let (_lessor, http, server) = start().await;
    server.run("postgres", "CREATE SCHEMA shop; CREATE TABLE shop.notes (body text)").await;
    let role = json!({ "db_name": "pg", "preset": "readonly", "schema": "shop", "default_ttl": "1h" });
    http.post("database/roles/r", role).await.expect_status(204);
    let read = http.get("database/roles/r").await.expect_status(200);
    let data = &read.body["data"];
    assert_eq!(
        (&data["preset"], &data["schema"], &data["creation_statements"]),
        (&json!("readonly"), &json!("shop"), &json!([]))
    );
    assert!(data["preset_statements"][0].as_str().unwrap().starts_with("CREATE ROLE \"{{name}}\""), "{data}");

    let answer = http.get("database/creds/r").await.expect_status(200);
    let (user, password) = (answer.text("/data/username"), Secret::new(answer.text("/data/password")));
    let session = server.login("postgres", user, &password).await.unwrap();
    session.batch_execute("SELECT * FROM shop.notes").await.unwrap();
    session.batch_execute("DELETE FROM shop.notes").await.unwrap_err();
    let renew = json!({ "lease_id": answer.text("/lease_id") });
    http.post("sys/leases/renew", renew.clone()).await.expect_status(200);
    http.post("sys/leases/revoke", renew).await.expect_status(204);
    server.login("postgres", user, &password).await.expect_err("the user is gone");

    for (body, expected) in [
        (
            json!({ "preset": "readonly", "creation_statements": CREATION }),
            "preset and creation_statements exclude each other",
        ),
        (json!({ "preset": "admin" }), "preset: \"admin\" is not known: use readonly, readwrite, owner-of-schema"),
        (json!({ "schema": "a'b" }), "schema: \"a'b\""),
        (json!({ "credential_type": "rsa_private_key" }), "unsupported credential_type: \"rsa_private_key\""),
    ] {
        let refused = http.post("database/roles/r", body).await.expect_status(400);
        assert!(refused.error().contains(expected), "{}", refused.error());
    }
    // Writing statements takes the preset's place.
    http.post("database/roles/r", json!({ "creation_statements": CREATION })).await.expect_status(204);
    let read = http.get("database/roles/r").await.expect_status(200);
    assert_eq!(
        (&read.body["data"]["preset"], &read.body["data"]["creation_statements"]),
        (&Value::Null, &json!([CREATION]))
    );
}

#[tokio::test]
async fn statements_and_names_that_will_hurt_are_told_when_they_are_written() {
    let (_lessor, http, server) = start().await;
    let bloating = format!("{CREATION}; grant select on all tables in schema shop to \"{{{{name}}}}\"");
    let role = json!({ "db_name": "pg", "creation_statements": bloating });
    let warned = http.post("database/roles/r", role).await.expect_status(200);
    for part in ["catalogue", "CREATE ROLE shop_readonly NOLOGIN", "preset to readonly and schema to shop"] {
        assert!(warned.text("/warnings/0").contains(part), "{}", warned.body);
    }
    let certificate = json!({ "credential_type": "client_certificate", "credential_config": {} });
    let refused = http.post("database/roles/r", certificate).await.expect_status(400);
    assert!(refused.error().contains("ca_cert: missing"), "{}", refused.error());

    let template = |template: &str| {
        let mut body = connection(&server);
        body["username_template"] = json!(template);
        body
    };
    let cut = template("{{printf \"v-%s-%s-%s\" .DisplayName .RoleName (random 20) | truncate 63}}");
    let refused = http.post("database/config/pg", cut).await.expect_status(400);
    assert!(refused.error().contains("8 are needed to tell users apart"), "{}", refused.error());
    let long = http.post("database/config/pg", template("{{.RoleName}}-{{random 10}}")).await.expect_status(200);
    assert!(long.text("/warnings/0").contains("truncate"), "{}", long.body);
    let name = "a-role-whose-name-alone-is-nearly-as-long-as-the-database-takes";
    let role = json!({ "db_name": "pg", "creation_statements": CREATION });
    let refused = http.post(&format!("database/roles/{name}"), role).await.expect_status(400);
    assert!(refused.error().contains("the database takes 63"), "{}", refused.error());
}
