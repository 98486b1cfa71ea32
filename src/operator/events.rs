//! Kubernetes events, published beside the reconciles: what an object's user is told delays nobody's credential.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, Recorder};
use tokio::sync::mpsc;

use super::metrics::{self, Metrics};
use crate::base::shutdown::Shutdown;
use crate::base::telemetry;

/// Events that wait at most; beyond that a reconcile waits a moment for room.
const LENGTH: usize = 1024;
/// The longest that a reconcile waits for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Events that are published at the same time: few, so that many of them leave the API server to the reconciles.
const PARALLEL: usize = 2;
/// How many events are remembered at most, so that one that repeats them is counted up with them.
const MEMORY: usize = 256;
/// The longest that publishing one event takes.
const ATTEMPT: Duration = Duration::from_secs(5);

/// An event and the object that it is about.
type About = (Event, ObjectReference);

/// Takes events that are published soon.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<About>);

/// Events that are to be published.
pub struct Queue(mpsc::Receiver<About>);

impl Events {
    /// An empty queue, and its other end for [`publish`].
    pub fn new() -> (Self, Queue) {
        let (sender, receiver) = mpsc::channel(LENGTH);
        (Self(sender), Queue(receiver))
    }

    /// Queues an event. Where the API server takes none for long, events are lost and counted.
    pub async fn tell(&self, event: Event, object: ObjectReference, metrics: &Metrics) {
        let reason = event.reason.clone();
        if self.0.send_timeout((event, object), PATIENCE).await.is_err() {
            metrics::count(&metrics.events_lost);
            tracing::warn!(reason, "too many events wait: this one is lost");
        }
    }
}

/// What was told last of each object, by its UID: whether it is ready, and why.
#[derive(Debug, Default)]
pub struct Told(Mutex<HashMap<String, (bool, String)>>);

impl Told {
    /// Notes what an object is now, and says whether that differs from what was noted last.
    pub fn is_news(&self, uid: &str, ready: bool, reason: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(uid) {
            Some(known) if known.0 == ready && known.1 == reason => false,
            Some(known) => {
                *known = (ready, reason.to_owned());
                true
            }
            None => {
                last.insert(uid.to_owned(), (ready, reason.to_owned()));
                true
            }
        }
    }

    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Recorders of a short memory: one keeps every event of the last minutes whole, to count repetitions, and after a start a thousand
/// objects have one each.
pub struct Recorders {
    new: Box<dyn Fn() -> Recorder + Send + Sync>,
    /// The present one, and how many events it has taken.
    present: Mutex<(Recorder, usize)>,
}

impl Recorders {
    /// `new` makes one.
    pub fn new(new: impl Fn() -> Recorder + Send + Sync + 'static) -> Self {
        Self { present: Mutex::new((new(), 0)), new: Box::new(new) }
    }

    fn next(&self) -> Recorder {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.1 == MEMORY {
            *present = ((self.new)(), 0);
        }
        present.1 += 1;
        present.0.clone()
    }
}

/// Publishes what is queued, until `end` and then to the last one. An event that repeats one of the last minutes counts that up
/// instead of standing beside it.
pub async fn publish(recorders: Recorders, queue: Queue, metrics: &Metrics, end: Shutdown) {
    let told = futures_util::stream::unfold(queue.0, |mut queue| {
        let end = end.clone();
        async move {
            let told = tokio::select! {
                biased;
                told = queue.recv() => told,
                // Nothing is added any more.
                () = end.requested() => None,
            };
            told.map(|told| (told, queue))
        }
    });
    told.for_each_concurrent(PARALLEL, |(event, object)| {
        let recorder = recorders.next();
        async move {
            let error = match tokio::time::timeout(ATTEMPT, recorder.publish(&event, &object)).await {
                Ok(Ok(())) => return metrics::count(&metrics.events),
                Ok(Err(error)) => telemetry::chain(&error),
                Err(_) => "it takes too long".to_owned(),
            };
            metrics::count(&metrics.events_lost);
            let (namespace, name) = (object.namespace.unwrap_or_default(), object.name.unwrap_or_default());
            tracing::warn!(namespace, name, reason = event.reason, error, "cannot publish an event");
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_was_is_no_news() {
        let told = Told::default();
        assert!(told.is_news("a", true, "Issued") && !told.is_news("a", true, "Issued"));
        assert!(told.is_news("b", true, "Issued"), "another object");
        assert!(told.is_news("a", false, "Denied") && told.is_news("a", true, "Issued"));
        told.forget("a");
        assert!(told.is_news("a", true, "Issued"));
    }
}
