//! The tasks of a running operator: what each does when the stop is requested, and what its end means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config as ControllerConfig, Error as TurnError, applier};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::context::Context;
use super::error::Error;
use super::fence::NotLeading;
use super::kind::{self, Kind, kind_name, namespace_of};
use super::leader::Candidate;
use super::options::RunError;
use super::watched::{self, Feed, Watched};
use crate::base::shutdown::{self, Shutdown};
use crate::base::telemetry;

/// How many objects of one kind are reconciled at the same time.
const CONCURRENCY: u16 = 32;
/// How long parts may go on after the stop was requested. What is cut off then is like what a crash cuts off: the next leader
/// finds it, and must not wait for an engine that hangs.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the last part may go on after all others.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The tasks of a running operator.
pub struct Parts {
    context: Arc<Context>,
    shutdown: Shutdown,
    tasks: JoinSet<Result<(), RunError>>,
    /// What goes on until all others have ended, and what tells it that they have.
    last: JoinSet<()>,
    others_ended: shutdown::Trigger,
    end: Shutdown,
    /// Turns true once everything that reconcilers look up was listed.
    listed: watch::Sender<bool>,
}

impl Parts {
    /// Nothing runs yet.
    pub fn new(context: Arc<Context>, shutdown: Shutdown) -> Self {
        let (others_ended, end) = shutdown::channel();
        let (tasks, last) = (JoinSet::new(), JoinSet::new());
        Self { context, shutdown, tasks, last, others_ended, end, listed: watch::Sender::new(false) }
    }

    /// Runs a part that may end, well or not.
    pub fn spawn(&mut self, part: impl Future<Output = Result<(), RunError>> + Send + 'static) {
        self.tasks.spawn(part);
    }

    /// Runs a part beside all others; it is given what tells it that they have ended, and then has a moment to end as well.
    pub fn last<F: Future<Output = ()> + Send + 'static>(&mut self, part: impl FnOnce(Shutdown) -> F) {
        self.last.spawn(part(self.end.clone()));
    }

    /// Runs a part until the stop is requested; if it ends before, the operator fails.
    pub fn forever(&mut self, name: &str, part: impl Future<Output = ()> + Send + 'static) {
        let (name, shutdown) = (name.to_owned(), self.shutdown.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = part => if shutdown.is_requested() { Ok(()) } else { Err(RunError::PartEnded(name)) },
                () = shutdown.requested() => Ok(()),
            }
        });
    }

    /// Watches and reconciles one kind, in each of its scopes. `seen` is shown every change.
    pub fn kind<K: Kind>(&mut self, feeds: Vec<Feed<K>>, watched: &Watched<K>, seen: fn(&Context, &K)) {
        for Feed { namespace, writer, requests } in feeds {
            let context = self.context.clone();
            let watch = watched.clone().watch(context.kube.clone(), namespace.clone(), writer, move |object| {
                seen(&context, object);
            });
            self.forever(&format!("the watch of {}", K::kind(&())), watch);
            let Some(store) = watched.store(namespace.as_deref()) else { continue };
            let (context, shutdown, mut listed) =
                (self.context.clone(), self.shutdown.clone(), self.listed.subscribe());
            self.tasks.spawn(async move {
                tokio::select! {
                    _ = listed.wait_for(|listed| *listed) => {}
                    () = shutdown.requested() => return Ok(()),
                }
                let stop = shutdown.clone();
                let queue = watched::requests(requests).take_until(Box::pin(async move { stop.requested().await }));
                let (metrics, clock) = (context.metrics.clone(), context.clock.clone());
                let queue = queue.inspect(|request| {
                    if let Ok(object) = request {
                        let key = key(object.namespace.as_deref(), &object.name);
                        metrics.queued(kind_name::<K>(), key, clock.now());
                    }
                });
                let config = ControllerConfig::default().concurrency(CONCURRENCY);
                let reconcile = |object, context| Box::pin(turn::<K>(object, context));
                let turns = applier(reconcile, kind::on_error::<K>, context, store, queue, config);
                // Failures were logged by the error policy; an object that is gone meanwhile needs nothing.
                let done = turns.for_each(|turn| {
                    if let Err(TurnError::ObjectNotFound(object)) = turn {
                        metrics.withdrawn(kind_name::<K>(), &key(object.namespace.as_deref(), &object.name));
                    }
                    async {}
                });
                done.await;
                let name = format!("the reconciler of {}", K::kind(&()));
                if shutdown.is_requested() { Ok(()) } else { Err(RunError::PartEnded(name)) }
            });
        }
    }

    /// Lets the reconcilers begin when everything that they look up was listed: before that, what is absent may only be
    /// unknown. kube's stores wake one waiter only, therefore one task waits for all.
    pub fn begin(&mut self, ready: Arc<AtomicBool>) {
        let (context, shutdown, listed) = (self.context.clone(), self.shutdown.clone(), self.listed.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = context.listed() => {
                    listed.send_replace(true);
                    ready.store(true, Ordering::Relaxed);
                    tracing::info!("operator ready");
                }
                () = shutdown.requested() => {}
            }
            Ok(())
        });
    }

    /// Returns when every part has stopped after a request, or with the first that fails. The leadership is kept until the
    /// last part has stopped, and given back then.
    ///
    /// # Errors
    /// What the first part says that fails before a stop was requested.
    pub async fn wait(mut self, mut leading: Option<Candidate>) -> Result<(), RunError> {
        let outcome = self.stopped(&mut leading).await;
        // Nothing may be under way any more when another replica is let in.
        self.tasks.shutdown().await;
        self.others_ended.stop();
        // Cut off, a last word is lost, and nothing else.
        let _ = tokio::time::timeout(LAST_WORDS, async { while self.last.join_next().await.is_some() {} }).await;
        self.last.shutdown().await;
        if let Some(candidate) = leading {
            candidate.resign().await;
        }
        outcome
    }

    async fn stopped(&mut self, leading: &mut Option<Candidate>) -> Result<(), RunError> {
        let mut kept = std::pin::pin!(async {
            match leading {
                Some(candidate) => candidate.keep().await,
                None => std::future::pending().await,
            }
        });
        let shutdown = self.shutdown.clone();
        let mut overdue = std::pin::pin!(async move {
            shutdown.requested().await;
            tokio::time::sleep(DRAIN).await;
        });
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next() => ended,
                () = &mut kept => return Err(RunError::PartEnded("the leadership".to_owned())),
                () = &mut overdue => {
                    tracing::warn!(parts = self.tasks.len(), "cut off what was under way");
                    return Ok(());
                }
            };
            match ended {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) if !self.shutdown.is_requested() => return Err(error),
                Some(Ok(Err(error))) => tracing::warn!(error = %telemetry::chain(&error), "stopping"),
                Some(Err(error)) => return Err(RunError::PartEnded(format!("a part ({error})"))),
            }
        }
    }
}

/// An object for counting: `NAMESPACE/NAME`.
fn key(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// One turn of one object: counted, timed, and named in every line that is logged meanwhile.
async fn turn<K: Kind>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Error> {
    let (kind, namespace, name) = (kind_name::<K>(), namespace_of(&*object), object.name_any());
    let span = tracing::info_span!("reconcile", kind, namespace, name);
    let begun = context.clock.now();
    context.metrics.begun(kind, &key(Some(&namespace), &name), begun);
    let outcome = if context.fence.is_open() {
        kind::reconcile(object, context.clone()).instrument(span).await
    } else {
        Err(Error::waiting("NotLeading", NotLeading.to_string()))
    };
    let word = outcome.as_ref().map_or_else(Error::reason, |_| "Ok");
    context.metrics.ended(kind, word, begun, context.clock.now());
    outcome
}
