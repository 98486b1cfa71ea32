//! What reconciling has in common for every kind: finalizer, conditions, events, status, retries and a deletion that ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::context::Context;
use super::error::{self, Error};
use super::watched::Object;
use super::{finalizer, progress};
use crate::api::condition::{self, Conditions, READY, Statement};
use crate::api::names::{FINALIZER, MANAGER};
use crate::base::Timestamp;

/// How long after an object's deletion its clean-up is left for later, so that it is gone within 30 s.
const CLEANUP_ENDS: Duration = Duration::from_secs(10);
/// How long after an object's deletion it is held because its clean-up could not even be written down.
const RECORD_ENDS: Duration = Duration::from_secs(22);
/// The longest one attempt of a clean-up takes.
const CLEANUP_ATTEMPT: Duration = Duration::from_secs(5);
/// The wait between attempts.
const CLEANUP_PAUSE: Duration = Duration::from_secs(2);

/// A kind that the operator reconciles.
#[async_trait]
pub trait Kind: Object + Serialize {
    /// Its status.
    type Status: Conditions + Clone + Default + PartialEq + Serialize + Send + Sync;

    /// The status as it was read.
    fn status(&self) -> Option<&Self::Status>;

    /// Brings the world in line with the object; run again, it changes nothing. Conditions other than Ready, and every other
    /// field of the status, are set in `status`, which is written whether this succeeds or fails.
    ///
    /// # Errors
    /// Become the Ready condition's reason and message, and are tried again.
    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error>;

    /// Whether [`Kind::sync`] may begin while the object gets its finalizer, because what it makes is found and undone without
    /// one as well.
    fn may_begin_early(&self) -> bool {
        false
    }

    /// Until when what the object delivers is valid, for metrics.
    fn validity(&self) -> Option<Validity> {
        None
    }

    /// When the password that the object keeps was changed, for metrics. Unlike a credential with a lease it does not end when a
    /// change is late.
    fn password(&self) -> Option<PasswordTimes> {
        None
    }

    /// Undoes what [`Kind::sync`] did. Idempotent.
    ///
    /// # Errors
    /// It is then tried again until it is given up.
    async fn clean_up(&self, context: &Context) -> Result<(), Error>;

    /// What stays behind while the clean-up waits to be done later, for the event.
    fn give_up(&self, context: &Context) -> String;

    /// Whether another object of the same namespace and name takes over what this one has in the engine, so that nothing of it
    /// may be cleaned up any more.
    fn is_taken_over_by_namesake(&self) -> bool {
        true
    }
}

/// A sync that got through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// One word in CamelCase for the Ready condition.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// When to look again.
    pub next: Duration,
}

/// How long a credential is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it ends unless it is renewed or replaced.
    pub expires: Timestamp,
    /// For how long it was last prolonged, or made, whole seconds.
    pub ttl: i64,
}

/// The age of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordTimes {
    /// When it was made, or taken over.
    pub changed: Timestamp,
    /// When the next one is due, if that is known.
    pub due: Option<Timestamp>,
}

/// The namespace of a namespaced object.
pub fn namespace_of<K: Object>(object: &K) -> String {
    object.namespace().unwrap_or_default()
}

/// `DatabaseRole shop/orders`, for messages.
pub fn describe<K: Object>(object: &K) -> String {
    format!("{} {}/{}", K::kind(&()), namespace_of(object), object.name_any())
}

/// Its kind, in its namespace.
pub fn api<K: Object>(object: &K, context: &Context) -> Api<K> {
    Api::namespaced(context.kube.clone(), &namespace_of(object))
}

/// One pass over one object.
///
/// # Errors
/// What [`Kind::sync`], [`Kind::clean_up`] or the Kubernetes API say; [`on_error`] decides when to come back.
pub async fn reconcile<K: Kind>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Error> {
    if object.meta().deletion_timestamp.is_some() {
        return finish(&*object, &context).await;
    }
    let namespace = namespace_of(&*object);
    if context.is_terminating(&namespace) {
        // Its own deletion follows; a Secret that went before it needs no successor.
        return Ok(Action::await_change());
    }
    let kube = api(&*object, &context);
    let Some(object) = context.latest.of(object, &kube).await? else { return Ok(Action::await_change()) };
    let mut status = object.status().cloned().unwrap_or_default();
    let sync = async {
        context.access.ensure(&namespace).await?;
        object.sync(&context, &mut status).await
    };
    let outcome = if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        sync.await
    } else if object.may_begin_early() {
        let (set, outcome) = tokio::join!(finalizer::set(&*object, &context, true), sync);
        if !set? {
            // Deleted meanwhile, without waiting for anybody's clean-up.
            object.clean_up(&context).await?;
            return Ok(Action::await_change());
        }
        outcome
    } else {
        // What is made for an object must not outlive it unseen, so nothing is made before the finalizer is there.
        if !finalizer::set(&*object, &context, true).await? {
            return Ok(Action::await_change());
        }
        sync.await
    };
    if outcome.as_ref().is_err_and(|error| error.reason() == "KubernetesForbidden") {
        context.access.doubt(&namespace);
    }
    let story;
    let ready = match &outcome {
        Ok(done) => Statement { kind: READY, holds: true, reason: done.reason, message: &done.message },
        Err(error) => {
            story = error.story();
            Statement { kind: READY, holds: false, reason: error.reason(), message: &story }
        }
    };
    let generation = object.meta().generation;
    status.observe(generation);
    condition::set(status.conditions_mut(), &ready, generation, context.clock.now());
    progress::set(status.conditions_mut(), outcome.as_ref().err(), generation, context.clock.now());
    if object.status() != Some(&status) {
        write_status(&*object, &context, &status).await?;
    }
    publish_change(&*object, &context, &ready).await;
    let done = outcome?;
    context.failures.clear(&object.uid().unwrap_or_default());
    Ok(Action::requeue(done.next))
}

/// Logs a failure once and says when to try again.
pub fn on_error<K: Kind>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let wait = if object.meta().deletion_timestamp.is_some() {
        CLEANUP_PAUSE
    } else {
        context.failures.next_wait(&object.uid().unwrap_or_default(), error.needs_change(), &*context.random)
    };
    let (object, retry_seconds) = (describe(&*object), wait.as_secs_f32());
    tracing::warn!(%object, reason = error.reason(), error = %error.story(), retry_seconds, "reconcile failed");
    Action::requeue(wait)
}

/// The name of a kind, for labels.
pub fn kind_name<K: Kind>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(name) => name,
        std::borrow::Cow::Owned(_) => "unknown",
    }
}

/// An event for every change of the Ready condition's status or reason, and for none of its repetitions.
async fn publish_change<K: Kind>(object: &K, context: &Context, ready: &Statement<'_>) {
    let known = object.status().and_then(|status| condition::get(status.conditions(), READY));
    let same = known.is_some_and(|known| (known.status == "True") == ready.holds && known.reason == ready.reason);
    // The object may have been read before the status of the last pass was written.
    let news = context.told.is_news(&object.uid().unwrap_or_default(), ready.holds, ready.reason);
    if news && !same {
        let kind = if ready.holds { EventType::Normal } else { EventType::Warning };
        context.publish(object, kind, ready.reason, "Reconcile", ready.message).await;
    }
}

/// Applies the whole status; an object that is gone meanwhile needs none.
async fn write_status<K: Kind>(object: &K, context: &Context, status: &K::Status) -> Result<(), Error> {
    let patch = with_type(object, json!({ "status": status }));
    let params = PatchParams::apply(MANAGER).force();
    match api(object, context).patch_status(&object.name_any(), &params, &Patch::Apply(&patch)).await {
        Ok(written) => context.latest.note(&written),
        Err(error) if error::is_not_found(&error) => {}
        Err(error) => return Err(Error::kube(format!("cannot write the status of {}", describe(object)))(error)),
    }
    Ok(())
}

fn with_type<K: Kind>(object: &K, mut body: Value) -> Value {
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(K::kind(&()));
    if body.get("metadata").is_none() {
        body["metadata"] = json!({ "name": object.name_any() });
    }
    body
}

/// Cleans up after an object that is being deleted, and lets it go in time even if that fails.
async fn finish<K: Kind>(object: &K, context: &Context) -> Result<Action, Error> {
    if !object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    let asked = object.meta().deletion_timestamp.as_ref().map_or(context.clock.now(), |time| time.0);
    let waited = Duration::try_from(context.clock.now().duration_since(asked)).unwrap_or_default();
    let overdue = waited >= CLEANUP_ENDS;
    // Where many objects go at once, an engine that was silent just now would cost each of them an attempt's whole time.
    let attempt = if overdue && context.session.is_silent() {
        Err(Error::waiting("EngineUnreachable", "the engine does not answer"))
    } else {
        tokio::time::timeout(CLEANUP_ATTEMPT, object.clean_up(context)).await.unwrap_or_else(|_| {
            Err(Error::waiting("Timeout", format!("cleaning up took longer than {} s", CLEANUP_ATTEMPT.as_secs())))
        })
    };
    if let Err(error) = attempt {
        if !overdue {
            return Err(error);
        }
        leave_for_later(object, context, &error, waited).await?;
    }
    finalizer::set(object, context, false).await?;
    context.failures.clear(&object.uid().unwrap_or_default());
    context.told.forget(&object.uid().unwrap_or_default());
    context.latest.forget(&object.uid().unwrap_or_default());
    let namespace = namespace_of(object);
    if !context.is_used(&namespace, &object.uid().unwrap_or_default()) {
        context.access.release(&namespace).await;
    }
    Ok(Action::await_change())
}

/// Writes the clean-up down for later and says so. An object never waits for that beyond [`RECORD_ENDS`].
async fn leave_for_later<K: Kind>(object: &K, context: &Context, error: &Error, waited: Duration) -> Result<(), Error> {
    if let Err(unrecorded) = context.leftovers.keep(object).await {
        if waited < RECORD_ENDS {
            return Err(unrecorded);
        }
        tracing::error!(object = %describe(object), error = %unrecorded.story(), "a clean-up could not be written down");
    }
    let note = format!("{}: {}", object.give_up(context), error.story());
    tracing::warn!(object = %describe(object), error = %error.story(), "clean-up left for later");
    context.publish(object, EventType::Warning, "CleanupIncomplete", "Delete", &note).await;
    Ok(())
}
