//! A workload with a pod template: what its object says of pods, pauses and how far a rollout has got.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use super::pods::PodFacts;
use crate::api::names::SECRET_HASH_PREFIX;

/// Which workload, within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Reference {
    /// `Deployment/web`, and `Rollout.argoproj.io/web` for what is not Kubernetes' own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.api_version.split_once('/') {
            Some((group, _)) if group != "apps" => write!(f, "{}.{group}/{}", self.kind, self.name),
            _ => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// A workload as it was read.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Which one.
    pub reference: Reference,
    /// Its object.
    pub object: DynamicObject,
}

impl Workload {
    fn spec(&self) -> &Value {
        &self.object.data["spec"]
    }

    fn status(&self, name: &str) -> i64 {
        self.object.data["status"][name].as_i64().unwrap_or(0)
    }

    /// Whether pods are made from a template in it.
    pub fn has_template(&self) -> bool {
        self.spec()["template"].is_object()
    }

    /// The content hashes that its pod template carries, by annotation.
    pub fn marks(&self) -> BTreeMap<String, String> {
        let annotations = self.spec()["template"]["metadata"]["annotations"].as_object();
        let ours = annotations.into_iter().flatten().filter(|(key, _)| key.starts_with(SECRET_HASH_PREFIX));
        ours.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Whether its owner has paused its rollouts.
    pub fn is_paused(&self) -> bool {
        self.spec()["paused"] == Value::Bool(true)
    }

    /// How many pods it is to have.
    pub fn wanted(&self) -> i64 {
        match self.reference.kind.as_str() {
            "DaemonSet" => self.status("desiredNumberScheduled"),
            _ => self.spec()["replicas"].as_i64().unwrap_or(1),
        }
    }

    /// Whether a rollout is under way, ours or somebody's: pods of another template are being replaced.
    pub fn is_rolling(&self) -> bool {
        if !self.is_observed() {
            return true;
        }
        let wanted = self.wanted();
        match self.reference.kind.as_str() {
            "Deployment" | "Rollout" => {
                let updated = self.status("updatedReplicas");
                updated < wanted || self.status("replicas") > updated
            }
            "StatefulSet" => {
                let [current, update] =
                    ["currentRevision", "updateRevision"].map(|name| &self.object.data["status"][name]);
                current != update && self.status("updatedReplicas") < wanted
            }
            "DaemonSet" => self.status("updatedNumberScheduled") < wanted,
            _ => self.object.data["status"]["updatedReplicas"].as_i64().is_some_and(|updated| updated < wanted),
        }
    }

    /// Whether all pods are of the present template and serve.
    pub fn is_complete(&self) -> bool {
        let wanted = self.wanted();
        let enough = |names: &[&str]| {
            let known = names.iter().find_map(|name| self.object.data["status"][*name].as_i64());
            known.unwrap_or(0) >= wanted
        };
        let serving = match self.reference.kind.as_str() {
            "DaemonSet" => enough(&["numberAvailable"]),
            "Deployment" | "StatefulSet" | "Rollout" => enough(&["availableReplicas"]),
            // Kinds that count nothing are judged by their pods alone.
            _ => {
                let status = &self.object.data["status"];
                (status["readyReplicas"].is_null() && status["availableReplicas"].is_null())
                    || enough(&["availableReplicas", "readyReplicas"])
            }
        };
        serving && !self.is_rolling()
    }

    /// Whether its controller has seen its present generation. Argo Rollouts writes that number as a text.
    fn is_observed(&self) -> bool {
        let observed = &self.object.data["status"]["observedGeneration"];
        let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok());
        let known_kind = matches!(self.reference.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet");
        match (observed, self.object.metadata.generation) {
            (Some(observed), Some(generation)) => observed >= generation,
            _ => !known_kind,
        }
    }

    /// What its controller says of a rollout that does not get on.
    pub fn trouble(&self) -> Option<String> {
        let status = &self.object.data["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let exceeded = conditions
            .filter(|condition| condition["reason"] == "ProgressDeadlineExceeded")
            .find_map(|condition| condition["message"].as_str());
        let degraded = (status["phase"] == "Degraded").then(|| status["message"].as_str().unwrap_or("it is degraded"));
        exceeded.or(degraded).map(str::to_owned)
    }

    /// The pods that it made, among those of its namespace.
    pub fn own<'a>(&self, pods: &'a [PodFacts]) -> Vec<&'a PodFacts> {
        let selector: Option<LabelSelector> = serde_json::from_value(self.spec()["selector"].clone()).ok();
        let selector =
            selector.and_then(|selector| Selector::try_from(selector).ok()).filter(|found| !found.selects_all());
        let uid = self.object.uid().unwrap_or_default();
        let made = |pod: &&PodFacts| match &selector {
            Some(selector) => selector.matches(&pod.labels),
            None => pod.controller.as_ref().is_some_and(|controller| controller.uid == uid),
        };
        pods.iter().filter(made).collect()
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::super::pods::tests::pod;
    use super::*;

    /// A workload of generation 2 with the selector `app: web`.
    pub fn workload(kind: &str, mut spec: Value, status: Value) -> Workload {
        if spec["selector"].is_null() {
            spec["selector"] = json!({ "matchLabels": { "app": "web" } });
        }
        let object =
            json!({ "metadata": { "name": "web", "uid": "u", "generation": 2 }, "spec": spec, "status": status });
        let reference = Reference { api_version: "apps/v1".into(), kind: kind.into(), name: "web".into() };
        Workload { reference, object: serde_json::from_value(object).unwrap() }
    }

    fn deployment(observed: i64, replicas: i64, updated: i64, available: i64) -> Workload {
        let status = json!({ "observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated,
            "availableReplicas": available });
        workload("Deployment", json!({ "replicas": 3 }), status)
    }

    #[test]
    fn a_deployment_has_rolled_out_when_nothing_old_is_left_and_all_serve() {
        assert!(deployment(2, 3, 3, 3).is_complete());
        assert!(!deployment(1, 3, 3, 3).is_complete(), "its controller has not looked yet");
        assert!(!deployment(2, 4, 3, 3).is_complete());
        assert!(!deployment(2, 3, 3, 2).is_complete());
        assert!(!deployment(2, 3, 3, 2).is_rolling(), "it is short of pods, but not for a rollout");
        assert!(workload("Deployment", json!({ "replicas": 0 }), json!({ "observedGeneration": 2 })).is_complete());
    }

    #[test]
    fn other_kinds_tell_it_in_their_own_fields() {
        let status = json!({ "observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 2,
            "currentRevision": "a", "updateRevision": "b" });
        assert!(workload("StatefulSet", json!({ "replicas": 2 }), status).is_rolling());
        let status = json!({ "observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
            "numberAvailable": 2 });
        assert!(workload("DaemonSet", json!({}), status).is_complete());
        let status = json!({ "observedGeneration": "2", "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
        assert!(workload("Rollout", json!({}), status).is_complete());
        assert!(workload("Cluster", json!({ "replicas": 3 }), json!({})).is_complete(), "only its pods can tell");
        assert!(!workload("Cluster", json!({ "replicas": 3 }), json!({ "readyReplicas": 2 })).is_complete());
    }

    #[test]
    fn a_rollout_that_is_stuck_says_so() {
        assert_eq!(deployment(2, 3, 3, 3).trouble(), None);
        let condition = json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out" });
        let stuck = workload("Deployment", json!({}), json!({ "conditions": [condition] }));
        assert_eq!(stuck.trouble().as_deref(), Some("timed out"));
    }

    #[test]
    fn only_our_annotations_are_marks() {
        let annotations = json!({ "lessor.dev/secret-hash-db": "h", "lessor.dev/inject": "true", "x": "y" });
        let template = json!({ "template": { "metadata": { "annotations": annotations } } });
        let marks = workload("Deployment", template, json!({})).marks();
        assert_eq!(marks, BTreeMap::from([("lessor.dev/secret-hash-db".to_owned(), "h".to_owned())]));
    }

    #[test]
    fn its_pods_are_found_by_selector_or_by_owner() {
        let pods = [pod(None, None)];
        assert_eq!(workload("Deployment", json!({}), json!({})).own(&pods).len(), 1);
        let other = json!({ "selector": { "matchLabels": { "app": "other" } } });
        assert!(workload("Deployment", other, json!({})).own(&pods).is_empty());
        assert!(workload("Odd", json!({ "selector": "app=web" }), json!({})).own(&pods).is_empty());
    }
}
