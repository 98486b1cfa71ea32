//! The eight-key envelope that every logical answer has, and the `auth` object of logins and token calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Vault's answer to every logical request that has a body: always all eight keys, nulls included (vault-api.md 0.2).
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Envelope {
    /// A UUID; empty in a wrapped answer.
    #[serde(default)]
    pub request_id: String,
    /// Empty when the answer carries no lease.
    #[serde(default)]
    pub lease_id: String,
    /// Of the lease, not of the token.
    #[serde(default)]
    pub renewable: bool,
    /// Whole seconds.
    #[serde(default)]
    pub lease_duration: u64,
    /// What was asked for.
    #[serde(default)]
    pub data: Option<Value>,
    /// Present when the answer was wrapped.
    #[serde(default)]
    pub wrap_info: Option<WrapInfo>,
    /// Never an empty list.
    #[serde(default)]
    pub warnings: Option<Vec<String>>,
    /// Present in answers of logins and of token creation and renewal.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// The `auth` object. The keys that vaultrs insists on (`token_policies`, `entity_id`, `orphan`) are always there.
#[derive(Clone, Serialize, Deserialize, Default)]
pub struct Auth {
    /// The token itself: the one secret of this type, hidden by `Debug`.
    #[serde(default)]
    pub client_token: String,
    /// Names the token without giving its power.
    #[serde(default)]
    pub accessor: String,
    /// Sorted and without duplicates.
    #[serde(default)]
    pub policies: Vec<String>,
    /// The same without those of the identity.
    #[serde(default)]
    pub token_policies: Vec<String>,
    /// Those of the identity alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_policies: Vec<String>,
    /// What the login method tells of the caller.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Whole seconds; 0 for a token that never expires.
    #[serde(default)]
    pub lease_duration: u64,
    /// Whether `auth/token/renew-self` may prolong it.
    #[serde(default)]
    pub renewable: bool,
    /// May be empty.
    #[serde(default)]
    pub entity_id: String,
    /// `service` or `batch`.
    #[serde(default)]
    pub token_type: String,
    /// Whether it outlives the token that made it.
    #[serde(default)]
    pub orphan: bool,
    /// Always null: multi-factor logins are not offered.
    #[serde(default)]
    pub mfa_requirement: Option<Value>,
    /// How often it may still be used; 0 is without limit.
    #[serde(default)]
    pub num_uses: u64,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("accessor", &self.accessor)
            .field("policies", &self.policies)
            .field("lease_duration", &self.lease_duration)
            .finish_non_exhaustive()
    }
}

/// Where a wrapped answer waits to be fetched once.
#[derive(Clone, Serialize, Deserialize)]
pub struct WrapInfo {
    /// The single-use wrapping token.
    pub token: String,
    /// Its accessor.
    pub accessor: String,
    /// Whole seconds.
    pub ttl: u64,
    /// RFC 3339, UTC.
    pub creation_time: String,
    /// The path whose answer was wrapped.
    pub creation_path: String,
    /// The accessor of the wrapped token, where the answer was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapped_accessor: Option<String>,
}

impl std::fmt::Debug for WrapInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrapInfo")
            .field("ttl", &self.ttl)
            .field("creation_path", &self.creation_path)
            .finish_non_exhaustive()
    }
}

/// The body of every error (vault-api.md 0.4).
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct ErrorBody {
    /// Usually one; none for plain 404 and 405.
    #[serde(default)]
    pub errors: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_envelope_has_all_keys() {
        let value = serde_json::to_value(Envelope::default()).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected =
            ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"];
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }

    #[test]
    fn the_token_is_not_in_debug_output() {
        let auth = Auth { client_token: "s.canary".into(), ..Auth::default() };
        assert!(!format!("{auth:?}").contains("canary"));
    }
}
