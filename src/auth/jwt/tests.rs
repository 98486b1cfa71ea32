//! Logins with tokens that are signed here, with keys that are given or published.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::*;
use crate::auth::jws::signer::Signer;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::random::SystemRandom;
use crate::storage::memory::Memory;
use crate::wire::Caller;

const NOW: i64 = 1_700_000_000;

/// The claims of a token that is good, with some changed.
fn claims(changes: Value) -> Value {
    let mut claims = json!({ "iss": "https://i", "sub": "sam", "aud": "lessor", "iat": NOW, "exp": NOW + 600 });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

/// Publishes whatever set of keys it holds; counts how often it was asked.
#[derive(Clone)]
struct Publisher {
    url: String,
    state: Arc<Mutex<(u16, Value, u32)>>,
}

impl Publisher {
    async fn new(keys: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new((200, keys, 0)));
        let (shared, issuer) = (state.clone(), url.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, issuer) = (shared.clone(), issuer.clone());
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let mut state = shared.lock().unwrap();
                    let answer = match request.uri().path() {
                        "/jwks" => {
                            state.2 += 1;
                            json!({ "keys": state.1 })
                        }
                        _ => json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }),
                    };
                    let body = Full::new(Bytes::from(answer.to_string()));
                    let response = http::Response::builder().status(state.0).body(body).unwrap();
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, state }
    }

    fn publish(&self, status: u16, keys: Value) {
        let mut state = self.state.lock().unwrap();
        (state.0, state.1) = (status, keys);
    }

    fn asked(&self) -> u32 {
        self.state.lock().unwrap().2
    }
}

struct Fixture {
    method: Jwt,
    clock: ManualClock,
}

impl Fixture {
    async fn new(config: Value, role: Value) -> Self {
        let clock = ManualClock::new(Timestamp::from_second(NOW).unwrap());
        let view = View::new(Arc::new(Memory::default()), "jwt/");
        let method = Jwt {
            roles: Objects::new(view.clone(), "role/"),
            view,
            clock: Arc::new(clock.clone()),
            random: Arc::new(SystemRandom),
            mount: "jwt".into(),
            pending: Pending::default(),
            keyring: RwLock::default(),
        };
        let fixture = Self { method, clock };
        fixture.set("config", config).await.unwrap();
        let mut all =
            json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "lessor", "token_policies": "p" });
        all.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
        fixture.set("role/app", all).await.unwrap();
        fixture
    }

    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Outcome, Error> {
        let fields = body.as_object().cloned().unwrap_or_default().into();
        self.method.handle(Request { operation, path: path.into(), fields, caller: Caller::default() }).await
    }

    async fn set(&self, path: &str, body: Value) -> Result<(), String> {
        self.ask(Operation::Write, path, body).await.map(drop).map_err(|error| error.to_string())
    }

    async fn login(&self, jwt: &str) -> Result<Login, String> {
        match self.ask(Operation::Write, "login", json!({ "role": "APP", "jwt": jwt })).await {
            Ok(Outcome::Login(login)) => Ok(*login),
            Ok(_) => panic!("a login is one"),
            Err(error) => {
                let chain = crate::base::telemetry::chain(&error);
                assert!(!chain.contains(jwt.split('.').nth(1).unwrap_or("?")), "{chain}");
                Err(error.to_string())
            }
        }
    }
}

#[tokio::test]
async fn a_given_key_lets_its_tokens_in() {
    let (signer, other) = (Signer::new("a"), Signer::new("a"));
    let config =
        json!({ "jwt_validation_pubkeys": [signer.pem()], "bound_issuer": "https://i", "default_role": "app" });
    let role = json!({ "groups_claim": "groups", "claim_mappings": { "mail": "email" } });
    let fixture = Fixture::new(config, role).await;
    let login = fixture.login(&signer.sign(&claims(json!({ "groups": ["g"], "mail": "m@x" })))).await.unwrap();
    assert_eq!((login.display_name.as_str(), &login.groups[..]), ("jwt-sam", &["g".to_owned()][..]));
    let expected = [("role".to_owned(), "app".to_owned()), ("email".to_owned(), "m@x".to_owned())];
    assert_eq!((login.metadata, login.alias.unwrap().name.as_str()), (expected.into(), "sam"));
    let groups = json!({ "groups": [] });
    let headed = |header: Value| signer.sign_as(&header, &claims(groups.clone()));
    for (jwt, text) in [
        (other.sign(&claims(groups.clone())), "error validating token: no known key verifies the signature"),
        (headed(json!({ "alg": "none" })), "signed with an algorithm that is not allowed"),
        (headed(json!({ "alg": "HS256" })), "signed with an algorithm that is not allowed"),
        (headed(json!({ "alg": "RS256" })), "no known key verifies"),
        (headed(json!({ "alg": "ES256", "crit": ["b64"] })), "critical extensions"),
        (signer.sign(&claims(json!({ "iss": "x" }))), "invalid issuer"),
        (signer.sign(&claims(json!({ "exp": NOW - 60 }))), "token is expired"),
        (signer.sign(&claims(json!({ "aud": "x" }))), "invalid audience"),
        (signer.sign(&claims(json!({}))), "\"groups\" claim not found in token"),
        ("abc".to_owned(), "not a signed JWT"),
        (String::new(), "missing token"),
    ] {
        let error = fixture.login(&jwt).await.unwrap_err();
        assert!(error.contains(text), "{error}");
    }
    let unknown = fixture.ask(Operation::Write, "login", json!({ "role": "x", "jwt": "a" })).await.err().unwrap();
    assert_eq!(unknown.to_string(), "role \"x\" could not be found");
}

#[tokio::test]
async fn published_keys_may_change() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let publisher = Publisher::new(json!([old.jwk()])).await;
    let fixture = Fixture::new(json!({ "jwks_url": format!("{}/jwks", publisher.url) }), json!({})).await;
    assert!(fixture.login(&old.sign(&claims(json!({})))).await.is_ok());
    assert_eq!(publisher.asked(), 2, "once for the configuration, once for the login");
    publisher.publish(200, json!([new.jwk()]));
    assert!(fixture.login(&new.sign(&claims(json!({})))).await.is_err(), "not more often than every few seconds");
    fixture.clock.advance(Duration::from_secs(6));
    assert!(fixture.login(&new.sign(&claims(json!({})))).await.is_ok(), "an unknown key is looked for");
    assert!(fixture.login(&old.sign(&claims(json!({})))).await.is_err());
    let asked = publisher.asked();
    for _ in 0..20 {
        assert!(fixture.login(&Signer::new("nonsense").sign(&claims(json!({})))).await.is_err());
    }
    assert!(publisher.asked() <= asked + 1, "nonsense does not flood the provider");
    publisher.publish(503, json!([]));
    fixture.clock.advance(Duration::from_secs(3601));
    let fresh = json!({ "iat": NOW + 3600, "exp": NOW + 7200 });
    assert!(fixture.login(&new.sign(&claims(fresh.clone()))).await.is_ok(), "a provider that is down locks nobody out");
    publisher.publish(200, json!([old.jwk()]));
    fixture.clock.advance(Duration::from_secs(3601));
    assert!(
        fixture.login(&new.sign(&claims(fresh))).await.is_err(),
        "a key that was withdrawn is not believed for ever"
    );
}

#[tokio::test]
async fn a_provider_that_is_down_is_not_asked_by_every_login() {
    let signer = Signer::new("a");
    let publisher = Publisher::new(json!([signer.jwk()])).await;
    publisher.publish(503, json!([signer.jwk()]));
    let config = json!({ "jwks_url": format!("{}/jwks", publisher.url), "skip_jwks_validation": true });
    let fixture = Fixture::new(config, json!({})).await;
    let asked = publisher.asked();
    for _ in 0..20 {
        let error = fixture.login(&signer.sign(&claims(json!({})))).await.unwrap_err();
        assert_eq!(error, "cannot fetch the keys that tokens are checked with");
    }
    assert_eq!(publisher.asked(), asked + 1);
    publisher.publish(200, json!([signer.jwk()]));
    fixture.clock.advance(Duration::from_secs(6));
    assert!(fixture.login(&signer.sign(&claims(json!({})))).await.is_ok());
}

#[tokio::test]
async fn a_provider_is_found_by_its_address() {
    let signer = Signer::new("a");
    let publisher = Publisher::new(json!([signer.jwk()])).await;
    let fixture = Fixture::new(json!({ "oidc_discovery_url": publisher.url }), json!({})).await;
    assert!(fixture.login(&signer.sign(&claims(json!({ "iss": publisher.url })))).await.is_ok());
    let error = fixture.login(&signer.sign(&claims(json!({})))).await.unwrap_err();
    assert!(error.contains("invalid issuer"), "a provider speaks for itself only: {error}");
    let wrong =
        fixture.set("config", json!({ "oidc_discovery_url": format!("{}/x", publisher.url) })).await.unwrap_err();
    assert!(wrong.starts_with("error checking oidc discovery URL: the provider calls itself"), "{wrong}");
    publisher.publish(404, json!([]));
    let gone = fixture.set("config", json!({ "jwks_url": format!("{}/jwks", publisher.url) })).await.unwrap_err();
    assert!(gone.starts_with("error checking jwks URL") && gone.contains("404"), "{gone}");
}

#[tokio::test]
async fn a_browser_is_sent_only_where_the_role_says() {
    let publisher = Publisher::new(json!([])).await;
    let config = json!({ "oidc_discovery_url": publisher.url, "oidc_client_id": "me", "oidc_client_secret": "s" });
    let role = json!({ "role_type": "oidc", "allowed_redirect_uris": "http://localhost:8250/oidc/callback" });
    let fixture = Fixture::new(config, role).await;
    let url = async |redirect: &str| {
        let body = json!({ "role": "app", "redirect_uri": redirect, "client_nonce": "n" });
        match fixture.ask(Operation::Write, "oidc/auth_url", body).await.unwrap() {
            Outcome::Answer(answer) => answer.data.unwrap()["auth_url"].as_str().unwrap().to_owned(),
            _ => panic!("not yet"),
        }
    };
    assert_eq!(url("https://evil.example/").await, "");
    let redirect = "http://localhost:8250/oidc/callback";
    let long = json!({ "role": "app", "redirect_uri": redirect, "client_nonce": "n".repeat(1 << 20) });
    let refused = fixture.ask(Operation::Write, "oidc/auth_url", long).await.err().unwrap();
    assert_eq!(refused.to_string(), "\"client_nonce\" is longer than 2048 bytes");
    let page = url("http://localhost:8250/oidc/callback").await;
    let state = page.split("state=").nth(1).unwrap().replace("%5F", "_");
    let error = fixture.login("a.b.c").await.unwrap_err();
    assert_eq!(error, "role with oidc role_type is not allowed");
    let back = async |body: Value| fixture.ask(Operation::Read, "oidc/callback", body).await.err().unwrap().to_string();
    assert!(back(json!({ "state": "none", "code": "c" })).await.contains("Expired or missing OAuth state"));
    assert_eq!(back(json!({ "state": state, "code": "c", "client_nonce": "x" })).await, "invalid client_nonce");
    let again = back(json!({ "state": state, "code": "c", "client_nonce": "n" })).await;
    assert!(again.contains("Expired or missing OAuth state"), "a state is good once: {again}");
}
