//! DynamicDatabaseSecret: a database user of one's own in a Kubernetes Secret, kept valid and replaced without an outage.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Period;
use super::additional_user::{AdditionalUser, AdditionalUserStatus};
use super::condition::conditions;
pub use super::destination::Destination;
use super::engine::{EngineRef, RequestMethod};
use super::names::engine_name;
use super::restart::RotationWindow;
pub use super::restart::{Restart, RestartStatus};

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
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engineRef.name", priority = 1),
    printcolumn(name = "Path", type_ = "string", json_path = ".spec.path", priority = 1),
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
    printcolumn(
        name = "Degraded",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Degraded\")].status",
        priority = 1
    ),
    printcolumn(
        name = "Rotating",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Rotating\")].status",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.roleRef) != has(self.engineRef)")
        .message("give either roleRef or, for a user of another engine, engineRef with path"),
    validation = Rule::new("has(self.engineRef) == has(self.path)")
        .message("engineRef and path go together"),
    validation = Rule::new("has(self.engineRef) || !(has(self.mount) || has(self.params) || has(self.method))")
        .message("mount, params and method go with engineRef"),
    validation = Rule::new("!has(self.engineRef) || !(has(self.ttl) || (has(self.additionalUsers) && self.additionalUsers.exists(user, has(user.ttl))))")
        .message("ttl goes with roleRef: of another engine it is the role that says how long a user lives; what it can be asked for goes into params"),
    validation = Rule::new("!has(self.additionalUsers) || self.additionalUsers.all(user, has(user.roleRef) == has(self.roleRef) && has(user.path) == has(self.path))")
        .message("additionalUsers: each has a roleRef or, with engineRef, a path of the same engine"),
    validation = Rule::new("!has(self.refreshAfter) || duration(self.refreshAfter) > duration(self.rotation.grace)")
        .message("refreshAfter must be longer than rotation.grace, or old users would never be gone"),
    validation = Rule::new("!has(self.additionalUsers) || !has(self.destination.templates) || self.additionalUsers.all(user, !has(user.formats) || user.formats.all(key, !(key in self.destination.templates)))")
        .message("additionalUsers.formats and destination.templates write the same key; give one of them another name"),
    validation = Rule::new("!has(self.additionalUsers) || !has(self.destination.formats) || self.additionalUsers.all(user, !has(user.formats) || user.formats.all(key, !(key in self.destination.formats)))")
        .message("additionalUsers.formats and destination.formats write the same key; give one of them another name")
)]
pub struct DynamicDatabaseSecretSpec {
    /// The DatabaseRole to have a user of. It must allow `serviceAccountName` of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_ref: Option<RoleRef>,

    /// The engine to have a user of, instead of a DatabaseRole. It must allow this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_ref: Option<EngineRef>,

    /// With engineRef: where the database engine is mounted. Default: `database`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub mount: Option<String>,

    /// With engineRef: what to ask for below the mount, such as `creds/app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9_~@:+=-][A-Za-z0-9._~@:+=-]*(/[A-Za-z0-9_~@:+=-][A-Za-z0-9._~@:+=-]*)*$")
    )]
    pub path: Option<String>,

    /// With engineRef: what to send along, by the names that the engine gives its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = { "type": "string", "maxLength": 4096 }))]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^[A-Za-z_][A-Za-z0-9_.-]{0,62}$'))")
        .message("params: a name consists of letters, digits, '_', '.' and '-'"))]
    pub params: BTreeMap<String, String>,

    /// With engineRef: how to ask. Default: `GET`, or `POST` where there are params.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<RequestMethod>,

    /// The ServiceAccount of this namespace that asks for the user: the operator logs in as it, never with its own rights.
    #[serde(default = "default_account")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: String,

    /// The Secret to write.
    pub destination: Destination,

    /// Further users in the same Secret. All of its users are replaced together, so that one restart moves the consumers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub additional_users: Vec<AdditionalUser>,

    /// With roleRef: asks for another life than the role's defaultTTL, up to its maxTTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("ttl must be at least 1s"))]
    pub ttl: Option<Period>,

    /// After how long the users are replaced even though they could live on. A replacement that is under way is finished first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("refreshAfter must be at least 10s"))]
    pub refresh_after: Option<Period>,

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

impl RoleRef {
    /// What the role is called in the engine. `own` is the namespace of the object that refers to it.
    pub fn engine_name(&self, own: &str) -> String {
        engine_name(self.namespace.as_deref().unwrap_or(own), &self.name)
    }
}

/// How one user follows another.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// How long the old user lives on after the last pod that could use it has gone or, where nothing is restarted, after
    /// the Secret was rewritten. Kubernetes takes up to two minutes to bring a changed Secret into a running pod's volume.
    #[serde(default = "two_minutes")]
    pub grace: Period,
    /// When the user may be exchanged and workloads rolled. Where a user would end before the window opens again, it is
    /// exchanged in time all the same. Default: at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RotationWindow>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { grace: two_minutes(), window: None }
    }
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
    /// The additional users in the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub additional_users: Vec<AdditionalUserStatus>,
    /// When the Secret was last given a new user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<Time>,
    /// Users that are to be dropped once nobody uses them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_revocations: Vec<PendingRevocation>,
    /// The last restart of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStatus>,
    /// With engineRef: how long a user lives at most before another takes its place, whole seconds, as the engine answered when the
    /// last one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_life: Option<i64>,
    /// How long the next rollout is expected to take, whole seconds: learned from the last ones or, before the first, guessed
    /// from how long the pods took to become ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_rollout: Option<i64>,
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
    /// The CredentialEngine that it is of, `NAMESPACE/NAME`; none for the installed engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
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

conditions!(DynamicDatabaseSecretStatus);

fn default_account() -> String {
    "default".to_owned()
}

fn two_thirds() -> u8 {
    67
}

fn two_minutes() -> Period {
    Period::new("2m")
}
