//! The way to a server: straight, or through the proxy that an address or the environment names.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HeaderValue;
use http::{Uri, uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Which proxy a request goes through. Its `Debug` shows no passwords of proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Option<Arc<Rules>>);

#[derive(Debug)]
struct Rules {
    matcher: Matcher,
    /// Whether requests to this machine itself go straight.
    spares_loopback: bool,
}

/// How a proxy is asked to pass something on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// HTTP: a request's whole URL, or CONNECT for what is encrypted.
    Http,
    /// SOCKS 5, with names resolved by the proxy.
    Socks,
}

impl Proxies {
    /// Everything through one proxy, whatever the destination, as `VAULT_PROXY_ADDR` says it:
    /// `http://[user:password@]host:port` or `socks5://…`.
    ///
    /// # Errors
    /// A text that says what is wrong, without a password in it.
    pub fn all(address: &str) -> Result<Self, String> {
        usable(address)?;
        let matcher = Matcher::builder().all(address.to_owned()).build();
        Ok(Self(Some(Arc::new(Rules { matcher, spares_loopback: false }))))
    }

    /// What the usual variables say: `HTTPS_PROXY`, `HTTP_PROXY`, and in `NO_PROXY` what goes straight, in lower case, too.
    /// Requests to this machine itself go straight, as with Go's programs. `variable` looks one up.
    ///
    /// # Errors
    /// A text that names the variable, without a password in it.
    pub fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let lookup = |name: &str| {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            names
                .into_iter()
                .find_map(|name| variable(&name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        let proxy = |name: &str| match lookup(name) {
            None => Ok(String::new()),
            Some((name, address)) => usable(&address).map(|()| address).map_err(|problem| format!("{name}: {problem}")),
        };
        let (http, https) = (proxy("HTTP_PROXY")?, proxy("HTTPS_PROXY")?);
        if http.is_empty() && https.is_empty() {
            return Ok(Self::default());
        }
        let no = lookup("NO_PROXY").map(|(_, value)| value).unwrap_or_default();
        let matcher = Matcher::builder().http(http).https(https).no(no).build();
        Ok(Self(Some(Arc::new(Rules { matcher, spares_loopback: true }))))
    }

    /// What a request to `destination` has to carry for the proxy that takes it unencrypted.
    pub(super) fn authorization(&self, destination: &Uri) -> Option<HeaderValue> {
        let forwarded = destination.scheme() == Some(&uri::Scheme::HTTP);
        let proxy = forwarded.then(|| self.of(destination)).flatten()?;
        proxy.basic_auth().cloned()
    }

    /// Where the proxy for `destination` is, for messages; none where requests go straight.
    pub(super) fn named(&self, destination: &Uri) -> Option<String> {
        Some(self.of(destination)?.uri().authority()?.to_string())
    }

    fn of(&self, destination: &Uri) -> Option<Intercept> {
        let rules = self.0.as_ref()?;
        if rules.spares_loopback && destination.host().is_some_and(is_loopback) {
            return None;
        }
        rules.matcher.intercept(destination)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a proxy can be reached by this address.
fn usable(address: &str) -> Result<(), String> {
    let wanted = "must be http://host:port or socks5://host:port";
    let parsed = address.parse::<Uri>().map_err(|_| wanted.to_owned())?;
    if parsed.host().is_none_or(str::is_empty) {
        return Err(wanted.to_owned());
    }
    match parsed.scheme_str() {
        Some("https") => Err(format!("a proxy that is itself spoken to by TLS is not offered: it {wanted}")),
        scheme => manner(scheme).map(drop).ok_or_else(|| wanted.to_owned()),
    }
}

fn manner(scheme: Option<&str>) -> Option<Manner> {
    match scheme {
        // Without a scheme, `host:port` is a proxy of HTTP, as for Go's programs and curl.
        None | Some("http") => Some(Manner::Http),
        Some("socks5" | "socks5h") => Some(Manner::Socks),
        _ => None,
    }
}

/// Connects to servers, through proxies where there are such.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    direct: HttpConnector,
    proxies: Proxies,
}

impl Connector {
    pub fn new(direct: HttpConnector, proxies: Proxies) -> Self {
        Self { direct, proxies }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let (mut direct, proxies) = (self.direct.clone(), self.proxies.clone());
        Box::pin(async move {
            let Some(proxy) = proxies.of(&destination) else {
                return Ok(Stream { tcp: direct.call(destination).await?, forwards: false });
            };
            let at = proxy.uri().clone();
            let encrypted = destination.scheme() == Some(&uri::Scheme::HTTPS);
            let tcp = match manner(at.scheme_str()) {
                Some(Manner::Http) if !encrypted => {
                    return Ok(Stream { tcp: direct.call(at).await?, forwards: true });
                }
                Some(Manner::Http) => {
                    let tunnel = Tunnel::new(at, direct);
                    let mut tunnel = match proxy.basic_auth() {
                        Some(auth) => tunnel.with_auth(auth.clone()),
                        None => tunnel,
                    };
                    tunnel.call(destination).await?
                }
                Some(Manner::Socks) => {
                    let socks = SocksV5::new(at, direct);
                    let mut socks = match proxy.raw_auth() {
                        Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
                        None => socks,
                    };
                    socks.call(destination).await?
                }
                None => return Err("the proxy's address is of no known kind".into()),
            };
            Ok(Stream { tcp, forwards: false })
        })
    }
}

/// A connection to a server or to a proxy.
#[derive(Debug)]
pub(super) struct Stream {
    tcp: TokioIo<TcpStream>,
    /// Whether a proxy reads the requests, which then need the whole URL.
    forwards: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.tcp.connected().proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, into)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, Method};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::base::http::{HttpClient, HttpErrorKind, HttpRequest};
    use crate::base::tls::ClientTls;

    /// A proxy that reads a head, gives this answer and tells what it has read.
    async fn proxy(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap().to_ascii_lowercase()
        });
        (address, seen)
    }

    fn request(url: &str) -> HttpRequest {
        let (method, headers, timeout) = (Method::GET, HeaderMap::new(), Duration::from_secs(10));
        HttpRequest { method, url: url.to_owned(), headers, body: Vec::new(), timeout }
    }

    fn client(proxies: Proxies) -> HttpClient {
        HttpClient::through(&ClientTls::default(), proxies).unwrap()
    }

    /// Of three variables, those that are given.
    fn environment<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[tokio::test]
    async fn a_plain_request_is_sent_to_the_proxy_with_its_whole_address() {
        let (address, seen) = proxy("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        let proxies = Proxies::all(&format!("http://some:one@{address}")).unwrap();
        let answer = client(proxies).send(request("http://engine.example:8200/v1/sys/health")).await.unwrap();
        assert_eq!(&answer.body[..], b"hi");
        let head = seen.await.unwrap();
        assert!(head.starts_with("get http://engine.example:8200/v1/sys/health http/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: basic c29tztpvbmu=\r\n"), "{head}");
    }

    #[tokio::test]
    async fn an_encrypted_request_goes_through_a_tunnel() {
        let (address, seen) = proxy("HTTP/1.1 407 no\r\n\r\n").await;
        let proxies = Proxies::all(&format!("http://some:one@{address}")).unwrap();
        let error = client(proxies).send(request("https://engine.example:8200/v1/sys/health")).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Connect);
        let text = crate::base::telemetry::chain(&error);
        assert!(text.contains(&format!("through the proxy {address}")) && !text.contains("one"), "{text}");
        let head = seen.await.unwrap();
        assert!(head.starts_with("connect engine.example:8200 http/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: basic c29tztpvbmu=\r\n"), "{head}");
        assert!(!head.contains("/v1/"), "the path is nobody's but the engine's");
    }

    #[tokio::test]
    async fn socks_is_told_the_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut greeting, mut wanted) = ([0; 3], [0; 4 + 1 + 14 + 2]);
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            stream.read_exact(&mut wanted).await.unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let mut line = [0; 14];
            stream.read_exact(&mut line).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
            (greeting, wanted, line)
        });
        let proxies = Proxies::all(&format!("socks5://{address}")).unwrap();
        let answer = client(proxies).send(request("http://engine.example:8200/x")).await.unwrap();
        assert_eq!(&answer.body[..], b"hi");
        let (greeting, wanted, line) = seen.await.unwrap();
        assert_eq!(greeting, [5, 1, 0]);
        assert_eq!(&wanted[..5], [5, 1, 0, 3, 14]);
        assert_eq!((&wanted[5..19], &wanted[19..]), (&b"engine.example"[..], &8200u16.to_be_bytes()[..]));
        assert_eq!(&line, b"GET /x HTTP/1.");
    }

    #[test]
    fn the_usual_variables_decide_by_scheme_and_host() {
        let set = [
            ("https_proxy", "proxy:3128"),
            ("HTTP_PROXY", "http://plain:1"),
            ("NO_PROXY", "inside.example,10.0.0.0/8"),
        ];
        let proxies = Proxies::from_env(&environment(&set)).unwrap();
        let named = |url: &'static str| proxies.named(&Uri::from_static(url));
        assert_eq!(named("https://engine.example").as_deref(), Some("proxy:3128"));
        assert_eq!(named("http://engine.example").as_deref(), Some("plain:1"));
        for straight in [
            "https://a.inside.example",
            "https://10.1.2.3:8200",
            "https://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost",
        ] {
            assert_eq!(named(straight), None, "{straight}");
        }
        let all = Proxies::all("proxy:3128").unwrap();
        assert_eq!(all.named(&Uri::from_static("http://127.0.0.1")).as_deref(), Some("proxy:3128"), "as it is said");
        assert!(Proxies::from_env(&environment(&[("NO_PROXY", "x")])).unwrap().0.is_none());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
        for bad in ["https://me:pass-word@proxy:1", "ftp://me:pass-word@proxy", "http://", "pass-word me"] {
            let error = Proxies::all(bad).unwrap_err();
            assert!(error.contains("must be http://host:port") && !error.contains("pass-word"), "{error}");
        }
        let error = Proxies::from_env(&environment(&[("HTTPS_PROXY", "ftp://x")])).unwrap_err();
        assert!(error.starts_with("HTTPS_PROXY: must be"), "{error}");
        let shown = format!("{:?}", Proxies::all("http://me:pass-word@proxy:1").unwrap());
        assert!(!shown.contains("pass-word"), "{shown}");
    }
}
