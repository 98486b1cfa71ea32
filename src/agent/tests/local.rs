//! The local API over real sockets: whose token goes along, what is kept, what is refused.

use http::{HeaderMap, HeaderName, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::base::http::{HttpClient, HttpRequest, HttpResponse};
use crate::base::tls::ClientTls;

struct Caller {
    http: HttpClient,
    base: String,
}

impl Caller {
    fn of(stage: &Stage) -> Self {
        Self { http: HttpClient::new(&ClientTls::default()).unwrap(), base: format!("http://{}", stage.addresses[0]) }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&'static str, &str)], body: &str) -> HttpResponse {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let (method, url) = (method.parse::<Method>().unwrap(), format!("{}{path}", self.base));
        let timeout = Duration::from_secs(10);
        self.http.send(HttpRequest { method, url, headers, body: body.as_bytes().to_vec(), timeout }).await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.ask("GET", path, &[("x-vault-request", "true")], "").await;
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

/// Returns when requests are passed on with the agent's token.
async fn logged_in(caller: &Caller) {
    for _ in 0..5000 {
        if caller.get("/v1/probe").await.0 != 503 {
            return;
        }
    }
    panic!("the agent does not log in");
}

fn listening(extra: Value) -> Value {
    let mut listener = json!({"type": "tcp", "address": "127.0.0.1:0", "tls_disable": true});
    listener.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"listener": [listener], "api_proxy": {"use_auto_auth_token": true}, "cache": {}})
}

const HEADER: (&str, &str) = ("x-vault-request", "true");

#[tokio::test]
async fn callers_without_a_token_get_the_agents_and_share_its_leases() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let stage = Stage::start(&engine, &["x"], listening(json!({}))).await;
    let caller = Caller::of(&stage);
    logged_in(&caller).await;
    let both = tokio::join!(caller.get("/v1/database/creds/app"), caller.get("/v1/database/creds/app"));
    assert_eq!((both.0.0, &both.0.1["data"]["username"]), (200, &json!("user-1")));
    assert_eq!(both.0, both.1, "the same at the same time is asked once");
    assert_eq!(engine.seen()[2].token, "s.token");
    let again = caller.ask("GET", "/v1/database/creds/app", &[], "").await;
    assert_eq!(again.headers["x-cache"], "HIT");
    assert_eq!(count(&engine, "GET database/creds/app"), 1);
    // Callers with a token of their own get an answer of their own.
    let other = caller.ask("GET", "/v1/database/creds/app", &[("x-vault-token", "s.caller")], "").await;
    assert!(!other.headers.contains_key("x-cache"));
    assert_eq!(engine.seen().last().unwrap().token, "s.caller");
    stage.clock.advance(Duration::from_secs(2530));
    eventually("a renewal", || count(&engine, "PUT sys/leases/renew") == 1).await;
    assert_eq!(engine.seen().last().unwrap().body["lease_id"], "database/creds/app/1");
    let body = r#"{"lease_id": "database/creds/app/1"}"#;
    assert_eq!(caller.ask("PUT", "/v1/sys/leases/revoke", &[], body).await.status.as_u16(), 204);
    assert_eq!(caller.get("/v1/database/creds/app").await.1["data"]["username"], "user-3", "not the revoked one");
    let cleared = caller.ask("POST", "/agent/v1/cache-clear", &[], r#"{"type": "all"}"#).await;
    assert_eq!(cleared.status.as_u16(), 200);
    assert_eq!(caller.get("/v1/database/creds/app").await.1["data"]["username"], "user-4");
    stage.finish().await.unwrap();
    let revoked = engine.seen().into_iter().rfind(|seen| seen.path == "sys/leases/revoke").unwrap();
    assert_eq!(revoked.body, json!({"lease_id": "database/creds/app/4", "sync": true}));
}

#[tokio::test]
async fn what_could_do_harm_is_refused() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let limits = json!({"require_request_header": true, "max_request_size": 10});
    let stage = Stage::start(&engine, &["x"], listening(limits)).await;
    let caller = Caller::of(&stage);
    logged_in(&caller).await;
    let status =
        async |method, path, headers: &[_], body| caller.ask(method, path, headers, body).await.status.as_u16();
    assert_eq!(status("GET", "/v1/kv/a", &[], "").await, 412);
    assert_eq!(status("PUT", "/v1/kv/a", &[HEADER], "more than ten").await, 413);
    assert_eq!(status("PUT", "/v1/auth/token/revoke-self", &[HEADER], "").await, 403);
    assert_eq!(status("POST", "/agent/v1/quit", &[HEADER], "").await, 404);
    assert_eq!(status("GET", "/elsewhere", &[HEADER], "").await, 404);
    assert_eq!(status("GET", "/v1/kv/a", &[HEADER], "").await, 204);
    assert_eq!(status("GET", "/ready", &[], "").await, 200);
    assert_eq!(engine.lines(), ["PUT auth/kubernetes/login", "GET probe", "GET kv/a"]);
}

#[tokio::test]
async fn without_a_login_requests_wait_for_nothing_and_quitting_may_be_allowed() {
    let engine = FakeEngine::start(|_| (503, json!({"errors": ["Vault is sealed"]}))).await;
    let stage = Stage::start(&engine, &[USER], listening(json!({"agent_api": {"enable_quit": true}}))).await;
    let caller = Caller::of(&stage);
    let (status, body) = caller.get("/v1/kv/a").await;
    assert_eq!((status, body), (503, json!({"errors": ["the agent has not logged in yet"]})));
    eventually("a failed login", || stage.state.borrow().cause.is_some()).await;
    let (status, body) = caller.get("/agent/v1/ready").await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert!(body["state"].as_str().unwrap().contains("not yet: cannot log in"), "{body}");
    assert_eq!(caller.ask("POST", "/agent/v1/quit", &[], "").await.status.as_u16(), 200);
    let ended = tokio::time::timeout(Duration::from_secs(10), stage.task).await.unwrap().unwrap();
    assert!(ended.unwrap_err().to_string().contains("told to stop"));
}

#[tokio::test]
async fn a_listener_may_be_a_file() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = json!({"type": "unix", "address": path, "socket_mode": "0660"});
    let extra = json!({"listener": [listener], "api_proxy": {"use_auto_auth_token": "force"}});
    let stage = Stage::start(&engine, &["x"], extra).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);
    let request = b"GET /v1/kv/a HTTP/1.1\r\nhost: x\r\nx-vault-token: s.mine\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    while !answer.starts_with("HTTP/1.1 204") {
        assert!(answer.is_empty() || answer.contains("not logged in yet"), "{answer}");
        answer.clear();
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
    }
    assert!(!stage.task.is_finished());
    assert_eq!(engine.seen().last().unwrap().token, "s.token", "the caller's is replaced");
}

#[tokio::test]
async fn ready_means_that_callers_are_answered() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let mut stage = Stage::start(&engine, &[], listening(json!({}))).await;
    stage.until_ready().await;
    assert_eq!(Caller::of(&stage).get("/v1/database/creds/app").await.0, 200, "the login is there");
    stage.finish().await.unwrap();
}
