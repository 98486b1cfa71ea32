//! The configuration as `sys/config/state/sanitized` shows it: in Vault's shape, and without keys and recovery key.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Config, SealConfig, StorageConfig, TlsFiles};
use crate::engine::ttl::Limits;

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
        let listeners = self.listeners.iter().map(|own| listener(own.address, own.tls.is_some(), own.tls.as_ref()));
        let mut shown = shape(listeners.collect(), storage, seal, self.limits);
        let (log_level, log_format) = &self.log;
        for (name, value) in
            [("cluster_name", &self.cluster_name), ("log_level", log_level), ("log_format", log_format)]
        {
            shown[name] = json!(value.as_deref().unwrap_or_default());
        }
        shown
    }
}

/// The same of an engine in dev mode.
pub fn of_dev(listen: SocketAddr, tls: bool) -> Value {
    shape(vec![listener(listen, tls, None)], "inmem", "shamir", Limits::default())
}

fn shape(listeners: Vec<Value>, storage: &str, seal: &str, limits: Limits) -> Value {
    json!({
        "cluster_name": "", "log_level": "", "log_format": "", "listeners": listeners,
        "default_lease_ttl": limits.default_ttl, "max_lease_ttl": limits.max_ttl,
        "storage": { "type": storage }, "seals": [{ "type": seal, "disabled": false }],
    })
}

fn listener(address: SocketAddr, tls: bool, files: Option<&TlsFiles>) -> Value {
    let mut config = json!({ "address": address.to_string(), "tls_disable": !tls });
    if let Some(files) = files {
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
