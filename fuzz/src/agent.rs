//! The agent's configuration, as people bring it from Vault.

use lessor::agent::config::{Config, ConfigError, load};

/// What an agent makes of a text, in HCL, JSON or base64.
///
/// # Errors
/// What it says.
pub(crate) fn read(text: &str) -> Result<Config, ConfigError> {
    load(&[], &|name| (name == "LESSOR_AGENT_CONFIG").then(|| text.to_owned()))
}

/// A whole configuration.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(problem) = read(text) {
        assert!(!problem.to_string().is_empty(), "it says what is wrong");
    }
}
