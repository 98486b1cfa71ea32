//! One HTTP connection of a server, with an end to each of its waits, so that whoever opens many and sends little keeps nobody else out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::Clock;
use super::shutdown::Shutdown;

/// How long a client may take to take an answer, where nothing else is said.
const TAKING: Duration = Duration::from_secs(5 * 60);

/// For the last bytes of a connection that is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// How long each wait for a client lasts; `None`: without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// From a request's first byte (of the first request, from the connection's begin) to the end of its headers.
    pub head: Option<Duration>,
    /// From there until the answer was taken.
    pub answer: Option<Duration>,
    /// Between two requests.
    pub idle: Option<Duration>,
}

/// As many turns as a server has connections at most.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    crowded: Notify,
}

impl Turns {
    /// For so many connections.
    pub fn new(connections: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))), crowded: Notify::new() }
    }

    /// A turn, which ends when it is dropped. While all are taken, a connection between two requests is closed for it: of
    /// them the one that has waited for longest.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = self.free.clone().try_acquire_owned() {
            return Some(turn);
        }
        tracing::debug!("all connections are taken");
        self.crowded.notify_one();
        self.free.clone().acquire_owned().await.ok()
    }
}

/// What the connections of a server have in common.
pub struct Terms<'a> {
    /// How long a client is waited for.
    pub waits: Waits,
    /// What that is measured with.
    pub clock: &'a dyn Clock,
    /// Asks connections that nobody uses to end.
    pub turns: &'a Turns,
    /// Ends every connection once its request is answered.
    pub stop: &'a Shutdown,
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Answering,
    /// The answer is known, and not wholly sent.
    Sending,
    Idle,
}

/// How a wait ends that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nobody waits for anything.
    Close,
    Cut(Phase),
}

/// Answers the requests of one connection until it ends.
///
/// # Errors
/// When it broke; a client that took too long is no error.
pub async fn converse<S, F, A, B>(stream: S, answer: F, terms: Terms<'_>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let phase = Arc::new(watch::Sender::new(Phase::Head));
    let mut phases = phase.subscribe();
    let service = service_fn(|request| {
        phase.send_replace(Phase::Answering);
        let (answering, phase) = (answer(request), &phase);
        async move {
            let response = answering.await;
            phase.send_replace(Phase::Sending);
            Ok::<_, Infallible>(response)
        }
    });
    // hyper's own limit would count the time between two requests with that of the headers.
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None);
    let stream = Watched { stream, phase: phase.clone() };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            // What has come in counts, however late this looks at it.
            biased;
            ended = connection.as_mut() => return ended,
            end = overdue(&mut phases, &terms) => {
                if let End::Cut(phase) = end {
                    tracing::debug!(?phase, "a client took too long");
                    return Ok(());
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => return ended,
                    () = terms.clock.sleep(CLOSING) => return Ok(()),
                }
            }
            () = terms.stop.requested(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Returns when a wait has taken too long.
async fn overdue(phases: &mut watch::Receiver<Phase>, terms: &Terms<'_>) -> End {
    let mut answered_by = None;
    loop {
        let phase = *phases.borrow_and_update();
        match phase {
            Phase::Answering => answered_by = Some(wait(terms, terms.waits.answer)),
            Phase::Sending => {
                answered_by.get_or_insert_with(|| wait(terms, terms.waits.answer));
            }
            Phase::Head | Phase::Idle => answered_by = None,
        }
        let (limit, end) = match phase {
            Phase::Head => (terms.waits.head, End::Cut(phase)),
            Phase::Answering => (None, End::Cut(phase)),
            Phase::Sending => (Some(TAKING), End::Cut(phase)),
            Phase::Idle => (terms.waits.idle, End::Close),
        };
        let late = async {
            match &mut answered_by {
                Some(answered_by) => answered_by.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // The sender lives as long as the connection, and with it this.
            _ = phases.changed() => {}
            () = wait(terms, limit) => return end,
            () = late => return End::Cut(phase),
            () = terms.turns.crowded.notified(), if phase == Phase::Idle => return End::Close,
        }
    }
}

fn wait<'a>(terms: &Terms<'a>, limit: Option<Duration>) -> BoxFuture<'a, ()> {
    let clock = terms.clock;
    Box::pin(async move {
        match limit {
            Some(limit) => clock.sleep(limit).await,
            None => std::future::pending().await,
        }
    })
}

/// A stream that tells when a request begins and when its answer was sent.
struct Watched<S> {
    stream: S,
    phase: Arc<watch::Sender<Phase>>,
}

impl<S> Watched<S> {
    fn advance(&self, from: Phase, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let is_due = *phase == from;
            if is_due {
                *phase = to;
            }
            is_due
        });
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.advance(Phase::Idle, Phase::Head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.advance(Phase::Sending, Phase::Idle);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
