//! Clients that hang up in the middle of a change, or never come to an end.

use async_trait::async_trait;
use axum::body::Body;
use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::engine::Parts;
use crate::engine::bootstrap::Plan;
use crate::engine::core::Settings;
use crate::engine::seal::shamir::Scheme;
use crate::engine::seal::{SealKey, Sealing, StaticSeal};
use crate::server::listen::Listener;
use crate::server::{Access, Bounds, Rules, Shared, answer_one};
use crate::storage::memory::Memory;
use crate::storage::{Backend, Entry, Error, Event, Txn};

/// A store that has written what it was given before it says so, as every store may.
#[derive(Default)]
struct Slow {
    inner: Memory,
    is_slow: std::sync::atomic::AtomicBool,
    written: Notify,
    told: Notify,
}

#[async_trait]
impl Backend for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        self.inner.range(prefix, after, limit).await
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        self.inner.commit(txn).await?;
        if self.is_slow.load(std::sync::atomic::Ordering::Relaxed) {
            self.written.notify_one();
            self.told.notified().await;
        }
        Ok(())
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        self.inner.watch(prefix)
    }
}

struct Bench {
    store: Arc<Slow>,
    shared: Shared,
    root: String,
    _stop: Trigger,
}

impl Bench {
    async fn new() -> Self {
        let (stop, shutdown) = shutdown::channel();
        let (store, clock, random) = (Arc::new(Slow::default()), Arc::new(SystemClock), Arc::new(SystemRandom));
        let seal = Sealing::Auto(Box::new(StaticSeal::new(SealKey::new("a", [1; 32]), None, random.clone())));
        let (raw, settings, plan) = (store.clone(), Settings::default(), Plan::default());
        let engine = Engine::new(Parts { raw, seal, settings, plan, clock, random: random.clone(), shutdown });
        let root = engine.initialize(Scheme::ONE).await.unwrap().root_token().expose().to_owned();
        Self { store, shared: Shared { engine, random }, root, _stop: stop }
    }

    async fn status(&self, method: &str, path: &str, token: &str, body: Value) -> u16 {
        self.answer(method, path, token, Body::from(body.to_string())).await
    }

    async fn answer(&self, method: &str, path: &str, token: &str, body: Body) -> u16 {
        let request = Request::builder().method(method).uri(format!("/v1/{path}")).header("x-vault-token", token);
        let request = request.body(body).unwrap();
        answer_one(self.shared.clone(), Rules::default(), None, request).await.status().as_u16()
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_not_waited_for() {
    let bench = Bench::new().await;
    let endless = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>());
    assert_eq!(bench.answer("POST", "sys/wrapping/wrap", "", endless).await, 400);
}

#[tokio::test]
async fn a_listener_keeps_to_its_bounds() {
    let bench = Bench::new().await;
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let address = listener.address();
    let mut bounds = Bounds { body: 16, connections: 1, ..Bounds::default() };
    bounds.waits.head = Some(Duration::from_secs(1));
    let rules = Rules { access: Access::default(), bounds };
    let (stop, stopping) = shutdown::channel();
    let served = tokio::spawn(listener.serve(bench.shared.clone(), rules, Arc::new(SystemClock), stopping));
    let ask = async |request: &str, ends: bool| {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let mut length = client.read(&mut answer).await.unwrap_or_default();
        while ends && length < answer.len() {
            match client.read(&mut answer[length..]).await {
                Ok(more) if more > 0 => length += more,
                _ => break,
            }
        }
        (client, String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    let (_, slow) = ask("GET /v1/sys/health HTTP/1.1\r\nhost: a\r\n", true).await;
    assert_eq!(slow, "", "headers that never end are not answered");
    let body = "{\"input\": \"0123456789\"}";
    let large = format!("POST /v1/sys/tools/hash HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    assert!(ask(&large, false).await.1.starts_with("HTTP/1.1 413"));
    let whole = "GET /v1/sys/health HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut first, answer) = ask(whole, false).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(ask(whole, false).await.1.starts_with("HTTP/1.1 200"), "the first, which nobody uses, gives way");
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).await.unwrap();
    stop.stop();
    served.await.unwrap();
}

#[tokio::test]
async fn a_policy_that_is_gone_from_the_store_is_gone_from_memory() {
    let bench = Bench::new().await;
    let (store, root) = (&bench.store, &bench.root);
    let policy = json!({ "policy": "path \"sys/mounts\" { capabilities = [\"read\"] }" });
    assert_eq!(bench.status("PUT", "sys/policies/acl/p", root, policy).await, 204);
    let child = json!({ "policies": ["p"], "id": "child" });
    assert_eq!(bench.status("POST", "auth/token/create", root, child).await, 200);
    assert_eq!(bench.status("GET", "sys/mounts", "child", Value::Null).await, 200);

    store.is_slow.store(true, std::sync::atomic::Ordering::Relaxed);
    tokio::select! {
        _ = bench.status("DELETE", "sys/policies/acl/p", root, Value::Null) => panic!("the store has not told yet"),
        () = store.written.notified() => {}
    }
    store.is_slow.store(false, std::sync::atomic::Ordering::Relaxed);
    store.told.notify_one();
    for _ in 0..100_000 {
        if bench.status("GET", "sys/mounts", "child", Value::Null).await == 403 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the policy still counts");
}
