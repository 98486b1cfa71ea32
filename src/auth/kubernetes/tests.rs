//! Logins against an API server that answers what a test tells it to.

use std::convert::Infallible;
use std::sync::Mutex;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::*;
use crate::auth::jws::signer::Signer;
use crate::auth::{LeaseOwner, Login, Workload};
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::telemetry;
use crate::storage::memory::Memory;

const NOW: i64 = 1_700_000_000;

/// What the API server saw: the bearer and the review's spec.
type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// Serves TokenReviews with one fixed answer; its address and what it saw.
async fn api_server(status: u16, answer: Value) -> (String, Seen) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, answer) = (kept.clone(), answer.to_string());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (seen, answer) = (seen.clone(), answer.clone());
                async move {
                    if request.uri().path() == "/api/v1/namespaces/ns" {
                        let labels = json!({ "metadata": { "name": "ns", "labels": { "team": "shop" } } }).to_string();
                        return Ok(http::Response::new(Full::new(Bytes::from(labels))));
                    }
                    assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
                    let bearer = request.headers()["authorization"].to_str().unwrap().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let review: Value = serde_json::from_slice(&body).unwrap();
                    seen.lock().unwrap().push((bearer, review["spec"].clone()));
                    let response = http::Response::builder().status(status).body(Full::new(Bytes::from(answer)));
                    Ok::<_, Infallible>(response.unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, seen)
}

fn accepted(audiences: &[&str]) -> Value {
    json!({"status": {"authenticated": true, "audiences": audiences,
        "user": {"username": "system:serviceaccount:ns:sa", "uid": "sa-uid"}}})
}

fn accepted_pod() -> Value {
    let mut review = accepted(&["lessor"]);
    review["status"]["user"]["extra"] = json!({"authentication.kubernetes.io/pod-name": ["pod-1"], "authentication.kubernetes.io/pod-uid": ["pod-uid"]});
    review
}

/// The claims of a token of `ns/sa`, with some changed.
fn claims_with(changes: Value) -> Value {
    let mut claims = json!({"aud": ["lessor"], "exp": NOW + 600, "iss": "https://issuer",
        "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "sa-uid"}}});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A token of `ns/sa`, with the given claims changed, that nobody signed.
fn jwt(changes: Value) -> String {
    let claims = claims_with(changes);
    format!("e30.{}.canary-signature", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string()))
}

struct Fixture {
    method: Kubernetes,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// A method without configuration, in a pod whose files are missing.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let view = View::new(Arc::new(Memory::default()), "kubernetes/");
        let method = Kubernetes {
            roles: Objects::new(view.clone(), "role/"),
            view,
            clock: Arc::new(ManualClock::new(Timestamp::from_second(NOW).unwrap())),
            mount: "kubernetes".into(),
            reviewer: Reviewer::default(),
            pod: PodFiles { ca: folder.path().join("ca.crt"), token: folder.path().join("token") },
        };
        Self { method, folder }
    }

    /// A method for `host` with the role `app`, which the settings change.
    async fn ready(host: &str, settings: Value) -> Self {
        let fixture = Self::new();
        fixture.write("config", json!({"kubernetes_host": host})).await.unwrap();
        let mut role = json!({"bound_service_account_names": "sa", "bound_service_account_namespaces": "ns",
            "audience": "lessor", "token_policies": "p"});
        for (name, value) in settings.as_object().unwrap() {
            role[name] = value.clone();
        }
        fixture.write("role/app", role).await.unwrap();
        fixture
    }

    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Outcome, Error> {
        let fields = body.as_object().cloned().unwrap_or_default().into();
        self.method.handle(Request { operation, path: path.into(), fields, caller: Default::default() }).await
    }

    async fn write(&self, path: &str, body: Value) -> Result<Answer, (u16, String)> {
        match self.ask(Operation::Write, path, body).await {
            Ok(Outcome::Answer(answer)) => Ok(answer),
            Ok(_) => panic!("{path} is no login"),
            Err(error) => Err((error.status(), error.messages().join("|"))),
        }
    }

    async fn read(&self, path: &str) -> Value {
        match self.ask(Operation::Read, path, json!({})).await.unwrap() {
            Outcome::Answer(answer) => answer.data.unwrap(),
            _ => panic!("{path} is no login"),
        }
    }

    async fn login(&self, body: Value) -> Result<Login, Error> {
        match self.ask(Operation::Write, "login", body).await? {
            Outcome::Login(login) => Ok(*login),
            _ => panic!("a login answers with a login"),
        }
    }

    async fn login_with(&self, jwt: String) -> Result<Login, Error> {
        self.login(json!({"role": "app", "jwt": jwt})).await
    }

    /// Status, text, and the cause as it would be logged.
    async fn refused(&self, body: Value) -> (u16, String, String) {
        let error = self.login(body).await.unwrap_err();
        let log = telemetry::chain(&error);
        assert!(!log.contains("canary") && !error.to_string().contains("canary"), "{log}");
        (error.status(), error.messages().join("|"), log)
    }
}

#[tokio::test]
async fn a_reviewed_token_logs_in() {
    let (host, seen) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({})).await;
    let token = jwt(json!({}));
    let login = f.login_with(token.clone()).await.unwrap();
    assert_eq!(login.display_name, "kubernetes-ns-sa");
    assert_eq!((login.token.token_policies, login.owner), (vec!["p".to_owned()], LeaseOwner::Token));
    assert_eq!(
        serde_json::to_value(&login.metadata).unwrap(),
        json!({"role": "app", "service_account_name": "sa", "service_account_namespace": "ns",
            "service_account_uid": "sa-uid", "service_account_secret_name": ""})
    );
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, [(format!("Bearer {token}"), json!({"token": token, "audiences": ["lessor"]}))]);
}

#[tokio::test]
async fn the_reviewers_token_is_the_configured_one_else_the_pods_read_anew() {
    let (host, seen) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({})).await;
    for own in ["first", "rotated\n"] {
        std::fs::write(f.folder.path().join("token"), own).unwrap();
        f.login_with(jwt(json!({}))).await.unwrap();
    }
    f.write("config", json!({"kubernetes_host": host, "token_reviewer_jwt": "configured"})).await.unwrap();
    f.login_with(jwt(json!({}))).await.unwrap();
    let bearers: Vec<_> = seen.lock().unwrap().iter().map(|(bearer, _)| bearer.clone()).collect();
    assert_eq!(bearers, ["Bearer first", "Bearer rotated", "Bearer configured"]);
    assert_eq!(f.read("config").await["token_reviewer_jwt_set"], true);
    assert!(!f.read("config").await.to_string().contains("configured"));
}

#[tokio::test]
async fn without_an_audience_the_tokens_own_is_reviewed() {
    let (host, seen) = api_server(201, accepted(&["b"])).await;
    let f = Fixture::ready(&host, json!({"audience": ""})).await;
    f.login_with(jwt(json!({"aud": ["a", "b"]}))).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].1["audiences"], json!(["a", "b"]));
    let (status, text, log) = f.refused(json!({"role": "app", "jwt": jwt(json!({"aud": "c"}))})).await;
    assert_eq!((status, text.as_str()), (403, "permission denied"));
    assert!(log.contains("valid for the audiences [\"b\"], not for [\"c\"]"), "{log}");
}

#[tokio::test]
async fn leases_belong_to_the_pod_that_the_cluster_names() {
    let (host, _) = api_server(201, accepted_pod()).await;
    let f = Fixture::ready(&host, json!({"lease_owner": "workload"})).await;
    // Unreviewed claims and fields of the request must not win over the review.
    let forged = jwt(json!({"kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "sa-uid"},
        "pod": {"name": "other", "uid": "other"}}}));
    let login = f.login(json!({"role": "app", "jwt": forged})).await.unwrap();
    let (namespace, name, service_account) = ("ns".into(), "pod-1".into(), "sa".into());
    let pod = Workload { uid: "pod-uid".into(), namespace, name, service_account, pod: true, login: None };
    assert_eq!(login.owner, LeaseOwner::Workload(pod));
    assert_eq!((login.metadata["pod_name"].as_str(), login.metadata["pod_uid"].as_str()), ("pod-1", "pod-uid"));
    assert_eq!(login.metadata["lease_owner"], "workload");
    assert_eq!(f.read("role/app").await["lease_owner"], "workload");

    let f = Fixture::ready(&host, json!({})).await;
    assert_eq!(f.login_with(jwt(json!({}))).await.unwrap().owner, LeaseOwner::Token);
}

#[tokio::test]
async fn for_what_is_no_pod_each_request_names_the_workload() {
    let (host, _) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({"lease_owner": "workload"})).await;
    let login = f.login_with(jwt(json!({}))).await.unwrap();
    assert_eq!(
        login.owner,
        LeaseOwner::Requester { namespace: "ns".into(), service_account: "sa".into(), login: None }
    );
    assert_eq!(login.metadata.get("lease_owner"), None, "without a name the lease is the token's");
}

#[tokio::test]
async fn a_token_is_refused_before_the_review_where_that_is_possible() {
    let (host, seen) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({"bound_service_account_names": ["sa", "other-*"]})).await;
    let account = |ns: &str, name: &str| {
        jwt(json!({"kubernetes.io": {"namespace": ns, "serviceaccount": {"name": name, "uid": "sa-uid"}}}))
    };
    for (body, status, expected) in [
        (json!({"role": "app"}), 400, "missing jwt"),
        (json!({"jwt": "x"}), 400, "missing role"),
        (json!({"role": "none", "jwt": "x"}), 400, "invalid role name \"none\""),
        (json!({"role": "a/b", "jwt": "x"}), 400, "invalid role name \"a/b\""),
        (json!({"role": "app", "jwt": "canary"}), 403, "permission denied"),
        (json!({"role": "app", "jwt": jwt(json!({"exp": NOW - 600}))}), 403, "permission denied"),
        (
            json!({"role": "app", "jwt": jwt(json!({"aud": "other"}))}),
            403,
            "invalid audience (aud) claim: audience claim does not match any expected audience",
        ),
        (json!({"role": "app", "jwt": account("ns", "else")}), 403, "service account name not authorized"),
        (json!({"role": "app", "jwt": account("else", "sa")}), 403, "namespace not authorized"),
    ] {
        let (got, text, log) = f.refused(body).await;
        assert_eq!((got, text.as_str()), (status, expected), "{log}");
    }
    assert!(seen.lock().unwrap().is_empty());
    // The review still has to be of the same account.
    let (status, _, log) = f.refused(json!({"role": "app", "jwt": account("ns", "other-1")})).await;
    assert_eq!(status, 403);
    assert!(log.contains("claims to be of ns/other-1 (sa-uid), the cluster says ns/sa (sa-uid)"), "{log}");
}

#[tokio::test]
async fn accounts_bound_by_both_names_admit_no_other_combination() {
    let (host, seen) = api_server(201, accepted(&["lessor"])).await;
    let only = |accounts: Value| {
        json!({"bound_service_account_names": [], "bound_service_account_namespaces": [],
            "bound_service_accounts": accounts})
    };
    let f = Fixture::ready(&host, only(json!(["ns/other", "else/sa"]))).await;
    let (status, text, _) = f.refused(json!({"role": "app", "jwt": jwt(json!({}))})).await;
    assert_eq!((status, text.as_str()), (403, "service account name not authorized"));
    assert!(seen.lock().unwrap().is_empty());
    for accounts in [json!(["else/*", "ns/sa"]), json!("ns/*")] {
        f.write("role/app", only(accounts.clone())).await.unwrap();
        f.login_with(jwt(json!({}))).await.unwrap();
        assert!(f.read("role/app").await["bound_service_accounts"].is_array());
    }
    let half = json!({"bound_service_account_names": ["sa"]});
    let (status, text) = f.write("role/app", half).await.unwrap_err();
    assert_eq!((status, text.as_str()), (400, "\"bound_service_account_namespaces\" can not be empty"));
    // Without accounts nothing of it is told, so that clients of Vault see what they know.
    f.write(
        "role/app",
        json!({"bound_service_account_names": "sa", "bound_service_account_namespaces": "ns",
        "bound_service_accounts": []}),
    )
    .await
    .unwrap();
    assert_eq!(f.read("role/app").await.get("bound_service_accounts"), None);
}

#[tokio::test]
async fn a_failed_review_is_refused_and_its_cause_is_in_the_log() {
    let not_ours = json!({"status": {"authenticated": true, "audiences": ["lessor"], "user": {"username": "alice"}}});
    let invalid = json!({"status": {"error": "[invalid bearer token]"}});
    let forbidden = json!({"kind": "Status", "message": "tokenreviews is forbidden"});
    for (api_status, answer, status, cause) in [
        (201, invalid, 403, "the cluster does not accept the token: [invalid bearer token]"),
        (201, json!({}), 403, "no reason given"),
        (201, not_ours, 403, "\"alice\", which is no ServiceAccount"),
        (201, accepted(&[]), 403, "valid for the audiences [], not for [\"lessor\"]"),
        (403, forbidden, 403, "403 Forbidden: tokenreviews is forbidden"),
        (401, json!({}), 403, "system:auth-delegator"),
        (503, json!({"message": "starting"}), 502, "503 Service Unavailable: starting"),
    ] {
        let (host, _) = api_server(api_status, answer).await;
        let f = Fixture::ready(&host, json!({})).await;
        let (got, text, log) = f.refused(json!({"role": "app", "jwt": jwt(json!({}))})).await;
        assert_eq!(got, status, "{log}");
        assert!(log.contains(cause), "{log}");
        assert!(status != 403 || text == "permission denied");
    }
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let f = Fixture::ready(&format!("http://{unused}"), json!({})).await;
    let (status, _, log) = f.refused(json!({"role": "app", "jwt": jwt(json!({}))})).await;
    assert!(status == 502 && log.contains("cannot be reached"), "{status} {log}");
}

#[tokio::test]
async fn the_issuer_is_checked_where_that_is_asked_for() {
    let (host, _) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({})).await;
    let config = |issuer: &str| json!({"kubernetes_host": host, "disable_iss_validation": false, "issuer": issuer});
    f.write("config", config("https://issuer")).await.unwrap();
    f.login_with(jwt(json!({}))).await.unwrap();
    f.write("config", config("")).await.unwrap();
    let (status, _, log) = f.refused(json!({"role": "app", "jwt": jwt(json!({}))})).await;
    assert!(status == 403 && log.contains("issuer is \"https://issuer\""), "{log}");
}

#[tokio::test]
async fn with_keys_only_tokens_that_they_signed_are_reviewed() {
    let (host, seen) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({})).await;
    let (first, second, other) = (Signer::new("a"), Signer::new("b"), Signer::new("a"));
    let keys = json!([first.pem(), second.pem()]);
    f.write("config", json!({"kubernetes_host": host, "pem_keys": keys})).await.unwrap();
    assert_eq!(f.read("config").await["pem_keys"], keys);
    let claims = claims_with(json!({}));
    for signer in [&first, &second] {
        f.login_with(signer.sign(&claims)).await.unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), 2, "the cluster is asked all the same");
    for (token, cause) in [
        (other.sign(&claims), "not of one of \"pem_keys\""),
        (jwt(json!({})), "not a signed JWT"),
        (first.sign_as(&json!({"alg": "none"}), &claims), "an algorithm that is not allowed"),
    ] {
        let (status, text, log) = f.refused(json!({"role": "app", "jwt": token})).await;
        assert_eq!((status, text.as_str()), (403, "permission denied"));
        assert!(log.contains(cause), "{log}");
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    f.write("config", json!({"kubernetes_host": host})).await.unwrap();
    assert_eq!(f.read("config").await["pem_keys"], json!([]));
    f.login_with(other.sign(&claims)).await.unwrap();
}

#[tokio::test]
async fn configuration_is_checked_when_it_is_written() {
    let f = Fixture::new();
    let host = "https://127.0.0.1:1";
    let (status, text, _) = f.refused(json!({"role": "none", "jwt": "x"})).await;
    assert_eq!((status, text.as_str()), (400, "invalid role name \"none\""));
    for (body, expected) in [
        (json!({}), "no host provided"),
        (
            json!({"kubernetes_host": host, "disable_local_ca_jwt": true, "kubernetes_ca_cert": ""}),
            "kubernetes_ca_cert must be given when disable_local_ca_jwt is true",
        ),
        (json!({"kubernetes_host": host}), "give \"kubernetes_ca_cert\": the CA of this pod, "),
        (
            json!({"kubernetes_host": host, "kubernetes_ca_cert": "x"}),
            "\"kubernetes_ca_cert\": the CA certificate holds no",
        ),
        (
            json!({"kubernetes_host": host, "pem_keys": [Signer::new("").pem(), "k"]}),
            "\"pem_keys\": key 2 of 2: it is neither a public key nor a certificate in PEM",
        ),
    ] {
        let (status, text) = f.write("config", body.clone()).await.unwrap_err();
        assert!(status == 400 && text.starts_with(expected), "{body}: {text}");
    }
    assert_eq!(f.ask(Operation::Read, "config", json!({})).await.map(|_| ()).unwrap_err().status(), 404);
    let role = json!({"bound_service_account_names": "a", "bound_service_account_namespaces": "b"});
    f.write("role/k", role).await.unwrap();
    let (status, text, _) = f.refused(json!({"role": "k", "jwt": jwt(json!({}))})).await;
    assert_eq!((status, text.as_str()), (500, "1 error occurred:\n\t* could not load backend configuration\n\n"));
}

#[tokio::test]
async fn a_role_reads_back_as_vault_shows_it() {
    let f = Fixture::new();
    let body = json!({"bound_service_account_names": "a", "bound_service_account_namespaces": "b", "policies": "p", "ttl": "1h"});
    assert_eq!(f.write("role/k", body).await.unwrap(), Answer::empty());
    assert_eq!(
        f.read("role/k").await,
        json!({"alias_name_source": "serviceaccount_uid", "bound_service_account_names": ["a"],
            "bound_service_account_namespace_selector": "", "bound_service_account_namespaces": ["b"], "policies": ["p"],
            "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
            "token_num_uses": 0, "token_period": 0, "token_policies": ["p"], "token_strictly_bind_ip": false,
            "token_ttl": 3600, "token_type": "default",
            "ttl": 3600})
    );
    assert!(f.method.exists("role/k").await.unwrap() && !f.method.exists("role/none").await.unwrap());
    for (field, value, expected) in [
        ("bound_service_account_names", json!([]), "\"bound_service_account_names\" can not be empty"),
        ("bound_service_account_namespaces", json!("*,a"), "\"bound_service_account_namespaces\": can not mix \"*\""),
        (
            "bound_service_account_namespace_selector",
            json!("{}"),
            "\"bound_service_account_namespace_selector\": it selects every namespace",
        ),
        ("bound_service_accounts", json!(["a"]), "\"bound_service_accounts\": \"a\" is not NAMESPACE/NAME"),
        ("bound_service_accounts", json!("a/b/c"), "\"bound_service_accounts\": \"a/b/c\" is not NAMESPACE/NAME"),
        ("alias_name_source", json!("x"), "\"alias_name_source\" must be one of"),
        ("lease_owner", json!("pod"), "\"lease_owner\" must be token or workload, not \"pod\""),
    ] {
        let (status, text) = f.write("role/k", json!({ field: value })).await.unwrap_err();
        assert!(status == 400 && text.starts_with(expected), "{text}");
    }
    f.ask(Operation::Delete, "role/k", json!({})).await.unwrap();
    assert_eq!(f.ask(Operation::Read, "role/k", json!({})).await.map(|_| ()).unwrap_err().status(), 404);
    assert_eq!(f.write("role", json!({})).await.unwrap_err().0, 405);
}

#[tokio::test]
async fn a_bound_address_is_checked_at_login() {
    let (host, seen) = api_server(201, accepted(&["lessor"])).await;
    let f = Fixture::ready(&host, json!({"token_bound_cidrs": "10.0.0.0/8"})).await;
    let (status, text, _) = f.refused(json!({"role": "app", "jwt": jwt(json!({}))})).await;
    assert_eq!((status, text.as_str()), (403, "permission denied"));
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_namespace_may_be_bound_by_its_labels() {
    let (url, _) = api_server(200, accepted(&["lessor"])).await;
    let fixture = Fixture::ready(
        &url,
        json!({ "bound_service_account_namespaces": "",
        "bound_service_account_namespace_selector": "matchLabels: {team: shop}" }),
    )
    .await;
    assert!(fixture.login_with(jwt(json!({}))).await.is_ok());
    let shown = fixture.read("role/app").await;
    assert_eq!(shown["bound_service_account_namespace_selector"], "matchLabels: {team: shop}");
    let other = json!({ "bound_service_account_namespace_selector": "{\"matchLabels\": {\"team\": \"web\"}}" });
    fixture.write("role/app", other).await.unwrap();
    let (status, text, _) = fixture.refused(json!({ "role": "app", "jwt": jwt(json!({})) })).await;
    assert_eq!((status, text.as_str()), (403, "namespace not authorized"));
    let wrong = json!({ "bound_service_account_namespace_selector": "team" });
    let wrong = fixture.write("role/app", wrong).await.unwrap_err();
    assert!(wrong.0 == 400 && wrong.1.contains("LabelSelector"), "{}", wrong.1);
}
