//! How consumers of a Secret move to its new content: which workloads are rolled, when, and how far that has got.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Period;

/// What to restart when the credential has changed, so that it is taken up.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.auto || (has(self.targets) && size(self.targets) > 0)")
    .message("restart: name targets, or say auto: true"))]
pub struct Restart {
    /// Workloads of this namespace. They roll by their own strategy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub targets: Vec<RestartTarget>,
    /// Also restarts every workload of this namespace with a running pod that uses the Secret: in `env`, in `envFrom`, or as a
    /// volume, projected ones included. Pods that nothing can restart, such as a Job's, keep the old user until they end.
    #[serde(default)]
    pub auto: bool,
    /// How long a rollout of all targets takes at most; a new user is made that much before the old one must end.
    /// Default: what the last rollouts took or, before the first, a guess from how long the pods took to become ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_duration: Option<Period>,
    /// A rollout begins when a workload's Secrets have not changed for this long, or have kept changing for four times as
    /// long: so several changes make one rollout. Default: `15s`, less where the role's maxTTL is below 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('1h')").message("settle must be at most 1h"))]
    pub settle: Option<Period>,
}

/// Workloads with a pod template: one by its name, or all of a kind that carry certain labels.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) != has(self.selector)")
    .message("a target has either a name or a selector"))]
#[x_kube(validation = Rule::new("has(self.apiVersion) || self.kind in ['Deployment', 'StatefulSet', 'DaemonSet', 'Rollout']")
    .message("a target of another kind than Deployment, StatefulSet, DaemonSet and Rollout needs its apiVersion"))]
pub struct RestartTarget {
    /// Its kind: `Deployment`, `StatefulSet`, `DaemonSet`, `Rollout` (Argo's), or any other with `spec.template`, which the
    /// operator must then be allowed to get and patch (the chart's `operator.restartKinds`).
    #[schemars(regex(pattern = r"^[A-Z][A-Za-z0-9]{0,62}$"))]
    pub kind: String,
    /// Group and version of the kind. Default: those of Kubernetes or, for a Rollout, of Argo Rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub api_version: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// The labels of the workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// When users are exchanged and workloads rolled, if that can wait.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationWindow {
    /// When it opens: minute, hour, day of month, month, day of week, in UTC. `0 2 * * SAT` is Saturdays at two.
    #[schemars(length(min = 9, max = 128))]
    pub schedule: String,
    /// How long it stays open.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("duration must be at least 1m"))]
    pub duration: Period,
}

/// A restart of the targets.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// The content hash that the pod templates carry.
    pub hash: String,
    /// When the Secret was given that content.
    pub started: Time,
    /// Whether the user of before lives no more, so that pods that have not moved cannot work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
    /// When the first pod template was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Time>,
    /// Since when no pod runs with older content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Time>,
    /// When every target had finished; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// The targets that have not finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// Those of them whose pod template was changed already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolling: Vec<String>,
    /// How long the last finished restart took from its beginning, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_duration: Option<i64>,
}
