//! Which database user a pod has got, as an event of the pod: so that people find it with `kubectl describe pod`.
//!
//! An event and no annotation of the pod, because the right to patch pods is the right to run another image in them, and the
//! operator would need it for every pod of the cluster. It says who, never a password nor a whole lease id. Its name follows
//! from pod and lease, so whoever tells it again after a restart finds it told.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use ring::digest;
use serde::Deserialize;

use crate::api::names::{LEASE, MANAGER, USERNAME};
use crate::base::{Timestamp, telemetry};
use crate::operator::context::Context;
use crate::operator::metrics;

/// How far back an operator looks that has just begun: as long as Kubernetes keeps events.
const BEGINNING: Duration = Duration::from_secs(3600);
/// How much of the past every look sees again: a lease may be recorded a moment after its time.
const OVERLAP: Duration = Duration::from_secs(10);
/// Events that are written at the same time.
const PARALLEL: usize = 4;
/// The longest name of a pod that leaves room for the rest of an event's name (253 in all).
const LONGEST_NAME: usize = 230;

/// A lease as the engine's list has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Issued {
    /// `pod`, or something else that says by itself what it holds.
    #[serde(rename = "type")]
    kind: String,
    uid: String,
    namespace: String,
    name: String,
    service_account: String,
    username: String,
    /// `database/creds/shop.app`.
    path: String,
    /// The beginning of the lease's last part.
    lease: String,
    issue_time: Timestamp,
}

impl Issued {
    /// The event's name: the same for the same pod and lease.
    fn event_name(&self) -> String {
        let told = [self.uid.as_str(), &self.path, &self.lease].join("\n");
        let hash = digest::digest(&digest::SHA256, told.as_bytes());
        let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // Names of pods are ASCII.
        format!("{}.{hash}", self.name.get(..LONGEST_NAME).unwrap_or(&self.name).trim_end_matches('.'))
    }

    fn event(&self, instance: &str) -> Event {
        let Self { uid, namespace, name, service_account, username, path, lease, issue_time, .. } = self;
        let annotations = [(LEASE, format!("{path}/{lease}")), (USERNAME, username.clone())];
        Event {
            metadata: ObjectMeta {
                name: Some(self.event_name()),
                namespace: Some(namespace.clone()),
                annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()),
                ..ObjectMeta::default()
            },
            action: Some("Lease".to_owned()),
            reason: Some("Leased".to_owned()),
            note: Some(format!(
                "Database user {username} of {path} for ServiceAccount {service_account} (lease {lease}…)"
            )),
            type_: Some("Normal".to_owned()),
            event_time: Some(MicroTime(*issue_time)),
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(MANAGER.to_owned()),
            reporting_instance: Some(instance.to_owned()),
            ..Event::default()
        }
    }
}

/// Tells each lease of a pod once.
pub(super) struct Teller {
    /// The namespaces that the operator may write to; empty: all.
    namespaces: Vec<String>,
    /// From when on the engine is asked for leases, by its own clock; not before that is known.
    since: Option<Timestamp>,
    /// The names of events that the next look may ask for again.
    told: HashSet<String>,
}

impl Teller {
    pub(super) fn new(namespaces: &[String]) -> Self {
        Self { namespaces: namespaces.to_vec(), since: None, told: HashSet::new() }
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Writes the events of `issued`, seen at `time`.
    pub(super) async fn tell(&mut self, context: &Context, issued: Vec<Issued>, time: Timestamp) {
        let news = self.news(issued, time);
        futures_util::stream::iter(news)
            .for_each_concurrent(PARALLEL, |issued| async move { write(context, &issued).await })
            .await;
    }

    /// Those that were not told yet, of pods whose namespace is watched.
    fn news(&mut self, issued: Vec<Issued>, time: Timestamp) -> Vec<Issued> {
        let back = if self.since.is_none() { BEGINNING } else { OVERLAP };
        self.since = Some(time.saturating_sub(back).unwrap_or(time));
        let watched = |namespace: &String| self.namespaces.is_empty() || self.namespaces.contains(namespace);
        let of_pods = issued
            .into_iter()
            .filter(|issued| issued.kind == "pod" && !issued.username.is_empty() && watched(&issued.namespace))
            .map(|issued| (issued.event_name(), issued));
        let of_pods: Vec<_> = of_pods.collect();
        let before = std::mem::take(&mut self.told);
        self.told = of_pods.iter().map(|(name, _)| name.clone()).collect();
        of_pods.into_iter().filter(|(name, _)| !before.contains(name)).map(|(_, issued)| issued).collect()
    }
}

async fn write(context: &Context, issued: &Issued) {
    let events: Api<Event> = Api::namespaced(context.kube.clone(), &issued.namespace);
    match events.create(&PostParams::default(), &issued.event(&context.identity)).await {
        Ok(_) => metrics::count(&context.metrics.events),
        // Told before a restart; or the namespace, and with it the pod, is on its way out.
        Err(kube::Error::Api(status))
            if status.is_already_exists() || status.is_forbidden() || status.is_not_found() => {}
        Err(error) => {
            metrics::count(&context.metrics.events_lost);
            let (namespace, name) = (&issued.namespace, &issued.name);
            tracing::warn!(namespace, name, error = telemetry::chain(&error), "cannot tell which user a pod has got");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issued(name: &str, namespace: &str, lease: &str) -> Issued {
        serde_json::from_value(json!({
            "type": "pod", "uid": format!("uid-of-{name}"), "namespace": namespace, "name": name, "service_account": "app",
            "username": "v-app-1", "path": "database/creds/shop.app", "lease": lease, "issue_time": "2026-01-01T12:00:00Z",
        }))
        .unwrap()
    }

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_lease_is_told_once_and_an_hour_is_made_up_for_at_the_start() {
        let mut teller = Teller::new(&[]);
        assert_eq!(teller.since(), None, "the engine's clock is not known yet");
        teller.news(Vec::new(), noon());
        assert_eq!(teller.since(), Some("2026-01-01T11:00:00Z".parse().unwrap()));
        assert_eq!(teller.news(vec![issued("a", "shop", "one")], noon()).len(), 1);
        assert_eq!(teller.since(), Some("2026-01-01T11:59:50Z".parse().unwrap()));
        assert!(teller.news(vec![issued("a", "shop", "one")], noon()).is_empty());
        assert_eq!(teller.news(vec![issued("a", "shop", "one"), issued("a", "shop", "two")], noon()).len(), 1);
    }

    #[test]
    fn only_pods_of_watched_namespaces_are_told_about() {
        let mut teller = Teller::new(&["shop".to_owned()]);
        let object = Issued { kind: "object".to_owned(), ..issued("db", "shop", "one") };
        let news = teller.news(vec![object, issued("a", "other", "one"), issued("b", "shop", "one")], noon());
        assert_eq!(news.iter().map(|issued| issued.name.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_event_is_of_the_pod_and_names_its_user() {
        let event = issued("app-1", "shop", "0123abcd").event("operator-0");
        assert_eq!(event.metadata.annotations.unwrap()[LEASE], "database/creds/shop.app/0123abcd");
        assert_eq!(event.regarding.unwrap().uid.unwrap(), "uid-of-app-1");
        assert!(
            event.note.unwrap().starts_with("Database user v-app-1 of database/creds/shop.app for ServiceAccount app")
        );
        let long = issued(&"x".repeat(253), "shop", "one");
        assert!(
            long.event_name().len() <= 253 && long.event_name() != issued(&"x".repeat(253), "shop", "two").event_name()
        );
    }
}
