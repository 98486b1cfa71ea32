//! Audit devices over HTTP: who may turn them on, what they write, and what happens when they cannot.

use std::path::Path;

use serde_json::{Value, json};

use super::Server;

fn entries(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn enable(server: &Server, name: &str, path: &Path) {
    let body = json!({ "type": "file", "description": "d", "options": { "file_path": path } });
    let answer = server.root("PUT", &format!("sys/audit/{name}"), body).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[tokio::test]
async fn devices_come_and_go_and_hash_as_they_write() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    assert_eq!(server.root("GET", "sys/audit", Value::Null).await.body["data"], json!({}));
    enable(&server, "one", &path).await;
    let taken = server.root("POST", "sys/audit/one", json!({ "type": "file", "options": { "file_path": "x" } })).await;
    assert_eq!((taken.status, taken.error()), (400, "path already in use"));
    let list = server.root("GET", "sys/audit", Value::Null).await.body;
    assert_eq!(list["one/"], list["data"]["one/"]);
    let expected = json!({ "type": "file", "description": "d", "local": false, "path": "one/",
        "options": { "file_path": path } });
    assert_eq!(list["one/"], expected);
    let hash = server.root("POST", "sys/audit-hash/one", json!({ "input": "root" })).await.body;
    assert_eq!(hash["hash"], hash["data"]["hash"]);
    let written = entries(&path);
    assert_eq!(written[0]["request"]["path"], "sys/audit/test");
    assert_eq!(written.last().unwrap()["request"]["client_token"], hash["hash"], "the token of the request before");
    let none = server.root("POST", "sys/audit-hash/none", json!({ "input": "x" })).await;
    assert_eq!((none.status, none.error()), (400, "unknown audit backend \"none/\""));
    for _ in 0..2 {
        assert_eq!(server.root("DELETE", "sys/audit/one", Value::Null).await.status, 204);
    }
    let before = entries(&path).len();
    server.root("GET", "sys/mounts", Value::Null).await;
    assert_eq!(entries(&path).len(), before);
}

#[tokio::test]
async fn every_request_has_two_entries_and_no_secret_in_them() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    enable(&server, "one", &path).await;
    server.root("POST", "auth/approle/role/app", json!({ "token_ttl": "1h" })).await;
    let role_id = server.root("GET", "auth/approle/role/app/role-id", Value::Null).await.body;
    let role_id = role_id["data"]["role_id"].as_str().unwrap().to_owned();
    let secret_id = server.root("POST", "auth/approle/role/app/secret-id", json!({})).await.body;
    let secret_id = secret_id["data"]["secret_id"].as_str().unwrap().to_owned();
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    let token = server.ask("", "PUT", "auth/approle/login", login).await.body;
    let token = token["auth"]["client_token"].as_str().unwrap().to_owned();
    let lookup = server.ask(&token, "GET", "auth/token/lookup-self", Value::Null).await;
    assert_eq!(server.ask(&token, "GET", "sys/auth", Value::Null).await.status, 403);
    assert_eq!(server.ask("canary-unknown", "GET", "sys/auth", Value::Null).await.status, 403);
    let text = std::fs::read_to_string(&path).unwrap();
    for (kind, secret) in
        [("role id", role_id), ("secret id", secret_id), ("token", token), ("unknown", "canary-unknown".into())]
    {
        assert!(!text.contains(&secret), "the audit log shows the {kind}");
    }
    let entries = entries(&path);
    let of = |id: &Value| -> Vec<&Value> { entries.iter().filter(|entry| entry["request"]["id"] == *id).collect() };
    let [request, response] = of(&lookup.body["request_id"])[..] else { panic!("two entries for one request") };
    assert_eq!((&request["type"], &response["type"]), (&json!("request"), &json!("response")));
    assert_eq!(request["request"]["operation"], "read");
    assert_eq!(request["auth"]["display_name"], "approle");
    assert_eq!(request["auth"]["policy_results"]["allowed"], true);
    assert_eq!(response["response"]["data"]["ttl"].as_u64().map(|ttl| ttl > 3500), Some(true), "numbers stay");
    let refused: Vec<_> = entries.iter().filter(|entry| entry["error"] == "permission denied").collect();
    assert_eq!(refused.len(), 2, "the unknown token's: {refused:?}");
    let denied: Vec<_> = entries.iter().filter(|e| e["auth"]["policy_results"]["allowed"] == false).collect();
    assert_eq!(denied.len(), 2, "that of the token without the capability");
}

#[tokio::test]
async fn mounts_and_headers_may_be_opened_to_the_reader() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    let tune = json!({ "audit_non_hmac_request_keys": "role_name,period", "audit_non_hmac_response_keys": ["keys"] });
    assert_eq!(server.root("POST", "sys/auth/approle/tune", tune).await.status, 204);
    let tuned = server.root("GET", "sys/auth/approle/tune", Value::Null).await.body;
    assert_eq!(tuned["data"]["audit_non_hmac_request_keys"], json!(["role_name", "period"]));
    for (header, hmac) in [("X-Trace", false), ("X-Key", true)] {
        let path = format!("sys/config/auditing/request-headers/{header}");
        assert_eq!(server.root("PUT", &path, json!({ "hmac": hmac })).await.status, 204);
    }
    let token = server.root("PUT", "sys/config/auditing/request-headers/X-Vault-Token", json!({})).await;
    assert_eq!(token.status, 400);
    let list = server.root("GET", "sys/config/auditing/request-headers", Value::Null).await.body;
    assert_eq!(list["data"]["headers"], json!({ "x-trace": { "hmac": false }, "x-key": { "hmac": true } }));
    let one = server.root("GET", "sys/config/auditing/request-headers/x-key", Value::Null).await.body;
    assert_eq!(one["x-key"], json!({ "hmac": true }));
    enable(&server, "one", &path).await;
    let headers = [("x-vault-token", "root"), ("x-trace", "seen"), ("x-key", "canary"), ("x-other", "unseen")];
    server.raw("POST", "auth/approle/role/app", &headers, r#"{"period": "10m", "policies": "canary"}"#).await;
    let entry = entries(&path).into_iter().find(|entry| entry["request"]["path"] == "auth/approle/role/app").unwrap();
    assert_eq!(entry["request"]["operation"], "create");
    assert_eq!(entry["request"]["data"]["period"], "10m");
    assert_eq!(entry["request"]["headers"]["x-trace"], json!(["seen"]));
    assert_eq!(
        (&entry["request"]["mount_type"], &entry["request"]["mount_class"]),
        (&json!("approle"), &json!("auth"))
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("canary") && !text.contains("unseen"));
    let path = "sys/config/auditing/request-headers/x-key";
    assert_eq!(server.root("DELETE", path, Value::Null).await.status, 204);
    let gone = server.root("GET", path, Value::Null).await;
    assert_eq!((gone.status, gone.error()), (400, "Could not find header in config"));
}

#[tokio::test]
async fn what_no_device_can_record_is_not_done() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    for target in ["/dev/full", "/proc/nobody/audit.log"] {
        let body = json!({ "type": "file", "options": { "file_path": target } });
        let refused = server.root("PUT", "sys/audit/never", body).await;
        assert!(refused.status == 400 && refused.error().contains("cannot be written to"), "{}", refused.body);
    }
    let (link, file) = (folder.path().join("link"), folder.path().join("file"));
    let point = |target: &Path| {
        let next = folder.path().join("next");
        std::os::unix::fs::symlink(target, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
    };
    point(&file);
    enable(&server, "one", &link).await;
    point(Path::new("/dev/full"));
    server.engine.reopen().await;
    let policy = json!({ "policy": "path \"a\" { capabilities = [\"read\"] }" });
    let refused = server.root("PUT", "sys/policies/acl/p", policy.clone()).await;
    assert_eq!(refused.status, 500);
    assert!(refused.error().contains("no audit device can record"), "{}", refused.error());
    assert_eq!(server.ask("", "GET", "sys/health", Value::Null).await.status, 200, "status is not audited");
    point(&file);
    assert_eq!(server.root("GET", "sys/policies/acl/p", Value::Null).await.status, 404, "it was not written");

    let other = folder.path().join("other");
    enable(&server, "two", &other).await;
    point(Path::new("/dev/full"));
    server.engine.reopen().await;
    assert_eq!(server.root("PUT", "sys/policies/acl/p", policy).await.status, 204, "one device is enough");
    assert_eq!(entries(&other).iter().filter(|entry| entry["request"]["path"] == "sys/policies/acl/p").count(), 2);
}

#[tokio::test]
async fn audit_is_for_administrators() {
    let server = Server::start().await;
    let text = "path \"sys/a*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\"] }\n\
        path \"sys/config/*\" { capabilities = [\"read\", \"update\", \"delete\"] }";
    server.root("PUT", "sys/policies/acl/nearly", json!({ "policy": text })).await;
    let nearly = server.token(json!({ "policies": ["nearly"] })).await;
    let nothing = server.token(json!({ "policies": ["default"] })).await;
    for (method, path) in [
        ("GET", "sys/audit"),
        ("PUT", "sys/audit/one"),
        ("DELETE", "sys/audit/one"),
        ("GET", "sys/config/auditing/request-headers"),
        ("GET", "sys/config/auditing/request-headers/a"),
        ("PUT", "sys/config/auditing/request-headers/a"),
        ("DELETE", "sys/config/auditing/request-headers/a"),
    ] {
        for token in ["", &nothing, &nearly] {
            assert_eq!(server.ask(token, method, path, Value::Null).await.status, 403, "{method} {path}: no sudo");
        }
    }
    for token in ["", &nothing] {
        assert_eq!(server.ask(token, "POST", "sys/audit-hash/one", json!({ "input": "a" })).await.status, 403);
    }
}

#[tokio::test]
async fn requests_with_shares_are_recorded_and_questions_for_the_state_are_not() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    enable(&server, "one", &path).await;
    let begun = server.ask("", "PUT", "sys/generate-root/attempt", json!({})).await;
    let (nonce, otp) = (begun.body["nonce"].clone(), begun.body["otp"].as_str().unwrap().to_owned());
    let share = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmE=";
    let wrong = server.ask("", "PUT", "sys/generate-root/update", json!({ "nonce": nonce, "key": share })).await;
    assert_eq!(wrong.status, 400);
    server.ask("", "GET", "sys/rekey-recovery-key/init", Value::Null).await;
    for path in ["sys/health", "sys/seal-status", "sys/leader", "sys/init"] {
        server.ask("", "GET", path, Value::Null).await;
    }
    server.ask("", "PUT", "sys/unseal", json!({ "key": share })).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(share) && !text.contains(&otp), "neither share nor pad");
    let of_shares = ["sys/generate-root/attempt", "sys/generate-root/update", "sys/rekey-recovery-key/init"];
    let written: Vec<_> = entries(&path)
        .into_iter()
        .map(|entry| {
            (entry["request"]["path"].as_str().unwrap().to_owned(), entry["type"].as_str().unwrap().to_owned())
        })
        .filter(|(path, _)| !path.starts_with("sys/audit"))
        .collect();
    let expected: Vec<_> = of_shares
        .iter()
        .flat_map(|path| ["request", "response"].map(|kind| ((*path).to_owned(), kind.to_owned())))
        .collect();
    assert_eq!(written, expected);
}
