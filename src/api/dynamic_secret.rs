//! DynamicDatabaseSecret: a database user of one's own in a Kubernetes Secret, kept valid and replaced without an outage.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use super::condition::conditions;

/// A short-lived database user, delivered as a Secret.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lessor.dev",
    version = "v1alpha1",
    kind = "DynamicDatabaseSecret",
    namespaced,
    status = "DynamicDatabaseSecretStatus",
    derive = "PartialEq",
    shortname = "dds",
    category = "lessor",
    doc = "A short-lived database user, delivered as a Secret: renewed while it may live, replaced in time, dropped with this object.",
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.roleRef.name"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.destination.name"),
    printcolumn(name = "Username", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.lease.expires"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DynamicDatabaseSecretSpec {
    /// The DatabaseRole to have a user of. It must allow `serviceAccountName` of this namespace.
    pub role_ref: RoleRef,

    /// The ServiceAccount of this namespace that asks for the user: the operator logs in as it, never with its own rights.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: String,

    /// The Secret to write.
    pub destination: Destination,

    /// Asks for a shorter life than the role's defaultTTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("ttl must be at least 1s"))]
    pub ttl: Option<Period>,

    /// After how much of the lease it is renewed, in percent.
    #[serde(default = "two_thirds")]
    #[schemars(with = "i32", range(min = 10, max = 90))]
    pub renewal_percent: u8,

    /// How one user follows another.
    #[serde(default = "Rotation::default")]
    pub rotation: Rotation,

    /// What to restart when the credential has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

/// A DatabaseRole of any namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace. Default: the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

/// The Secret that is written, in the namespace of this object. One that somebody else made is never touched.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name == oldSelf.name")
    .message("destination.name cannot change: make a new DynamicDatabaseSecret for the other Secret"))]
#[x_kube(validation = Rule::new("self.type == oldSelf.type")
    .message("destination.type cannot change, because a Secret's type cannot: make a new DynamicDatabaseSecret"))]
pub struct Destination {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its type.
    #[serde(rename = "type", default = "opaque")]
    #[schemars(length(min = 1, max = 253))]
    pub kind: String,
    /// Labels for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('lessor.dev/') && key != 'app.kubernetes.io/managed-by')")
        .message("labels below lessor.dev/ and app.kubernetes.io/managed-by are the operator's own"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('lessor.dev/'))")
        .message("annotations below lessor.dev/ are the operator's own"))]
    pub annotations: BTreeMap<String, String>,
    /// Keys beside `username` and `password`, each a Go template over `.username`, `.password`, `.host`, `.port` and
    /// `.database`: `url: postgresql://{{ .username }}:{{ .password | urlquery }}@{{ .host }}:{{ .port }}/{{ .database }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("!('username' in self || 'password' in self)")
        .message("templates: username and password are always there; give the text another key"))]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$'))")
        .message("templates: a key consists of letters, digits, '-', '_' and '.'"))]
    pub templates: BTreeMap<String, String>,
}

/// How one user follows another.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// How long the old user lives on after the last pod that could use it has gone or, where nothing is restarted, after
    /// the Secret was rewritten. Kubernetes takes up to two minutes to bring a changed Secret into a running pod's volume.
    #[serde(default = "two_minutes")]
    pub grace: Period,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { grace: two_minutes() }
    }
}

/// What to restart when the credential has changed, so that it is taken up.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// Workloads of this namespace. They roll by their own strategy.
    #[schemars(length(min = 1, max = 32))]
    pub targets: Vec<RestartTarget>,
    /// How long a rollout of all targets takes at most; a new user is made that much before the old one must end.
    /// Default: what the last rollout took, with a margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_duration: Option<Period>,
}

/// A workload with a pod template.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartTarget {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Kinds whose pods can be rolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are Kubernetes'")]
pub enum TargetKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// What the operator has made of a DynamicDatabaseSecret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DynamicDatabaseSecretStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the Secret holds a valid credential. Degraded: it is at risk. Rotating: an old user still lives beside the new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The database user in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The lease of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseStatus>,
    /// When the Secret was last given a new user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<Time>,
    /// Users that are to be dropped once nobody uses them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_revocations: Vec<PendingRevocation>,
    /// The last restart of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStatus>,
}

/// A lease without its identity.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseStatus {
    /// Tells leases apart without being one: the beginning of a hash of the lease's id.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When the lease ends unless it is renewed.
    pub expires: Time,
    /// When it was last renewed, or made.
    pub renewed: Time,
    /// For how long it was last prolonged, whole seconds.
    pub ttl: i64,
    /// The moment past which it cannot be renewed, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_expiry: Option<Time>,
}

/// A user whose credential was replaced.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingRevocation {
    /// The database user.
    pub username: String,
    /// Its lease.
    pub lease: LeaseStatus,
    /// Since when no pod can use it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<Time>,
}

/// A restart of the targets.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// The content hash that the pod templates carry.
    pub hash: String,
    /// When it began.
    pub started: Time,
    /// When the last old pod was gone; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// The targets that have not finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// How long the last finished restart took, whole seconds: the next rotation is planned with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_duration: Option<i64>,
}

conditions!(DynamicDatabaseSecretStatus);

fn two_thirds() -> u8 {
    67
}

fn two_minutes() -> Period {
    Period::new("2m")
}

fn opaque() -> String {
    "Opaque".to_owned()
}
