//! The server over real TLS: answers, limits, exchanged certificates and an orderly end.

use std::net::SocketAddr;

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::base::clock::{ManualClock, SystemClock, Timestamp};
use crate::base::http::{HttpClient, HttpRequest, HttpResponse};
use crate::base::shutdown::Trigger;
use crate::base::tls::ClientTls;
use crate::webhook::certs::{Identity, issue_for_tests};
use crate::webhook::settings_for_tests;

struct Running {
    address: SocketAddr,
    resolver: Arc<Resolver>,
    trigger: Trigger,
    task: tokio::task::JoinHandle<Result<(), tls::Error>>,
}

async fn start(identity: &Identity, clock: Arc<dyn Clock>, drain: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let resolver = Arc::<Resolver>::default();
    resolver.show(identity).unwrap();
    let (trigger, stop) = shutdown::channel();
    let server = Server {
        settings: settings_for_tests(),
        resolver: Arc::clone(&resolver),
        clock,
        drain,
        metrics: Metrics::default(),
    };
    Running { address, resolver, trigger, task: tokio::spawn(server.run(listener, stop)) }
}

fn identity() -> Identity {
    issue_for_tests("localhost", SystemClock.now())
}

fn client(ca: &str) -> HttpClient {
    let tls = ClientTls { ca_pem: Some(ca.to_owned()), server_name: Some("localhost".into()), ..ClientTls::default() };
    HttpClient::new(&tls).unwrap()
}

async fn send(
    client: &HttpClient,
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Option<HttpResponse> {
    let (url, headers) = (format!("https://{address}{path}"), HeaderMap::new());
    client.send(HttpRequest { method, url, headers, body, timeout: Duration::from_secs(20) }).await.ok()
}

fn question() -> Vec<u8> {
    let annotations = json!({
        "lessor.dev/inject": "true", "lessor.dev/role": "app", "lessor.dev/secret-db": "database/creds/shop.app",
    });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "kind": {"kind": "Pod"}, "namespace": "shop", "operation": "CREATE",
            "object": {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app"}]}},
        },
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn reviews_probes_and_errors() {
    let identity = identity();
    let running = start(&identity, Arc::new(SystemClock), Duration::ZERO).await;
    let client = client(&identity.ca);
    let ask = |method, path, body| send(&client, running.address, method, path, body);

    let answer = ask(Method::POST, "/mutate?timeout=10s", question()).await.unwrap();
    let review: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &review["response"]["allowed"]), (StatusCode::OK, &json!(true)));
    assert!(review["response"]["patch"].is_string());

    let status = async |method, path, body| ask(method, path, body).await.unwrap().status.as_u16();
    assert_eq!(status(Method::GET, "/healthz", Vec::new()).await, 200);
    assert_eq!(status(Method::GET, "/readyz", Vec::new()).await, 200);
    assert_eq!(status(Method::POST, "/mutate", b"{".to_vec()).await, 400);
    assert_eq!(status(Method::GET, "/mutate", Vec::new()).await, 405);
    assert_eq!(status(Method::GET, "/", Vec::new()).await, 404);
    let metrics = ask(Method::GET, "/metrics", Vec::new()).await.unwrap();
    assert!(String::from_utf8_lossy(&metrics.body).contains("reviews_total{outcome=\"injected\"} 1"));
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let identity = identity();
    let running = start(&identity, Arc::new(SystemClock), Duration::ZERO).await;
    let answer = send(&client(&identity.ca), running.address, Method::POST, "/mutate", vec![b' '; MAX_BODY + 1]).await;
    // The server may close before all of it is sent, which the client sees as a broken connection.
    assert!(answer.is_none_or(|answer| answer.status == StatusCode::PAYLOAD_TOO_LARGE));
    let next = send(&client(&identity.ca), running.address, Method::GET, "/healthz", Vec::new()).await;
    assert_eq!(next.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn another_certificate_is_shown_without_a_restart() {
    let (first, second) = (identity(), identity());
    let running = start(&first, Arc::new(SystemClock), Duration::ZERO).await;
    let old = client(&first.ca);
    assert!(send(&old, running.address, Method::GET, "/healthz", Vec::new()).await.is_some());
    assert!(running.resolver.show(&second).unwrap());
    assert!(send(&client(&second.ca), running.address, Method::GET, "/healthz", Vec::new()).await.is_some());
    assert!(send(&client(&first.ca), running.address, Method::GET, "/healthz", Vec::new()).await.is_none());
    let kept = send(&old, running.address, Method::GET, "/healthz", Vec::new()).await;
    assert!(kept.is_some(), "a connection from before goes on");
}

#[tokio::test]
async fn a_connection_that_brings_no_whole_request_is_closed() {
    let identity = identity();
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let running = start(&identity, Arc::new(clock.clone()), Duration::ZERO).await;
    let trust =
        ClientTls { ca_pem: Some(identity.ca.clone()), server_name: Some("localhost".into()), ..ClientTls::default() };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls::client_config(&trust).unwrap()));
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut slow = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    // Answered, so the handshake is over on either side.
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(slow.read(&mut [0; 1024]).await.unwrap() > 0);
    slow.write_all(b"POST /mutate HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let mut rest = Vec::new();
    let ended = slow.read_to_end(&mut rest);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::task::yield_now() => clock.advance(Duration::from_secs(1)),
        }
    }
    assert!(rest.is_empty());
}

#[tokio::test]
async fn reviews_are_answered_until_the_end() {
    let identity = identity();
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let running = start(&identity, Arc::new(clock.clone()), Duration::from_secs(5)).await;
    let client = client(&identity.ca);
    assert!(send(&client, running.address, Method::GET, "/readyz", Vec::new()).await.unwrap().status.is_success());
    running.trigger.stop();
    let ready = send(&client, running.address, Method::GET, "/readyz", Vec::new()).await.unwrap();
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let answer = send(&client, running.address, Method::POST, "/mutate", question()).await.unwrap();
    assert_eq!((answer.status, &answer.headers[CONNECTION]), (StatusCode::OK, &HeaderValue::from_static("close")));
    // Until the server has come to sleep, moving the clock once may be too early.
    while !running.task.is_finished() {
        clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    running.task.await.unwrap().unwrap();
    assert!(send(&client, running.address, Method::GET, "/healthz", Vec::new()).await.is_none());
}
