//! Which workloads a restart means: those that are named, those with certain labels, and those whose pods use the Secret.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::{GroupVersionKind, Selector};
use kube::{Api, ResourceExt, discovery};

use super::pods::PodFacts;
use super::workload::{Reference, Workload};
use crate::api::restart::RestartTarget;
use crate::operator::error::{self, Error};

/// Where Argo Rollouts keeps its kind.
const ARGO: &str = "argoproj.io/v1alpha1";

/// How kinds are called in URLs, as far as it was asked before.
#[derive(Debug, Default)]
pub struct KnownKinds(Mutex<HashMap<(String, String), ApiResource>>);

impl KnownKinds {
    async fn resource(&self, kube: &kube::Client, api_version: &str, kind: &str) -> Result<ApiResource, Error> {
        let unknown = |why: &dyn std::fmt::Display| {
            Error::refused(
                "RestartTargetUnknown",
                format!("spec.restart: no kind {kind} of apiVersion {api_version}: {why}"),
            )
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let wanted = GroupVersionKind::gvk(group, version, kind);
        if group == "apps" || api_version == ARGO {
            return Ok(ApiResource::from_gvk(&wanted));
        }
        let key = (api_version.to_owned(), kind.to_owned());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (found, _) = discovery::pinned_kind(kube, &wanted).await.map_err(|error| unknown(&error))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }
}

/// What a restart means at this moment.
#[derive(Debug, Default)]
pub struct Found {
    /// The workloads, each once.
    pub workloads: Vec<Workload>,
    /// Why some could not be read: reasons with messages.
    pub problems: Vec<(&'static str, String)>,
    /// Whether there may be more workloads than were found.
    pub incomplete: bool,
}

/// The workloads of one namespace.
pub struct Workloads<'a> {
    /// The Kubernetes API.
    pub kube: &'a kube::Client,
    /// What is known of kinds.
    pub kinds: &'a KnownKinds,
    /// The namespace.
    pub namespace: &'a str,
}

impl Workloads<'_> {
    /// Its kind's API in this namespace.
    ///
    /// # Errors
    /// [`Error::Refused`] when the cluster does not know the kind.
    pub async fn api(&self, api_version: &str, kind: &str) -> Result<Api<DynamicObject>, Error> {
        let resource = self.kinds.resource(self.kube, api_version, kind).await?;
        Ok(Api::namespaced_with(self.kube.clone(), self.namespace, &resource))
    }

    /// Finds the named `targets`, and what controls the pods `users`.
    pub async fn find(&self, targets: &[RestartTarget], users: impl Iterator<Item = &PodFacts>) -> Found {
        let mut found = Found::default();
        let mut all = BTreeMap::new();
        for (index, target) in targets.iter().enumerate() {
            match self.targeted(target).await {
                Ok(workloads) if workloads.is_empty() => {
                    let what = match &target.name {
                        Some(name) => format!("{}/{name}", target.kind),
                        None => format!("{} with these labels", target.kind),
                    };
                    let message =
                        format!("spec.restart.targets[{index}]: there is no {what} in namespace {}", self.namespace);
                    found.problems.push(("RestartTargetNotFound", message));
                }
                Ok(workloads) => {
                    all.extend(workloads.into_iter().map(|workload| (workload.reference.clone(), workload)))
                }
                Err(error) => found.fail(&error),
            }
        }
        let mut owners: BTreeMap<String, OwnerReference> = BTreeMap::new();
        owners.extend(users.filter_map(|pod| pod.controller.clone()).map(|owner| (owner.uid.clone(), owner)));
        for owner in owners.values() {
            match self.controller(owner).await {
                Ok(Some(workload)) => {
                    all.entry(workload.reference.clone()).or_insert(workload);
                }
                Ok(None) => {}
                Err(error) => found.fail(&error),
            }
        }
        found.workloads = all.into_values().collect();
        found
    }

    async fn targeted(&self, target: &RestartTarget) -> Result<Vec<Workload>, Error> {
        let default = if target.kind == "Rollout" { ARGO } else { "apps/v1" };
        let api_version = target.api_version.as_deref().unwrap_or(default);
        let of = |name: String, object| Workload {
            reference: Reference { api_version: api_version.to_owned(), kind: target.kind.clone(), name },
            object,
        };
        if let Some(name) = &target.name {
            let found = self.get(api_version, &target.kind, name).await?;
            return Ok(found.map(|object| of(name.clone(), object)).into_iter().collect());
        }
        let selector = Selector::try_from(target.selector.clone().unwrap_or_default());
        let selector =
            selector.map_err(|error| Error::refused("InvalidSelector", format!("spec.restart.targets: {error}")))?;
        let api = self.api(api_version, &target.kind).await?;
        let listed = api.list(&ListParams::default().labels_from(&selector)).await;
        let failed = format!("spec.restart.targets: cannot list the {}s of namespace {}", target.kind, self.namespace);
        let listed = listed.map_err(Error::kube(failed))?;
        Ok(listed.items.into_iter().map(|object| of(object.name_any(), object)).collect())
    }

    /// What would have to be rolled to replace the pods that `owner` made: itself, or what made it; `None` where nothing can.
    async fn controller(&self, owner: &OwnerReference) -> Result<Option<Workload>, Error> {
        let owner = if owner.kind == "ReplicaSet" && owner.api_version.starts_with("apps/") {
            match self.owner_of_replica_set(&owner.name).await? {
                Some(owner) => owner,
                None => return Ok(None),
            }
        } else {
            owner.clone()
        };
        // A Job's pods run to their end; a Node's are files on its disk.
        if matches!(owner.kind.as_str(), "Job" | "Node" | "ReplicationController") {
            return Ok(None);
        }
        let found = self.get(&owner.api_version, &owner.kind, &owner.name).await?;
        let reference = Reference { api_version: owner.api_version, kind: owner.kind, name: owner.name };
        Ok(found.map(|object| Workload { reference, object }).filter(Workload::has_template))
    }

    async fn owner_of_replica_set(&self, name: &str) -> Result<Option<OwnerReference>, Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.kube.clone(), self.namespace);
        match sets.get_metadata(name).await {
            Ok(set) => Ok(set.owner_references().iter().find(|owner| owner.controller == Some(true)).cloned()),
            Err(error) if error::is_not_found(&error) => Ok(None),
            Err(error) => {
                Err(Error::kube(format!("spec.restart.auto: cannot read ReplicaSet {}/{name}", self.namespace))(error))
            }
        }
    }

    async fn get(&self, api_version: &str, kind: &str, name: &str) -> Result<Option<DynamicObject>, Error> {
        let found = self.api(api_version, kind).await?.get_opt(name).await;
        found.map_err(Error::kube(format!("spec.restart: cannot read {kind} {}/{name}", self.namespace)))
    }
}

impl Found {
    fn fail(&mut self, error: &Error) {
        self.incomplete = true;
        self.problems.push(("RestartFailing", error.story()));
    }
}
