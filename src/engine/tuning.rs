//! What `tune` sets besides TTLs, description and options: the rest of a mount's `config` (vault-api.md 1.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::lockout;
use crate::wire::{Error, Fields};

/// Settings of a mount that only some mounts have; empty ones are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the API, vault-api.md 1.2")]
pub struct Tuning {
    pub audit_non_hmac_request_keys: Vec<String>,
    pub audit_non_hmac_response_keys: Vec<String>,
    pub passthrough_request_headers: Vec<String>,
    pub allowed_response_headers: Vec<String>,
    pub force_no_cache: bool,
    pub plugin_version: String,
    pub local: bool,
    pub seal_wrap: bool,
    pub external_entropy_access: bool,
    pub user_lockout_config: lockout::Config,
}

impl Tuning {
    /// Takes over the fields that were sent.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn set(&mut self, fields: &Fields) -> Result<(), Error> {
        for (name, slot) in [
            ("audit_non_hmac_request_keys", &mut self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &mut self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &mut self.passthrough_request_headers),
            ("allowed_response_headers", &mut self.allowed_response_headers),
        ] {
            if let Some(list) = fields.comma_list(name)? {
                *slot = list;
            }
        }
        if let Some(flag) = fields.bool("force_no_cache")? {
            self.force_no_cache = flag;
        }
        if let Some(version) = fields.string("plugin_version")? {
            self.plugin_version = version;
        }
        match fields.value("user_lockout_config") {
            None => {}
            Some(Value::Object(config)) => self.user_lockout_config.merge(&config.clone().into())?,
            Some(_) => {
                let text = "error converting input for field \"user_lockout_config\": expected an object";
                return Err(Error::bad_request(text));
            }
        }
        Ok(())
    }

    /// Takes over what can be said only when a mount is made. Nothing here is replicated or wrapped by the seal a second
    /// time, so these are kept to be shown.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn set_fixed(&mut self, fields: &Fields) -> Result<(), Error> {
        for (name, slot) in [
            ("local", &mut self.local),
            ("seal_wrap", &mut self.seal_wrap),
            ("external_entropy_access", &mut self.external_entropy_access),
        ] {
            if let Some(flag) = fields.bool(name)? {
                *slot = flag;
            }
        }
        Ok(())
    }

    /// Adds what is set to a mount's `config`, or to the answer of its tune.
    pub fn show(&self, config: &mut Map<String, Value>) {
        config.insert("force_no_cache".into(), json!(self.force_no_cache));
        for (name, list) in [
            ("audit_non_hmac_request_keys", &self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &self.passthrough_request_headers),
            ("allowed_response_headers", &self.allowed_response_headers),
        ] {
            if !list.is_empty() {
                config.insert(name.into(), json!(list));
            }
        }
        config.extend(self.user_lockout_config.describe().map(|set| ("user_lockout_config".to_owned(), set)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_and_the_rest_is_not() {
        let mut tuning = Tuning::default();
        let fields = json!({ "audit_non_hmac_request_keys": "a,b", "force_no_cache": true });
        tuning.set(&fields.as_object().unwrap().clone().into()).unwrap();
        let mut config = Map::new();
        tuning.show(&mut config);
        let expected = json!({ "audit_non_hmac_request_keys": ["a", "b"], "force_no_cache": true });
        assert_eq!(Value::from(config), expected);
        let wrong = json!({ "force_no_cache": "perhaps" }).as_object().unwrap().clone().into();
        assert!(tuning.set(&wrong).unwrap_err().to_string().contains("force_no_cache"));
    }
}
