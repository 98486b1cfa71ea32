//! Restarts: the pod template of a workload gets the Secret's content hash, and its rollout is watched to the last old pod.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{GroupVersionKind, PartialObjectMeta, Selector};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::api::dynamic_secret::{RestartTarget, TargetKind};
use crate::api::names::MANAGER;
use crate::operator::error::{self, Error};

/// How far a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Every pod was started with the present content, and enough of them serve.
    Done,
    /// The pod template was given the hash just now.
    Begun,
    /// Pods with older content remain, or new ones are not ready.
    Rolling,
    /// There is no such workload.
    Missing,
}

/// What pods must carry.
pub struct Mark<'a> {
    /// The annotation of the pod template.
    pub annotation: &'a str,
    /// Its value.
    pub hash: &'a str,
}

/// `Deployment/web`, for messages.
pub fn describe(target: &RestartTarget) -> String {
    format!("{}/{}", kind(target.kind), target.name)
}

fn kind(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Deployment => "Deployment",
        TargetKind::StatefulSet => "StatefulSet",
        TargetKind::DaemonSet => "DaemonSet",
    }
}

/// Begins the restart of one target if its template lacks the mark, else tells how far it is.
///
/// # Errors
/// What Kubernetes says.
pub async fn drive(
    kube: &kube::Client,
    namespace: &str,
    target: &RestartTarget,
    mark: &Mark<'_>,
) -> Result<Progress, Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", kind(target.kind)));
    let api: Api<DynamicObject> = Api::namespaced_with(kube.clone(), namespace, &resource);
    let name = format!("{} of namespace {namespace}", describe(target));
    let found = api.get_opt(&target.name).await;
    let Some(workload) = found.map_err(Error::kube(format!("spec.restart.targets: cannot read {name}")))? else {
        return Ok(Progress::Missing);
    };
    if workload.data["spec"]["template"]["metadata"]["annotations"][mark.annotation] != json!(mark.hash) {
        let patch =
            json!({ "spec": { "template": { "metadata": { "annotations": { mark.annotation: mark.hash } } } } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        return match api.patch(&target.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(Progress::Begun),
            Err(error) if error::is_not_found(&error) => Ok(Progress::Missing),
            Err(error) => Err(Error::kube(format!("spec.restart.targets: cannot restart {name}"))(error)),
        };
    }
    let generation = workload.metadata.generation.unwrap_or_default();
    if !rolled_out(target.kind, generation, &workload.data)
        || has_old_pods(kube, namespace, &workload.data, mark).await?
    {
        return Ok(Progress::Rolling);
    }
    Ok(Progress::Done)
}

/// Whether the controller says that all replicas are of the present template and serve.
fn rolled_out(kind: TargetKind, generation: i64, workload: &Value) -> bool {
    let number = |name: &str| workload["status"][name].as_i64().unwrap_or(0);
    if number("observedGeneration") < generation {
        return false;
    }
    let wanted = workload["spec"]["replicas"].as_i64().unwrap_or(1);
    match kind {
        TargetKind::Deployment => {
            let updated = number("updatedReplicas");
            updated >= wanted && number("replicas") <= updated && number("availableReplicas") >= wanted
        }
        TargetKind::StatefulSet => number("updatedReplicas") >= wanted && number("availableReplicas") >= wanted,
        TargetKind::DaemonSet => {
            let wanted = number("desiredNumberScheduled");
            number("updatedNumberScheduled") >= wanted && number("numberAvailable") >= wanted
        }
    }
}

/// Whether pods run that were started before: controllers do not count those that are terminating, which still work off
/// their last requests with the old credential.
async fn has_old_pods(kube: &kube::Client, namespace: &str, workload: &Value, mark: &Mark<'_>) -> Result<bool, Error> {
    let selector: LabelSelector = serde_json::from_value(workload["spec"]["selector"].clone()).unwrap_or_default();
    let Ok(selector) = Selector::try_from(selector) else { return Ok(false) };
    let pods: Api<Pod> = Api::namespaced(kube.clone(), namespace);
    let running = ListParams::default().labels_from(&selector).fields("status.phase!=Succeeded,status.phase!=Failed");
    let found = pods.list_metadata(&running).await;
    let found = found.map_err(Error::kube(format!("cannot list the pods of namespace {namespace}")))?;
    Ok(found.items.iter().any(|pod| is_old(pod, mark)))
}

fn is_old(pod: &PartialObjectMeta<Pod>, mark: &Mark<'_>) -> bool {
    pod.annotations().get(mark.annotation).is_none_or(|hash| hash != mark.hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(status: Value) -> Value {
        json!({ "spec": { "replicas": 3 }, "status": status })
    }

    #[test]
    fn a_deployment_has_rolled_out_when_nothing_old_is_left_and_all_serve() {
        let done = |status| rolled_out(TargetKind::Deployment, 2, &deployment(status));
        assert!(done(json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3 })));
        assert!(!done(json!({ "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3 })));
        assert!(!done(json!({ "observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3 })));
        assert!(!done(json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2 })));
        let idle = json!({ "spec": { "replicas": 0 }, "status": { "observedGeneration": 2 } });
        assert!(rolled_out(TargetKind::Deployment, 2, &idle));
    }

    #[test]
    fn other_kinds_tell_it_in_their_own_fields() {
        let set = json!({ "spec": { "replicas": 2 },
            "status": { "observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 2 } });
        assert!(!rolled_out(TargetKind::StatefulSet, 1, &set));
        let daemons = json!({ "spec": {}, "status":
            { "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2 } });
        assert!(rolled_out(TargetKind::DaemonSet, 1, &daemons));
    }
}
