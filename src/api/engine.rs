//! CredentialEngine: a Vault or OpenBao other than the installed engine, how to log in to it, and which namespaces may use it.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::conditions;

/// An engine other than the installed one. DynamicDatabaseSecrets and StaticDatabaseSecrets refer to it by name.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lessor.dev",
    version = "v1alpha1",
    kind = "CredentialEngine",
    namespaced,
    status = "CredentialEngineStatus",
    derive = "PartialEq",
    shortname = "cre",
    category = "lessor",
    doc = "A Vault or OpenBao other than the installed engine. DynamicDatabaseSecrets and StaticDatabaseSecrets of the namespaces that it allows read credentials from its mounts.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
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
    validation = Rule::new("!has(self.caCert) || self.address.startsWith('https://')")
        .message("caCert goes with an address that begins with https://"),
    validation = Rule::new("!has(self.caCert) || !has(self.skipTLSVerify) || !self.skipTLSVerify")
        .message("with skipTLSVerify no certificate is checked: leave either it or caCert out")
)]
pub struct CredentialEngineSpec {
    /// Where it is: `https://vault.example:8200`. A path before `/v1` is kept.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^https?://[^\s@/?#]+(/[^\s?#]*)?$"))]
    pub address: String,

    /// CA certificates that its certificate must come from. Default: those of the operator's system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<CaCert>,

    /// The name in its certificate, where that is not the host of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._:-]+$"))]
    pub tls_server_name: Option<String>,

    /// Accepts any certificate: whoever is in between then sees every credential. For trials only.
    #[serde(rename = "skipTLSVerify", default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_tls_verify: bool,

    /// The namespace inside the engine, sent as `X-Vault-Namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[A-Za-z0-9._/-]+$"))]
    pub namespace: Option<String>,

    /// How to log in.
    pub auth: EngineAuth,

    /// Which namespaces may use it, beside its own. Default: no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// CA certificates, given in one of three ways.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.pem) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) == 1")
    .message("caCert: give one of pem, secretRef and configMapRef"))]
pub struct CaCert {
    /// The certificates themselves, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 131_072))]
    pub pem: Option<String>,
    /// A Secret of this namespace that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<CaKey>,
    /// A ConfigMap of this namespace that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<CaKey>,
}

/// A key with CA certificates.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaKey {
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key that holds the PEM text.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How to log in: one of the three methods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.kubernetes) ? 1 : 0) + (has(self.jwt) ? 1 : 0) + (has(self.appRole) ? 1 : 0) == 1")
    .message("auth: give one of kubernetes, jwt and appRole"))]
pub struct EngineAuth {
    /// The engine asks the cluster who the token is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesAuth>,
    /// The engine checks the token's signature by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuth>,
    /// The engine takes the identity of an application for all who may use this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleAuth>,
}

/// Login with a token of the ServiceAccount that the DynamicDatabaseSecret or StaticDatabaseSecret names, of its own namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesAuth {
    /// Where the method is mounted, without `auth/`.
    #[serde(default = "kubernetes")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub mount: String,
    /// The login role.
    #[schemars(length(min = 1, max = 256))]
    pub role: String,
    /// Whom the token is for, as the login role's `audience` has it. An empty list makes a token for the Kubernetes API itself, which
    /// login roles without an audience want: the engine could then use it in the cluster.
    #[serde(default = "vault")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)))]
    pub audiences: Vec<String>,
}

/// Login with a JSON web token.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tokenRef) || !has(self.audiences)")
    .message("jwt: audiences is for tokens of ServiceAccounts; that of tokenRef is as it is"))]
pub struct JwtAuth {
    /// Where the method is mounted, without `auth/`.
    #[serde(default = "jwt")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub mount: String,
    /// The login role.
    #[schemars(length(min = 1, max = 256))]
    pub role: String,
    /// A Secret of this namespace that holds the token. Default: a token is made of the ServiceAccount that the
    /// DynamicDatabaseSecret or StaticDatabaseSecret names, of its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ref: Option<TokenKey>,
    /// Whom the ServiceAccount's token is for, as the login role's `bound_audiences` has it. Default: `vault`. An empty list makes a
    /// token for the Kubernetes API itself: the engine could then use it in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)))]
    pub audiences: Option<Vec<String>>,
}

/// A key of a Secret that holds a token.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key that holds the token.
    #[serde(default = "token_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Login with an AppRole.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleAuth {
    /// Where the method is mounted, without `auth/`.
    #[serde(default = "approle")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    )]
    pub mount: String,
    /// The role's id.
    #[serde(rename = "roleID")]
    #[schemars(length(min = 1, max = 256))]
    pub role_id: String,
    /// The Secret of this namespace that holds the secret id. Leave it out where the role has `bind_secret_id=false`.
    #[serde(rename = "secretIDRef", default, skip_serializing_if = "Option::is_none")]
    pub secret_id_ref: Option<SecretIdKey>,
}

/// A key of a Secret that holds the secret id of an AppRole.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretIdKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key that holds the secret id.
    #[serde(default = "secret_id_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Namespaces by name or by label.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Vec<String>,
    /// Their labels; `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A CredentialEngine of any namespace that allows this one.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace. Default: the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

/// How a credential is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RequestMethod {
    /// Read the path; parameters go into the query.
    Get,
    /// Write to the path; parameters go into the body.
    Post,
}

/// What the operator has made of a CredentialEngine.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialEngineStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the engine answers, is unsealed and, where the object has a login of its own (appRole, jwt with tokenRef), lets it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The engine's release, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Versions of the Secrets that the last trial login was made with, to notice a change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_versions: BTreeMap<String, String>,
}

conditions!(CredentialEngineStatus);

fn ca_key() -> String {
    "ca.crt".to_owned()
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn jwt() -> String {
    "jwt".to_owned()
}

fn approle() -> String {
    "approle".to_owned()
}

fn vault() -> Vec<String> {
    vec!["vault".to_owned()]
}

fn token_key() -> String {
    "token".to_owned()
}

fn secret_id_key() -> String {
    "id".to_owned()
}
