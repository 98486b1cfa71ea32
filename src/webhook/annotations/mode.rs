//! How the agent lives in a pod.

use super::value;

/// The ways there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A native sidecar: an init container that stays, and ends after the pod's own containers.
    Sidecar,
    /// An init container that writes the files, and an ordinary container that keeps them current; for clusters older than
    /// Kubernetes 1.29.
    Classic,
    /// An init container that writes the files; nothing stays.
    Once,
    /// The application's own command runs under the agent, with secrets in its environment.
    Exec,
}

impl Mode {
    /// # Errors
    /// A text with the words that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match value::word(text, &["sidecar", "classic", "once", "exec"])?.as_str() {
            "classic" => Self::Classic,
            "once" => Self::Once,
            "exec" => Self::Exec,
            _ => Self::Sidecar,
        })
    }

    /// Whether an agent has a container of its own beside the application.
    pub fn stays(self) -> bool {
        matches!(self, Self::Sidecar | Self::Classic)
    }
}
