//! Kubernetes events, published beside the reconciles: what an object's user is told delays nobody's credential.

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
/// The longest that publishing one event takes.
const ATTEMPT: Duration = Duration::from_secs(5);

/// An event and the object that it is about.
type Told = (Event, ObjectReference);

/// Takes events that are published soon.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<Told>);

/// Events that are to be published.
pub struct Queue(mpsc::Receiver<Told>);

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

/// Publishes what is queued, until `end` and then to the last one. An event that repeats one of the last minutes counts that up
/// instead of standing beside it.
pub async fn publish(recorder: Recorder, queue: Queue, metrics: &Metrics, end: Shutdown) {
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
        let recorder = &recorder;
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
