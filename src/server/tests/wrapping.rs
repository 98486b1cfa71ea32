//! Response wrapping over HTTP: one answer, one token, one use.

use serde_json::{Value, json};

use super::{Answered, Server};

const INVALID: &str = "wrapping token is not valid or does not exist";

impl Server {
    async fn wrapped(&self, token: &str, method: &str, path: &str, ttl: &str, body: Value) -> Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut headers = vec![("x-vault-wrap-ttl", ttl)];
        if !token.is_empty() {
            headers.push(("x-vault-token", token));
        }
        self.raw(method, path, &headers, &body).await
    }

    /// The token that fetches the secret `secret/data/a`.
    async fn wrapping_token(&self) -> String {
        self.root("POST", "secret/data/a", json!({ "data": { "k": "v" } })).await;
        let answer = self.wrapped("root", "GET", "secret/data/a", "60s", Value::Null).await.body;
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }
}

fn named(token: &str) -> Value {
    json!({ "token": token })
}

#[tokio::test]
async fn the_caller_gets_a_token_instead_of_the_answer() {
    let server = Server::start().await;
    server.root("POST", "secret/data/a", json!({ "data": { "k": "v" } })).await;
    let wrapped = server.wrapped("root", "GET", "secret/data/a", "2m", Value::Null).await;
    let info = &wrapped.body["wrap_info"];
    assert_eq!((wrapped.status, &wrapped.body["data"], &wrapped.body["request_id"]), (200, &Value::Null, &json!("")));
    assert_eq!((&info["ttl"], &info["creation_path"]), (&json!(120), &json!("secret/data/a")));
    assert!(info.get("wrapped_accessor").is_none() && info["accessor"].as_str().unwrap().len() == 24);
    let token = info["token"].as_str().unwrap();
    // Asking about it needs no other token, and uses nothing up.
    for _ in 0..2 {
        let told = server.ask("", "POST", "sys/wrapping/lookup", named(token)).await;
        let expected =
            json!({ "creation_path": "secret/data/a", "creation_time": info["creation_time"], "creation_ttl": 120 });
        assert_eq!((told.status, &told.body["data"]), (200, &expected));
        assert_eq!(server.ask(token, "GET", "sys/wrapping/lookup", Value::Null).await.status, 200);
    }
    let answer = server.root("POST", "sys/wrapping/unwrap", named(token)).await;
    assert_eq!((answer.status, &answer.body["data"]["data"]), (200, &json!({ "k": "v" })));
    assert_eq!(answer.body["request_id"].as_str().map(str::len), Some(36));
    assert_eq!(answer.body["wrap_info"], Value::Null);
    for path in ["unwrap", "lookup", "rewrap"] {
        let used = server.root("POST", &format!("sys/wrapping/{path}"), named(token)).await;
        assert_eq!((used.status, used.error()), (400, INVALID), "{path}");
    }
    let lookup = server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await;
    assert_eq!(lookup.status, 403, "nothing is left of it");
}

#[tokio::test]
async fn of_many_who_unwrap_at_once_one_gets_it() {
    let server = Server::start().await;
    for by_itself in [true, false] {
        let token = server.wrapping_token().await;
        let unwrap = || async {
            match by_itself {
                true => server.ask(&token, "PUT", "sys/wrapping/unwrap", Value::Null).await,
                false => server.root("POST", "sys/wrapping/unwrap", named(&token)).await,
            }
        };
        let answers = futures_util::future::join_all((0..16).map(|_| unwrap())).await;
        let (got, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].body["data"]["data"]["k"], json!("v"));
        assert!(others.iter().all(|answer| (answer.status, answer.error()) == (400, INVALID)));
    }
}

#[tokio::test]
async fn a_wrapping_token_is_good_for_nothing_else() {
    let server = Server::start().await;
    let token = server.wrapping_token().await;
    assert_eq!(server.ask(&token, "GET", "secret/data/a", Value::Null).await.status, 403);
    let other = server.token(json!({ "policies": ["default"] })).await;
    let normal = server.ask(&other, "POST", "sys/wrapping/unwrap", Value::Null).await;
    assert_eq!((normal.status, normal.error()), (400, INVALID));
    assert_eq!(server.ask("", "POST", "sys/wrapping/unwrap", named(&token)).await.status, 403, "not without a token");
    let bare = server.token_with("nothing", "path \"a\" { capabilities = [\"read\"] }").await;
    for path in ["unwrap", "rewrap", "wrap"] {
        let denied = server.wrapped(&bare, "POST", &format!("sys/wrapping/{path}"), "1m", named(&token)).await;
        assert_eq!(denied.status, 403, "{path}");
    }
    let written = server.root("PUT", "sys/policies/acl/response-wrapping", json!({ "policy": "path \"a\" {}" })).await;
    assert_eq!((written.status, written.error()), (400, "cannot update \"response-wrapping\" policy"));
    let made = server.root("POST", "auth/token/create", json!({ "policies": ["response-wrapping"] })).await;
    assert_eq!((made.status, made.error()), (400, "cannot assign policy \"response-wrapping\""));
    // All that has not used it up. The old way of unwrapping is to read it.
    let read = server.ask(&token, "GET", "cubbyhole/response", Value::Null).await;
    let inner: Value = serde_json::from_str(read.body["data"]["response"].as_str().unwrap()).unwrap();
    assert_eq!(inner["data"]["data"]["k"], json!("v"));
    assert_eq!(server.ask(&token, "GET", "cubbyhole/response", Value::Null).await.status, 403);
}

#[tokio::test]
async fn rewrapping_changes_the_token_only() {
    let server = Server::start().await;
    let first = server.wrapping_token().await;
    let again = server.root("POST", "sys/wrapping/rewrap", named(&first)).await;
    let info = &again.body["wrap_info"];
    assert_eq!((&info["ttl"], &info["creation_path"]), (&json!(60), &json!("secret/data/a")));
    let second = info["token"].as_str().unwrap();
    assert_ne!(first, second);
    assert_eq!(server.root("POST", "sys/wrapping/unwrap", named(&first)).await.error(), INVALID);
    let answer = server.root("POST", "sys/wrapping/unwrap", named(second)).await;
    assert_eq!(answer.body["data"]["data"]["k"], json!("v"));
}

#[tokio::test]
async fn logins_and_new_tokens_are_wrapped_with_their_accessor() {
    let server = Server::start().await;
    server.root("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    server.root("POST", "auth/approle/role/r", json!({ "token_policies": "p" })).await;
    let role_id = server.root("GET", "auth/approle/role/r/role-id", Value::Null).await.body["data"]["role_id"].clone();
    let secret_id = server.wrapped("root", "POST", "auth/approle/role/r/secret-id", "5m", json!({})).await;
    let secret_id = secret_id.body["wrap_info"]["token"].as_str().unwrap().to_owned();
    // Only the wrapping token reaches the machine.
    let unwrapped = server.ask(&secret_id, "POST", "sys/wrapping/unwrap", Value::Null).await;
    let login = json!({ "role_id": role_id, "secret_id": unwrapped.body["data"]["secret_id"] });
    let wrapped = server.wrapped("", "POST", "auth/approle/login", "1m", login).await;
    assert_eq!((wrapped.status, &wrapped.body["auth"]), (200, &Value::Null));
    let info = &wrapped.body["wrap_info"];
    let auth = server.ask(info["token"].as_str().unwrap(), "POST", "sys/wrapping/unwrap", Value::Null).await;
    assert_eq!(auth.body["auth"]["accessor"], info["wrapped_accessor"]);
    let token = auth.body["auth"]["client_token"].as_str().unwrap();
    assert_eq!(server.ask(token, "GET", "auth/token/lookup-self", Value::Null).await.status, 200);
}

#[tokio::test]
async fn data_of_ones_own_can_be_wrapped() {
    let server = Server::start().await;
    let plain = server.root("POST", "sys/wrapping/wrap", json!({ "a": 1 })).await;
    assert_eq!((plain.status, plain.error()), (400, "endpoint requires response wrapping to be used"));
    let wrapped = server.wrapped("root", "POST", "sys/wrapping/wrap", "300", json!({ "a": 1 })).await;
    let token = wrapped.body["wrap_info"]["token"].as_str().unwrap();
    let answer = server.root("POST", "sys/wrapping/unwrap", named(token)).await;
    assert_eq!(answer.body["data"], json!({ "a": 1 }));
    let nothing = server.wrapped("root", "DELETE", "secret/metadata/none", "1m", Value::Null).await;
    assert_eq!(nothing.status, 204, "there is nothing to wrap");
    let missing = server.wrapped("root", "GET", "secret/data/none", "1m", Value::Null).await;
    assert_eq!((missing.status, &missing.body), (404, &json!({ "errors": [] })));
    for (ttl, text) in [
        ("abc", "error parsing X-Vault-Wrap-TTL header: time: invalid duration \"abc\""),
        ("-1s", "error parsing X-Vault-Wrap-TTL header: negative duration \"-1s\""),
    ] {
        let wrong = server.wrapped("root", "GET", "secret/data/a", ttl, Value::Null).await;
        assert_eq!((wrong.status, wrong.error()), (400, text));
    }
}

#[tokio::test]
async fn a_policy_may_insist_on_wrapping_and_on_its_ttl() {
    let server = Server::start().await;
    server.root("POST", "secret/data/a", json!({ "data": { "k": "v" } })).await;
    let policy = "path \"secret/data/a\" {\n capabilities = [\"read\"]\n min_wrapping_ttl = \"1m\"\n max_wrapping_ttl = \"5m\"\n}";
    let token = server.token_with("wrapped", policy).await;
    assert_eq!(server.ask(&token, "GET", "secret/data/a", Value::Null).await.status, 403, "not unwrapped");
    for (ttl, status) in [("30s", 403), ("1m", 200), ("300", 200), ("301", 403)] {
        assert_eq!(server.wrapped(&token, "GET", "secret/data/a", ttl, Value::Null).await.status, status, "{ttl}");
    }
}
