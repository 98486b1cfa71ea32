//! An answer's envelope as Vault's program shows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::value::{duration, field, plain, quoted};

/// An answer: what Vault's Go client calls a secret, with its keys in that order. There is no `Debug`, since it holds secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// Names the request in the audit log.
    pub request_id: String,
    /// Empty without a lease.
    pub lease_id: String,
    /// Whole seconds.
    pub lease_duration: u64,
    /// Of the lease.
    pub renewable: bool,
    /// What was asked for.
    pub data: Value,
    /// `null` for none.
    pub warnings: Option<Vec<String>>,
    /// Of a login, or of a token that was made or renewed.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub auth: Value,
    /// Where a wrapped answer waits.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub wrap_info: Value,
    /// The kind of engine that answered, where the server says so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_type: String,
}

impl Secret {
    /// Whether there is anything in it.
    pub fn has_content(&self) -> bool {
        !self.data.is_null() || !self.auth.is_null() || !self.wrap_info.is_null() || !self.lease_id.is_empty()
    }

    /// The rows of its table.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |key: &str, value: String| rows.push((key.to_owned(), value));
        if !self.wrap_info.is_null() {
            row("wrapping_token:", plain(&self.wrap_info["token"]));
            row("wrapping_accessor:", plain(&self.wrap_info["accessor"]));
            row("wrapping_token_ttl:", duration(self.wrap_info["ttl"].as_u64().unwrap_or(0)));
            row("wrapping_token_creation_time:", plain(&self.wrap_info["creation_time"]));
            row("wrapping_token_creation_path:", plain(&self.wrap_info["creation_path"]));
            if let Some(accessor) = self.wrap_info["wrapped_accessor"].as_str().filter(|text| !text.is_empty()) {
                row("wrapped_accessor:", accessor.to_owned());
            }
            return rows;
        }
        if !self.lease_id.is_empty() {
            row("lease_id", self.lease_id.clone());
            row("lease_duration", duration(self.lease_duration));
            row("lease_renewable", self.renewable.to_string());
        } else if self.lease_duration > 0 {
            // A version-1 secret without a lease: how often to look again.
            row("refresh_interval", duration(self.lease_duration));
        }
        if !self.auth.is_null() {
            let seconds = self.auth["lease_duration"].as_u64().unwrap_or(0);
            row("token", plain(&self.auth["client_token"]));
            row("token_accessor", plain(&self.auth["accessor"]));
            row("token_duration", if seconds == 0 { "∞".to_owned() } else { duration(seconds) });
            row("token_renewable", plain(&self.auth["renewable"]));
            row("token_policies", quoted(&self.auth["token_policies"]));
            row("identity_policies", quoted(&self.auth["identity_policies"]));
            row("policies", quoted(&self.auth["policies"]));
            for (key, value) in self.auth["metadata"].as_object().into_iter().flatten() {
                row(&format!("token_meta_{key}"), plain(value));
            }
        }
        for (key, value) in self.data.as_object().into_iter().flatten() {
            row(key, field(key, value));
        }
        rows
    }

    /// One field of it, by the name that its row has.
    pub fn field(&self, name: &str) -> Option<Value> {
        let found = match name {
            "wrapping_token" => self.wrap_info.get("token"),
            "wrapping_accessor" => self.wrap_info.get("accessor"),
            "wrapping_token_ttl" => self.wrap_info.get("ttl"),
            "wrapping_token_creation_time" => self.wrap_info.get("creation_time"),
            "wrapping_token_creation_path" => self.wrap_info.get("creation_path"),
            "wrapped_accessor" => self.wrap_info.get("wrapped_accessor"),
            "token" => self.auth.get("client_token"),
            "token_accessor" => self.auth.get("accessor"),
            "token_duration" => self.auth.get("lease_duration"),
            "token_renewable" => self.auth.get("renewable"),
            "token_policies" => self.auth.get("token_policies"),
            "identity_policies" => self.auth.get("identity_policies"),
            "policies" => self.auth.get("policies"),
            _ => name.strip_prefix("token_meta_").and_then(|key| self.auth.get("metadata")?.get(key)),
        };
        if let Some(found) = found {
            return Some(found.clone());
        }
        let lease = !self.lease_id.is_empty();
        match name {
            "lease_id" if lease => Some(self.lease_id.clone().into()),
            "lease_duration" if lease => Some(self.lease_duration.into()),
            "lease_renewable" if lease => Some(self.renewable.into()),
            "refresh_interval" if !lease && self.lease_duration > 0 => Some(self.lease_duration.into()),
            "data" => self.data.get(name).or(Some(&self.data)).filter(|data| !data.is_null()).cloned(),
            _ => self.data.get(name).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::pairs;
    use super::*;

    fn secret(value: Value) -> Secret {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_leased_secret_shows_its_lease_first() {
        let leased = secret(json!({
            "lease_id": "database/creds/app/x", "lease_duration": 3600, "renewable": true,
            "data": { "username": "u", "password": "p" },
        }));
        let text = pairs(leased.rows());
        assert_eq!(
            text,
            "Key                Value\n---                -----\nlease_id           database/creds/app/x\n\
             lease_duration     1h\nlease_renewable    true\npassword           p\nusername           u\n"
        );
        assert_eq!(leased.field("lease_id"), Some(json!("database/creds/app/x")));
        assert_eq!(leased.field("password"), Some(json!("p")));
        assert_eq!(leased.field("nothing"), None);
    }

    #[test]
    fn a_token_shows_who_it_is_and_how_long() {
        let token = secret(json!({ "data": null, "auth": {
            "client_token": "hvs.x", "accessor": "a", "lease_duration": 0, "renewable": false,
            "policies": ["root"], "token_policies": ["root"], "metadata": { "username": "bob" },
        } }));
        let rows = token.rows();
        let keys: Vec<_> = rows.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "token",
                "token_accessor",
                "token_duration",
                "token_renewable",
                "token_policies",
                "identity_policies",
                "policies",
                "token_meta_username"
            ]
        );
        assert_eq!(rows[2].1, "∞");
        assert_eq!(rows[4].1, "[\"root\"]");
        assert_eq!(token.field("token"), Some(json!("hvs.x")));
        assert_eq!(token.field("token_meta_username"), Some(json!("bob")));
    }

    #[test]
    fn a_wrapped_answer_shows_nothing_but_where_it_waits() {
        let wrapped = secret(json!({ "data": null, "wrap_info": {
            "token": "t", "accessor": "a", "ttl": 60, "creation_time": "now", "creation_path": "p",
        } }));
        assert_eq!(wrapped.rows()[2], ("wrapping_token_ttl:".to_owned(), "1m".to_owned()));
        assert_eq!(wrapped.field("wrapping_token"), Some(json!("t")));
    }

    #[test]
    fn json_has_vaults_keys_in_vaults_order() {
        let text = serde_json::to_string(&secret(json!({ "data": { "a": 1 }, "auth": null }))).unwrap();
        assert_eq!(
            text,
            "{\"request_id\":\"\",\"lease_id\":\"\",\"lease_duration\":0,\"renewable\":false,\"data\":{\"a\":1},\"warnings\":null}"
        );
    }
}
