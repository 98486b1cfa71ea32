//! VaultDynamicSecret, VaultStaticSecret and SecretTransformation: what is read, and the Secret that is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Texts;

/// A credential that Vault makes when asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultDynamicSecret {
    /// `NAME` or `NAMESPACE/NAME`; empty is the VaultAuth `default` of VSO's own namespace.
    pub vault_auth_ref: Option<String>,
    /// The namespace inside Vault that the engine is mounted in.
    pub namespace: Option<String>,
    /// Where the engine is mounted.
    pub mount: String,
    /// What to ask for below the mount.
    pub path: String,
    /// `GET`, `POST` or `PUT`.
    #[serde(rename = "requestHTTPMethod")]
    pub request_http_method: Option<String>,
    /// Sent along.
    pub params: Texts,
    /// After how much of its life a lease is renewed.
    pub renewal_percent: Option<i64>,
    /// Whether the lease is revoked when the object is deleted.
    pub revoke: Option<bool>,
    /// Whether the credential is one that Vault changes by itself.
    pub allow_static_creds: Option<bool>,
    /// How often to ask where Vault gives no lease.
    pub refresh_after: Option<String>,
    /// Whether and how Vault's events are followed.
    pub sync_config: Option<Value>,
    /// What to restart when the Secret has changed.
    pub rollout_restart_targets: Vec<RestartTarget>,
    /// The Secret.
    pub destination: Destination,
}

/// What Vault's key-value engine holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultStaticSecret {
    /// As in [`VaultDynamicSecret`].
    pub vault_auth_ref: Option<String>,
    /// As in [`VaultDynamicSecret`].
    pub namespace: Option<String>,
    /// Where the engine is mounted.
    pub mount: String,
    /// What to read.
    pub path: String,
    /// The version of it.
    pub version: Option<i64>,
    /// `kv-v1` or `kv-v2`.
    #[serde(rename = "type")]
    pub engine: String,
    /// How often to read it.
    pub refresh_after: Option<String>,
    /// How VSO notices that the Secret was edited.
    #[serde(rename = "hmacSecretData")]
    pub hmac_secret_data: Option<bool>,
    /// Whether and how Vault's events are followed.
    pub sync_config: Option<Value>,
    /// What to restart when the Secret has changed.
    pub rollout_restart_targets: Vec<RestartTarget>,
    /// The Secret.
    pub destination: Destination,
}

/// A workload.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RestartTarget {
    /// `Deployment`, `DaemonSet`, `StatefulSet` or `argo.Rollout`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The Secret that is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Whether VSO makes it; else it must be there.
    pub create: bool,
    /// Whether one that is there is taken over.
    pub overwrite: bool,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations.
    pub annotations: Texts,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Which keys it has.
    pub transformation: Option<Transformation>,
}

/// Which keys a Secret has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Transformation {
    /// Texts by key.
    pub templates: BTreeMap<String, Template>,
    /// Texts from elsewhere.
    pub transformation_refs: Vec<TransformationRef>,
    /// Patterns of the raw keys to keep.
    pub includes: Vec<String>,
    /// Patterns of the raw keys to leave out.
    pub excludes: Vec<String>,
    /// Whether the key `_raw` is left out.
    pub exclude_raw: Option<bool>,
}

/// A Go template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Template {
    /// What other templates call it by; its key unless given.
    pub name: Option<String>,
    /// Its text.
    pub text: String,
}

/// Names templates of a SecretTransformation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransformationRef {
    /// Its namespace; that of the secret's object unless given.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Those of its templates to take; all unless given.
    pub template_refs: Vec<TemplateRef>,
    /// Whether its patterns of keys to keep do not count.
    pub ignore_includes: bool,
    /// Whether its patterns of keys to leave out do not count.
    pub ignore_excludes: bool,
}

/// Names a template of a SecretTransformation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateRef {
    /// Its key there.
    pub name: String,
    /// Its key in the Secret; the same unless given.
    pub key_override: Option<String>,
}

/// Templates that several objects share.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretTransformation {
    /// Texts by key.
    pub templates: BTreeMap<String, Template>,
    /// Texts that only other templates use.
    pub source_templates: Vec<Template>,
    /// Patterns of the raw keys to keep.
    pub includes: Vec<String>,
    /// Patterns of the raw keys to leave out.
    pub excludes: Vec<String>,
}
