//! Pods of which only the objects are real, on a node that is not: each of their ends can be brought about without an agent's help.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::cluster::apply;
use crate::installed::Installed;

/// A node that no kubelet tends, as a lost one is.
pub async fn lost_node(client: &Client, name: &str) {
    // Taken by nobody else's pods.
    let node = format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec:\n  unschedulable: true\n  taints: [{{key: lessor.dev/test, effect: NoSchedule}}]\n"
    );
    apply(client, "default", &node).await.expect("the node is made");
}

/// A pod's object and the database user that was given to its token.
pub struct Ghost {
    pods: Api<Pod>,
    name: String,
    /// Its database user.
    pub user: String,
}

/// How a pod comes to its user.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The login mount, `auth/kubernetes`.
    pub login: &'a str,
    /// The role of the login.
    pub role: &'a str,
    /// What is read: `database/creds/app`.
    pub path: &'a str,
}

impl Ghost {
    /// Makes a pod of the ServiceAccount `app` on `node`, logs in as it for the role `app` of its namespace, and takes a user.
    /// `label` says whether it looks injected.
    ///
    /// # Panics
    /// When something is refused.
    pub async fn start(client: &Client, namespace: &str, node: &str, name: &str, label: bool) -> Self {
        let (role, path) = (format!("{namespace}.app"), format!("database/creds/{namespace}.app"));
        let way = Way { login: "auth/kubernetes", role: &role, path: &path };
        Self::start_by(client, namespace, node, name, label, way).await
    }

    /// The same in another way.
    ///
    /// # Panics
    /// When something is refused.
    pub async fn start_by(client: &Client, namespace: &str, node: &str, name: &str, label: bool, way: Way<'_>) -> Self {
        let labels = if label { "{lessor.dev/injected: \"true\"}" } else { "{}" };
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {labels}}}\nspec:\n  serviceAccountName: app\n  \
             nodeName: {node}\n  terminationGracePeriodSeconds: 1\n  containers: [{{name: app, image: nobody/runs:this}}]\n"
        );
        apply(client, namespace, &manifest).await.expect("the pod is made");
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let pod = pods.get(name).await.expect("the pod is there");
        let jwt = token_of(client, namespace, "app", &pod).await;
        let engine = Installed::with_jwt(client, way.login, way.role, &jwt).await;
        let (status, body) = engine.get(way.path).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        let user = body["data"]["username"].as_str().expect("a user").to_owned();
        let ghost = Self { pods, name: name.to_owned(), user };
        ghost.phase("Running").await;
        ghost
    }

    /// Writes the phase that a kubelet would.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn phase(&self, phase: &str) {
        let status = Patch::Merge(json!({ "status": { "phase": phase } }));
        self.pods.patch_status(&self.name, &PatchParams::default(), &status).await.expect("the status is written");
    }

    /// Asks for its deletion with that many seconds of grace; 0 removes the object at once.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn delete(&self, grace: u32) {
        let parameters = DeleteParams { grace_period_seconds: Some(grace), ..DeleteParams::default() };
        self.pods.delete(&self.name, &parameters).await.expect("the pod is deleted");
    }

    /// Whether the object is there.
    ///
    /// # Panics
    /// When the cluster does not say.
    pub async fn is_there(&self) -> bool {
        self.pods.get_opt(&self.name).await.expect("the cluster answers").is_some()
    }
}

/// A token for the engine that is bound to a pod, as the kubelet gives it.
///
/// # Panics
/// When Kubernetes gives none.
pub async fn token_of(client: &Client, namespace: &str, account: &str, pod: &Pod) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let bound_object_ref = Some(BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        uid: pod.uid(),
    });
    let spec =
        TokenRequestSpec { audiences: vec!["lessor".into()].into(), bound_object_ref, ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    answer.expect("Kubernetes gives a token").status.and_then(|status| status.token).expect("a token")
}
