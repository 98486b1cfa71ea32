//! The watch of injected pods: who runs, and who has just ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::EventType;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::Notify;

use super::failures::Failure;
use super::{Running, has_ended, overdue_at};
use crate::api::names::INJECTED;
use crate::base::{Timestamp, telemetry};
use crate::operator::context::Context;
use crate::operator::watched::PAGE;

/// Pods that run, by UID, with the moment at which those that are being deleted count as gone.
type Pods = HashMap<String, Option<Timestamp>>;

/// What an event tells of the pods.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// No end.
    Nothing,
    /// The pod of this UID has ended.
    Ended(String),
    /// Somebody is not seen any more, who may live on without the label: the cluster has to be asked.
    Unclear,
}

/// Whether a pod that is not seen any more was removed: the last step of every removal is a grace period of 0, which
/// Kubernetes writes down before. Where only the label was taken away, the watch says the same of a pod that lives.
fn is_removed(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pod.metadata.deletion_grace_period_seconds == Some(0)
}

/// The injected pods of one watch.
#[derive(Debug, Default)]
struct Tracker {
    running: Pods,
    /// What a new listing has brought so far.
    listed: Pods,
    /// Of running pods, the failed run of the agent that was told of last.
    failed: HashMap<String, i32>,
}

impl Tracker {
    /// An agent's failure that was not told of yet. Those of a listing were told of before, or their pods have long been seen.
    fn failure<'a>(&mut self, event: &'a watcher::Event<Pod>) -> Option<(&'a Pod, String)> {
        match event {
            watcher::Event::Apply(pod) => {
                let failure = Failure::of(pod)?;
                let (uid, run) = failure.run.clone();
                (self.failed.insert(uid, run) != Some(run)).then_some((pod, failure.text))
            }
            watcher::Event::InitApply(pod) => {
                self.failed.extend(Failure::of(pod).map(|failure| failure.run));
                None
            }
            watcher::Event::Delete(pod) => {
                self.failed.remove(&pod.uid().unwrap_or_default());
                None
            }
            _ => None,
        }
    }

    /// Takes an event in.
    fn observe(&mut self, event: &watcher::Event<Pod>, now: Timestamp) -> Seen {
        let uid = |pod: &Pod| pod.uid().unwrap_or_default();
        match event {
            watcher::Event::Apply(pod) if has_ended(pod, now) => {
                if self.running.remove(&uid(pod)).is_some() {
                    Seen::Ended(uid(pod))
                } else {
                    Seen::Nothing
                }
            }
            watcher::Event::Apply(pod) => {
                self.running.insert(uid(pod), overdue_at(pod));
                Seen::Nothing
            }
            watcher::Event::Delete(pod) => {
                self.running.remove(&uid(pod));
                if is_removed(pod) { Seen::Ended(uid(pod)) } else { Seen::Unclear }
            }
            watcher::Event::Init => {
                self.listed.clear();
                Seen::Nothing
            }
            watcher::Event::InitApply(pod) => {
                if !has_ended(pod, now) {
                    self.listed.insert(uid(pod), overdue_at(pod));
                }
                Seen::Nothing
            }
            watcher::Event::InitDone => {
                let before = std::mem::replace(&mut self.running, std::mem::take(&mut self.listed));
                if before.keys().all(|uid| self.running.contains_key(uid)) { Seen::Nothing } else { Seen::Unclear }
            }
        }
    }

    /// Takes out and returns the UIDs of pods that should be gone by now.
    fn overdue(&mut self, now: Timestamp) -> Vec<String> {
        self.running.extract_if(|_, overdue| overdue.is_some_and(|at| at <= now)).map(|(uid, _)| uid).collect()
    }

    /// When the next pod should be gone.
    fn next(&self) -> Option<Timestamp> {
        self.running.values().copied().flatten().min()
    }
}

/// Follows the pods for ever, keeps `running`, and has ends reported; `unclear` ones are for the comparison to settle.
pub(super) async fn watch(context: &Context, namespaces: &[String], running: &Running, unclear: &Notify) {
    let apis: Vec<Api<Pod>> = if namespaces.is_empty() {
        vec![Api::all(context.kube.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(context.kube.clone(), namespace)).collect()
    };
    let mut trackers: BTreeMap<usize, Tracker> = (0..apis.len()).map(|index| (index, Tracker::default())).collect();
    let selected = watcher::Config::default().page_size(PAGE).labels(&format!("{INJECTED}=true"));
    let streams = apis.into_iter().enumerate().map(|(index, api)| {
        // Only identity, phase and deletion are looked at; a pod's spec is by far its largest part.
        let slim = |pod: &mut Pod| {
            pod.spec = None;
            pod.metadata.managed_fields = None;
            pod.metadata.annotations = None;
        };
        watcher(api, selected.clone()).default_backoff().modify(slim).map(move |event| (index, event)).boxed()
    });
    let mut events = stream::select_all(streams);
    loop {
        let next = trackers.values().filter_map(Tracker::next).min().unwrap_or(Timestamp::MAX);
        let mut look = false;
        let ended: Vec<String> = tokio::select! {
            event = events.next() => match event {
                None => return,
                Some((_, Err(error))) => {
                    tracing::warn!(error = %telemetry::chain(&error), "watch of injected pods interrupted");
                    continue;
                }
                Some((index, Ok(event))) => {
                    let tracker = trackers.entry(index).or_default();
                    if let Some((pod, text)) = tracker.failure(&event) {
                        context.publish(pod, EventType::Warning, "AgentFailed", "Inject", &text).await;
                    }
                    match tracker.observe(&event, context.clock.now()) {
                        Seen::Nothing => Vec::new(),
                        Seen::Ended(uid) => vec![uid],
                        Seen::Unclear => {
                            look = true;
                            Vec::new()
                        }
                    }
                }
            },
            () = context.clock.sleep_until(next) => {
                let now = context.clock.now();
                let overdue: Vec<_> = trackers.values_mut().flat_map(|tracker| tracker.overdue(now)).collect();
                tracing::info!(pods = overdue.len(), "pods should have ended long ago: their nodes may be lost");
                overdue
            }
        };
        for uid in ended {
            let _ = context.ended.send(uid);
        }
        let mut shared = running.lock().unwrap_or_else(PoisonError::into_inner);
        *shared = trackers.values().flat_map(|tracker| tracker.running.keys().cloned()).collect();
        if look {
            unclear.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::base::clock::add;

    fn pod(uid: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": uid, "uid": uid }, "status": { "phase": phase },
        }))
        .unwrap()
    }

    /// A pod whose grace period ends at that moment.
    fn deleted(uid: &str, end_of_grace: &str) -> Pod {
        let mut pod = pod(uid, "Running");
        pod.metadata.deletion_timestamp = serde_json::from_value(json!(end_of_grace)).unwrap();
        pod
    }

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn deleted_and_finished_pods_have_ended() {
        let (mut tracker, now) = (Tracker::default(), noon());
        assert_eq!(tracker.observe(&watcher::Event::Apply(pod("a", "Pending")), now), Seen::Nothing);
        assert_eq!(tracker.observe(&watcher::Event::Apply(pod("a", "Running")), now), Seen::Nothing);
        assert_eq!(tracker.observe(&watcher::Event::Apply(pod("a", "Succeeded")), now), Seen::Ended("a".into()));
        assert_eq!(tracker.observe(&watcher::Event::Apply(pod("a", "Succeeded")), now), Seen::Nothing, "reported once");
        tracker.observe(&watcher::Event::Apply(pod("b", "Running")), now);
        let mut removed = deleted("b", "2026-01-01T12:00:00Z");
        removed.metadata.deletion_grace_period_seconds = Some(0);
        assert_eq!(tracker.observe(&watcher::Event::Delete(removed), now), Seen::Ended("b".into()));
    }

    #[test]
    fn a_pod_that_loses_its_label_lives_on() {
        let (mut tracker, now) = (Tracker::default(), noon());
        for gone in [pod("a", "Running"), deleted("a", "2026-01-01T12:00:30Z")] {
            tracker.observe(&watcher::Event::Apply(pod("a", "Running")), now);
            assert_eq!(tracker.observe(&watcher::Event::Delete(gone), now), Seen::Unclear);
        }
    }

    #[test]
    fn a_new_listing_tells_what_was_missed() {
        let (mut tracker, now) = (Tracker::default(), noon());
        for uid in ["a", "b", "c"] {
            tracker.observe(&watcher::Event::Apply(pod(uid, "Running")), now);
        }
        tracker.observe(&watcher::Event::Init, now);
        tracker.observe(&watcher::Event::InitApply(pod("b", "Running")), now);
        tracker.observe(&watcher::Event::InitApply(pod("c", "Failed")), now);
        assert_eq!(
            tracker.observe(&watcher::Event::InitDone, now),
            Seen::Unclear,
            "\"a\" may have lost its label only"
        );
        assert_eq!(tracker.running.into_keys().collect::<HashSet<_>>(), HashSet::from(["b".to_owned()]));
    }

    #[test]
    fn a_pod_that_nobody_removes_has_ended_a_while_after_its_grace_period() {
        let (mut tracker, now) = (Tracker::default(), noon());
        tracker.observe(&watcher::Event::Apply(pod("a", "Running")), now);
        assert_eq!(tracker.next(), None);
        let lost = deleted("a", "2026-01-01T12:00:10Z");
        let seen = tracker.observe(&watcher::Event::Apply(lost.clone()), now);
        assert_eq!(seen, Seen::Nothing, "its containers may run yet");
        let due = tracker.next().unwrap();
        assert_eq!(due, add(now, Duration::from_secs(40)));
        assert!(tracker.overdue(add(now, Duration::from_secs(39))).is_empty());
        assert_eq!(tracker.overdue(due), ["a"]);
        assert_eq!(tracker.observe(&watcher::Event::Apply(lost.clone()), due), Seen::Nothing, "reported once");
        tracker.observe(&watcher::Event::Init, due);
        tracker.observe(&watcher::Event::InitApply(lost), due);
        assert_eq!(tracker.observe(&watcher::Event::InitDone, due), Seen::Nothing);
        assert!(tracker.running.is_empty());
    }
}
