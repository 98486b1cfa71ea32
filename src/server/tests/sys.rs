//! The rest of `sys/` over HTTP: keys, capabilities, tools, quotas, moves, the catalogue, browsers; and who may ask.

use serde_json::{Value, json};

use super::Server;

#[tokio::test]
async fn capabilities_are_told_of_any_token() {
    let server = Server::start().await;
    let text = "path \"a/*\" { capabilities = [\"read\"] }\npath \"a/b\" { capabilities = [\"update\"] }";
    server.root("PUT", "sys/policies/acl/p", json!({ "policy": text })).await;
    let made = server.root("POST", "auth/token/create", json!({ "policies": ["p"] })).await.body;
    let (token, accessor) = (&made["auth"]["client_token"], &made["auth"]["accessor"]);
    let one = server.root("POST", "sys/capabilities", json!({ "token": token, "paths": ["a/c"] })).await.body;
    assert_eq!((&one["a/c"], &one["data"]["capabilities"]), (&json!(["read"]), &json!(["read"])));
    let body = json!({ "accessor": accessor, "paths": "a/b,x" });
    let two = server.root("POST", "sys/capabilities-accessor", body).await.body;
    assert_eq!((&two["data"]["a/b"], &two["data"]["x"]), (&json!(["update"]), &json!(["deny"])));
    let own = server.root("POST", "sys/capabilities-self", json!({ "path": "a/b" })).await.body;
    assert_eq!(own["capabilities"], json!(["root"]));
    for (path, body, text) in [
        ("sys/capabilities", json!({ "token": "none", "paths": ["a"] }), "1 error occurred:\n\t* invalid token\n\n"),
        (
            "sys/capabilities-accessor",
            json!({ "accessor": "none", "paths": ["a"] }),
            "1 error occurred:\n\t* invalid accessor\n\n",
        ),
        ("sys/capabilities-self", json!({}), "paths must be supplied"),
    ] {
        let wrong = server.root("POST", path, body).await;
        assert_eq!((wrong.status, wrong.error()), (400, text));
    }
    let acl = server.ask(token.as_str().unwrap(), "GET", "sys/internal/ui/resultant-acl", Value::Null).await.body;
    assert_eq!(acl["data"]["root"], false);
    assert_eq!(acl["data"]["glob_paths"]["a/"]["capabilities"], json!(["read"]));
    assert_eq!(acl["data"]["exact_paths"]["a/b"]["capabilities"], json!(["update"]));
}

#[tokio::test]
async fn the_encryption_key_is_replaced_by_hand_and_by_rule() {
    let server = Server::start().await;
    let status = server.root("GET", "sys/key-status", Value::Null).await.body;
    assert_eq!((&status["term"], &status["data"]["term"]), (&json!(1), &json!(1)));
    assert!(status["encryptions"].is_u64() && status["install_time"].is_string());
    for path in ["sys/rotate", "sys/rotate/keyring"] {
        assert_eq!(server.root("PUT", path, json!({})).await.status, 204);
    }
    assert_eq!(server.root("GET", "sys/key-status", Value::Null).await.body["term"], 3);
    assert_eq!(server.root("POST", "sys/rotate/config", json!({ "interval": "48h" })).await.status, 204);
    let config = server.root("GET", "sys/rotate/config", Value::Null).await.body;
    let expected = json!({ "enabled": true, "interval": 172_800, "max_operations": 3_865_470_566_u64 });
    assert_eq!(config["data"], expected);
    assert_eq!(server.root("POST", "sys/rotate/config", json!({ "max_operations": 1 })).await.status, 400);
}

#[tokio::test]
async fn tools_make_bytes_and_digests() {
    let server = Server::start().await;
    for (path, body, length) in [
        ("sys/tools/random/16", json!({ "format": "hex" }), 32),
        ("sys/tools/random", json!({ "bytes": "3" }), 4),
        ("sys/tools/random/platform/16", json!({ "format": "hex" }), 32),
        ("sys/tools/random", json!({}), 44),
    ] {
        let made = server.root("POST", path, body).await.body;
        assert_eq!(made["data"]["random_bytes"].as_str().map(str::len), Some(length), "{path}");
    }
    for body in
        [json!({ "bytes": 0 }), json!({ "bytes": 1_000_000 }), json!({ "format": "x" }), json!({ "source": "x" })]
    {
        assert_eq!(server.root("POST", "sys/tools/random", body.clone()).await.status, 400, "{body}");
    }
    let sum = server.root("POST", "sys/tools/hash/sha2-256", json!({ "input": "YQ==" })).await.body;
    assert_eq!(sum["data"]["sum"], "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
}

#[tokio::test]
async fn too_many_requests_are_refused_by_address() {
    let server = Server::start().await;
    let path = "sys/quotas/rate-limit/all";
    assert_eq!(server.root("POST", path, json!({ "rate": 0 })).await.status, 400);
    assert_eq!(server.root("POST", path, json!({ "rate": 5, "path": "none/" })).await.status, 400);
    assert_eq!(server.root("POST", path, json!({ "rate": "5", "path": "sys/", "interval": "1h" })).await.status, 204);
    let read = server.root("GET", path, Value::Null).await.body;
    let expected = json!({ "name": "all", "type": "rate-limit", "path": "sys/", "rate": 5, "interval": 3600,
        "block_interval": 0, "role": "" });
    assert_eq!(read["data"], expected, "hvac compares the whole object");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(server.root("GET", "sys/mounts", Value::Null).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429], "the read of the quota counts, too");
    let refused = server.root("GET", "sys/mounts", Value::Null).await;
    assert_eq!(refused.error(), "request path \"sys/mounts\": rate limit quota exceeded");
    assert_eq!(server.root("GET", "auth/token/lookup-self", Value::Null).await.status, 200, "another path");
    assert_eq!(server.ask("", "GET", "sys/health", Value::Null).await.status, 200);
}

#[tokio::test]
async fn quotas_have_settings_and_a_list() {
    let server = Server::start().await;
    assert_eq!(server.root("LIST", "sys/quotas/rate-limit", Value::Null).await.status, 404);
    server.root("POST", "sys/quotas/rate-limit/a", json!({ "rate": 1000.5 })).await;
    let list = server.root("LIST", "sys/quotas/rate-limit", Value::Null).await.body;
    assert_eq!(list["data"]["keys"], json!(["a"]));
    assert_eq!(server.root("GET", "sys/quotas/rate-limit/a", Value::Null).await.body["data"]["rate"], json!(1000.5));
    let settings = json!({ "rate_limit_exempt_paths": "sys/mounts", "enable_rate_limit_audit_logging": true });
    assert_eq!(server.root("POST", "sys/quotas/config", settings).await.status, 204);
    let read = server.root("GET", "sys/quotas/config", Value::Null).await.body;
    assert_eq!(read["data"]["rate_limit_exempt_paths"], json!(["sys/mounts"]));
    assert_eq!(server.root("DELETE", "sys/quotas/rate-limit/a", Value::Null).await.status, 204);
    assert_eq!(server.root("GET", "sys/quotas/rate-limit/a", Value::Null).await.status, 404);
}

#[tokio::test]
async fn mounts_move_with_what_they_store() {
    let server = Server::start().await;
    server.root("POST", "sys/mounts/db", json!({ "type": "database", "description": "d" })).await;
    server.root("POST", "db/roles/app", json!({ "db_name": "x", "creation_statements": "SELECT 1" })).await;
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.root("POST", "auth/approle/role/r", json!({})).await;
    for (from, to) in [("db", "db2"), ("auth/approle", "auth/moved")] {
        let moved = server.root("POST", "sys/remount", json!({ "from": from, "to": to })).await.body;
        assert_eq!(moved["migration_id"], moved["data"]["migration_id"]);
        assert_eq!(moved["warnings"].as_array().map(Vec::len), Some(1));
        let id = moved["migration_id"].as_str().unwrap();
        let status = server.root("GET", &format!("sys/remount/status/{id}"), Value::Null).await.body;
        let info = json!({ "source_mount": format!("{from}/"), "target_mount": format!("{to}/"), "status": "success" });
        assert_eq!(status["data"]["migration_info"], info);
    }
    assert_eq!(server.root("GET", "db2/roles/app", Value::Null).await.status, 200);
    assert_eq!(server.root("GET", "db/roles/app", Value::Null).await.status, 404);
    assert_eq!(server.root("GET", "sys/mounts/db2", Value::Null).await.body["description"], "d");
    assert_eq!(server.root("GET", "auth/moved/role/r", Value::Null).await.status, 200);
    for (from, to) in [("none", "x"), ("db2", "sys/x"), ("db2", "auth/x"), ("db2", "db2")] {
        let refused = server.root("POST", "sys/remount", json!({ "from": from, "to": to })).await;
        assert_eq!(refused.status, 400, "{from} to {to}");
    }
}

#[tokio::test]
async fn login_methods_take_sudo_whatever_path_names_them() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    let policy = "path \"sys/mounts/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\"] }";
    let token = server.token_with("mounts", policy).await;
    for (method, path, body) in [
        ("POST", "sys/mounts/auth/other", json!({ "type": "userpass" })),
        ("DELETE", "sys/mounts/auth/userpass", Value::Null),
        ("GET", "sys/mounts/auth/userpass", Value::Null),
    ] {
        assert_eq!(server.ask(&token, method, path, body).await.status, 400, "{method} {path}");
    }
    let methods = server.root("GET", "sys/auth", Value::Null).await.body["data"].clone();
    assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["token/", "userpass/"]);
    let tuned = server.ask(&token, "GET", "sys/mounts/auth/userpass/tune", Value::Null).await;
    assert_eq!(tuned.status, 200, "settings are shown here, too");
}

#[tokio::test]
async fn a_slash_at_the_end_leads_past_no_rule() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    for role in ["app", "admin"] {
        server.root("POST", &format!("auth/approle/role/{role}"), json!({})).await;
    }
    let policy = "path \"auth/approle/role/*\" { capabilities = [\"read\", \"update\"] }\n\
                  path \"auth/approle/role/admin\" { capabilities = [\"deny\"] }";
    let token = server.token_with("roles", policy).await;
    for (path, status) in [("app", 200), ("app/", 200), ("admin", 403), ("admin/", 403), ("admin%2F", 403)] {
        let read = server.ask(&token, "GET", &format!("auth/approle/role/{path}"), Value::Null).await;
        assert_eq!(read.status, status, "{path}");
    }
    assert_eq!(server.ask(&token, "POST", "auth/approle/role/admin/", json!({})).await.status, 403);
    assert_eq!(server.root("PUT", "sys/seal/", Value::Null).await.status, 204);
    assert_eq!(server.ask("", "GET", "sys/seal-status", Value::Null).await.body["sealed"], json!(true));
}

#[tokio::test]
async fn the_catalogue_names_what_can_be_mounted() {
    let server = Server::start().await;
    let all = server.root("GET", "sys/plugins/catalog", Value::Null).await.body;
    let names = all["data"]["database"].as_array().unwrap();
    assert!(names.contains(&json!("postgresql-database-plugin")));
    assert!(all["data"]["detailed"].as_array().unwrap().iter().all(|row| row["builtin"] == true));
    let auth = server.root("LIST", "sys/plugins/catalog/auth", Value::Null).await.body;
    assert!(auth["data"]["keys"].as_array().unwrap().contains(&json!("kubernetes")));
    let one = server.root("GET", "sys/plugins/catalog/secret/database", Value::Null).await.body;
    assert_eq!((&one["data"]["name"], &one["data"]["builtin"]), (&json!("database"), &json!(true)));
    assert_eq!(server.root("GET", "sys/plugins/catalog/secret/none", Value::Null).await.status, 404);
    assert_eq!(server.root("LIST", "sys/plugins/catalog/none", Value::Null).await.status, 400);
    assert_eq!(server.root("PUT", "sys/plugins/catalog/secret/own", json!({ "sha256": "a" })).await.status, 400);
    assert_eq!(server.root("PUT", "sys/plugins/reload/backend", json!({ "plugin": "a" })).await.status, 204);
}

#[tokio::test]
async fn pages_of_named_origins_may_use_the_api() {
    let server = Server::start().await;
    let page = [("x-vault-token", "root"), ("origin", "https://a.example")];
    let off = server.raw("GET", "sys/mounts", &page, "").await;
    assert_eq!(off.status, 200);
    assert!(!off.response.headers.contains_key("access-control-allow-origin"));
    assert_eq!(server.root("PUT", "sys/config/cors", json!({ "allowed_origins": "*,https://a" })).await.status, 400);
    let body = json!({ "allowed_origins": ["https://a.example"], "allowed_headers": "X-Own" });
    assert_eq!(server.root("PUT", "sys/config/cors", body).await.status, 204);
    let read = server.root("GET", "sys/config/cors", Value::Null).await.body;
    assert_eq!((&read["enabled"], &read["data"]["allowed_origins"]), (&json!(true), &json!(["https://a.example"])));
    let on = server.raw("GET", "sys/mounts", &page, "").await;
    assert_eq!(on.response.headers["access-control-allow-origin"], "https://a.example");
    let other = server.raw("GET", "sys/mounts", &[("x-vault-token", "root"), ("origin", "https://b")], "").await;
    assert_eq!((other.status, other.error()), (403, "origin not allowed"));
    let asks = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    assert_eq!(server.raw("OPTIONS", "sys/mounts", &asks, "").await.status, 204);
    assert_eq!(server.root("DELETE", "sys/config/cors", Value::Null).await.status, 204);
    assert_eq!(server.root("GET", "sys/config/cors", Value::Null).await.body["data"], json!({ "enabled": false }));

    let header = "sys/config/ui/headers/X-Custom";
    assert_eq!(server.root("PUT", header, json!({ "values": ["a"] })).await.status, 204);
    assert_eq!(server.root("GET", header, Value::Null).await.body["data"], json!({ "value": "a" }));
    let list = server.root("LIST", "sys/config/ui/headers", Value::Null).await.body;
    assert_eq!(list["data"]["keys"], json!(["x-custom"]));
    assert_eq!(server.root("PUT", "sys/config/ui/headers/X-Vault-A", json!({ "values": "a" })).await.status, 400);
    assert_eq!(server.root("DELETE", header, Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_request_sees_itself_under_way() {
    let server = Server::start().await;
    let rows = server.root("GET", "sys/in-flight-req", Value::Null).await.body;
    let row = rows.as_object().unwrap().values().next().unwrap();
    assert_eq!((&row["request_path"], &row["request_method"]), (&json!("/v1/sys/in-flight-req"), &json!("GET")));
    let list = server.root("GET", "sys/leases?type=irrevocable", Value::Null).await.body;
    assert_eq!(list["data"], json!({ "lease_count": 0, "counts": {}, "leases": [] }));
    assert_eq!(server.root("GET", "sys/leases", Value::Null).await.status, 404);
}

/// Everything above, with what it takes: `sudo` or only the capability.
const ROUTES: &[(&str, &str, bool)] = &[
    ("LIST", "sys/version-history", false),
    ("GET", "sys/config/state/sanitized", false),
    ("GET", "sys/loggers", true),
    ("POST", "sys/loggers", true),
    ("LIST", "sys/namespaces", false),
    ("GET", "sys/namespaces/a", false),
    ("POST", "sys/namespaces/a", false),
    ("DELETE", "sys/namespaces/a", false),
    ("POST", "sys/namespaces/api-lock/lock/a", false),
    ("GET", "sys/internal/ui/namespaces", false),
    ("PUT", "sys/seal", true),
    ("PUT", "sys/step-down", true),
    ("PUT", "sys/rotate", true),
    ("PUT", "sys/rotate/keyring", true),
    ("GET", "sys/rotate/config", true),
    ("POST", "sys/rotate/config", true),
    ("GET", "sys/key-status", false),
    ("GET", "sys/generate-root-token/attempt", true),
    ("PUT", "sys/generate-root-token/attempt", true),
    ("DELETE", "sys/generate-root-token/attempt", true),
    ("PUT", "sys/generate-root-token/update", true),
    ("GET", "sys/rotate/root/init", true),
    ("PUT", "sys/rotate/root/init", true),
    ("PUT", "sys/rotate/root/update", true),
    ("GET", "sys/rotate/root/verify", true),
    ("PUT", "sys/rotate/recovery/init", true),
    ("POST", "sys/capabilities", false),
    ("POST", "sys/capabilities-accessor", false),
    ("POST", "sys/tools/random", false),
    ("GET", "sys/plugins/catalog", false),
    ("LIST", "sys/plugins/catalog/auth", false),
    ("GET", "sys/plugins/catalog/auth/token", true),
    ("PUT", "sys/plugins/reload/backend", false),
    ("LIST", "sys/quotas/rate-limit", true),
    ("GET", "sys/quotas/rate-limit/a", true),
    ("POST", "sys/quotas/rate-limit/a", true),
    ("DELETE", "sys/quotas/rate-limit/a", true),
    ("GET", "sys/quotas/config", true),
    ("POST", "sys/quotas/config", true),
    ("POST", "sys/remount", true),
    ("GET", "sys/remount/status/a", false),
    ("GET", "sys/leases?type=irrevocable", true),
    ("GET", "sys/in-flight-req", true),
    ("GET", "sys/host-info", false),
    ("GET", "sys/ha-status", false),
    ("GET", "sys/config/cors", true),
    ("PUT", "sys/config/cors", true),
    ("DELETE", "sys/config/cors", true),
    ("LIST", "sys/config/ui/headers", true),
    ("GET", "sys/config/ui/headers/a", true),
    ("PUT", "sys/config/ui/headers/a", true),
    ("DELETE", "sys/config/ui/headers/a", true),
];

#[tokio::test]
async fn no_route_is_open_to_who_lacks_the_right() {
    let server = Server::start().await;
    let all = "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }";
    server.root("PUT", "sys/policies/acl/nearly", json!({ "policy": all })).await;
    let nearly = server.token(json!({ "policies": ["nearly"] })).await;
    let nothing = server.token(json!({ "policies": ["default"] })).await;
    for (method, path, sudo) in ROUTES {
        for token in ["", "unknown", &nothing] {
            let refused = server.ask(token, method, path, Value::Null).await;
            assert_eq!(refused.status, 403, "{method} {path}");
        }
        let status = server.ask(&nearly, method, path, Value::Null).await.status;
        assert_eq!(status == 403, *sudo, "{method} {path} without sudo: {status}");
    }
    assert_eq!(server.root("GET", "sys/mounts", Value::Null).await.status, 200, "nobody has sealed it");
}

#[tokio::test]
async fn what_runs_here_since_when_and_how_is_told() {
    let server = Server::start().await;
    let history = server.root("LIST", "sys/version-history", Value::Null).await.body["data"].clone();
    let version = history["keys"][0].as_str().unwrap();
    assert!(history["key_info"][version]["timestamp_installed"].is_string(), "{history}");
    assert_eq!(history["key_info"][version]["previous_version"], Value::Null);
    let health = server.ask("", "GET", "sys/health", Value::Null).await.body;
    assert_eq!(health["version"], version);
    let config = server.root("GET", "sys/config/state/sanitized", Value::Null).await.body;
    assert_eq!(config["data"]["storage"]["type"], "inmem", "{config}");
    let wrong = server.root("POST", "sys/loggers", json!({ "level": "loud" })).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(server.root("GET", "sys/loggers/core", Value::Null).await.status, 400);
    assert!(server.root("GET", "sys/loggers", Value::Null).await.body["data"]["lessor"].is_string());
    assert_eq!(server.root("DELETE", "sys/loggers/lessor", Value::Null).await.status, 204);
}

#[tokio::test]
async fn answers_tell_what_a_quota_leaves_if_that_is_wished() {
    let server = Server::start().await;
    let limit = json!({ "path": "secret/", "rate": 2, "interval": "1h" });
    assert_eq!(server.root("POST", "sys/quotas/rate-limit/kv", limit).await.status, 204);
    let headers = async |path: &str| {
        let answer = server.root("GET", path, Value::Null).await;
        let text = |name: &str| answer.response.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let [limit, remaining, reset, retry] =
            ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"].map(text);
        (answer.status, limit, remaining, reset.is_some(), retry)
    };
    assert_eq!(headers("secret/data/x").await, (404, None, None, false, None));
    let told = json!({ "enable_rate_limit_response_headers": true });
    assert_eq!(server.root("POST", "sys/quotas/config", told).await.status, 204);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(headers("secret/data/x").await, (404, text("2"), text("0"), true, None));
    let refused = headers("secret/data/x").await;
    assert_eq!((refused.0, refused.2, refused.4.is_some()), (429, text("0"), true));
    assert_eq!(headers("sys/mounts").await, (200, None, None, false, None), "no quota is about it");
}
