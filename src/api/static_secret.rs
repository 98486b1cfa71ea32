//! StaticDatabaseSecret: the password of a StaticDatabaseRole in a Kubernetes Secret, which follows every change of it.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::condition::conditions;
use super::dynamic_secret::{Destination, Restart, RestartStatus, RoleRef};
use super::engine::EngineRef;

/// The account of a StaticDatabaseRole, delivered as a Secret.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lessor.dev",
    version = "v1alpha1",
    kind = "StaticDatabaseSecret",
    namespaced,
    status = "StaticDatabaseSecretStatus",
    derive = "PartialEq",
    shortname = "sds",
    category = "lessor",
    doc = "The account of a StaticDatabaseRole, delivered as a Secret that follows every change of its password.",
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.roleRef.name"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engineRef.name", priority = 1),
    printcolumn(name = "Path", type_ = "string", json_path = ".spec.path", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.destination.name"),
    printcolumn(name = "Username", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Rotated", type_ = "date", json_path = ".status.lastRotation"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRotation"),
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
#[x_kube(
    validation = Rule::new("has(self.roleRef) != has(self.engineRef)")
        .message("give either roleRef or, for an account of another engine, engineRef with path"),
    validation = Rule::new("has(self.engineRef) == has(self.path)")
        .message("engineRef and path go together"),
    validation = Rule::new("has(self.engineRef) || !has(self.mount)")
        .message("mount goes with engineRef")
)]
pub struct StaticDatabaseSecretSpec {
    /// The StaticDatabaseRole whose account to deliver. It must allow `serviceAccountName` of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_ref: Option<RoleRef>,

    /// The engine whose account to deliver, instead of a StaticDatabaseRole. It must allow this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_ref: Option<EngineRef>,

    /// With engineRef: where the database engine is mounted. Default: `database`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub mount: Option<String>,

    /// With engineRef: what to ask for below the mount, such as `static-creds/app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9_~@:+=-][A-Za-z0-9._~@:+=-]*(/[A-Za-z0-9_~@:+=-][A-Za-z0-9._~@:+=-]*)*$")
    )]
    pub path: Option<String>,

    /// The ServiceAccount of this namespace that asks for the password: the operator logs in as it, never with its own rights.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: String,

    /// The Secret to write.
    pub destination: Destination,

    /// What to restart when the password has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

/// What the operator has made of a StaticDatabaseSecret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticDatabaseSecretStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the Secret holds the password that counts. Degraded: it, or a restart, is at risk. Rotating: pods with the
    /// former password are being replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The account in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When the password in the Secret was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<MicroTime>,
    /// When the next password is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<Time>,
    /// The last restart of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStatus>,
}

conditions!(StaticDatabaseSecretStatus);
