//! VaultConnection, VaultAuth and VaultAuthGlobal: where a Vault is and how to log in to it.

use serde::Deserialize;
use serde_json::Value;

use super::Texts;

/// Where a Vault is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultConnection {
    /// Its URL.
    pub address: String,
    /// HTTP headers of every request.
    pub headers: Texts,
    /// The name in its certificate.
    pub tls_server_name: Option<String>,
    /// A Secret with CA certificates under `ca.crt`, in the connection's namespace.
    pub ca_cert_secret_ref: Option<String>,
    /// Whether any certificate is accepted.
    #[serde(rename = "skipTLSVerify")]
    pub skip_tls_verify: bool,
    /// How long a request may take.
    pub timeout: Option<String>,
}

/// How to log in to a Vault.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultAuth {
    /// `NAME` or `NAMESPACE/NAME`; empty is the connection `default` of VSO's own namespace.
    pub vault_connection_ref: Option<String>,
    /// Common settings of several logins.
    pub vault_auth_global_ref: Option<GlobalRef>,
    /// The namespace inside Vault.
    pub namespace: Option<String>,
    /// The Kubernetes namespaces that may use it; `*` is all.
    pub allowed_namespaces: Vec<String>,
    /// `kubernetes`, `jwt`, `appRole`, `aws` or `gcp`.
    pub method: Option<String>,
    /// Where the method is mounted.
    pub mount: Option<String>,
    /// Sent along with the login.
    pub params: Texts,
    /// HTTP headers of every request.
    pub headers: Texts,
    /// For the method of that name.
    pub kubernetes: Option<KubernetesLogin>,
    /// For the method of that name.
    pub jwt: Option<JwtLogin>,
    /// For the method of that name.
    pub app_role: Option<AppRoleLogin>,
    /// For the method of that name; Lessor has none like it.
    pub aws: Option<Value>,
    /// For the method of that name; Lessor has none like it.
    pub gcp: Option<Value>,
    /// How VSO encrypts what it stores of logins.
    pub storage_encryption: Option<Value>,
}

/// Names a VaultAuthGlobal.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GlobalRef {
    /// Its name; `default` unless given.
    pub name: Option<String>,
    /// Its namespace; that of the VaultAuth unless given.
    pub namespace: Option<String>,
    /// Whether the one called `default` may be taken.
    pub allow_default: Option<bool>,
    /// How headers and parameters of both are joined.
    pub merge_strategy: Option<MergeStrategy>,
}

/// How headers and parameters of a VaultAuth and a VaultAuthGlobal are joined: `union`, `replace` or `none`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MergeStrategy {
    /// For headers.
    pub headers: Option<String>,
    /// For parameters.
    pub params: Option<String>,
}

/// Common settings of several logins.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultAuthGlobal {
    /// The Kubernetes namespaces whose VaultAuths may refer to it.
    pub allowed_namespaces: Vec<String>,
    /// As in [`VaultAuth`].
    pub vault_connection_ref: Option<String>,
    /// The namespace inside Vault, unless the method says another.
    pub default_vault_namespace: Option<String>,
    /// The method, unless the VaultAuth says another.
    pub default_auth_method: Option<String>,
    /// Where the method is mounted, unless anybody says another.
    pub default_mount: Option<String>,
    /// As in [`VaultAuth`].
    pub params: Texts,
    /// As in [`VaultAuth`].
    pub headers: Texts,
    /// For the method of that name.
    pub kubernetes: Option<KubernetesLogin>,
    /// For the method of that name.
    pub jwt: Option<JwtLogin>,
    /// For the method of that name.
    pub app_role: Option<AppRoleLogin>,
    /// For the method of that name; Lessor has none like it.
    pub aws: Option<Value>,
    /// For the method of that name; Lessor has none like it.
    pub gcp: Option<Value>,
}

/// Login with a ServiceAccount's token, which Vault has reviewed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesLogin {
    /// The login role.
    pub role: Option<String>,
    /// The ServiceAccount, in the namespace of the secret's object.
    pub service_account: Option<String>,
    /// Whom the token is for; the Kubernetes API itself unless given.
    pub audiences: Vec<String>,
    /// How long the token is valid.
    pub token_expiration_seconds: Option<i64>,
    /// Only in a VaultAuthGlobal: the namespace inside Vault.
    pub namespace: Option<String>,
    /// Only in a VaultAuthGlobal: where the method is mounted.
    pub mount: Option<String>,
    /// Only in a VaultAuthGlobal: sent along with the login.
    pub params: Texts,
    /// Only in a VaultAuthGlobal: HTTP headers of every request.
    pub headers: Texts,
}

/// Login with a JSON web token.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtLogin {
    /// The login role.
    pub role: Option<String>,
    /// A Secret with the token under `jwt`, in the namespace of the secret's object.
    pub secret_ref: Option<String>,
    /// The ServiceAccount whose token it is, in the namespace of the secret's object.
    pub service_account: Option<String>,
    /// Whom the token is for; the Kubernetes API itself unless given.
    pub audiences: Vec<String>,
    /// How long the token is valid.
    pub token_expiration_seconds: Option<i64>,
    /// Only in a VaultAuthGlobal: the namespace inside Vault.
    pub namespace: Option<String>,
    /// Only in a VaultAuthGlobal: where the method is mounted.
    pub mount: Option<String>,
    /// Only in a VaultAuthGlobal: sent along with the login.
    pub params: Texts,
    /// Only in a VaultAuthGlobal: HTTP headers of every request.
    pub headers: Texts,
}

/// Login with an AppRole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppRoleLogin {
    /// The role's id.
    pub role_id: Option<String>,
    /// A Secret with the secret id under `id`, in the namespace of the secret's object.
    pub secret_ref: Option<String>,
    /// Only in a VaultAuthGlobal: the namespace inside Vault.
    pub namespace: Option<String>,
    /// Only in a VaultAuthGlobal: where the method is mounted.
    pub mount: Option<String>,
    /// Only in a VaultAuthGlobal: sent along with the login.
    pub params: Texts,
    /// Only in a VaultAuthGlobal: HTTP headers of every request.
    pub headers: Texts,
}
