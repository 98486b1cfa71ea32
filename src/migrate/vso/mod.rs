//! The kinds of Vault Secrets Operator (`secrets.hashicorp.com/v1beta1`) that are read, field by field as its public API
//! reference names them.

mod auth;
mod secret;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use auth::{AppRoleLogin, JwtLogin, KubernetesLogin, VaultAuth, VaultAuthGlobal, VaultConnection};
pub use secret::{
    Destination, RestartTarget, SecretTransformation, Template, Transformation, TransformationRef, VaultDynamicSecret,
    VaultStaticSecret,
};

/// The API group of every kind.
pub const GROUP: &str = "secrets.hashicorp.com";
/// The version that is read.
pub const VERSION: &str = "v1beta1";

/// Texts by name.
pub type Texts = BTreeMap<String, String>;

/// The part of a Kubernetes object's metadata that its author writes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace; in files often left to `kubectl --namespace`.
    pub namespace: Option<String>,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations.
    pub annotations: Texts,
    /// Those who hold it back.
    pub finalizers: Vec<String>,
    /// What it goes with.
    pub owner_references: Vec<Value>,
}

/// A Kubernetes object of one of the kinds below.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest<S> {
    /// Whose object it is.
    #[serde(default)]
    pub metadata: Metadata,
    /// What its author wants.
    pub spec: S,
}
