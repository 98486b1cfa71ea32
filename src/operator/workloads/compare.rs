//! The comparison: what the engine has of workloads, against what the cluster has.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::PoisonError;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, ResourceExt};
use serde::Deserialize;
use tokio::sync::Notify;

use super::tell::{Issued, Teller};
use super::{Running, has_ended};
use crate::api::DynamicDatabaseSecret;
use crate::base::Timestamp;
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::surplus::Surplus;

/// How often the engine's list is compared with what objects should own. With the engine's own look at its databases (10 s)
/// it is what stands between the loss of a user and a new credential.
const COMPARISON: Duration = Duration::from_secs(5);
/// Every how many comparisons owners are looked for in the cluster that are not known to be there.
const SEARCH: u32 = 4;
/// After a comparison that took long so many times its length is waited, so that a long list does not keep the engine busy …
const SHARE: u32 = 4;
/// … but no longer than this: a lost user is to be replaced within 30 s, on a busy machine as well.
const COMPARISON_LONGEST: Duration = Duration::from_secs(15);
/// How soon after a failed comparison: the engine was down, and may have missed ends.
const COMPARISON_RETRY: Duration = Duration::from_secs(5);
/// How soon after the watch has lost sight of a pod: its end is to be reported within 5 s.
const COMPARISON_SOON: Duration = Duration::from_secs(1);

/// A workload that owns leases, as the engine knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Owner {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    leases: usize,
    /// Where in the engine, if not where the operator itself logs in.
    #[serde(default)]
    engine_namespace: String,
}

/// The engine's list at a moment.
#[derive(Debug, Deserialize)]
struct Listing {
    workloads: Vec<Owner>,
    /// The leases that were asked for lately.
    #[serde(default)]
    issued: Vec<Issued>,
    /// By the engine's clock; an engine of an older version does not say.
    time: Option<Timestamp>,
}

/// Compares for ever, and soon when the watch is `unclear` about somebody.
pub(super) async fn compare(context: &Context, namespaces: &[String], running: &Running, unclear: &Notify) {
    let (mut surplus, mut round, mut teller) = (Surplus::default(), 0u32, Teller::new(namespaces));
    loop {
        let began = context.clock.now();
        let wait = match listing(context, teller.since()).await {
            Ok(Listing { workloads, issued, time }) => {
                suspect(context, &workloads, &mut surplus);
                if round.is_multiple_of(SEARCH) {
                    for uid in lost(context, namespaces, running, workloads).await {
                        let _ = context.ended.send(uid);
                    }
                }
                if let Some(time) = time {
                    teller.tell(context, issued, time).await;
                }
                round = round.wrapping_add(1);
                COMPARISON
            }
            Err(error) => {
                tracing::warn!(error = %error.story(), "cannot compare the engine's workloads with the cluster");
                // What has ended meanwhile is looked for as soon as the engine is back.
                round = 0;
                COMPARISON_RETRY
            }
        };
        let took = Duration::try_from(context.clock.now().duration_since(began)).unwrap_or_default();
        let wait = wait.max(took.saturating_mul(SHARE)).min(COMPARISON_LONGEST);
        tokio::select! {
            () = context.clock.sleep(wait.mul_f64(context.random.jitter(0.1))) => {}
            () = unclear.notified() => {
                context.clock.sleep(COMPARISON_SOON).await;
                round = 0;
            }
        }
    }
}

async fn listing(context: &Context, since: Option<Timestamp>) -> Result<Listing, Error> {
    let what = "cannot list the engine's workloads";
    let answer = context.session.read(&question(&context.logins, since)).await.map_err(Error::engine(what))?;
    let data = answer.and_then(|envelope| envelope.data).unwrap_or_default();
    serde_json::from_value(data).map_err(|error| Error::waiting("EngineRefused", format!("{what}: {error}")))
}

/// Asks for the workloads of this cluster only: an engine may serve others, whose pods nobody finds here.
fn question(logins: &[String], since: Option<Timestamp>) -> String {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    format!("sys/lessor/workloads?logins={}{since}", logins.join(","))
}

/// How many leases each object owns that the operator has asked for in its name.
fn asked_for(owners: &[Owner]) -> HashMap<&str, usize> {
    let mut owned = HashMap::new();
    for owner in owners.iter().filter(|owner| owner.engine_namespace.is_empty()) {
        *owned.entry(owner.uid.as_str()).or_default() += owner.leases;
    }
    owned
}

/// Wakes every DynamicDatabaseSecret that owns less than it should, which then asks for its own lease, and every one that
/// owns more.
fn suspect(context: &Context, owners: &[Owner], surplus: &mut Surplus) {
    let owned = asked_for(owners);
    let mut counts: Vec<(String, usize, usize)> = Vec::new();
    context.secrets.wake(|secret| {
        let uid = secret.uid().unwrap_or_default();
        let (found, expected) = (owned.get(uid.as_str()).copied().unwrap_or(0), expected(secret));
        let missing = secret.metadata.deletion_timestamp.is_none() && found < expected;
        if missing {
            context.suspect(uid);
        } else {
            counts.push((uid, found, expected));
        }
        missing
    });
    let more = surplus.observe(counts.iter().map(|(uid, found, expected)| (uid.as_str(), *found, *expected)));
    for uid in &more {
        context.note_surplus(uid.clone());
    }
    context.secrets.wake(|secret| secret.uid().is_some_and(|uid| more.contains(&uid)));
}

/// How many leases an object should own at the installed engine, as its status has it.
fn expected(secret: &DynamicDatabaseSecret) -> usize {
    let Some(status) = &secret.status else { return 0 };
    let additional = status.additional_users.iter().map(|user| &user.lease);
    let pending = status.pending_revocations.iter().map(|pending| &pending.lease);
    status.lease.iter().chain(additional).chain(pending).filter(|lease| lease.engine.is_none()).count()
}

/// The UIDs of owners that the cluster does not have any more.
async fn lost(context: &Context, namespaces: &[String], running: &Running, owners: Vec<Owner>) -> Vec<String> {
    let (mut gone, mut alive) = (BTreeSet::new(), HashSet::new());
    for owner in owners {
        let watched = namespaces.is_empty() || namespaces.contains(&owner.namespace);
        let known = running.lock().unwrap_or_else(PoisonError::into_inner).contains(&owner.uid)
            || context
                .secrets
                .get(&owner.namespace, &owner.name)
                .is_some_and(|found| found.uid().as_ref() == Some(&owner.uid));
        if !watched || known {
            alive.insert(owner.uid);
            continue;
        }
        match exists(context, &owner).await {
            Ok(false) => drop(gone.insert(owner.uid)),
            Ok(true) => drop(alive.insert(owner.uid)),
            // One that cannot be looked for must not keep the others from their end.
            Err(error) => {
                tracing::warn!(namespace = owner.namespace, name = owner.name, error = %error.story(), "cannot tell whether it has ended");
                alive.insert(owner.uid);
            }
        }
    }
    // Somebody else's claim to the UID of a workload says nothing about that workload.
    gone.retain(|uid| !alive.contains(uid));
    if !gone.is_empty() {
        tracing::info!(workloads = gone.len(), "workloads have ended unseen");
    }
    gone.into_iter().collect()
}

/// Asks the cluster itself: a pod may have logged in without being injected, and a watch may lag.
async fn exists(context: &Context, owner: &Owner) -> Result<bool, Error> {
    let Owner { uid, namespace, name, .. } = owner;
    if namespace.is_empty() || name.is_empty() {
        // Not a workload of this cluster's kinds; whoever recorded it ends it.
        return Ok(true);
    }
    let what = || format!("cannot look for workload {namespace}/{name}");
    let pods: Api<Pod> = Api::namespaced(context.kube.clone(), namespace);
    let pod = match pods.get_opt(name).await {
        // Where the operator's rights end with the namespace, only the namespace itself can tell.
        Err(error) if is_forbidden(&error) && !has_namespace(context, namespace).await? => return Ok(false),
        answer => answer.map_err(Error::kube(what()))?,
    };
    if pod.is_some_and(|pod| pod.uid().as_ref() == Some(uid) && !has_ended(&pod, context.clock.now())) {
        return Ok(true);
    }
    let secrets: Api<DynamicDatabaseSecret> = Api::namespaced(context.kube.clone(), namespace);
    let secret = secrets.get_opt(name).await.map_err(Error::kube(what()))?;
    Ok(secret.is_some_and(|secret| secret.uid().as_ref() == Some(uid)))
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

/// Whether there is such a namespace, as far as the operator may see.
async fn has_namespace(context: &Context, namespace: &str) -> Result<bool, Error> {
    let api: Api<Namespace> = Api::all(context.kube.clone());
    match api.get_metadata_opt(namespace).await {
        Err(error) if is_forbidden(&error) => Ok(true),
        answer => Ok(answer.map_err(Error::kube(format!("cannot look for namespace {namespace}")))?.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_workloads_of_this_cluster_are_asked_for() {
        let logins = ["kubernetes".to_owned(), "team/auth/public".to_owned()];
        assert_eq!(question(&logins[..1], None), "sys/lessor/workloads?logins=kubernetes");
        let since = question(&logins, Some("2026-01-01T12:00:00Z".parse().unwrap()));
        assert_eq!(since, "sys/lessor/workloads?logins=kubernetes,team/auth/public&since=2026-01-01T12:00:00Z");
    }

    #[test]
    fn what_a_namespace_of_the_engine_says_of_an_objects_uid_is_not_the_objects() {
        let owners: Vec<Owner> = serde_json::from_value(json!([
            { "uid": "a", "leases": 2 }, { "uid": "a", "namespace": "other", "leases": 1 },
            { "uid": "a", "leases": 5, "engine_namespace": "team/" },
        ]))
        .unwrap();
        assert_eq!(asked_for(&owners), HashMap::from([("a", 3)]));
    }
}
