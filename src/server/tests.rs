//! The API over real HTTP: envelopes, status codes and error texts as Vault's clients know them.

mod audit;
mod hangups;
mod identity;
mod kv;
mod logins;
mod namespaces;
mod sys;
mod tokens;
mod wrapping;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::dev::Dev;
use crate::base::Secret;
use crate::base::http::{HttpClient, HttpRequest, HttpResponse};
use crate::base::shutdown::{self, Trigger};
use crate::base::tls::ClientTls;
use crate::engine::Engine;

struct Server {
    url: String,
    http: HttpClient,
    engine: Arc<Engine>,
    _stop: Trigger,
}

struct Answered {
    status: u16,
    body: Value,
    response: HttpResponse,
}

impl Answered {
    fn error(&self) -> &str {
        self.body["errors"][0].as_str().unwrap_or_default()
    }
}

impl Server {
    async fn start() -> Self {
        let (stop, shutdown) = shutdown::channel();
        let dev = Dev::start("127.0.0.1:0".parse().unwrap(), Some(Secret::new("root")), shutdown).await.unwrap();
        let url = format!("http://{}/v1/", dev.address);
        let engine = dev.engine.clone();
        tokio::spawn(dev.serve());
        Self { url, http: HttpClient::new(&ClientTls::default()).unwrap(), engine, _stop: stop }
    }

    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let name = |name: &str| http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        let request = HttpRequest {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            url: format!("{}{path}", self.url),
            headers: headers.iter().map(|(key, value)| (name(key), value.parse().unwrap())).collect(),
            body: body.as_bytes().to_vec(),
            timeout: Duration::from_secs(10),
        };
        let response = self.http.send(request).await.unwrap();
        let body = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        Answered { status: response.status.as_u16(), body, response }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = if token.is_empty() { vec![] } else { vec![("x-vault-token", token)] };
        self.raw(method, path, &headers, &body).await
    }

    async fn root(&self, method: &str, path: &str, body: Value) -> Answered {
        self.ask("root", method, path, body).await
    }

    /// A token that a policy of this text alone describes.
    async fn token_with(&self, name: &str, policy: &str) -> String {
        let written = self.root("PUT", &format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
        assert_eq!(written.status, 204, "{}", written.body);
        self.token(json!({ "policies": [name], "no_default_policy": true })).await
    }

    async fn token(&self, body: Value) -> String {
        let made = self.root("POST", "auth/token/create", body).await;
        made.body["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn status_endpoints_need_no_token() {
    let server = Server::start().await;
    let codes =
        "activecode=299&drsecondarycode=299&performancestandbycode=299&sealedcode=299&standbycode=299&uninitcode=299";
    let health = server.ask("", "GET", &format!("sys/health?{codes}"), Value::Null).await;
    assert_eq!(health.status, 299, "the Agent's first request");
    for (key, value) in [("initialized", true), ("sealed", false), ("standby", false), ("performance_standby", false)] {
        assert_eq!(health.body[key], json!(value), "{key}");
    }
    assert_eq!(server.ask("", "GET", "sys/health?standbyok=true", Value::Null).await.status, 200);
    assert_eq!(server.ask("", "HEAD", "sys/health", Value::Null).await.status, 200);
    assert_eq!(server.ask("", "GET", "sys/health?activecode=x", Value::Null).await.status, 400);
    let wrong = server.ask("", "POST", "sys/health", Value::Null).await;
    assert_eq!((wrong.status, &wrong.body), (405, &json!({ "errors": [] })));
    let seal = server.ask("", "GET", "sys/seal-status", Value::Null).await;
    assert_eq!((seal.status, &seal.body["sealed"]), (200, &json!(false)));
    assert_eq!(server.ask("", "GET", "sys/init", Value::Null).await.body, json!({ "initialized": true }));
    let again = server.ask("", "PUT", "sys/init", json!({ "recovery_shares": 1, "recovery_threshold": 1 })).await;
    assert_eq!((again.status, again.error()), (400, "Vault is already initialized"));
}

#[tokio::test]
async fn errors_have_vaults_form() {
    let server = Server::start().await;
    let cases = [
        ("", "GET", "nothing/here", 403, "permission denied"),
        ("bad", "GET", "auth/token/lookup-self", 403, "permission denied"),
        ("root", "GET", "nothing/here", 404, "no handler for route \"nothing/here\". route entry not found."),
        ("root", "GET", "sys/nothing", 404, "1 error occurred:\n\t* unsupported path\n\n"),
        ("root", "DELETE", "sys/leases/lookup", 405, "1 error occurred:\n\t* unsupported operation\n\n"),
        ("root", "GET", "sys/mounts/none", 400, "No secret engine mount at none/"),
        ("root", "GET", "sys/auth/none", 400, "No auth engine at none/"),
        ("root", "GET", "sys/policies/acl/none", 404, ""),
        ("", "POST", "auth/none/login", 403, "permission denied"),
    ];
    for (token, method, path, status, text) in cases {
        let answer = server.ask(token, method, path, Value::Null).await;
        assert_eq!((answer.status, answer.error()), (status, text), "{method} {path}");
        assert_eq!(answer.response.headers["content-type"], "application/json");
        assert_eq!(answer.response.headers["cache-control"], "no-store");
    }
    let namespace = [("x-vault-token", "root"), ("x-vault-namespace", "team")];
    let answer = server.raw("GET", "sys/mounts", &namespace, "").await;
    assert_eq!((answer.status, answer.error()), (404, "namespace not found"));
    let empty = [("x-vault-token", "root"), ("x-vault-namespace", "")];
    assert_eq!(server.raw("GET", "sys/mounts", &empty, "").await.status, 200);
    assert_eq!(server.raw("GET", "sys//mounts", &empty, "").await.status, 307);
}

#[tokio::test]
async fn mounts_come_and_go_and_are_listed_twice() {
    let server = Server::start().await;
    let cli =
        json!({ "type": "database", "config": { "options": null, "default_lease_ttl": "0s", "max_lease_ttl": "2h" } });
    assert_eq!(server.root("POST", "sys/mounts/db", cli.clone()).await.status, 204);
    let taken = server.root("POST", "sys/mounts/db", cli).await;
    assert_eq!((taken.status, taken.error()), (400, "path is already in use at db/"));
    let list = server.root("GET", "sys/mounts", Value::Null).await.body;
    assert_eq!(list["db/"], list["data"]["db/"]);
    assert_eq!(list["db/"]["config"]["max_lease_ttl"], json!(7200));
    let tuned = server.root("GET", "sys/mounts/db/tune", Value::Null).await.body;
    assert_eq!((&tuned["default_lease_ttl"], &tuned["data"]["max_lease_ttl"]), (&json!(7200), &json!(7200)));
    assert_eq!(server.root("POST", "sys/mounts/db/tune", json!({ "description": "d" })).await.status, 204);
    let unknown = server.root("POST", "sys/mounts/x", json!({ "type": "nosuch" })).await;
    assert_eq!((unknown.status, unknown.error()), (400, "plugin not found in the catalog: nosuch"));
    let preflight = server.root("GET", "sys/internal/ui/mounts/db/creds/app", Value::Null).await;
    assert_eq!((preflight.status, &preflight.body["data"]["path"]), (200, &json!("db/")));
    let none = server.root("GET", "sys/internal/ui/mounts/none/a", Value::Null).await;
    assert_eq!(none.status, 403);
    for _ in 0..2 {
        assert_eq!(server.root("DELETE", "sys/mounts/db", Value::Null).await.status, 204);
    }
    assert_eq!(server.root("GET", "db/config", Value::Null).await.status, 404);
}

#[tokio::test]
async fn tokens_are_made_looked_up_prolonged_and_revoked() {
    let server = Server::start().await;
    let body = json!({ "policies": ["p"], "ttl": "1h", "meta": { "a": "b" }, "display_name": "x y" });
    let made = server.root("POST", "auth/token/create", body).await.body;
    let auth = &made["auth"];
    assert_eq!((&auth["lease_duration"], &auth["policies"]), (&json!(3600), &json!(["default", "p"])));
    for key in ["token_policies", "entity_id", "orphan", "accessor", "renewable", "metadata"] {
        assert!(!auth[key].is_null(), "{key} must be there");
    }
    assert_eq!(made["warnings"], json!(["Policy \"p\" does not exist"]));
    let token = auth["client_token"].as_str().unwrap();
    let own = server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.body;
    assert_eq!(own["data"]["display_name"], json!("token-x-y"));
    assert!(own["data"]["ttl"].as_u64().is_some_and(|ttl| (3500..=3600).contains(&ttl)));
    assert_eq!(own["data"]["id"], json!(token));
    let renewed = server.ask(token, "PUT", "auth/token/renew-self", json!({ "increment": "2h" })).await.body;
    assert_eq!(renewed["auth"]["lease_duration"], json!(7200));
    assert_eq!(renewed["auth"]["accessor"], auth["accessor"], "VSO syncs everything anew when it changes");
    let root = server.root("POST", "auth/token/renew-self", json!({})).await;
    assert_eq!((root.status, root.error()), (400, "lease is not renewable"));
    let child = server.ask(token, "POST", "auth/token/create", json!({})).await;
    assert_eq!(child.status, 403, "the default policy does not make tokens");
    assert_eq!(server.ask(token, "POST", "auth/token/revoke-self", json!({})).await.status, 204);
    assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 403);
    assert_eq!(server.root("POST", "auth/token/revoke", json!({ "token": "none" })).await.status, 204);
    let wrong = server.root("POST", "auth/token/create", json!({ "ttl": "1x" })).await;
    assert_eq!((wrong.status, wrong.error()), (400, "time: unknown unit \"x\" in duration \"1x\""));
}

#[tokio::test]
async fn a_token_with_one_use_has_one() {
    let server = Server::start().await;
    let token = server.token(json!({ "policies": ["default"], "num_uses": 1 })).await;
    let own = server.ask(&token, "GET", "auth/token/lookup-self", Value::Null).await;
    assert_eq!((own.status, &own.body["data"]["num_uses"]), (200, &json!(-1)));
    assert_eq!(server.ask(&token, "GET", "auth/token/lookup-self", Value::Null).await.status, 403);
}

#[tokio::test]
async fn policies_decide() {
    let server = Server::start().await;
    let text =
        "path \"sys/mounts\" { capabilities = [\"read\"] }\npath \"sys/policies/acl/*\" { capabilities = [\"list\"] }";
    assert_eq!(server.root("PUT", "sys/policies/acl/p", json!({ "policy": text })).await.status, 204);
    let read = server.root("GET", "sys/policies/acl/p", Value::Null).await.body;
    assert_eq!(read["data"], json!({ "name": "p", "policy": text }), "hvac compares the whole object");
    let list = server.root("GET", "sys/policies/acl?list=true", Value::Null).await.body;
    assert_eq!(list["data"]["keys"], json!(["default", "p", "root"]));
    let token = server.token(json!({ "policies": ["p"] })).await;
    assert_eq!(server.ask(&token, "GET", "sys/mounts", Value::Null).await.status, 200);
    let denied = server.ask(&token, "GET", "sys/auth", Value::Null).await;
    assert_eq!((denied.status, denied.error()), (403, "1 error occurred:\n\t* permission denied\n\n"));
    assert_eq!(server.ask(&token, "POST", "sys/mounts/x", json!({ "type": "database" })).await.status, 403);
    let paths = json!({ "paths": ["sys/mounts", "sys/auth"] });
    let own = server.ask(&token, "POST", "sys/capabilities-self", paths).await.body;
    assert_eq!((&own["sys/mounts"], &own["data"]["sys/auth"]), (&json!(["read"]), &json!(["deny"])));
    let wrong = server
        .root("PUT", "sys/policies/acl/bad", json!({ "policy": "path \"x\" { capabilities = [\"fly\"] }" }))
        .await;
    assert_eq!((wrong.status, wrong.error()), (400, "failed to parse policy: path \"x\": invalid capability \"fly\""));
    assert_eq!(server.root("DELETE", "sys/policies/acl/p", Value::Null).await.status, 204);
    assert_eq!(server.ask(&token, "GET", "sys/mounts", Value::Null).await.status, 403, "a change counts at once");
}

#[tokio::test]
async fn leases_that_do_not_exist_answer_as_clients_expect() {
    let server = Server::start().await;
    let cases = [
        ("PUT", "sys/leases/lookup", json!({ "lease_id": "none" }), 400, "invalid lease"),
        ("PUT", "sys/leases/lookup", json!({}), 400, "lease_id must be specified"),
        ("PUT", "sys/leases/renew", json!({ "lease_id": "none" }), 400, "lease not found"),
        ("PUT", "sys/renew", json!({ "lease_id": "none" }), 400, "lease not found"),
        ("PUT", "sys/leases/revoke", json!({ "lease_id": "none" }), 204, ""),
        ("PUT", "sys/leases/revoke/none", json!({ "sync": false }), 202, ""),
        ("PUT", "sys/leases/revoke-prefix/database", json!({}), 204, ""),
        ("PUT", "sys/revoke-prefix/database", Value::Null, 204, ""),
        ("LIST", "sys/leases/lookup/database/creds/none", Value::Null, 404, ""),
        (
            "PUT",
            "sys/lessor/workloads/end",
            json!({}),
            400,
            "missing uids: name the workloads that have ended by their Kubernetes UIDs",
        ),
    ];
    for (method, path, body, status, text) in cases {
        let answer = server.root(method, path, body).await;
        assert_eq!((answer.status, answer.error()), (status, text), "{method} {path}");
    }
}
