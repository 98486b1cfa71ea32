//! The HTTPS server: reviews, probes and metrics on one port; it stops without dropping a review.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Settings;
use super::admission::review;
use super::certs::Resolver;
use super::metrics::Metrics;
use crate::base::connection::{Terms, Turns, Waits, converse};
use crate::base::shutdown::{self, Shutdown};
use crate::base::telemetry::chain;
use crate::base::{Clock, tls};

/// A review holds a pod, in an update the one before as well, and etcd takes 1.5 MiB for each.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// For the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than the 90 s after which API servers close unused connections themselves: a server that closes first may do so
/// just when a review comes, and Go's client sends no POST again.
const IDLE: Duration = Duration::from_secs(300);
/// For the headers of a review, and for all of it with its answer: API servers wait 30 s for a webhook at most.
const WAITS: Waits =
    Waits { head: Some(Duration::from_secs(10)), answer: Some(Duration::from_secs(60)), idle: Some(IDLE) };
/// An API server opens some; whoever else is let in by the network shall not fill the memory.
const CONNECTIONS: usize = 1024;
/// For reviews that are being answered when everything else has stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What every connection shares.
pub struct Server {
    /// For the agents.
    pub settings: Settings,
    /// What connections are shown.
    pub resolver: Arc<Resolver>,
    /// Waits, and measures reviews.
    pub clock: Arc<dyn Clock>,
    /// How long reviews are still taken after the request to stop, until no API server sends any more.
    pub drain: Duration,
    /// Figures.
    pub metrics: Metrics,
}

impl Server {
    /// Serves until `stop` is requested, and then [`Server::drain`] longer: the request to stop and the removal from the
    /// Service's endpoints travel at the same time.
    ///
    /// # Errors
    /// When no TLS configuration can be made.
    pub async fn run(self, listener: TcpListener, stop: Shutdown) -> Result<(), tls::Error> {
        let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(Arc::clone(&self.resolver) as _)?));
        let (server, turns) = (Arc::new(self), Arc::new(Turns::new(CONNECTIONS)));
        // Asks the connections to end, where `stop` only asks them to tell their clients.
        let (finish, finishing) = shutdown::channel();
        let mut connections = JoinSet::new();
        let drained = async {
            stop.requested().await;
            server.clock.sleep(server.drain).await;
        };
        tokio::pin!(drained);
        // Nothing but the end may interrupt it: whoever waits for a turn would be hung up on.
        while let Some((stream, turn)) = tokio::select! {
            () = &mut drained => None,
            accepted = accept(&listener, &turns, &*server.clock) => Some(accepted),
        } {
            let (server, turns) = (Arc::clone(&server), Arc::clone(&turns));
            let (stop, finish) = (stop.clone(), finishing.clone());
            let connection = Connection { server, turns, stop, finish, _turn: turn };
            connections.spawn(connection.serve(acceptor.clone(), stream));
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        finish.stop();
        let rest = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = rest => {}
            () = server.clock.sleep(LAST_ANSWERS) => tracing::warn!("closing connections that did not end"),
        }
        Ok(())
    }
}

struct Connection {
    server: Arc<Server>,
    turns: Arc<Turns>,
    stop: Shutdown,
    finish: Shutdown,
    _turn: OwnedSemaphorePermit,
}

async fn accept(listener: &TcpListener, turns: &Turns, clock: &dyn Clock) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Nobody closes the turns, so there is always one in the end.
                if let Some(turn) = turns.take().await {
                    return (stream, turn);
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: some connection will end.
                tracing::warn!(error = chain(&error), "cannot accept a connection");
                clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Connection {
    async fn serve(self, acceptor: TlsAcceptor, stream: TcpStream) {
        // Answers are small, and the API server waits for each.
        let _ = stream.set_nodelay(true);
        let stream = tokio::select! {
            stream = acceptor.accept(stream) => stream,
            () = self.server.clock.sleep(PATIENCE) => return,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // A port scan, or an API server that does not trust the certificate: worth seeing when something fails.
                tracing::debug!(error = chain(&error), "a TLS handshake failed");
                return;
            }
        };
        let answer = |request| async {
            let mut response = self.answer(request).await;
            if self.stop.is_requested() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        };
        let (clock, turns, stop) = (&*self.server.clock, &*self.turns, &self.finish);
        if let Err(error) = converse(stream, answer, Terms { waits: WAITS, clock, turns, stop }).await {
            tracing::debug!(error = chain(&error), "a connection broke");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let server = &self.server;
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/mutate") => self.mutate(request.into_body()).await,
            (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/readyz") if self.stop.is_requested() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
            }
            (&Method::GET, "/readyz") => text(StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/metrics") => text(StatusCode::OK, server.metrics.render(server.resolver.not_after())),
            (_, "/mutate" | "/healthz" | "/readyz" | "/metrics") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "POST /mutate, GET /healthz, /readyz or /metrics\n".to_owned())
            }
            _ => text(StatusCode::NOT_FOUND, "POST /mutate, GET /healthz, /readyz or /metrics\n".to_owned()),
        }
    }

    async fn mutate(&self, body: Incoming) -> Response<Full<Bytes>> {
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body exceeds {MAX_BODY} bytes\n"));
            }
            Err(_) => return text(StatusCode::BAD_REQUEST, "the body broke off\n".to_owned()),
        };
        let begun = self.server.clock.now();
        let answer = review(&body, &self.server.settings);
        let took = Duration::try_from(self.server.clock.now().duration_since(begun)).unwrap_or_default();
        self.server.metrics.count(answer.as_ref().ok().map(|(outcome, _)| *outcome), took);
        match answer {
            Ok((_, answer)) => {
                let mut response = Response::new(Full::from(answer));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => {
                let problem = chain(&error);
                tracing::warn!(error = problem, "a review could not be answered");
                text(StatusCode::BAD_REQUEST, format!("{problem}\n"))
            }
        }
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
