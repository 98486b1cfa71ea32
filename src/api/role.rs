//! DatabaseRole: what a user of a database may do, how long it lives, and which ServiceAccounts may ask for one.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use super::condition::conditions;

/// A kind of database user, and who may have one.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lessor.dev",
    version = "v1alpha1",
    kind = "DatabaseRole",
    namespaced,
    status = "DatabaseRoleStatus",
    derive = "PartialEq",
    shortname = "dbr",
    category = "lessor",
    doc = "A kind of short-lived database user: what it may do, how long it lives, and which ServiceAccounts may have one.",
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name"),
    printcolumn(name = "Default", type_ = "string", json_path = ".spec.defaultTTL"),
    printcolumn(name = "Max", type_ = "string", json_path = ".spec.maxTTL"),
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
#[x_kube(validation = Rule::new("duration(self.defaultTTL) <= duration(self.maxTTL)")
    .message("defaultTTL must not be longer than maxTTL"))]
#[x_kube(validation = Rule::new("has(self.preset) != (has(self.creationStatements) && size(self.creationStatements) > 0)")
    .message("give either preset or creationStatements"))]
#[x_kube(validation = Rule::new("has(self.preset) || !has(self.schema)").message("schema goes with preset"))]
pub struct DatabaseRoleSpec {
    /// The DatabaseConnection to make users with, in this namespace.
    pub connection_ref: ConnectionRef,

    /// What makes a user, in the database's language, with `{{name}}`, `{{password}}` and `{{expiration}}` in place of the
    /// values. PostgreSQL: `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`, and what the
    /// user is granted; it all runs in one transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 16384)))]
    pub creation_statements: Vec<String>,

    /// What a user may do, in one word instead of creationStatements: `readonly` or `readwrite` on every table of a schema, or
    /// `owner-of-schema`, whose users make and change objects that they own together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<RolePreset>,

    /// The schema of the preset; default `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub schema: Option<String>,

    /// What drops a user. The plugin has a default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 16384)))]
    pub revocation_statements: Vec<String>,

    /// What prolongs a user's life in the database. The plugin has a default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 16384)))]
    pub renew_statements: Vec<String>,

    /// What clears away a user that could not be made completely. The plugin has a default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 16384)))]
    pub rollback_statements: Vec<String>,

    /// How long a user lives when nobody prolongs its lease.
    #[serde(rename = "defaultTTL", default = "one_hour")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("defaultTTL must be at least 1s"))]
    pub default_ttl: Period,

    /// How long a user may live at most, renewals included. Then a new one takes its place.
    #[serde(rename = "maxTTL", default = "one_day")]
    pub max_ttl: Period,

    /// How many users are made ahead, without the right to log in, so that the next one is there in a millisecond. Only for databases
    /// that can have such users: PostgreSQL.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(with = "i32", range(min = 0, max = 10000))]
    pub spares: u16,

    /// Which ServiceAccounts may have a user of this role. Nobody, unless somebody is named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow: Vec<Allowed>,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// What users may do, without anybody writing statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolePreset {
    /// Read every table of the schema.
    #[serde(rename = "readonly")]
    Readonly,
    /// Read and change the rows of every table of the schema.
    #[serde(rename = "readwrite")]
    Readwrite,
    /// Make, change and drop objects of the schema.
    #[serde(rename = "owner-of-schema")]
    OwnerOfSchema,
}

/// A DatabaseConnection of the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// ServiceAccounts of one namespace, or of all namespaces with certain labels.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.namespace) && has(self.namespaceSelector))")
    .message("namespace and namespaceSelector exclude each other"))]
pub struct Allowed {
    /// The namespace of the ServiceAccounts. Default: the role's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// The labels of the namespaces of the ServiceAccounts; `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of ServiceAccounts, or `*` alone for all that the namespaces have.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 253), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)$"))
    )]
    #[x_kube(validation = Rule::new("!self.exists(name, name == '*') || self == ['*']")
        .message("serviceAccounts holds names, or \"*\" alone"))]
    pub service_accounts: Vec<String>,
}

/// What the operator has made of a DatabaseRole.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRoleStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the engine has the role, its policy and its login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the role and its login are called in the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_name: Option<String>,
    /// How many namespaces hold ServiceAccounts that may log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<i32>,
}

conditions!(DatabaseRoleStatus);

fn one_hour() -> Period {
    Period::new("1h")
}

fn one_day() -> Period {
    Period::new("24h")
}
