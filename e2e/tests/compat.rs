//! Clients of Vault, unmodified, against `lessor dev`.

use std::process::Stdio;
use std::time::Duration;

use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::eventually;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

const ROOT: &str = "the-root-token";

#[tokio::test]
async fn hvac_takes_renews_and_gives_back_a_credential() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/compat/python/vault_client.py");
    flows(&variable("LESSOR_HVAC_PYTHON"), &[program]).await;
}

#[tokio::test]
async fn the_go_library_logs_in_renews_wraps_and_keeps_secrets() {
    flows(&variable("LESSOR_GO_CLIENT"), &[]).await;
}

#[tokio::test]
async fn node_vault_logs_in_renews_wraps_and_keeps_secrets() {
    flows("node", &[&variable("LESSOR_NODE_CLIENT")]).await;
}

#[tokio::test]
async fn vaultrs_logs_in_wraps_and_keeps_secrets() {
    flows(&variable("LESSOR_RUST_CLIENT"), &[]).await;
}

/// Runs a client against a `lessor dev` with a role of PostgreSQL. The client prints the user that it was given, and, after a
/// line of ours, that it has given it back; then it may go on with whatever else it does.
async fn flows(program: &str, arguments: &[&str]) {
    let lessor = Lessor::dev(ROOT).await;
    let http = lessor.http().with_token(ROOT);
    let role = unique("compat");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", postgres::connection(&postgres::address())).await.expect_status(204);
    let body = json!({ "db_name": "pg", "creation_statements": [postgres::CREATION], "default_ttl": 3600 });
    http.post(&format!("database/roles/{role}"), body).await.expect_status(204);
    let database = Postgres::connect().await;

    let mut client = Command::new(program)
        .args(arguments)
        .args([http.address(), &role])
        .env("ROOT_TOKEN", ROOT)
        .env_remove("VAULT_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let user = lines.next_line().await.unwrap().expect("the client gets a user: its own error stands above");
    assert!(database.has_role(&user).await);
    client.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let end = lines.next_line().await.unwrap();
    assert_eq!(end.as_deref(), Some("revoked"), "the client's own error stands above");
    eventually("the user is gone", Duration::from_secs(10), || async {
        if database.has_role(&user).await { Err("still there") } else { Ok(()) }
    })
    .await;
    assert!(client.wait().await.unwrap().success(), "the client's own error stands above");
}

#[tokio::test]
async fn hvac_keeps_secrets_wraps_answers_and_makes_tokens() {
    let lessor = Lessor::dev(ROOT).await;
    let client = Command::new(variable("LESSOR_HVAC_PYTHON"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/compat/python/kv_client.py"))
        .arg(lessor.http().address())
        .env("ROOT_TOKEN", ROOT)
        .output()
        .await
        .unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
}

#[tokio::test]
async fn curl_needs_no_content_type() {
    let lessor = Lessor::dev(ROOT).await;
    let curl = async |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--header", &format!("X-Vault-Token: {ROOT}")]);
        let output = command.args(arguments).output().await.expect("curl can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or(Value::Null)
    };
    let url = |path: &str| format!("{}/v1/{path}", lessor.http().address());
    // curl itself says application/x-www-form-urlencoded, as thousands of scripts do.
    curl(&["--data", r#"{"type": "approle"}"#, &url("sys/auth/approle")]).await;
    // And once with no Content-Type at all.
    curl(&["--header", "Content-Type:", "--data", r#"{"token_policies": "a,b"}"#, &url("auth/approle/role/app")]).await;
    let role = curl(&[&url("auth/approle/role/app")]).await;
    assert_eq!(role["data"]["token_policies"], json!(["a", "b"]));
    let listed = curl(&["--request", "LIST", &url("auth/approle/role")]).await;
    assert_eq!(listed["data"]["keys"], json!(["app"]));
}
