//! The tasks of a running operator: what each does when the stop is requested, and what its end means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use kube::runtime::controller::{Config as ControllerConfig, applier};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::context::Context;
use super::kind::{self, Kind};
use super::leader::Candidate;
use super::options::RunError;
use super::watched::{self, Feed, Watched};
use crate::base::shutdown::Shutdown;
use crate::base::telemetry;

/// How many objects of one kind are reconciled at the same time.
const CONCURRENCY: u16 = 32;

/// The tasks of a running operator.
pub struct Parts {
    context: Arc<Context>,
    shutdown: Shutdown,
    tasks: JoinSet<Result<(), RunError>>,
    /// Turns true once everything that reconcilers look up was listed.
    listed: watch::Sender<bool>,
}

impl Parts {
    /// Nothing runs yet.
    pub fn new(context: Arc<Context>, shutdown: Shutdown) -> Self {
        Self { context, shutdown, tasks: JoinSet::new(), listed: watch::Sender::new(false) }
    }

    /// Runs a part that may end, well or not.
    pub fn spawn(&mut self, part: impl Future<Output = Result<(), RunError>> + Send + 'static) {
        self.tasks.spawn(part);
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
                let config = ControllerConfig::default().concurrency(CONCURRENCY);
                let reconcile = |object, context| Box::pin(kind::reconcile::<K>(object, context));
                // Failures were logged by the error policy; an object that is gone meanwhile needs nothing.
                applier(reconcile, kind::on_error::<K>, context, store, queue, config).for_each(|_| async {}).await;
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
    pub async fn wait(mut self, mut leading: Option<Candidate>) -> Result<(), RunError> {
        {
            let mut kept = std::pin::pin!(async {
                match &mut leading {
                    Some(candidate) => candidate.keep().await,
                    None => std::future::pending().await,
                }
            });
            loop {
                let ended = tokio::select! {
                    ended = self.tasks.join_next() => ended,
                    () = &mut kept => return Err(RunError::PartEnded("the leadership".to_owned())),
                };
                match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) if !self.shutdown.is_requested() => return Err(error),
                    Some(Ok(Err(error))) => tracing::warn!(error = %telemetry::chain(&error), "stopping"),
                    Some(Err(error)) => return Err(RunError::PartEnded(format!("a part ({error})"))),
                }
            }
        }
        if let Some(candidate) = leading {
            candidate.resign().await;
        }
        Ok(())
    }
}
