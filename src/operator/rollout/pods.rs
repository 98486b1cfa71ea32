//! The running pods of a namespace, as far as a rollout needs to know them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::usage::{Usage, usage};
use crate::base::{Timestamp, clock};
use crate::operator::error::Error;

/// Pods of one page: a page, not a namespace, is what has to fit into memory.
const PAGE: u32 = 100;
/// A pod that was made this much later than the Secret was written, whole seconds, holds the new content whatever it is marked
/// with: more than clocks differ, and than a kubelet takes to see a Secret change.
const SETTLED: u64 = 30;

/// A pod that has not finished.
#[derive(Debug, Clone, PartialEq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What made it and would make another in its place.
    pub controller: Option<OwnerReference>,
    /// The content hash that its template carried.
    pub mark: Option<String>,
    /// How it uses the Secret.
    pub usage: Option<Usage>,
    /// How long after its making it became ready, whole seconds.
    pub ready_after: Option<u64>,
}

impl PodFacts {
    fn of(pod: Pod, secrets: &[&str], annotation: &str) -> Option<Self> {
        let created = pod.metadata.creation_timestamp.as_ref()?.0;
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.filter(|condition| condition.type_ == "Ready" && condition.status == "True").find_map(
            |condition| condition.last_transition_time.as_ref().map(|since| clock::seconds_between(created, since.0)),
        );
        let mut owners = pod.owner_references().iter();
        Some(Self {
            name: pod.name_any(),
            created,
            controller: owners.find(|owner| owner.controller == Some(true)).cloned(),
            mark: pod.annotations().get(annotation).cloned(),
            usage: pod.spec.as_ref().and_then(|spec| usage(spec, secrets)),
            ready_after: ready,
            labels: pod.metadata.labels.unwrap_or_default(),
        })
    }

    /// Whether it may hold what the Secret held before it was given the content `hash` at `changed`.
    pub fn is_old(&self, hash: &str, changed: Timestamp) -> bool {
        self.mark.as_deref() != Some(hash) && self.created < clock::add_seconds(changed, SETTLED)
    }
}

/// All pods of the namespace that have not finished; those that are terminating still work off their last requests, and count.
///
/// # Errors
/// What Kubernetes says.
pub async fn list(
    kube: &kube::Client,
    namespace: &str,
    secrets: &[&str],
    annotation: &str,
) -> Result<Vec<PodFacts>, Error> {
    let api: Api<Pod> = Api::namespaced(kube.clone(), namespace);
    let mut wanted = ListParams::default().limit(PAGE).fields("status.phase!=Succeeded,status.phase!=Failed");
    let mut found = Vec::new();
    loop {
        let page = api.list(&wanted).await;
        let page = page.map_err(Error::kube(format!("cannot list the pods of namespace {namespace}")))?;
        found.extend(page.items.into_iter().filter_map(|pod| PodFacts::of(pod, secrets, annotation)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => wanted = wanted.continue_token(&token),
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A pod made at second 1000 and ready ten seconds later, with the labels `app: web`.
    pub fn pod(mark: Option<&str>, usage: Option<Usage>) -> PodFacts {
        PodFacts {
            name: "web-1".into(),
            created: at(1000),
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            controller: None,
            mark: mark.map(str::to_owned),
            usage,
            ready_after: Some(10),
        }
    }

    /// A moment by its Unix second.
    pub fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_pod_is_old_unless_it_is_marked_or_was_made_well_after_the_change() {
        assert!(pod(None, None).is_old("new", at(1000)));
        assert!(pod(Some("before"), None).is_old("new", at(1500)));
        assert!(!pod(Some("new"), None).is_old("new", at(1500)));
        assert!(!pod(None, None).is_old("new", at(960)));
        assert!(pod(None, None).is_old("new", at(980)), "clocks may differ by this much");
    }

    #[test]
    fn what_matters_is_taken_from_the_pod() {
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": { "mark": "h" } },
            "spec": { "containers": [{ "name": "c", "envFrom": [{ "secretRef": { "name": "db" } }] }] },
            "status": { "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:12Z" }] },
        }));
        let facts = PodFacts::of(pod.unwrap(), &["db"], "mark").unwrap();
        assert_eq!((facts.mark.as_deref(), facts.usage, facts.ready_after), (Some("h"), Some(Usage::Frozen), Some(12)));
    }
}
