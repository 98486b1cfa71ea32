//! One client: one connection that is kept alive, HTTP/1.1 without TLS, and as little work per request as hyper allows.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection with a token.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    token: Option<HeaderValue>,
}

/// One request, made once and sent often.
#[derive(Clone)]
pub struct Call {
    method: Method,
    path: String,
    body: Bytes,
}

impl Call {
    /// A GET of a path below `/v1/`.
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: format!("/v1/{path}"), body: Bytes::new() }
    }

    /// A PUT of a JSON object to a path below `/v1/`.
    pub fn put(path: &str, body: &Value) -> Self {
        Self { method: Method::PUT, path: format!("/v1/{path}"), body: body.to_string().into() }
    }
}

impl Client {
    /// Connects to `http://HOST:PORT`.
    pub async fn connect(address: &str, token: Option<&str>) -> Self {
        let host = address.strip_prefix("http://").unwrap_or_else(|| panic!("{address} is not http://HOST:PORT"));
        let stream = TcpStream::connect(host).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the sender.
        tokio::spawn(connection);
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        Self { sender, host: value(host), token: token.map(value) }
    }

    /// Sends it and reads the whole answer, which must be a success.
    pub async fn send(&mut self, call: &Call) -> Bytes {
        let mut request = Request::builder().method(&call.method).uri(&call.path).header(HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token);
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        self.sender.ready().await.expect("the server keeps the connection");
        let answer = self.sender.send_request(request.body(Full::new(call.body.clone())).unwrap()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{} {}: {error}", call.method, call.path));
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
        if !status.is_success() {
            // Only the errors: other bodies may hold credentials.
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            panic!("{} {}: {status}: {}", call.method, call.path, body["errors"]);
        }
        body
    }
}
