//! Where requests go and as whom: flags before environment, environment before the token file.

use std::path::PathBuf;

use super::Failure;
use super::parse::Values;
use super::surroundings::Surroundings;
use super::token_helper;
use crate::base::Secret;
use crate::client::{Client, ClientConfig, read_ca_folder, token_from_env};

/// Where Vault's program looks when nobody says.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// A variable of Vault's client that would send requests another way; ignoring it would send secrets where they should not go.
const UNSUPPORTED: (&str, &str) =
    ("SRV_LOOKUP", "SRV records are not looked up: unset it, and name host and port in VAULT_ADDR");

/// A client as flags and environment describe it, with the token if there is one.
///
/// # Errors
/// Names the flag or variable that cannot be used.
pub fn client(values: &Values, around: &Surroundings) -> Result<Client, Failure> {
    finish(config(values, around).map_err(Failure::local)?, around)
}

/// A client as the environment describes it, at this address if there is one.
///
/// # Errors
/// Names the variable that cannot be used.
pub fn client_at(address: Option<&str>, around: &Surroundings) -> Result<Client, Failure> {
    let mut config = config(&Values::default(), around).map_err(Failure::local)?;
    if let Some(address) = address {
        config.address = address.to_owned();
    }
    finish(config, around)
}

fn finish(config: ClientConfig, around: &Surroundings) -> Result<Client, Failure> {
    let client = Client::new(config, around.clock.clone(), around.random.clone())
        .map_err(|error| Failure::local(crate::base::telemetry::chain(&error)))?;
    Ok(match token(around)? {
        Some(token) => client.with_token(token),
        None => client,
    })
}

/// The token of the environment, else that of the file where a login left it.
///
/// # Errors
/// When the file cannot be read.
pub fn token(around: &Surroundings) -> Result<Option<Secret>, Failure> {
    match token_from_env(&|name| (around.variables)(name)) {
        Some(token) => Ok(Some(token)),
        None => token_helper::read(around).map_err(Failure::local),
    }
}

fn config(values: &Values, around: &Surroundings) -> Result<ClientConfig, String> {
    let (name, problem) = UNSUPPORTED;
    if around.variable(name).is_some() {
        return Err(format!("VAULT_{name}: {problem}"));
    }
    let mut config = ClientConfig::new(DEFAULT_ADDRESS);
    config.merge_env(&|name| (around.variables)(name))?;
    let given = |flag: &str| values.text(flag).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(address) = given("agent-address").or_else(|| given("address")).or_else(|| around.variable("AGENT_ADDR"))
    {
        config.address = address;
    }
    if let Some(namespace) = values.text("namespace") {
        config.namespace = Some(namespace.trim_matches('/').to_owned());
    }
    if let Some(path) = given("ca-cert") {
        config.tls.ca_file = Some(PathBuf::from(path));
    }
    if let Some(folder) = given("ca-path") {
        config.tls.ca_pem = Some(read_ca_folder(&folder).map_err(|problem| format!("-ca-path: {problem}"))?);
    }
    if let Some(path) = given("client-cert") {
        config.tls.client_cert_pem = Some(read("client-cert", &path)?);
    }
    if let Some(path) = given("client-key") {
        config.tls.client_key_pem = Some(Secret::new(read("client-key", &path)?));
    }
    if let Some(name) = given("tls-server-name") {
        config.tls.server_name = Some(name);
    }
    if let Some(skip) = values.switch("tls-skip-verify") {
        config.tls.skip_verify = skip;
    }
    Ok(config)
}

fn read(flag: &str, path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("-{flag}: cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::globals::HTTP;
    use super::super::parse::parse;
    use super::super::testing::around;
    use super::*;

    fn with(line: &str, variables: &[(&str, &str)]) -> Result<ClientConfig, String> {
        let values = parse(HTTP, line.split_whitespace().map(str::to_owned)).map_err(|_| "misread".to_owned())?;
        config(&values, &around(variables, "").0)
    }

    #[test]
    fn flags_beat_the_environment_and_an_agent_beats_the_address() {
        assert_eq!(with("", &[]).unwrap().address, DEFAULT_ADDRESS);
        assert_eq!(with("", &[("VAULT_ADDR", "http://a")]).unwrap().address, "http://a");
        assert_eq!(with("-address=http://b", &[("VAULT_ADDR", "http://a")]).unwrap().address, "http://b");
        let agent = with("", &[("VAULT_ADDR", "http://a"), ("VAULT_AGENT_ADDR", "http://agent")]).unwrap();
        assert_eq!(agent.address, "http://agent");
        let namespace = with("-ns=team/", &[("VAULT_NAMESPACE", "other")]).unwrap().namespace;
        assert_eq!(namespace.as_deref(), Some("team"));
        assert!(with("-tls-skip-verify", &[]).unwrap().tls.skip_verify);
        assert!(!with("-tls-skip-verify=false", &[("VAULT_SKIP_VERIFY", "1")]).unwrap().tls.skip_verify);
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        let error = with("", &[("VAULT_SRV_LOOKUP", "1")]).unwrap_err();
        assert!(error.starts_with("VAULT_SRV_LOOKUP: "), "{error}");
        let error = with("-client-key=/nowhere/key.pem", &[]).unwrap_err();
        assert!(error.starts_with("-client-key: cannot read /nowhere/key.pem"), "{error}");
    }

    #[test]
    fn the_variable_beats_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".vault-token"), "kept\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let found = |variables: &[(&str, &str)]| token(&around(variables, "").0).unwrap().unwrap().expose().to_owned();
        assert_eq!(found(&[("HOME", home)]), "kept");
        assert_eq!(found(&[("HOME", home), ("VAULT_TOKEN", "said")]), "said");
    }
}
