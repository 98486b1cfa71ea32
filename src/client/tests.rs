//! The client against a scripted engine.

use std::time::Duration;

use super::testing::{FakeEngine, Reply};
use super::*;
use crate::base::Timestamp;
use crate::base::clock::ManualClock;
use crate::base::random::SeededRandom;

fn client(address: &str) -> (Client, ManualClock) {
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let config = ClientConfig { namespace: Some("team".into()), ..ClientConfig::new(address) };
    (Client::new(config, Arc::new(clock.clone()), Arc::new(SeededRandom::new(1))).unwrap(), clock)
}

#[tokio::test]
async fn calls_look_like_the_go_clients() {
    let engine = FakeEngine::start(|seen| match seen.path.as_str() {
        "auth/kubernetes/login" => (200, json!({"auth": {"client_token": "s.t", "lease_duration": 60}})),
        "sys/leases/renew" => (200, json!({"lease_id": "a/b", "lease_duration": 3600})),
        "sys/leases/revoke" => (204, Value::Null),
        _ => (200, json!({"data": {"keys": ["x"]}})),
    })
    .await;
    let (client, _) = client(&engine.address);
    let auth = client.login("auth/kubernetes/", &json!({"role": "app", "jwt": "j"})).await.unwrap();
    assert_eq!(auth.client_token, "s.t");
    let client = client.with_token(auth.client_token.into());
    assert_eq!(client.renew_lease("a/b", None).await.unwrap().lease_duration, 3600);
    client.revoke_lease("a/b", true).await.unwrap();
    client.list("database/roles").await.unwrap().unwrap();
    assert_eq!(
        engine.lines(),
        ["PUT auth/kubernetes/login", "PUT sys/leases/renew", "PUT sys/leases/revoke", "GET database/roles?list=true"]
    );
    let seen = engine.seen();
    assert_eq!((seen[0].token.as_str(), seen[1].token.as_str()), ("", "s.t"));
    assert_eq!(seen[1].body, json!({"lease_id": "a/b", "increment": 0}));
    assert!(
        seen.iter()
            .all(|seen| seen.headers["x-vault-request"] == "true" && seen.headers["x-vault-namespace"] == "team")
    );
}

#[tokio::test]
async fn a_refusal_keeps_status_and_words_and_is_not_repeated() {
    let engine = FakeEngine::start(|_| (403, json!({"errors": ["permission denied"]}))).await;
    let (client, _) = client(&engine.address);
    let error = client.with_token("s.canary".into()).read("database/creds/app?x=1").await.unwrap_err();
    assert_eq!(error.to_string(), "database/creds/app: permission denied (HTTP 403)");
    assert!(error.is_denied() && !format!("{error:?}").contains("canary"));
    assert_eq!(engine.lines().len(), 1);
}

#[tokio::test]
async fn a_server_error_is_repeated_twice_and_then_reported() {
    let engine = FakeEngine::start(|_| (503, json!({"errors": ["Vault is sealed"]}))).await;
    let (client, clock) = client(&engine.address);
    let call = tokio::spawn(async move { client.read("a").await });
    for attempt in 1..=2 {
        while engine.lines().len() < attempt {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The waiting starts only after the answer was read, hence several small steps.
        while engine.lines().len() == attempt {
            clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.status(), error.retryable(), engine.lines().len()), (Some(503), true, 3));
}

#[tokio::test]
async fn one_redirect_is_followed_with_method_body_and_token() {
    let active = FakeEngine::start(|_| (204, Value::Null)).await;
    let target = format!("{}/v1/a", active.address);
    let standby = FakeEngine::start(move |_| Reply {
        status: 307,
        body: Value::Null,
        headers: vec![("location", target.clone())],
    })
    .await;
    let (client, _) = client(&standby.address);
    assert!(client.with_token("s.t".into()).write("a", &json!({"k": "v"})).await.unwrap().is_none());
    let seen = &active.seen()[0];
    assert_eq!((seen.line().as_str(), seen.token.as_str(), &seen.body), ("PUT a", "s.t", &json!({"k": "v"})));
}

#[tokio::test]
async fn a_raw_answer_is_taken_whatever_its_status() {
    let engine = FakeEngine::start(|_| (501, json!({"initialized": false}))).await;
    let (client, _) = client(&engine.address);
    let answer = client.raw(Method::GET, "sys/health", None).await.unwrap();
    assert_eq!(answer, RawAnswer { status: 501, body: json!({"initialized": false}) });
}

#[tokio::test]
async fn an_answer_of_another_shape_is_not_quoted() {
    let engine = FakeEngine::start(|_| (200, json!({"lease_duration": "canary"}))).await;
    let (client, _) = client(&engine.address);
    let error = client.read("a").await.unwrap_err();
    assert!(error.to_string().contains("JSON of another shape"), "{error}");
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn an_address_without_a_scheme_is_refused_by_name() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let made = Client::new(ClientConfig::new("engine:8200"), clock, Arc::new(SeededRandom::new(1)));
    assert!(made.unwrap_err().to_string().contains("\"engine:8200\" is no http:// or https:// URL"));
}
