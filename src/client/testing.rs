//! An engine that answers what a test tells it to, over real HTTP.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// One request as the engine saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, `PUT` …
    pub method: String,
    /// Without `/v1/`, with its parameters.
    pub path: String,
    /// `X-Vault-Token`, empty without one.
    pub token: String,
    /// The other headers, names in lower case.
    pub headers: http::HeaderMap,
    /// `null` where there was none.
    pub body: Value,
}

impl Seen {
    /// `GET database/creds/app`, for comparing.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An answer: status, body (`null` for none), further headers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The HTTP status; 0 for an engine that never answers.
    pub status: u16,
    /// `null` for an empty body.
    pub body: Value,
    /// Name and value.
    pub headers: Vec<(&'static str, String)>,
}

impl From<(u16, Value)> for Reply {
    fn from((status, body): (u16, Value)) -> Self {
        Self { status, body, headers: Vec::new() }
    }
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;

/// The server; it lives as long as the test's runtime.
#[derive(Clone)]
pub struct FakeEngine {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
}

impl FakeEngine {
    /// Starts it; `script` answers every request.
    pub async fn start<R: Into<Reply>>(mut script: impl FnMut(&Seen) -> R + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            script: Arc::new(Mutex::new(Box::new(move |seen| script(seen).into()))),
        };
        let shared = engine.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let engine = shared.clone();
                let service = service_fn(move |request| engine.clone().answer(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        engine
    }

    /// Everything asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines of [`FakeEngine::seen`].
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    async fn answer(self, request: http::Request<Incoming>) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let target = head.uri.path_and_query().unwrap().as_str();
        let token = head.headers.get("x-vault-token").map(|value| value.to_str().unwrap().to_owned());
        let seen = Seen {
            method: head.method.to_string(),
            path: target.strip_prefix("/v1/").unwrap_or(target).to_owned(),
            token: token.unwrap_or_default(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
        self.seen.lock().unwrap().push(seen.clone());
        let reply = (self.script.lock().unwrap())(&seen);
        if reply.status == 0 {
            return std::future::pending().await;
        }
        let body = if reply.body.is_null() { Bytes::new() } else { serde_json::to_vec(&reply.body).unwrap().into() };
        let mut response = http::Response::builder().status(reply.status).header("content-type", "application/json");
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::new(body)).unwrap())
    }
}
