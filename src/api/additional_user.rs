//! AdditionalUser: a further database user in the same Secret, made, replaced and dropped together with the first.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use super::destination::{ClientEndpoint, Format};
use super::dynamic_secret::{LeaseStatus, RoleRef};

/// A further database user in the same Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalUser {
    /// What it is called in keys and templates: `migrations` makes the keys `migrations_username` and `migrations_password`,
    /// and `.users.migrations.password` in templates.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[A-Za-z][A-Za-z0-9_]*$"))]
    pub name: String,
    /// The DatabaseRole to have a user of. It must allow `serviceAccountName` of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_ref: Option<RoleRef>,
    /// Where the object has an engineRef: where the database engine is mounted there. Default: as for the first user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub mount: Option<String>,
    /// Where the object has an engineRef: what to ask for below the mount, such as `creds/owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9_~@:+=-][A-Za-z0-9._~@:+=-]*(/[A-Za-z0-9_~@:+=-][A-Za-z0-9._~@:+=-]*)*$")
    )]
    pub path: Option<String>,
    /// Asks for another life than the role's defaultTTL, up to its maxTTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("additionalUsers.ttl must be at least 1s"))]
    pub ttl: Option<Period>,
    /// Keys with this user's credential in a ready-made form, as in destination.formats.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$'))")
        .message("formats: a key consists of letters, digits, '-', '_' and '.'"))]
    pub formats: BTreeMap<String, Format>,
    /// Where consumers reach this user's database, as in destination.endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<ClientEndpoint>,
}

/// An additional user as it is now.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalUserStatus {
    /// Its name in the spec.
    pub name: String,
    /// The database user.
    pub username: String,
    /// Its lease.
    pub lease: LeaseStatus,
}
