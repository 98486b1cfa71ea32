//! StaticDatabaseRole: an account that exists already, whose password is changed regularly, and who may have it.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use super::condition::conditions;
use super::role::{Allowed, ConnectionRef};

/// An account of a database whose password is changed regularly, and who may have it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lessor.dev",
    version = "v1alpha1",
    kind = "StaticDatabaseRole",
    namespaced,
    status = "StaticDatabaseRoleStatus",
    derive = "PartialEq",
    shortname = "sdr",
    category = "lessor",
    doc = "An account of a database that exists already: its password is changed regularly, and the ServiceAccounts that are allowed may have it.",
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name"),
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
    validation = Rule::new("has(self.username) != has(self.usernames)")
        .message("give either username or, for two accounts that take turns, usernames"),
    validation = Rule::new("has(self.username) == has(oldSelf.username) && (!has(self.username) || self.username == oldSelf.username) && (!has(self.usernames) || self.usernames == oldSelf.usernames)")
        .message("username and usernames cannot change: make a new StaticDatabaseRole for another account"),
    validation = Rule::new("has(self.rotationPeriod) != has(self.rotationSchedule)")
        .message("give either rotationPeriod or rotationSchedule"),
    validation = Rule::new("!has(self.rotationWindow) || has(self.rotationSchedule)")
        .message("rotationWindow goes with rotationSchedule"),
    validation = Rule::new("!has(self.gracePeriod) || has(self.usernames)")
        .message("gracePeriod goes with usernames: a single account has one password at a time"),
    validation = Rule::new("!has(self.gracePeriod) || !has(self.rotationPeriod) || duration(self.gracePeriod) <= duration(self.rotationPeriod)")
        .message("gracePeriod must not be longer than rotationPeriod")
)]
pub struct StaticDatabaseRoleSpec {
    /// The DatabaseConnection to change the password with, in this namespace.
    pub connection_ref: ConnectionRef,

    /// The account. It must exist; it is never made or dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub username: Option<String>,

    /// Two accounts with the same rights that take turns: a rotation changes the password of the one that is not handed out,
    /// and then hands that out. Whoever still has the other one works on for `gracePeriod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 2), inner(length(min = 1, max = 128)))]
    #[x_kube(validation = Rule::new("self[0] != self[1]").message("usernames must name two different accounts"))]
    pub usernames: Option<Vec<String>>,

    /// How old a password gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('5s')").message("rotationPeriod must be at least 5s"))]
    pub rotation_period: Option<Period>,

    /// When the password changes, instead of `rotationPeriod`: minute, hour, day of month, month and day of week as in cron,
    /// in UTC. `0 3 * * SUN` is Sundays at three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^\S+( +\S+){4}$"))]
    pub rotation_schedule: Option<String>,

    /// How long after a moment of `rotationSchedule` the change may still begin; then it waits for the next moment.
    /// Default: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1h')").message("rotationWindow must be at least 1h"))]
    pub rotation_window: Option<Period>,

    /// With `usernames`: how long the former account keeps its password at least. Default: an hour, or `rotationPeriod` where
    /// that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Period>,

    /// Takes the account over with the password that it has, which is proved by a login, and changes it only when its time
    /// comes. Without it the password is changed at once. It is looked at only when the account is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adoption>,

    /// Changes the password once, now or at that moment, unless it was changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_after: Option<Time>,

    /// Whether a new password is handed out only after a login with it. Switch it off for accounts that may not log in from
    /// where the engine runs.
    #[serde(default = "yes")]
    pub verify_login: bool,

    /// What changes the password, in the database's language, with `{{name}}` and `{{password}}` in place of the values. The
    /// plugin has a default (PostgreSQL: ALTER ROLE … PASSWORD).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 16384)))]
    pub rotation_statements: Vec<String>,

    /// What new passwords are made of. Default: the connection's policy, else 20 letters and digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_policy: Option<PasswordPolicy>,

    /// Which ServiceAccounts may have the password. Nobody, unless somebody is named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<Allowed>,
}

/// The password that an account has.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The Secret that holds it, in this namespace. Of two accounts, that of the first.
    pub secret_ref: PasswordRef,
}

/// A key of a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key that holds the password.
    #[serde(default = "password_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What passwords are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.name) != has(self.policy)",
    "message": "give either name or policy",
}]))]
pub struct PasswordPolicy {
    /// A policy that the engine has, in `sys/policies/password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"))]
    pub name: Option<String>,
    /// A policy of its own, in Vault's language:
    /// `length = 24 rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz0123456789" min-chars = 1 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub policy: Option<String>,
}

/// What the operator has made of a StaticDatabaseRole.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticDatabaseRoleStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the engine has the account, its policy and its login. Degraded: its password could not be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the role and its login are called in the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_name: Option<String>,
    /// How many namespaces hold ServiceAccounts that may log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<i32>,
    /// The account that is handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When its password was changed, or taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<MicroTime>,
    /// When the next change is due, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<Time>,
}

conditions!(StaticDatabaseRoleStatus);

fn yes() -> bool {
    true
}

fn password_key() -> String {
    "password".to_owned()
}
