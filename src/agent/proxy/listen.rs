//! The sockets of the local API and what they allow.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::super::Error;
use super::super::config::{Address, Listener};
use super::super::write::FileError;
use super::Shared;
use super::handle::handle;
use crate::base::{owner, tls};

/// How many connections one listener keeps open; more wait.
const CONNECTIONS: usize = 256;
/// How many requests are under way at most; more are refused.
const REQUESTS: usize = 64;
/// How long a caller may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// The most that is buffered of a request's head, in bytes.
const HEAD: usize = 64 * 1024;
/// After an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What one listener allows.
pub struct Rules {
    /// See [`Listener::require_request_header`].
    pub require_request_header: bool,
    /// See [`Listener::proxies`].
    pub proxies: bool,
    /// See [`Listener::quit`].
    pub quit: bool,
    /// See [`Listener::max_request`].
    pub max_request: usize,
    /// See [`Listener::max_duration`].
    pub max_duration: Duration,
    /// Requests under way.
    pub requests: Semaphore,
}

/// Listens; the answer is the address, unless it is a file.
///
/// # Errors
/// When that cannot be, or the certificate cannot be used.
pub fn start(listener: &Listener, shared: &Arc<Shared>) -> Result<Option<SocketAddr>, Error> {
    let name = match &listener.address {
        Address::Tcp(address) => address.clone(),
        Address::Unix { path, .. } => path.display().to_string(),
    };
    let failed = |source| Error::Listen { address: name.clone(), source };
    let rules = Arc::new(Rules {
        require_request_header: listener.require_request_header,
        proxies: listener.proxies,
        quit: listener.quit,
        max_request: listener.max_request,
        max_duration: listener.max_duration,
        requests: Semaphore::new(REQUESTS),
    });
    let server = Server { shared: Arc::clone(shared), rules, tls: acceptor(listener, &name)? };
    let address = match &listener.address {
        Address::Tcp(address) => {
            // Go's way to say "every address of this machine".
            let address = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.clone() };
            let socket = std::net::TcpListener::bind(address).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            let bound = socket.local_addr().map_err(failed)?;
            let socket = TcpListener::from_std(socket).map_err(failed)?;
            tokio::spawn(server.serve(Socket::Tcp(socket)));
            Some(bound)
        }
        Address::Unix { path, mode, owner: wanted } => {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
            let socket = UnixListener::bind(path).map_err(failed)?;
            owner::give(path, wanted.user.as_deref(), wanted.group.as_deref()).map_err(failed)?;
            if let Some(mode) = mode {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).map_err(failed)?;
            }
            tokio::spawn(server.serve(Socket::Unix(socket)));
            None
        }
    };
    tracing::info!(address = name, tls = listener.tls.is_some(), "listening");
    Ok(address)
}

fn acceptor(listener: &Listener, name: &str) -> Result<Option<TlsAcceptor>, Error> {
    let Some((cert, key)) = &listener.tls else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).map_err(|source| FileError::new("read", path, source));
    let (cert, key) = (read(cert)?, read(key)?);
    let config = tls::certified_key(&cert, &key)
        .and_then(|identity| tls::server_config(Arc::new(SingleCertAndKey::from(identity))))
        .map_err(|source| Error::Tls { address: name.to_owned(), source })?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// What a connection is, wherever it comes from.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(socket) => Box::new(socket.accept().await?.0),
            Self::Unix(socket) => Box::new(socket.accept().await?.0),
        })
    }
}

struct Server {
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    async fn serve(self, socket: Socket) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Nobody closes it, so an error cannot be.
            let Ok(turn) = Arc::clone(&connections).acquire_owned().await else { return };
            let stream = match socket.accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.shared.context.clock.sleep(PAUSE).await;
                    continue;
                }
            };
            let (shared, rules, tls) = (Arc::clone(&self.shared), Arc::clone(&self.rules), self.tls.clone());
            tokio::spawn(async move {
                let _turn = turn;
                match tls {
                    None => converse(stream, shared, rules).await,
                    Some(tls) => {
                        let clock = Arc::clone(&shared.context.clock);
                        tokio::select! {
                            secured = tls.accept(stream) => match secured {
                                Ok(secured) => converse(secured, shared, rules).await,
                                Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                            },
                            () = clock.sleep(HANDSHAKE_WITHIN) => {}
                        }
                    }
                }
            });
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
    rules: Arc<Rules>,
) {
    let service = service_fn(move |request| {
        let (shared, rules) = (Arc::clone(&shared), Arc::clone(&rules));
        async move { Ok::<_, Infallible>(handle(shared, rules, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(HEAD);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of the local API ended");
    }
}
