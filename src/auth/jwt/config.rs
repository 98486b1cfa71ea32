//! Where the keys of tokens come from, and which provider browsers are sent to.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::provider::Client;
use crate::auth::jws::{ALGORITHMS, Key, KeyError};
use crate::wire::{Error, Fields};

/// How a provider's answer comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseMode {
    /// In the address that the browser is sent to.
    #[default]
    Query,
    /// In a form that the browser sends.
    FormPost,
}

/// A set of keys that is published somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct JwksPair {
    pub jwks_url: String,
    /// PEM; empty for the system's authorities.
    pub jwks_ca_pem: String,
}

/// The mount's configuration. It has no `Debug`, since it holds the client's secret.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub oidc_discovery_url: String,
    pub oidc_discovery_ca_pem: String,
    pub oidc_client_id: String,
    pub oidc_client_secret: String,
    pub oidc_response_mode: ResponseMode,
    pub oidc_response_types: Vec<String>,
    pub jwks_url: String,
    pub jwks_ca_pem: String,
    pub jwks_pairs: Vec<JwksPair>,
    pub jwt_validation_pubkeys: Vec<String>,
    pub jwt_supported_algs: Vec<String>,
    pub bound_issuer: String,
    pub default_role: String,
    pub provider_config: Value,
    pub namespace_in_state: bool,
    /// Whether the keys may be out of reach while the configuration is written.
    pub skip_jwks_validation: bool,
}

impl Config {
    /// Reads a whole configuration; what is not sent is unset, as in Vault.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn from_fields(fields: &Fields) -> Result<Self, Error> {
        let text = |name| fields.string(name).map(Option::unwrap_or_default);
        let list = |name| fields.comma_list(name).map(Option::unwrap_or_default);
        let config = Self {
            oidc_discovery_url: text("oidc_discovery_url")?,
            oidc_discovery_ca_pem: text("oidc_discovery_ca_pem")?,
            oidc_client_id: text("oidc_client_id")?,
            oidc_client_secret: text("oidc_client_secret")?,
            oidc_response_mode: match text("oidc_response_mode")?.as_str() {
                "" | "query" => ResponseMode::Query,
                "form_post" => ResponseMode::FormPost,
                other => return Err(Error::bad_request(format!("invalid response_mode: {other:?}"))),
            },
            oidc_response_types: list("oidc_response_types")?,
            jwks_url: text("jwks_url")?,
            jwks_ca_pem: text("jwks_ca_pem")?,
            jwks_pairs: pairs(fields)?,
            jwt_validation_pubkeys: list("jwt_validation_pubkeys")?,
            jwt_supported_algs: list("jwt_supported_algs")?,
            bound_issuer: text("bound_issuer")?,
            default_role: text("default_role")?.to_lowercase(),
            provider_config: fields.value("provider_config").cloned().unwrap_or_else(|| json!({})),
            namespace_in_state: fields.bool("namespace_in_state")?.unwrap_or(true),
            skip_jwks_validation: fields.bool("skip_jwks_validation")?.unwrap_or(false),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let sources = [
            !self.oidc_discovery_url.is_empty(),
            !self.jwks_url.is_empty(),
            !self.jwks_pairs.is_empty(),
            !self.jwt_validation_pubkeys.is_empty(),
        ];
        if sources.iter().filter(|there| **there).count() != 1 {
            return Err(Error::bad_request(
                "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set",
            ));
        }
        if self.oidc_client_id.is_empty() != self.oidc_client_secret.is_empty() {
            return Err(Error::bad_request("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"));
        }
        if !self.oidc_client_id.is_empty() && self.oidc_discovery_url.is_empty() {
            return Err(Error::bad_request("'oidc_discovery_url' must be set for OIDC"));
        }
        if let Some(other) = self.oidc_response_types.iter().find(|kind| !["code", "id_token"].contains(&kind.as_str()))
        {
            return Err(Error::bad_request(format!("invalid response type: {other:?}")));
        }
        if self.oidc_response_mode == ResponseMode::Query
            && self.oidc_response_types.iter().any(|kind| kind == "id_token")
        {
            return Err(Error::bad_request("query response_mode may not be used with an id_token response_type"));
        }
        if let Some(other) = self.jwt_supported_algs.iter().find(|name| !ALGORITHMS.contains(&name.as_str())) {
            let offered = ALGORITHMS.join(", ");
            return Err(Error::bad_request(format!(
                "\"jwt_supported_algs\": {other:?} is not offered, only {offered}"
            )));
        }
        self.static_keys()
            .map(drop)
            .map_err(|error| Error::bad_request(format!("error parsing public key: {error}")).caused_by(error))
    }

    /// The keys that are given as they are.
    pub fn static_keys(&self) -> Result<Vec<Key>, KeyError> {
        self.jwt_validation_pubkeys.iter().map(|pem| Key::from_pem(pem)).collect()
    }

    /// The published sets of keys, where they are named.
    pub fn key_sets(&self) -> Vec<JwksPair> {
        if self.jwks_url.is_empty() {
            return self.jwks_pairs.clone();
        }
        vec![JwksPair { jwks_url: self.jwks_url.clone(), jwks_ca_pem: self.jwks_ca_pem.clone() }]
    }

    /// Whether the provider answers with a code that is good for tokens, rather than with an ID token alone.
    pub fn wants_code(&self) -> bool {
        self.oidc_response_types.is_empty() || self.oidc_response_types.iter().any(|kind| kind == "code")
    }

    /// The `response_type` that the provider is asked for.
    pub fn response_type(&self) -> &'static str {
        match (self.wants_code(), self.oidc_response_types.iter().any(|kind| kind == "id_token")) {
            (_, false) => "code",
            (true, true) => "code id_token",
            (false, true) => "id_token",
        }
    }

    /// Who the engine is to the provider.
    pub fn client(&self) -> Client<'_> {
        Client { id: &self.oidc_client_id, secret: &self.oidc_client_secret }
    }

    /// Whether browsers can be sent to a provider.
    pub fn has_provider(&self) -> bool {
        !self.oidc_client_id.is_empty()
    }

    /// The answer of a read: everything but the client's secret.
    pub fn describe(&self) -> Value {
        let provider = self.provider_config.as_object().cloned().unwrap_or_default();
        // What providers take there besides names are keys to them.
        let shown: serde_json::Map<_, _> = provider
            .into_iter()
            .filter(|(name, _)| {
                !["secret", "private_key", "service_account", "password"].iter().any(|s| name.contains(s))
            })
            .collect();
        json!({
            "oidc_discovery_url": self.oidc_discovery_url, "oidc_discovery_ca_pem": self.oidc_discovery_ca_pem,
            "oidc_client_id": self.oidc_client_id, "oidc_response_mode": match self.oidc_response_mode {
                ResponseMode::Query => "",
                ResponseMode::FormPost => "form_post",
            },
            "oidc_response_types": self.oidc_response_types,
            "jwks_url": self.jwks_url, "jwks_ca_pem": self.jwks_ca_pem, "jwks_pairs": self.jwks_pairs,
            "jwt_validation_pubkeys": self.jwt_validation_pubkeys, "jwt_supported_algs": self.jwt_supported_algs,
            "bound_issuer": self.bound_issuer, "default_role": self.default_role, "provider_config": shown,
            "namespace_in_state": self.namespace_in_state,
        })
    }
}

fn pairs(fields: &Fields) -> Result<Vec<JwksPair>, Error> {
    let Some(value) = fields.value("jwks_pairs") else { return Ok(Vec::new()) };
    let wrong = |_| Error::bad_request("\"jwks_pairs\" must be a list of {\"jwks_url\": …, \"jwks_ca_pem\": …}");
    let pairs: Vec<JwksPair> = serde_json::from_value(value.clone()).map_err(wrong)?;
    if pairs.iter().any(|pair| pair.jwks_url.is_empty()) {
        return Err(Error::bad_request("\"jwks_pairs\": each needs a jwks_url"));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: Value) -> Result<Config, String> {
        Config::from_fields(&settings.as_object().unwrap().clone().into()).map_err(|error| error.to_string())
    }

    #[test]
    fn exactly_one_source_of_keys_is_taken() {
        for (settings, text) in [
            (json!({}), "exactly one of"),
            (json!({ "jwks_url": "a", "oidc_discovery_url": "b" }), "exactly one of"),
            (json!({ "jwks_url": "a", "oidc_client_id": "b" }), "both 'oidc_client_id'"),
            (json!({ "jwks_url": "a", "oidc_client_id": "b", "oidc_client_secret": "c" }), "'oidc_discovery_url' must"),
            (json!({ "jwks_url": "a", "jwt_supported_algs": "HS256" }), "\"HS256\" is not offered"),
            (json!({ "jwt_validation_pubkeys": "x" }), "error parsing public key"),
            (json!({ "jwks_url": "a", "oidc_response_mode": "fragment" }), "invalid response_mode"),
            (json!({ "jwks_url": "a", "oidc_response_types": "token" }), "invalid response type"),
            (json!({ "jwks_url": "a", "oidc_response_types": "id_token" }), "query response_mode may not"),
        ] {
            let error = read(settings).err().unwrap();
            assert!(error.contains(text), "{error}");
        }
        assert!(read(json!({ "jwks_pairs": [{ "jwks_url": "a" }] })).is_ok());
    }

    #[test]
    fn secrets_are_not_read_back() {
        let config = read(json!({ "oidc_discovery_url": "u", "oidc_client_id": "i", "oidc_client_secret": "canary",
            "provider_config": { "provider": "gsuite", "gsuite_service_account": "canary" } }))
        .unwrap();
        let shown = config.describe().to_string();
        assert!(!shown.contains("canary") && shown.contains("gsuite"), "{shown}");
    }
}
