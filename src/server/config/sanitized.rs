//! The configuration as `sys/config/state/sanitized` shows it: in Vault's shape, and without keys and recovery key.

use serde_json::{Value, json};

use super::{Config, ListenerConfig, SealConfig, StorageConfig};

impl Config {
    /// Without secrets.
    pub fn sanitized(&self) -> Value {
        let storage = match &self.storage {
            StorageConfig::Embedded { .. } => "embedded",
            StorageConfig::InMemory => "inmem",
        };
        let seal = match &self.seal {
            SealConfig::Static { .. } => "static",
            SealConfig::Shamir => "shamir",
        };
        let (log_level, log_format) = &self.log;
        json!({
            "cluster_name": self.cluster_name.as_deref().unwrap_or_default(),
            "default_lease_ttl": self.limits.default_ttl, "max_lease_ttl": self.limits.max_ttl,
            "log_level": log_level.as_deref().unwrap_or_default(),
            "log_format": log_format.as_deref().unwrap_or_default(),
            "listeners": self.listeners.iter().map(listener).collect::<Vec<_>>(),
            "storage": { "type": storage }, "seals": [{ "type": seal, "disabled": false }],
        })
    }
}

fn listener(listener: &ListenerConfig) -> Value {
    let mut config = json!({ "address": listener.address.to_string(), "tls_disable": listener.tls.is_none() });
    if let Some(files) = &listener.tls {
        config["tls_cert_file"] = json!(files.cert_file);
        config["tls_key_file"] = json!(files.key_file);
    }
    json!({ "type": "tcp", "config": config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let text = format!(
            "storage \"inmem\" {{}}\nlistener \"tcp\" {{ address = \"127.0.0.1:1\" tls_disable = true }}\n\
             seal \"static\" {{ current_key_id = \"a\" current_key = \"{key}\" }}\nmax_lease_ttl = \"1h\" default_lease_ttl = \"1m\""
        );
        let shown = Config::parse(&text, "test").unwrap().sanitized();
        assert!(!shown.to_string().contains(key));
        assert_eq!(shown["listeners"][0]["config"], json!({ "address": "127.0.0.1:1", "tls_disable": true }));
        assert_eq!((&shown["seals"][0]["type"], &shown["max_lease_ttl"]), (&json!("static"), &json!(3600)));
    }
}
