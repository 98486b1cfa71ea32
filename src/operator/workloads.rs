//! The end of workloads: pods that are gone or have finished, and custom resources that are gone, are reported to the
//! engine, which drops their database users.
//!
//! Injected pods are watched, so their end is reported at once. What was missed, because operator or engine were down, is
//! found by comparing the engine's list of workloads with the cluster. The same list shows whose leases somebody has ended at
//! the engine (those objects get a new credential), and who owns more than was delivered (the rest is ended).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::context::Context;
use super::error::Error;
use super::surplus::Surplus;
use super::watched::PAGE;
use crate::api::DynamicDatabaseSecret;
use crate::api::names::INJECTED;
use crate::base::telemetry;

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
/// The wait after a failed report.
const REPORT_RETRY: Duration = Duration::from_secs(1);
/// The most UIDs of one report.
const REPORT_SIZE: usize = 500;

/// The pods that run now, by UID, shared between the watch and the comparison.
type Running = Arc<Mutex<HashSet<String>>>;

/// Runs watch, reports and comparison for ever. `ends` is the other side of [`Context::ended`].
pub async fn run(context: Arc<Context>, namespaces: Vec<String>, ends: mpsc::UnboundedReceiver<String>) {
    let running = Running::default();
    tokio::join!(
        watch(&context, &namespaces, &running),
        report(&context, ends),
        compare(&context, &namespaces, &running),
    );
}

/// The injected pods of one watch.
#[derive(Debug, Default)]
struct Tracker {
    running: HashSet<String>,
    /// What a new listing has brought so far.
    listed: HashSet<String>,
}

impl Tracker {
    /// Takes an event in and returns the UIDs of pods that have ended with it.
    fn observe(&mut self, event: &watcher::Event<Pod>) -> Vec<String> {
        let uid = |pod: &Pod| pod.uid().unwrap_or_default();
        match event {
            watcher::Event::Apply(pod) if has_finished(pod) => self.running.take(&uid(pod)).into_iter().collect(),
            watcher::Event::Apply(pod) => {
                self.running.insert(uid(pod));
                Vec::new()
            }
            watcher::Event::Delete(pod) => {
                self.running.remove(&uid(pod));
                vec![uid(pod)]
            }
            watcher::Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            watcher::Event::InitApply(pod) => {
                if !has_finished(pod) {
                    self.listed.insert(uid(pod));
                }
                Vec::new()
            }
            watcher::Event::InitDone => {
                let before = std::mem::replace(&mut self.running, std::mem::take(&mut self.listed));
                before.difference(&self.running).cloned().collect()
            }
        }
    }
}

fn has_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

async fn watch(context: &Context, namespaces: &[String], running: &Running) {
    let apis: Vec<Api<Pod>> = if namespaces.is_empty() {
        vec![Api::all(context.kube.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(context.kube.clone(), namespace)).collect()
    };
    let mut trackers: Vec<Tracker> = apis.iter().map(|_| Tracker::default()).collect();
    let selected = watcher::Config::default().page_size(PAGE).labels(&format!("{INJECTED}=true"));
    let streams = apis.into_iter().enumerate().map(|(index, api)| {
        // Only identity and phase are looked at; a pod's spec is by far its largest part.
        let slim = |pod: &mut Pod| {
            pod.spec = None;
            pod.metadata.managed_fields = None;
            pod.metadata.annotations = None;
        };
        watcher(api, selected.clone()).default_backoff().modify(slim).map(move |event| (index, event)).boxed()
    });
    let mut events = stream::select_all(streams);
    while let Some((index, event)) = events.next().await {
        match event {
            Ok(event) => {
                for uid in trackers[index].observe(&event) {
                    let _ = context.ended.send(uid);
                }
                let mut shared = running.lock().unwrap_or_else(PoisonError::into_inner);
                *shared = trackers.iter().flat_map(|tracker| tracker.running.iter().cloned()).collect();
            }
            Err(error) => tracing::warn!(error = %telemetry::chain(&error), "watch of injected pods interrupted"),
        }
    }
}

/// Passes UIDs on to the engine, in batches, until it has taken them.
async fn report(context: &Context, mut reports: mpsc::UnboundedReceiver<String>) {
    let mut waiting = BTreeSet::new();
    loop {
        if waiting.is_empty() {
            let Some(uid) = reports.recv().await else { return };
            waiting.insert(uid);
        }
        while let Ok(uid) = reports.try_recv() {
            waiting.insert(uid);
        }
        let batch: Vec<String> = waiting.iter().take(REPORT_SIZE).cloned().collect();
        match context.session.write("sys/lessor/workloads/end", &json!({ "uids": batch })).await {
            Ok(_) => {
                tracing::info!(workloads = batch.len(), "reported the end of workloads");
                context.metrics.workloads_ended.fetch_add(batch.len() as u64, Ordering::Relaxed);
                waiting.retain(|uid| !batch.contains(uid));
            }
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), waiting = waiting.len(), "cannot report ended workloads");
                context.clock.sleep(REPORT_RETRY.mul_f64(context.random.jitter(0.2))).await;
            }
        }
    }
}

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
}

async fn compare(context: &Context, namespaces: &[String], running: &Running) {
    let (mut surplus, mut round) = (Surplus::default(), 0u32);
    loop {
        let began = context.clock.now();
        let wait = match owners(context).await {
            Ok(owners) => {
                suspect(context, &owners, &mut surplus);
                if round.is_multiple_of(SEARCH) {
                    for uid in lost(context, namespaces, running, owners).await {
                        let _ = context.ended.send(uid);
                    }
                }
                round = round.wrapping_add(1);
                COMPARISON
            }
            Err(error) => {
                tracing::warn!(error = %error.story(), "cannot compare the engine's workloads with the cluster");
                COMPARISON_RETRY
            }
        };
        let took = Duration::try_from(context.clock.now().duration_since(began)).unwrap_or_default();
        let wait = wait.max(took.saturating_mul(SHARE)).min(COMPARISON_LONGEST);
        context.clock.sleep(wait.mul_f64(context.random.jitter(0.1))).await;
    }
}

async fn owners(context: &Context) -> Result<Vec<Owner>, Error> {
    let what = "cannot list the engine's workloads";
    let answer = context.session.read("sys/lessor/workloads").await.map_err(Error::engine(what))?;
    let rows = answer.and_then(|envelope| envelope.data).map(|mut data| data["workloads"].take()).unwrap_or_default();
    serde_json::from_value(rows).map_err(|error| Error::waiting("EngineRefused", format!("{what}: {error}")))
}

/// Wakes every DynamicDatabaseSecret that owns less than it should, which then asks for its own lease, and every one that
/// owns more.
fn suspect(context: &Context, owners: &[Owner], surplus: &mut Surplus) {
    let mut owned: HashMap<&str, usize> = HashMap::new();
    for owner in owners {
        *owned.entry(owner.uid.as_str()).or_default() += owner.leases;
    }
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
    if pod.is_some_and(|pod| pod.uid().as_ref() == Some(uid) && !has_finished(&pod)) {
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
    use super::*;

    fn pod(uid: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": uid, "uid": uid }, "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn deleted_and_finished_pods_have_ended() {
        let mut tracker = Tracker::default();
        assert!(tracker.observe(&watcher::Event::Apply(pod("a", "Pending"))).is_empty());
        assert!(tracker.observe(&watcher::Event::Apply(pod("a", "Running"))).is_empty());
        assert_eq!(tracker.observe(&watcher::Event::Apply(pod("a", "Succeeded"))), ["a"]);
        assert!(tracker.observe(&watcher::Event::Apply(pod("a", "Succeeded"))).is_empty(), "reported once");
        tracker.observe(&watcher::Event::Apply(pod("b", "Running")));
        assert_eq!(tracker.observe(&watcher::Event::Delete(pod("b", "Running"))), ["b"]);
    }

    #[test]
    fn a_new_listing_tells_what_was_missed() {
        let mut tracker = Tracker::default();
        for uid in ["a", "b", "c"] {
            tracker.observe(&watcher::Event::Apply(pod(uid, "Running")));
        }
        tracker.observe(&watcher::Event::Init);
        tracker.observe(&watcher::Event::InitApply(pod("b", "Running")));
        tracker.observe(&watcher::Event::InitApply(pod("c", "Failed")));
        let mut ended = tracker.observe(&watcher::Event::InitDone);
        ended.sort();
        assert_eq!(ended, ["a", "c"]);
        assert_eq!(tracker.running, HashSet::from(["b".to_owned()]));
    }
}
