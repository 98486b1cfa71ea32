//! A Kubernetes API server that knows TokenReviews only, and ServiceAccount tokens that it accepts: what a login costs the
//! engine, without what the cluster's own judgement costs.

use std::convert::Infallible;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lessor_e2e::environment::unique;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::Call;
use crate::program::Program;

/// Answers reviews in a thread of its own, so that the clients' thread does not wait for it; returns its URL.
pub fn serve() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    listener.set_nonblocking(true).expect("a socket can be told not to block");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a socket of this runtime");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(review)));
            }
        });
    });
    url
}

async fn review(request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    // The whole body is read, as a real server would.
    let asked = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let asked: Value = serde_json::from_slice(&asked).unwrap_or_default();
    let status = json!({
        "authenticated": true, "audiences": asked["spec"]["audiences"],
        "user": {
            "username": "system:serviceaccount:bench:bench", "uid": "sa-uid",
            "extra": {
                "authentication.kubernetes.io/pod-name": ["bench"], "authentication.kubernetes.io/pod-uid": ["pod-uid"],
            },
        },
    });
    let answer = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status });
    Ok(hyper::Response::new(Full::new(answer.to_string().into())))
}

/// Sets the login method up and returns what logs in by it.
pub async fn prepare(program: &Program, url: &str) -> Call {
    let mount = unique("bench-kubernetes");
    let write = async |path: String, body: Value| program.http.post(&path, body).await.expect_status(204);
    write(format!("sys/auth/{mount}"), json!({ "type": "kubernetes" })).await;
    // Never used over plain HTTP, but Vault asks for one.
    let authority = rcgen::generate_simple_self_signed(["bench".to_owned()]).expect("a certificate").cert.pem();
    let config = json!({
        "kubernetes_host": url, "kubernetes_ca_cert": authority, "token_reviewer_jwt": "e30.e30.c2lnbmF0dXJl",
        "disable_local_ca_jwt": true,
    });
    write(format!("auth/{mount}/config"), config).await;
    let role = json!({
        "bound_service_account_names": "bench", "bound_service_account_namespaces": "bench", "audience": "lessor",
        "token_policies": "default", "token_ttl": "1h",
    });
    write(format!("auth/{mount}/role/bench"), role).await;
    Call::put(&format!("auth/{mount}/login"), &json!({ "role": "bench", "jwt": token() }))
}

/// As long as a real one, but signed by nobody: the review believes it.
fn token() -> String {
    let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "aud": ["lessor"], "exp": 4_000_000_000_i64, "iat": 1_700_000_000, "nbf": 1_700_000_000,
        "iss": "https://kubernetes.default.svc.cluster.local", "jti": "2f9c9c3e-6b0e-4a0c-9b67-5d1f3f0f7a11",
        "sub": "system:serviceaccount:bench:bench",
        "kubernetes.io": {
            "namespace": "bench", "serviceaccount": { "name": "bench", "uid": "sa-uid" },
            "pod": { "name": "bench", "uid": "pod-uid" }, "node": { "name": "node", "uid": "node-uid" },
        },
    });
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([7; 256]);
    format!("{}.{}.{signature}", part(json!({ "alg": "RS256", "kid": "bench" })), part(claims))
}
