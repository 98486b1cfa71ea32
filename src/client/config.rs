//! Where the engine is and how to talk to it, from code or from the environment that Vault's users know.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::Secret;
pub use crate::base::boolean::parse as parse_bool;
use crate::base::duration;
use crate::base::proxy::Proxies;
use crate::base::tls::ClientTls;

/// The settings of a [`super::Client`].
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `http://` or `https://`, host and port; a path before `/v1` is kept.
    pub address: String,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// How the server is checked.
    pub tls: ClientTls,
    /// What lies between.
    pub proxies: Proxies,
    /// For one attempt, reading the answer included.
    pub timeout: Duration,
    /// How often a request is repeated after a failure that may pass.
    pub max_retries: u32,
}

impl ClientConfig {
    /// The defaults of Vault's Go client: 60 s, two retries.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            namespace: None,
            tls: ClientTls::default(),
            proxies: Proxies::default(),
            timeout: Duration::from_secs(60),
            max_retries: 2,
        }
    }

    /// Replaces what the environment sets: `LESSOR_ADDR`, `BAO_ADDR` or `VAULT_ADDR` (the first that is set wins), and in
    /// the same way `_NAMESPACE`, `_CACERT`, `_CAPATH`, `_CACERT_BYTES`, `_TLS_SERVER_NAME`, `_SKIP_VERIFY`,
    /// `_CLIENT_CERT`, `_CLIENT_KEY`, `_PROXY_ADDR`, `_HTTP_PROXY`, `_CLIENT_TIMEOUT` and `_MAX_RETRIES`; further
    /// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. `variable` looks one up.
    ///
    /// # Errors
    /// A text naming the variable that cannot be read.
    pub fn merge_env(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
        if let Some((_, address)) = lookup(variable, "ADDR") {
            self.address = address;
        }
        if let Some((_, namespace)) = lookup(variable, "NAMESPACE") {
            self.namespace = Some(namespace);
        }
        if let Some((_, path)) = lookup(variable, "CACERT") {
            self.tls.ca_file = Some(PathBuf::from(path));
        }
        if let Some((name, folder)) = lookup(variable, "CAPATH") {
            self.tls.ca_pem = Some(read_ca_folder(&folder).map_err(|problem| format!("{name}: {problem}"))?);
        }
        if let Some((_, pem)) = lookup(variable, "CACERT_BYTES") {
            self.tls.ca_pem = Some(pem);
        }
        if let Some((_, name)) = lookup(variable, "TLS_SERVER_NAME") {
            self.tls.server_name = Some(name);
        }
        if let Some((name, text)) = lookup(variable, "SKIP_VERIFY") {
            self.tls.skip_verify =
                parse_bool(&text).ok_or_else(|| format!("{name}: {text:?} is neither true nor false"))?;
        }
        if let Some((name, path)) = lookup(variable, "CLIENT_CERT") {
            self.tls.client_cert_pem = Some(read(&name, &path)?);
        }
        if let Some((name, path)) = lookup(variable, "CLIENT_KEY") {
            self.tls.client_key_pem = Some(Secret::new(read(&name, &path)?));
        }
        // As Vault's client has it: a proxy of its own goes before the usual ones, and hears every request.
        self.proxies = match lookup(variable, "PROXY_ADDR").or_else(|| lookup(variable, "HTTP_PROXY")) {
            Some((name, address)) => Proxies::all(&address).map_err(|problem| format!("{name}: {problem}"))?,
            None => Proxies::from_env(variable)?,
        };
        if let Some((name, text)) = lookup(variable, "CLIENT_TIMEOUT") {
            let seconds = duration::parse_seconds(&text).map_err(|error| format!("{name}: {error}"))?;
            self.timeout = Duration::from_secs(seconds.max(1));
        }
        if let Some((name, text)) = lookup(variable, "MAX_RETRIES") {
            self.max_retries = text.parse().map_err(|_| format!("{name}: {text:?} is not a number"))?;
        }
        Ok(())
    }
}

/// The token that the environment gives: `LESSOR_TOKEN`, `BAO_TOKEN` or `VAULT_TOKEN`.
pub fn token_from_env(variable: &dyn Fn(&str) -> Option<String>) -> Option<Secret> {
    lookup(variable, "TOKEN").map(|(_, token)| Secret::new(token))
}

/// The first of the three prefixes that is set and not empty, with its whole name.
fn lookup(variable: &dyn Fn(&str) -> Option<String>, suffix: &str) -> Option<(String, String)> {
    ["LESSOR_", "BAO_", "VAULT_"].iter().find_map(|prefix| {
        let name = format!("{prefix}{suffix}");
        variable(&name).filter(|value| !value.is_empty()).map(|value| (name, value))
    })
}

/// The CA certificates of every file in a folder, whatever the files are called, as one PEM text.
///
/// # Errors
/// A text naming what cannot be read, or saying that there is none.
pub fn read_ca_folder(folder: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {folder}: {error}");
    let mut pem = String::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file()
            && let Ok(text) = std::fs::read_to_string(&path)
            && text.contains("-----BEGIN CERTIFICATE-----")
        {
            pem.push_str(&text);
            pem.push('\n');
        }
    }
    if pem.is_empty() { Err(format!("{folder} holds no certificate")) } else { Ok(pem) }
}

fn read(name: &str, path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_prefix_wins_and_errors_name_the_variable() {
        let mut config = ClientConfig::new("http://default");
        let own = |name: &str| match name {
            "LESSOR_ADDR" => Some("https://ours".to_owned()),
            "VAULT_ADDR" => Some("https://theirs".to_owned()),
            "VAULT_SKIP_VERIFY" => Some("true".to_owned()),
            "VAULT_CLIENT_TIMEOUT" => Some("5s".to_owned()),
            "BAO_TOKEN" => Some("t".to_owned()),
            _ => None,
        };
        config.merge_env(&own).unwrap();
        assert_eq!(config.address, "https://ours");
        assert!(config.tls.skip_verify);
        assert_eq!(config.timeout, Duration::from_secs(5));
        assert!(token_from_env(&own).is_some());
        let bad = |name: &str| (name == "VAULT_SKIP_VERIFY").then(|| "maybe".to_owned());
        assert!(config.merge_env(&bad).unwrap_err().contains("VAULT_SKIP_VERIFY"));
    }

    #[test]
    fn a_proxy_of_its_own_goes_before_the_usual_ones() {
        let proxies = |set: &'static [(&str, &str)]| {
            let mut config = ClientConfig::new("http://engine");
            let variable =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            config.merge_env(&variable).map(|()| format!("{:?}", config.proxies))
        };
        assert!(proxies(&[("HTTP_PROXY", "http://usual:1")]).unwrap().contains("usual:1"));
        let both = &[
            ("HTTP_PROXY", "http://usual:1"),
            ("VAULT_HTTP_PROXY", "http://old:1"),
            ("VAULT_PROXY_ADDR", "http://own:1"),
        ];
        let both = proxies(both).unwrap();
        assert!(both.contains("own:1") && !both.contains("usual") && !both.contains("old"), "{both}");
        let error = proxies(&[("VAULT_HTTP_PROXY", "ftp://x")]).unwrap_err();
        assert!(error.starts_with("VAULT_HTTP_PROXY: must be"), "{error}");
    }
}
