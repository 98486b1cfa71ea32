//! Users made, changed and logged in.

use serde_json::{Value, json};

use super::*;
use crate::base::random::SystemRandom;
use crate::storage::View;
use crate::storage::memory::Memory;
use crate::wire::{Caller, Kind};

fn method() -> Userpass {
    Userpass {
        users: Objects::new(View::new(Arc::new(Memory::default()), "userpass/"), "user/"),
        hasher: Hasher::new(Arc::new(SystemRandom)),
        mount: "userpass".into(),
    }
}

impl Userpass {
    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Outcome, Error> {
        let fields = body.as_object().cloned().unwrap_or_default().into();
        self.handle(Request { operation, path: path.into(), fields, caller: Caller::default() }).await
    }

    async fn set(&self, path: &str, body: Value) -> Result<(), String> {
        self.ask(Operation::Write, path, body).await.map(drop).map_err(|error| error.to_string())
    }

    async fn show(&self, path: &str) -> Value {
        match self.ask(Operation::Read, path, Value::Null).await.unwrap() {
            Outcome::Answer(answer) => answer.data.unwrap(),
            _ => panic!("{path} is no login"),
        }
    }

    async fn logs_in(&self, name: &str, password: &str) -> Result<Login, Error> {
        match self.ask(Operation::Write, &format!("login/{name}"), json!({ "password": password })).await? {
            Outcome::Login(login) => Ok(*login),
            _ => panic!("a login is one"),
        }
    }
}

#[tokio::test]
async fn a_password_opens_and_can_be_changed() {
    let method = method();
    let user = json!({ "password": "pw", "policies": "P", "token_ttl": "1h" });
    method.set("users/Bob", user).await.unwrap();
    let login = method.logs_in("bOb", "pw").await.unwrap();
    assert_eq!((login.display_name.as_str(), login.metadata["username"].as_str()), ("userpass-bob", "bob"));
    assert_eq!((login.alias.unwrap().name.as_str(), login.token.token_ttl), ("bob", 3600));
    let read = method.show("users/bob").await;
    assert_eq!((&read["token_policies"], &read["policies"]), (&json!(["p"]), &json!(["p"])));
    assert!(!read.to_string().contains("hash") && !read.to_string().contains("$2"), "{read}");
    method.set("users/bob/password", json!({ "password": "new" })).await.unwrap();
    assert!(method.logs_in("bob", "pw").await.is_err() && method.logs_in("bob", "new").await.is_ok());
    method.set("users/bob/policies", json!({ "token_policies": "q", "token_ttl": "9h" })).await.unwrap();
    let read = method.show("users/bob").await;
    assert_eq!((&read["token_policies"], &read["token_ttl"]), (&json!(["q"]), &json!(3600)));
    method.set("users/bob", json!({ "token_ttl": "2h" })).await.unwrap();
    assert!(method.logs_in("bob", "new").await.is_ok(), "a change of settings leaves the password");
}

#[tokio::test]
async fn an_unknown_user_is_told_what_a_wrong_password_is_told() {
    let method = method();
    method.set("users/bob", json!({ "password": "pw" })).await.unwrap();
    for name in ["bob", "nobody"] {
        let error = method.logs_in(name, "no").await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Credentials, "invalid username or password"));
    }
    let long = "x".repeat(73);
    assert!(method.set("users/long", json!({ "password": long })).await.unwrap_err().contains("72 bytes"));
    let most = &long[..72];
    method.set("users/long", json!({ "password": most })).await.unwrap();
    assert!(method.logs_in("long", &long).await.is_err(), "bcrypt would look at its beginning only");
    assert!(method.logs_in("long", most).await.is_ok());
}

#[tokio::test]
async fn a_hash_can_be_brought_along() {
    let method = method();
    // htpasswd -bnBC 5 "" secret
    let hash = bcrypt::hash_with_salt("secret", 5, *b"0123456789abcdef").unwrap().to_string();
    method.set("users/a", json!({ "password_hash": hash.replace("$2b$", "$2y$") })).await.unwrap();
    assert!(method.logs_in("a", "secret").await.is_ok());
    for (body, text) in [
        (json!({ "password_hash": "plain" }), "must be a bcrypt hash"),
        (json!({ "password_hash": hash.replace("$05$", "$31$") }), "must be a bcrypt hash"),
        (json!({ "password_hash": hash, "password": "x" }), "not both"),
        (json!({ "token_policies": "p" }), "missing password"),
        (json!({ "password": "p", "token_bound_cidrs": "x" }), "token_bound_cidrs"),
    ] {
        let error = method.set("users/b", body).await.unwrap_err();
        assert!(error.contains(text), "{error}");
    }
    let unknown = method.set("users/none/password", json!({ "password": "x" })).await.unwrap_err();
    assert_eq!(unknown, "username does not exist");
}

#[tokio::test]
async fn a_token_is_renewed_while_its_user_gives_the_same() {
    let method = method();
    method.set("users/bob", json!({ "password": "pw", "token_policies": "p" })).await.unwrap();
    let login = method.logs_in("bob", "pw").await.unwrap();
    let policies = login.token.policies();
    let renews = async || {
        let renewal = Renewal { metadata: &login.metadata, policies: &policies, caller: &Caller::default() };
        method.check_renewal(&renewal).await
    };
    assert!(renews().await.is_ok());
    method.set("users/bob/policies", json!({ "token_policies": "p,q" })).await.unwrap();
    assert_eq!(renews().await.unwrap_err().to_string(), "policies have changed, not renewing");
    method.ask(Operation::Delete, "users/bob", Value::Null).await.unwrap();
    assert!(renews().await.is_err());
}
