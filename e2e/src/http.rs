//! A plain HTTP client that hides nothing: status, headers and body of every answer, no retries.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Why there was no answer: refused, reset, or cut in the middle.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client of one server, with one token. Clones share their connections, which are kept alive.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
    token: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// As they came.
    pub headers: HeaderMap,
    /// The body as JSON; as one string where it is plain text, and `null` when it is empty or something else.
    pub body: Value,
}

impl Answer {
    /// The same answer, for chaining.
    ///
    /// # Panics
    /// When the status is another; the message shows the `errors` only, since other bodies may hold credentials.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "errors: {}", self.body["errors"]);
        self
    }

    /// The first text of the error body.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn error(&self) -> &str {
        self.body["errors"][0].as_str().expect("an error body has a text")
    }

    /// A text of the body, found by its JSON pointer (`/data/username`).
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer}"))
    }
}

impl Http {
    /// A client without a token for a server at `http://HOST:PORT`.
    pub fn new(address: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, address: address.into(), token: None }
    }

    /// The same client with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The token that requests carry.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Where requests go.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A request with any method, headers and body, to a path below `/v1/`.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(format!("{}/v1/{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("X-Vault-Token", token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::new(body.into()))?).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let text = || String::from_utf8(bytes.to_vec()).ok().filter(|_| kind.starts_with("text/"));
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text().map_or(Value::Null, Value::String));
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// GET.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.expect("the server answers")
    }

    /// GET that may find no server.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn try_get(&self, path: &str) -> Result<Answer, Failure> {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// LIST.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn list(&self, path: &str) -> Answer {
        self.send("LIST", path, &[], Bytes::new()).await.expect("the server answers")
    }

    /// POST of a JSON object.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.try_post(path, body).await.expect("the server answers")
    }

    /// POST of a JSON object that may find no server.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn try_post(&self, path: &str, body: Value) -> Result<Answer, Failure> {
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json")];
        self.send("POST", path, &headers, body.to_string()).await
    }

    /// DELETE.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Bytes::new()).await.expect("the server answers")
    }
}
