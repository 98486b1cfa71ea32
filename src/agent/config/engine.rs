//! `vault`: where the engine is, how it is checked, and how often a request is tried.

use std::path::PathBuf;

use super::ConfigError;
use super::section::Section;
use crate::base::Secret;
use crate::client::ClientConfig;

/// What Vault's client understands and ours does not.
const UNUSED_VARIABLES: &[(&str, &str)] = &[
    ("VAULT_RATE_LIMIT", "the agent asks no more often than leases and intervals demand"),
    ("VAULT_WRAP_TTL", "templates need the secrets themselves; a sink has wrap_ttl"),
    ("VAULT_MFA", "no login method of the agent asks for it"),
];

/// The stanza under what the environment says, which goes before it as in Vault.
pub(super) fn client(
    root: &mut Section,
    variable: &dyn Fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) -> Result<ClientConfig, ConfigError> {
    let mut config = ClientConfig::new("https://127.0.0.1:8200");
    let mut own_only = false;
    if let Some(mut vault) = root.section("vault")? {
        own_only = vault.flag("own_variables_only")?.unwrap_or(false);
        if let Some(address) = vault.filled("address")? {
            config.address = address;
        }
        config.namespace = vault.filled("namespace")?;
        config.tls.ca_file = vault.filled("ca_cert")?.map(PathBuf::from);
        config.tls.ca_pem = vault.filled("ca_cert_bytes")?;
        if let Some(folder) = vault.filled("ca_path")? {
            let pem = crate::client::read_ca_folder(&folder);
            config.tls.ca_pem = Some(pem.map_err(|problem| vault.wrong("ca_path", problem))?);
        }
        config.tls.skip_verify = vault.flag("tls_skip_verify")?.unwrap_or(false);
        config.tls.server_name = vault.filled("tls_server_name")?;
        config.tls.client_cert_pem = file(&mut vault, "client_cert")?;
        config.tls.client_key_pem = file(&mut vault, "client_key")?.map(Secret::new);
        if let Some(mut retry) = vault.section("retry")? {
            // Vault's Agent counts -1 as "do not retry"; 0 is its default.
            match retry.text("num_retries")?.as_deref() {
                None | Some("" | "0") => {}
                Some("-1") => config.max_retries = 0,
                Some(text) => {
                    config.max_retries =
                        text.parse().map_err(|_| retry.wrong("num_retries", "must be a whole number"))?;
                }
            }
            retry.finish()?;
        }
        vault.finish()?;
    }
    if own_only {
        // The others are those of an application that asks an engine itself, perhaps another one.
        let own = |name: &str| variable(name).filter(|_| name.starts_with("LESSOR_"));
        config.merge_env(&own).map_err(ConfigError)?;
        return Ok(config);
    }
    config.merge_env(variable).map_err(ConfigError)?;
    for (name, reason) in UNUSED_VARIABLES {
        if variable(name).is_some_and(|value| !value.is_empty()) {
            warnings.push(format!("the variable {name} has no effect in lessor-agent: {reason}"));
        }
    }
    Ok(config)
}

fn file(section: &mut Section, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(path) = section.filled(key)? else { return Ok(None) };
    let text = std::fs::read_to_string(&path);
    text.map(Some).map_err(|error| section.wrong(key, format_args!("cannot read {path}: {error}")))
}
