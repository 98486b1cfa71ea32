//! A role: which tokens it lets in, and what of their claims it takes over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::auth::objects::Object;
use crate::auth::{TokenParams, cidr};
use crate::wire::{Error, Fields};

/// How people come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleType {
    /// With a browser, by way of the provider.
    #[default]
    Oidc,
    /// With a token at hand.
    Jwt,
}

/// How bound claims are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Matching {
    #[default]
    String,
    Glob,
}

/// How the provider's answer gets to the engine. The latter two are OpenBao's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallbackMode {
    /// By way of the program that began the login.
    #[default]
    Client,
    /// From the browser itself; the program asks until it has come.
    Direct,
    /// There is none: the engine asks the provider whenever the program asks the engine.
    Device,
}

/// A stored role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub role_type: RoleType,
    pub user_claim: String,
    pub user_claim_json_pointer: bool,
    pub bound_audiences: Vec<String>,
    pub bound_subject: String,
    /// Each a scalar or a list of them.
    pub bound_claims: Map<String, Value>,
    pub bound_claims_type: Matching,
    /// Claim to key of the metadata.
    pub claim_mappings: BTreeMap<String, String>,
    pub groups_claim: String,
    /// Seconds; 0 is the default, -1 is none.
    pub expiration_leeway: i64,
    pub not_before_leeway: i64,
    pub clock_skew_leeway: i64,
    pub allowed_redirect_uris: Vec<String>,
    pub oidc_scopes: Vec<String>,
    pub verbose_oidc_logging: bool,
    pub callback_mode: CallbackMode,
    /// Seconds between two questions of a program; 0 is what the provider says.
    pub poll_interval: u64,
    /// Whether nobody is asked who the token is for before it is made.
    pub oidc_disable_confirmation: bool,
    /// Seconds; 0 is whatever the provider does.
    pub max_age: u64,
    pub token: TokenParams,
}

impl Object for Role {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(kind) = fields.string("role_type")?.filter(|kind| !kind.is_empty()) {
            self.role_type = choice("role_type", &kind)?;
        }
        if let Some(kind) = fields.string("bound_claims_type")?.filter(|kind| !kind.is_empty()) {
            self.bound_claims_type = choice("bound_claims_type", &kind)?;
        }
        for (name, slot) in [
            ("user_claim", &mut self.user_claim),
            ("bound_subject", &mut self.bound_subject),
            ("groups_claim", &mut self.groups_claim),
        ] {
            if let Some(text) = fields.string(name)? {
                *slot = text;
            }
        }
        for (name, slot) in [
            ("bound_audiences", &mut self.bound_audiences),
            ("allowed_redirect_uris", &mut self.allowed_redirect_uris),
            ("oidc_scopes", &mut self.oidc_scopes),
        ] {
            if let Some(list) = fields.comma_list(name)? {
                *slot = list;
            }
        }
        for (name, slot) in [
            ("user_claim_json_pointer", &mut self.user_claim_json_pointer),
            ("verbose_oidc_logging", &mut self.verbose_oidc_logging),
            ("oidc_disable_confirmation", &mut self.oidc_disable_confirmation),
        ] {
            if let Some(flag) = fields.bool(name)? {
                *slot = flag;
            }
        }
        for (name, slot) in [
            ("expiration_leeway", &mut self.expiration_leeway),
            ("not_before_leeway", &mut self.not_before_leeway),
            ("clock_skew_leeway", &mut self.clock_skew_leeway),
        ] {
            if let Some(seconds) = leeway(fields, name)? {
                *slot = seconds;
            }
        }
        if let Some(seconds) = fields.seconds("max_age")? {
            self.max_age = seconds;
        }
        if let Some(mappings) = fields.string_map("claim_mappings")? {
            self.claim_mappings = mappings;
        }
        if let Some(claims) = bound_claims(fields)? {
            self.bound_claims = claims;
        }
        if let Some(mode) = fields.string("callback_mode")?.filter(|mode| !mode.is_empty()) {
            self.callback_mode = choice("callback_mode", &mode)?;
        }
        self.poll_interval = fields.seconds("poll_interval")?.unwrap_or(self.poll_interval);
        self.token.merge(fields)?;
        cidr::check("token_bound_cidrs", &self.token.token_bound_cidrs)?;
        self.check()
    }

    fn describe(&self) -> Map<String, Value> {
        let list = |items: &Vec<String>| if items.is_empty() { Value::Null } else { json!(items) };
        let map = |empty: bool, value: Value| if empty { Value::Null } else { value };
        let mut data = Map::from_iter(
            [
                ("role_type", json!(self.role_type)),
                ("user_claim", json!(self.user_claim)),
                ("user_claim_json_pointer", json!(self.user_claim_json_pointer)),
                ("bound_audiences", list(&self.bound_audiences)),
                ("bound_subject", json!(self.bound_subject)),
                ("bound_claims", map(self.bound_claims.is_empty(), json!(self.bound_claims))),
                ("bound_claims_type", json!(self.bound_claims_type)),
                ("claim_mappings", map(self.claim_mappings.is_empty(), json!(self.claim_mappings))),
                ("groups_claim", json!(self.groups_claim)),
                ("expiration_leeway", json!(self.expiration_leeway)),
                ("not_before_leeway", json!(self.not_before_leeway)),
                ("clock_skew_leeway", json!(self.clock_skew_leeway)),
                ("allowed_redirect_uris", list(&self.allowed_redirect_uris)),
                ("oidc_scopes", list(&self.oidc_scopes)),
                ("verbose_oidc_logging", json!(self.verbose_oidc_logging)),
                ("max_age", json!(self.max_age)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        // Vault knows none of these, so they are there only where they were set.
        if self.callback_mode != CallbackMode::Client {
            data.insert("callback_mode".to_owned(), json!(self.callback_mode));
            data.insert("poll_interval".to_owned(), json!(self.poll_interval));
            data.insert("oidc_disable_confirmation".to_owned(), json!(self.oidc_disable_confirmation));
        }
        self.token.describe(&mut data);
        data
    }
}

impl Role {
    fn check(&self) -> Result<(), Error> {
        if self.user_claim.is_empty() {
            return Err(Error::bad_request("a user claim must be defined on the role"));
        }
        let bound = !self.bound_audiences.is_empty()
            || !self.bound_subject.is_empty()
            || !self.bound_claims.is_empty()
            || !self.token.token_bound_cidrs.is_empty();
        if self.role_type == RoleType::Jwt && !bound {
            return Err(Error::bad_request("must have at least one bound constraint when creating/updating a role"));
        }
        let comes_back = self.role_type == RoleType::Oidc && self.callback_mode != CallbackMode::Device;
        if comes_back && self.allowed_redirect_uris.is_empty() {
            let text = "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.";
            return Err(Error::bad_request(text));
        }
        let mut keys: Vec<_> = self.claim_mappings.values().collect();
        keys.sort();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::bad_request(format!("multiple keys are mapped to metadata key {:?}", twice[0])));
        }
        if keys.iter().any(|key| *key == "role") {
            return Err(Error::bad_request("metadata key \"role\" is reserved and may not be a mapping destination"));
        }
        Ok(())
    }

    /// How long a program waits between two questions, in seconds, as text. The provider's own wish is 0 where it has none.
    pub fn poll_interval(&self, provider: u64) -> String {
        [self.poll_interval, provider, 5].into_iter().find(|seconds| *seconds > 0).unwrap_or(5).to_string()
    }

    /// Whether a browser may be sent back there. Programs of one's own machine choose their port (RFC 8252, 7.3).
    pub fn allows_redirect(&self, uri: &str) -> bool {
        let own = loopback(uri);
        self.allowed_redirect_uris.iter().any(|allowed| allowed == uri || (own.is_some() && loopback(allowed) == own))
    }
}

/// Scheme, host and path of an address on one's own machine, without its port.
fn loopback(uri: &str) -> Option<(String, String, String)> {
    let uri: http::Uri = uri.parse().ok()?;
    let host = uri.host().filter(|host| matches!(*host, "localhost" | "127.0.0.1" | "[::1]"))?;
    // What a name with a password looks like, with somebody else's host behind it.
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    plain.then(|| (uri.scheme_str().unwrap_or_default().to_owned(), host.to_owned(), path.to_owned()))
}

fn choice<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    serde_json::from_value(json!(text)).map_err(|_| Error::bad_request(format!("invalid '{name}': {text}")))
}

fn leeway(fields: &Fields, name: &str) -> Result<Option<i64>, Error> {
    match fields.int(name) {
        Ok(seconds) => Ok(seconds),
        Err(_) => Ok(fields.seconds(name)?.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX))),
    }
}

fn bound_claims(fields: &Fields) -> Result<Option<Map<String, Value>>, Error> {
    let scalar = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    match fields.value("bound_claims") {
        None => Ok(None),
        Some(Value::Object(claims)) => {
            let fine = |value: &Value| scalar(value) || value.as_array().is_some_and(|items| items.iter().all(scalar));
            match claims.iter().find(|(_, value)| !fine(value)) {
                None => Ok(Some(claims.clone())),
                Some((name, _)) => {
                    Err(Error::bad_request(format!("\"bound_claims\": {name:?} must be a text or a list of texts")))
                }
            }
        }
        // The command line sends `k=v`.
        Some(_) => Ok(fields
            .string_map("bound_claims")?
            .map(|map| map.into_iter().map(|(name, value)| (name, Value::String(value))).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(settings: Value) -> Result<Role, String> {
        let mut role = Role::default();
        let fields = settings.as_object().unwrap().clone().into();
        role.merge(&fields).map(|()| role).map_err(|error| error.to_string())
    }

    #[test]
    fn a_role_without_bounds_is_refused() {
        for (settings, text) in [
            (json!({ "role_type": "jwt" }), "a user claim must be defined"),
            (json!({ "role_type": "jwt", "user_claim": "sub" }), "at least one bound constraint"),
            (json!({ "user_claim": "sub" }), "'allowed_redirect_uris' must be set"),
            (json!({ "role_type": "saml" }), "invalid 'role_type'"),
            (json!({ "bound_claims": { "a": { "b": 1 } } }), "\"bound_claims\": \"a\""),
            (json!({ "callback_mode": "pigeon" }), "callback_mode"),
            (
                json!({ "role_type": "jwt", "user_claim": "sub", "bound_subject": "s", "claim_mappings": { "a": "k", "b": "k" } }),
                "multiple keys",
            ),
        ] {
            let error = merged(settings).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn only_allowed_addresses_get_the_browser() {
        let role = merged(json!({ "user_claim": "sub",
            "allowed_redirect_uris": ["http://localhost:8250/oidc/callback", "https://ui.example/cb"] }))
        .unwrap();
        for (uri, fine) in [
            ("http://localhost:8250/oidc/callback", true),
            ("http://localhost:9000/oidc/callback", true),
            ("https://localhost:9000/oidc/callback", false),
            ("http://localhost:9000/other", false),
            ("http://localhost@evil.example/oidc/callback", false),
            ("http://u@localhost:1/oidc/callback", false),
            ("https://ui.example/cb", true),
            ("https://ui.example:444/cb", false),
            ("https://ui.example/cb?x=1", false),
        ] {
            assert_eq!(role.allows_redirect(uri), fine, "{uri}");
        }
    }
}
