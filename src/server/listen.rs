//! Listeners: TCP with or without TLS; handshakes run beside each other, so that a slow client delays nobody.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Rules, Shared, answer_one};
use crate::base::Clock;
use crate::base::connection::{Terms, Turns, converse};
use crate::base::shutdown::Shutdown;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Wait after the system refused to accept (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that connections come in by.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Listens on `address` (port 0: any free one), with TLS if a configuration is given.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, tls: tls.map(TlsAcceptor::from) })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is requested, and whatever was asked until then.
    pub(super) async fn serve(self, shared: Shared, rules: Rules, clock: Arc<dyn Clock>, stop: Shutdown) {
        let turns = Arc::new(Turns::new(rules.bounds.connections));
        let server = Arc::new(Server { shared, rules, clock, turns, tls: self.tls, stop: stop.clone() });
        let mut connections = JoinSet::new();
        // Nothing but the stop may interrupt it: whoever waits for a turn would be hung up on.
        while let Some(accepted) = tokio::select! {
            () = stop.requested() => None,
            accepted = accept(&self.socket, &server) => Some(accepted),
        } {
            connections.spawn(server.clone().serve(accepted));
            while connections.try_join_next().is_some() {}
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

/// A client and its turn.
struct Accepted {
    stream: TcpStream,
    address: SocketAddr,
    turn: OwnedSemaphorePermit,
}

async fn accept(socket: &TcpListener, server: &Server) -> Accepted {
    loop {
        match socket.accept().await {
            Ok((stream, address)) => {
                // Nobody closes the turns, so there is always one in the end.
                if let Some(turn) = server.turns.take().await {
                    return Accepted { stream, address, turn };
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                server.clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What the connections of a listener share.
struct Server {
    shared: Shared,
    rules: Rules,
    clock: Arc<dyn Clock>,
    turns: Arc<Turns>,
    tls: Option<TlsAcceptor>,
    stop: Shutdown,
}

impl Server {
    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, address, turn: _turn } = accepted;
        // Answers are small and complete: waiting to fill a packet only adds latency.
        let _ = stream.set_nodelay(true);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let secured = tokio::select! {
                    secured = tls.accept(stream) => secured,
                    () = self.clock.sleep(HANDSHAKE) => {
                        tracing::debug!(peer = %address, "TLS handshake took too long");
                        return;
                    }
                };
                match secured {
                    Ok(stream) => Stream::Tls(Box::new(stream)),
                    Err(error) => {
                        tracing::debug!(peer = %address, %error, "TLS handshake failed");
                        return;
                    }
                }
            }
        };
        let peer = Peer { address, certificates: stream.certificates() };
        let answer = |request: Request<hyper::body::Incoming>| {
            answer_one(self.shared.clone(), self.rules, Some(peer.clone()), request.map(Body::new))
        };
        let (waits, clock) = (self.rules.bounds.waits, &*self.clock);
        let terms = Terms { waits, clock, turns: &self.turns, stop: &self.stop };
        if let Err(error) = converse(stream, answer, terms).await {
            tracing::debug!(peer = %address, %error, "a connection broke");
        }
    }
}

/// The peer of a connection, for handlers.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// The certificates that it showed, DER, its own first; none of them was checked, but it holds the key of the first.
    pub certificates: Arc<[Vec<u8>]>,
}

/// A connection, encrypted or not.
enum Stream {
    /// Loopback, or TLS ends elsewhere.
    Plain(TcpStream),
    /// TLS ends here.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What the client showed of itself.
    fn certificates(&self) -> Arc<[Vec<u8>]> {
        let shown = match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates(),
        };
        shown.unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
