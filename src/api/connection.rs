//! DatabaseConnection: a database that the engine may make users in, and the admin account it does that with.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Period;
use super::condition::conditions;

/// A database that Lessor may make users in. DatabaseRoles of the same namespace refer to it by name.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lessor.dev",
    version = "v1alpha1",
    kind = "DatabaseConnection",
    namespaced,
    status = "DatabaseConnectionStatus",
    derive = "PartialEq",
    shortname = "dbc",
    category = "lessor",
    doc = "A database that Lessor makes short-lived users in. DatabaseRoles of the same namespace refer to it by name.",
    printcolumn(name = "Plugin", type_ = "string", json_path = ".spec.plugin"),
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
    validation = Rule::new("has(self.connectionURL) || has(self.parameters)")
        .message("connectionURL is missing (or, for a plugin that has none, parameters)"),
    validation = Rule::new("!has(self.connectionURL) || !has(self.credentialsSecretRef) || self.connectionURL.contains('{{password}}')")
        .message("connectionURL must name the account of credentialsSecretRef as {{username}} and {{password}}, as in postgresql://{{username}}:{{password}}@host:5432/db"),
    validation = Rule::new("!has(self.connectionURL) || has(self.credentialsSecretRef) || !self.connectionURL.contains('{{password}}')")
        .message("connectionURL asks for {{password}}, so credentialsSecretRef must name the Secret that holds it"),
    validation = Rule::new("!has(self.rotateRoot) || has(self.credentialsSecretRef)")
        .message("rotateRoot changes the password of the account in credentialsSecretRef, so that must be given"),
    validation = Rule::new("!has(self.rotateRoot) || !['rotation_period', 'rotation_schedule', 'rotation_window', 'disable_automated_rotation'].exists(name, has(self.parameters) && name in self.parameters)")
        .message("rotateRoot says when the password changes; take rotation_period, rotation_schedule, rotation_window and disable_automated_rotation out of parameters")
)]
pub struct DatabaseConnectionSpec {
    /// The database plugin, by the name that it has in Vault.
    #[serde(default = "postgresql")]
    #[schemars(length(max = 128), regex(pattern = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"))]
    pub plugin: String,

    /// Where the database is, with `{{username}}` and `{{password}}` in place of the account:
    /// `postgresql://{{username}}:{{password}}@host:5432/db?sslmode=verify-full`.
    #[serde(rename = "connectionURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = Rule::new("!self.matches('://[^/@{]*:[^@/{]+@')")
        .message("connectionURL holds a password, which everybody who may read this object can see: write {{username}}:{{password}} and name a Secret in credentialsSecretRef"))]
    pub connection_url: Option<String>,

    /// The Secret with the admin account that makes and drops users, in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsRef>,

    /// Changes the admin account's password, so that only the engine knows it. The Secret is not read any more then; give the
    /// engine an account of its own that nobody else logs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_root: Option<RotateRoot>,

    /// How the engine checks the database's certificate, and its own one. The URL's `sslmode` says whether TLS is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ConnectionTls>,

    /// How many connections the engine keeps to this database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,

    /// Template of the names of users, in Vault's language (`{{.DisplayName}}`, `{{.RoleName}}`, `{{random 8}}` …).
    /// The plugin has a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub username_template: Option<String>,

    /// Whether the engine tries the connection before it takes it over. A database that is down then shows in the Ready
    /// condition, and is tried again.
    #[serde(default = "yes")]
    pub verify: bool,

    /// Further parameters of the plugin, by the names that they have in Vault's API (`password_authentication`, `hosts` …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("!('password' in self || 'username' in self || 'connection_url' in self || 'plugin_name' in self || 'allowed_roles' in self || 'private_key' in self || 'verify_connection' in self)")
        .message("parameters may not set what other fields set, or a secret: username, password, private_key, connection_url, plugin_name, allowed_roles, verify_connection"))]
    pub parameters: BTreeMap<String, String>,
}

/// A Secret with an account.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Name of the Secret, in the namespace of the object that refers to it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key that holds the user's name.
    #[serde(default = "username_key")]
    #[schemars(length(min = 1, max = 253))]
    pub username_key: String,
    /// The key that holds the password.
    #[serde(default = "password_key")]
    #[schemars(length(min = 1, max = 253))]
    pub password_key: String,
}

/// When the admin account's password changes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.period) && has(self.schedule))").message("rotateRoot: give either period or schedule"),
    validation = Rule::new("!has(self.window) || has(self.schedule)").message("rotateRoot: window goes with schedule"),
    validation = Rule::new("self.onCreation || has(self.period) || has(self.schedule)")
        .message("rotateRoot: with onCreation: false it needs a period or a schedule")
)]
pub struct RotateRoot {
    /// Whether the password of the Secret is changed as soon as the engine has the connection.
    #[serde(default = "yes")]
    pub on_creation: bool,
    /// How old a password gets. Default: no regular change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('5s')").message("rotateRoot.period must be at least 5s"))]
    pub period: Option<Period>,
    /// When the password changes, instead of `period`: minute, hour, day of month, month and day of week as in cron, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^\S+( +\S+){4}$"))]
    pub schedule: Option<String>,
    /// How long after a moment of `schedule` the change may still begin; then it waits for the next moment. Default: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1h')").message("rotateRoot.window must be at least 1h"))]
    pub window: Option<Period>,
}

/// Certificates, each in a Secret of the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionTls {
    /// CA certificates that the database's certificate must come from, PEM. Default: those of the engine's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaRef>,
    /// A Secret of type kubernetes.io/tls with the engine's own certificate and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<SecretRef>,
}

/// A Secret with CA certificates.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key that holds the PEM text.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret by name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Limits of the engine's connection pool.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxIdleConnections) || !has(self.maxOpenConnections) || self.maxIdleConnections <= self.maxOpenConnections")
    .message("maxIdleConnections must not be larger than maxOpenConnections"))]
pub struct Pool {
    /// Connections at the same time. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_open_connections: Option<i32>,
    /// Connections kept open while nothing is to be done. Default: as many as may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub max_idle_connections: Option<i32>,
    /// How long a connection is used before it is replaced. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connection_lifetime: Option<Period>,
}

/// What the operator has made of a DatabaseConnection.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseConnectionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the engine has the connection and, if asked to, has tried it. Degraded: the admin account's password could not be
    /// changed. RootRotated: only the engine knows that password, and the Secret is not read any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the connection is called in the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_name: Option<String>,
    /// Versions of the Secrets that the engine was given, to notice a change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_versions: BTreeMap<String, String>,
    /// The change of the admin account's password, since there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_rotation: Option<RootRotation>,
}

/// The last change of the admin account's password.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootRotation {
    /// When it was.
    pub last: Time,
    /// When the next is due, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// The version of the Secret whose password was replaced, to notice that it was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<String>,
}

conditions!(DatabaseConnectionStatus);

fn postgresql() -> String {
    "postgresql-database-plugin".to_owned()
}

fn yes() -> bool {
    true
}

fn username_key() -> String {
    "username".to_owned()
}

fn password_key() -> String {
    "password".to_owned()
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}
