//! Annotations about rendering and keeping secrets current, which are for all files alike.

use super::value;

/// What one of them sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenderSetting {
    /// What a file without a template holds: `map` or `json`.
    DefaultTemplate,
    /// Whether the agent ends when a secret cannot be read at the start.
    ExitOnRetryFailure,
    /// How often secrets without a lease are read.
    StaticInterval,
    /// How many requests are under way at most.
    MaxConnections,
    /// The part of a non-renewable lease's life after which it is read again.
    RenewalThreshold,
}

/// The texts are handed on as they are, once they are known to be readable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendering {
    /// Whether files without a template are JSON.
    pub default_is_json: bool,
    /// Whether the agent ends when a secret cannot be read at the start.
    pub exit_on_retry_failure: Option<bool>,
    /// Seconds or Go's notation.
    pub static_interval: Option<String>,
    /// From 1; 0 leaves it to the agent.
    pub max_connections: Option<u32>,
    /// Between 0 and 1.
    pub renewal_threshold: Option<f64>,
}

impl Rendering {
    /// Takes one annotation.
    pub fn take(&mut self, setting: RenderSetting, text: &str) -> Result<(), String> {
        match setting {
            RenderSetting::DefaultTemplate => self.default_is_json = value::word(text, &["map", "json"])? == "json",
            RenderSetting::ExitOnRetryFailure => self.exit_on_retry_failure = Some(value::flag(text)?),
            RenderSetting::StaticInterval => self.static_interval = Some(value::duration(text)?),
            RenderSetting::MaxConnections => self.max_connections = Some(value::number(text)?),
            RenderSetting::RenewalThreshold => self.renewal_threshold = Some(value::fraction(text)?),
        }
        Ok(())
    }
}
