//! KV over HTTP: envelopes and status codes, who may do what, and the way from version 1 to 2.

use serde_json::{Value, json};

use super::Server;

const PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");

/// Every route of version 2, with a body that it accepts.
fn routes() -> Vec<(&'static str, &'static str, Value)> {
    let versions = json!({ "versions": [1] });
    vec![
        ("GET", "secret/config", Value::Null),
        ("POST", "secret/config", json!({ "max_versions": 5 })),
        ("GET", "secret/data/a", Value::Null),
        ("POST", "secret/data/a", json!({ "data": { "k": "v" } })),
        ("PATCH", "secret/data/a", json!({ "data": { "k": "v" } })),
        ("DELETE", "secret/data/a", Value::Null),
        ("POST", "secret/delete/a", versions.clone()),
        ("POST", "secret/undelete/a", versions.clone()),
        ("PUT", "secret/destroy/a", versions),
        ("GET", "secret/subkeys/a", Value::Null),
        ("LIST", "secret/metadata", Value::Null),
        ("GET", "secret/metadata/a", Value::Null),
        ("POST", "secret/metadata/a", json!({ "max_versions": 3 })),
        ("PATCH", "secret/metadata/a", json!({ "max_versions": 4 })),
        ("LIST", "secret/detailed-metadata", Value::Null),
        ("DELETE", "secret/metadata/a", Value::Null),
        ("GET", "one/a", Value::Null),
        ("PUT", "one/a", json!({ "k": "v" })),
        ("LIST", "one", Value::Null),
        ("DELETE", "one/a", Value::Null),
    ]
}

impl Server {
    async fn kv(&self, token: &str, method: &str, path: &str, body: &Value) -> super::Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut headers = vec![PATCH];
        if !token.is_empty() {
            headers.push(("x-vault-token", token));
        }
        self.raw(method, path, &headers, &body).await
    }
}

#[tokio::test]
async fn every_route_asks_for_a_token_that_has_the_capability() {
    let server = Server::start().await;
    assert_eq!(server.root("POST", "sys/mounts/one", json!({ "type": "kv" })).await.status, 204);
    let other = server.token_with("other", "path \"secret/data/b\" { capabilities = [\"read\"] }").await;
    let all = r#"["create", "read", "update", "patch", "delete", "list"]"#;
    let allowed = format!("path \"secret/*\" {{ capabilities = {all} }}\npath \"one/*\" {{ capabilities = {all} }}");
    let allowed = server.token_with("all", &allowed).await;
    for path in ["secret/data/a", "one/a"] {
        server.root("POST", path, json!({ "data": { "k": "v" } })).await;
    }
    for (method, path, body) in routes() {
        assert_eq!(server.kv("", method, path, &body).await.status, 403, "{method} {path} without a token");
        let denied = server.kv(&other, method, path, &body).await;
        let text = "1 error occurred:\n\t* permission denied\n\n";
        assert_eq!((denied.status, denied.error()), (403, text), "{method} {path}");
    }
    for (method, path, body) in routes() {
        let answer = server.kv(&allowed, method, path, &body).await;
        let gone = answer.status == 404 && !answer.body["data"]["metadata"].is_null();
        assert!(answer.status < 300 || gone, "{method} {path}: {} {}", answer.status, answer.body);
    }
}

#[tokio::test]
async fn a_patch_needs_its_own_capability_and_content_type() {
    let server = Server::start().await;
    server.root("POST", "secret/data/a", json!({ "data": { "k": "v" } })).await;
    let writer = "path \"secret/data/*\" { capabilities = [\"create\", \"update\"] }";
    let writer = server.token_with("writer", writer).await;
    let body = json!({ "data": { "k": null } });
    assert_eq!(server.kv(&writer, "PATCH", "secret/data/a", &body).await.status, 403);
    assert_eq!(server.root("PATCH", "secret/data/a", body.clone()).await.status, 415);
    assert_eq!(server.kv("root", "PATCH", "secret/data/a", &body).await.status, 200);
}

#[tokio::test]
async fn what_exists_is_updated_and_what_does_not_is_created() {
    let server = Server::start().await;
    server.root("POST", "sys/mounts/one", json!({ "type": "kv-v1" })).await;
    let policy =
        "path \"secret/data/*\" { capabilities = [\"create\"] }\npath \"one/*\" { capabilities = [\"create\"] }";
    let creator = server.token_with("creator", policy).await;
    for path in ["secret/data/a", "one/a"] {
        let body = json!({ "data": { "k": "v" } });
        assert!(server.ask(&creator, "POST", path, body.clone()).await.status < 300, "{path}");
        assert_eq!(server.ask(&creator, "POST", path, body).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn what_is_deleted_is_a_404_with_the_whole_envelope() {
    let server = Server::start().await;
    let written = server.root("POST", "secret/data/a/b", json!({ "data": { "k": "v" } })).await;
    assert_eq!((written.status, &written.body["data"]["version"]), (200, &json!(1)));
    assert_eq!(server.root("DELETE", "secret/data/a/b", Value::Null).await.status, 204);
    let gone = server.root("GET", "secret/data/a/b", Value::Null).await;
    assert_eq!((gone.status, &gone.body["data"]["data"]), (404, &Value::Null));
    assert_eq!(gone.response.headers["content-type"], "application/json");
    assert_eq!(gone.body["request_id"].as_str().map(str::len), Some(36));
    assert!(gone.body.get("errors").is_none() && gone.body["lease_duration"] == json!(0));
    let never = server.root("GET", "secret/data/never", Value::Null).await;
    assert_eq!((never.status, &never.body), (404, &json!({ "errors": [] })));
    let hint = server.root("GET", "secret/a", Value::Null).await;
    assert!(hint.status == 404 && hint.body["warnings"][0].as_str().unwrap().contains("vault kv get"));
}

#[tokio::test]
async fn version_1_tells_how_long_a_secret_is_worth_keeping() {
    let server = Server::start().await;
    let mount = json!({ "type": "kv", "options": { "version": 1 }, "config": { "default_lease_ttl": "30m" } });
    assert_eq!(server.root("POST", "sys/mounts/one", mount).await.status, 204);
    server.root("PUT", "one/a", json!({ "k": "v" })).await;
    server.root("PUT", "one/b", json!({ "k": "v", "ttl": "1m" })).await;
    let duration = async |path: &str| {
        let answer = server.root("GET", path, Value::Null).await.body;
        (answer["lease_duration"].as_u64().unwrap(), answer["lease_id"].as_str().unwrap().to_owned())
    };
    assert_eq!(duration("one/a").await, (1800, String::new()));
    assert_eq!(duration("one/b").await, (60, String::new()));
    server.root("POST", "sys/mounts/one/tune", json!({ "default_lease_ttl": "1h" })).await;
    assert_eq!(duration("one/a").await.0, 3600, "tuning counts at once");
}

#[tokio::test]
async fn a_mount_is_upgraded_with_its_secrets_and_never_back() {
    let server = Server::start().await;
    server.root("POST", "sys/mounts/one", json!({ "type": "kv" })).await;
    server.root("PUT", "one/a/b", json!({ "k": "v" })).await;
    let upgraded = server.root("POST", "sys/mounts/one/tune", json!({ "options": { "version": "2" } })).await;
    assert!(upgraded.status == 200 && upgraded.body["warnings"][0].as_str().unwrap().starts_with("Upgrading mount"));
    let read = server.root("GET", "one/data/a/b", Value::Null).await.body;
    assert_eq!((&read["data"]["data"], &read["data"]["metadata"]["version"]), (&json!({ "k": "v" }), &json!(1)));
    let back = server.root("POST", "sys/mounts/one/tune", json!({ "options": { "version": "1" } })).await;
    assert_eq!((back.status, back.error()), (400, "cannot downgrade mount from version 2"));
    let tuned = server.root("GET", "sys/mounts/one/tune", Value::Null).await.body;
    assert_eq!(tuned["data"]["options"], json!({ "version": "2" }));
    let third = server.root("POST", "sys/mounts/three", json!({ "type": "kv", "options": { "version": "3" } })).await;
    assert!(third.status == 400 && third.error().contains("options.version"));
}

#[tokio::test]
async fn clients_are_told_the_version_before_they_ask() {
    let server = Server::start().await;
    assert_eq!(server.root("POST", "sys/mounts/two", json!({ "type": "kv-v2" })).await.status, 204);
    for (path, mount) in [("secret/a/b", "secret/"), ("two/data/a", "two/"), ("two", "two/")] {
        let answer = server.root("GET", &format!("sys/internal/ui/mounts/{path}"), Value::Null).await;
        let data = &answer.body["data"];
        assert_eq!((answer.status, &data["path"], &data["type"]), (200, &json!(mount), &json!("kv")));
        assert_eq!(data["options"], json!({ "version": "2" }));
    }
    let own = server.root("GET", "sys/internal/ui/mounts/cubbyhole/a", Value::Null).await;
    assert_eq!((own.status, &own.body["data"]["type"]), (200, &json!("cubbyhole")));
    let reader = server.token_with("reader", "path \"secret/data/a\" { capabilities = [\"read\"] }").await;
    assert_eq!(server.ask(&reader, "GET", "sys/internal/ui/mounts/secret/a", Value::Null).await.status, 200);
    assert_eq!(server.ask(&reader, "GET", "sys/internal/ui/mounts/two/a", Value::Null).await.status, 403);
    assert_eq!(server.ask("", "GET", "sys/internal/ui/mounts/secret/a", Value::Null).await.status, 403);
}

#[tokio::test]
async fn no_path_of_a_secret_is_anybody_elses() {
    let server = Server::start().await;
    server.root("POST", "sys/mounts/one", json!({ "type": "kv" })).await;
    assert_eq!(server.root("PUT", "one/lessor/spares/a", json!({ "k": "v" })).await.status, 204);
    assert_eq!(server.root("GET", "one/lessor/spares/a", Value::Null).await.status, 200);
    assert_eq!(server.root("GET", "sys/lessor/spares/one/a", Value::Null).await.status, 404);
}
