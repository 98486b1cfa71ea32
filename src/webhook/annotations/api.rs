//! Annotations about the engine's API inside the pod, which the agent passes on.

use super::value;

/// What one of them sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiSetting {
    /// Whether requests are passed on.
    Enable,
    /// Where it listens, on the pod's own loopback.
    Port,
    /// Whose token requests carry.
    Token,
    /// Whether the agent may be told to end.
    Quit,
}

/// The API in the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Whether requests are passed on.
    pub passes_on: bool,
    /// On 127.0.0.1.
    pub port: u16,
    /// `true`, `false` or `force`, as the agent's `use_auto_auth_token` is.
    pub token: String,
    /// Whether the agent may be told to end.
    pub quit: bool,
    /// Whether port or token were chosen.
    pub is_described: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self { passes_on: false, port: 8200, token: "true".to_owned(), quit: false, is_described: false }
    }
}

impl Api {
    /// Takes one annotation.
    pub fn take(&mut self, setting: ApiSetting, text: &str) -> Result<(), String> {
        match setting {
            ApiSetting::Enable => self.passes_on = value::flag(text)?,
            ApiSetting::Quit => self.quit = value::flag(text)?,
            ApiSetting::Port => {
                let port = text.trim().parse().ok().filter(|port| *port >= 1024);
                let wrong = || format!("{text:?} is no port that the agent may open: use a number from 1024 to 65535");
                self.port = port.ok_or_else(wrong)?;
                self.is_described = true;
            }
            ApiSetting::Token => {
                self.token = match text.trim() {
                    "force" => "force".to_owned(),
                    other => value::flag(other).map_err(|problem| format!("{problem}, or \"force\""))?.to_string(),
                };
                self.is_described = true;
            }
        }
        Ok(())
    }

    /// Whether anything listens.
    pub fn listens(&self) -> bool {
        self.passes_on || self.quit
    }
}
