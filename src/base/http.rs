//! A small HTTPS client over hyper: one request, one answer, with a deadline.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use super::proxy::{Connector, Proxies};
use super::tls::{self, ClientTls};

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How long an unused connection is kept. Shorter than the idle limit of common servers and load balancers.
const IDLE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type Body = Full<Bytes>;

/// One request. Its `Debug` shows method and URL only, since headers carry tokens and bodies carry passwords.
pub struct HttpRequest {
    /// The method; any token is allowed, as Vault has `LIST`.
    pub method: Method,
    /// Absolute, `http://` or `https://`.
    pub url: String,
    /// Sent as they are; `Host` is added.
    pub headers: HeaderMap,
    /// Sent with its length; empty for none. Zeroed after use.
    pub body: Vec<u8>,
    /// For the whole exchange, connecting and reading the body included.
    pub timeout: Duration,
}

impl std::fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).field("url", &self.url).finish_non_exhaustive()
    }
}

/// One answer. Its `Debug` shows the status only.
pub struct HttpResponse {
    /// Any status: errors of the server are answers, too.
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    /// The whole body, at most [`MAX_ANSWER`] bytes.
    pub body: Bytes,
}

impl std::fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// No connection: the server has seen nothing of the request.
    Connect,
    /// The connection broke before the answer was complete: the server may have acted.
    Interrupted,
    /// The deadline passed: the server may have acted.
    Timeout,
    /// The answer exceeds [`MAX_ANSWER`].
    TooLarge,
    /// The URL is none, or not of `http` or `https`.
    InvalidUrl,
    /// The TLS settings are unusable.
    Tls,
}

/// An exchange that failed. It holds neither header values nor bodies.
#[derive(Debug)]
pub struct HttpError {
    kind: HttpErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Why there is no answer.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, HttpErrorKind::Connect | HttpErrorKind::Interrupted | HttpErrorKind::Timeout)
    }
}

impl std::fmt::Display for HttpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Keeps a few connections open; cheap to share behind an `Arc`. It follows no redirect and retries nothing.
#[derive(Debug)]
pub struct HttpClient {
    tls: ClientTls,
    proxies: Proxies,
    plain: Client<Connector, Body>,
    // Made at the first https:// request: the system's certificates cost memory that an http:// client does not pay.
    secure: OnceLock<Client<HttpsConnector<Connector>, Body>>,
}

impl HttpClient {
    /// A client that checks servers as `tls` says, and connects to them straight.
    ///
    /// # Errors
    /// Of kind [`HttpErrorKind::Tls`], when a given certificate or key is unusable. The system's
    /// certificates are read at the first `https://` request only.
    pub fn new(tls: &ClientTls) -> Result<Self, HttpError> {
        Self::through(tls, Proxies::default())
    }

    /// The same, through proxies.
    ///
    /// # Errors
    /// As [`HttpClient::new`].
    pub fn through(tls: &ClientTls, proxies: Proxies) -> Result<Self, HttpError> {
        let plain = builder().build(connector(&proxies));
        let client = Self { tls: tls.clone(), proxies, plain, secure: OnceLock::new() };
        if tls.is_customised() {
            client.prepare_tls()?;
        }
        Ok(client)
    }

    /// Reads certificates now and not at the first `https://` request, to find what is wrong with them at once.
    ///
    /// # Errors
    /// Of kind [`HttpErrorKind::Tls`].
    pub fn prepare_tls(&self) -> Result<(), HttpError> {
        self.secure().map(drop)
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// See [`HttpErrorKind`]; an answer with an error status is no error here.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, mut headers, body, timeout } = request;
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| invalid_url(&url).caused_by(error))?;
        let host = uri.authority().ok_or_else(|| invalid_url(&url))?.host();
        let mut origin = format!("{}://{host}", uri.scheme_str().unwrap_or_default());
        if let Some(proxy) = self.proxies.named(&uri) {
            origin = format!("{origin} through the proxy {proxy}");
        }
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid_url(&url)),
        };
        if let Some(authorization) = self.proxies.authorization(&uri) {
            headers.insert(http::header::PROXY_AUTHORIZATION, authorization);
        }
        let mut message = http::Request::new(Full::new(Bytes::from_owner(Zeroizing::new(body))));
        *message.method_mut() = method;
        *message.uri_mut() = uri;
        *message.headers_mut() = headers;
        let pending = if secure { self.secure()?.request(message) } else { self.plain.request(message) };
        let exchange = async {
            let response = pending.await.map_err(|error| no_answer(&origin, error))?;
            let (head, body) = response.into_parts();
            if hyper::body::Body::size_hint(&body).lower() > MAX_ANSWER as u64 {
                return Err(too_large(&origin));
            }
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| broken(&origin, error))?;
            Ok(HttpResponse { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HttpError::new(
                HttpErrorKind::Timeout,
                format!("{origin} did not answer within {} s", timeout.as_secs_f32()),
            )),
        }
    }

    fn secure(&self) -> Result<&Client<HttpsConnector<Connector>, Body>, HttpError> {
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let broken = |message: String| HttpError::new(HttpErrorKind::Tls, message);
        let config =
            tls::client_config(&self.tls).map_err(|error| broken("cannot set up TLS".into()).caused_by(error))?;
        let schemes = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
        let protocols = match &self.tls.server_name {
            Some(name) => {
                let fixed = ServerName::try_from(name.clone())
                    .map_err(|error| broken(format!("TLS server name {name:?} is not a host name")).caused_by(error))?;
                schemes.with_server_name_resolver(FixedServerNameResolver::new(fixed)).enable_http1()
            }
            None => schemes.enable_http1(),
        };
        let client = builder().build(protocols.wrap_connector(connector(&self.proxies)));
        Ok(self.secure.get_or_init(|| client))
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(4);
    builder
}

fn connector(proxies: &Proxies) -> Connector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Connector::new(connector, proxies.clone())
}

fn invalid_url(url: &str) -> HttpError {
    HttpError::new(HttpErrorKind::InvalidUrl, format!("{url:?} is no http:// or https:// URL"))
}

fn no_answer(origin: &str, error: hyper_util::client::legacy::Error) -> HttpError {
    if error.is_connect() {
        HttpError::new(HttpErrorKind::Connect, format!("cannot connect to {origin}")).caused_by(error)
    } else {
        HttpError::new(HttpErrorKind::Interrupted, format!("{origin} broke the connection off")).caused_by(error)
    }
}

fn too_large(origin: &str) -> HttpError {
    HttpError::new(HttpErrorKind::TooLarge, format!("the answer of {origin} exceeds {MAX_ANSWER} bytes"))
}

fn broken(origin: &str, error: Box<dyn std::error::Error + Send + Sync>) -> HttpError {
    if error.is::<LengthLimitError>() {
        too_large(origin)
    } else {
        HttpError::new(HttpErrorKind::Interrupted, format!("{origin} broke its answer off")).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn get(url: impl Into<String>) -> HttpRequest {
        HttpRequest {
            method: Method::GET,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Answers every connection with the same bytes, then closes it.
    async fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        url
    }

    #[tokio::test]
    async fn reads_status_headers_and_body() {
        let url = server(b"HTTP/1.1 418 teapot\r\nx-a: b\r\ncontent-length: 2\r\n\r\nhi").await;
        let answer = HttpClient::new(&ClientTls::default()).unwrap().send(get(url)).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..], &answer.headers["x-a"]),
            (418, &b"hi"[..], &"b".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let client = HttpClient::new(&ClientTls::default()).unwrap();
        let kind = async |url: String| client.send(get(url)).await.unwrap_err().kind();
        assert_eq!(
            kind(server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi").await).await,
            HttpErrorKind::Interrupted
        );
        assert_eq!(kind(server(b"").await).await, HttpErrorKind::Interrupted);
        let huge = server(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nhi").await;
        assert_eq!(kind(huge).await, HttpErrorKind::TooLarge);
        assert_eq!(kind("ftp://localhost/".into()).await, HttpErrorKind::InvalidUrl);
        assert_eq!(kind("nonsense".into()).await, HttpErrorKind::InvalidUrl);
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(kind(format!("http://{unused}/")).await, HttpErrorKind::Connect);
    }

    #[tokio::test]
    async fn a_silent_server_meets_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut request = get(format!("http://{}/", listener.local_addr().unwrap()));
        request.timeout = Duration::from_millis(50);
        let error = HttpClient::new(&ClientTls::default()).unwrap().send(request).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
        assert!(error.retryable());
    }
}
