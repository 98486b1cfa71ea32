//! The operator's rights in the namespaces that use it: none of them reaches further than a RoleBinding there.
//!
//! Cluster-wide the operator may see Lessor's kinds, and nothing of Secrets. One ClusterRole holds what it does for tenants
//! (reading and writing Secrets by name, tokens of ServiceAccounts); the operator binds that one role to itself in a namespace
//! when it meets an object there, and takes the binding back after the last. Everybody can see these bindings.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::error::{self, Error};
use crate::api::names::{MANAGED_BY, MANAGER};
use crate::base::{Clock, clock, telemetry};

/// How long the API server may take to act on a new binding.
const EFFECT: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// What the operator binds to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRole {
    /// The ClusterRole, and the name of its RoleBindings.
    pub role: String,
    /// The operator's ServiceAccount, of its own namespace.
    pub service_account: String,
}

/// The operator's way into namespaces.
pub struct Access {
    kube: kube::Client,
    /// `None`: whoever runs the operator has given it its rights.
    role: Option<TenantRole>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashSet<String>>,
}

impl Access {
    /// No binding was looked at yet.
    pub fn new(kube: kube::Client, role: Option<TenantRole>, clock: Arc<dyn Clock>) -> Self {
        Self { kube, role, clock, open: Mutex::default() }
    }

    /// Makes sure that the operator may work in a namespace; once for each.
    ///
    /// # Errors
    /// When the binding cannot be made.
    pub async fn ensure(&self, namespace: &str) -> Result<(), Error> {
        let Some(role) = &self.role else { return Ok(()) };
        if self.open.lock().unwrap_or_else(PoisonError::into_inner).contains(namespace) {
            return Ok(());
        }
        let api: Api<RoleBinding> = Api::namespaced(self.kube.clone(), namespace);
        let params = PatchParams::apply(MANAGER).force();
        let applied = api.patch(&role.role, &params, &Patch::Apply(binding(role, self.kube.default_namespace()))).await;
        applied.map_err(Error::kube(format!("cannot make RoleBinding {namespace}/{}", role.role)))?;
        self.take_effect(namespace).await?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
        Ok(())
    }

    /// Waits until a new binding counts: the API server learns of it by a watch.
    async fn take_effect(&self, namespace: &str) -> Result<(), Error> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    verb: Some("get".to_owned()),
                    resource: Some("secrets".to_owned()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.kube.clone());
        let deadline = clock::add(self.clock.now(), EFFECT);
        while self.clock.now() < deadline {
            let answer = api.create(&PostParams::default(), &review).await;
            let answer = answer.map_err(Error::kube(format!("cannot ask for rights in namespace {namespace}")))?;
            if answer.status.is_some_and(|status| status.allowed) {
                return Ok(());
            }
            self.clock.sleep(PAUSE).await;
        }
        // Whatever is forbidden then says so itself.
        Ok(())
    }

    /// Notes that a right was missing in spite of the binding: somebody may have removed it.
    pub fn doubt(&self, namespace: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
    }

    /// Gives the rights in a namespace back.
    pub async fn release(&self, namespace: &str) {
        let Some(role) = &self.role else { return };
        self.doubt(namespace);
        let api: Api<RoleBinding> = Api::namespaced(self.kube.clone(), namespace);
        match api.delete(&role.role, &DeleteParams::default()).await {
            Err(error) if !error::is_not_found(&error) => {
                let error = telemetry::chain(&error);
                tracing::warn!(namespace, role = role.role, %error, "cannot remove the binding that is needed no more");
            }
            _ => {}
        }
    }
}

fn binding(role: &TenantRole, namespace: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": role.role, "labels": { MANAGED_BY: MANAGER } },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.role },
        "subjects": [{ "kind": "ServiceAccount", "name": role.service_account, "namespace": namespace }],
    })
}
