//! Why a reconcile did not get through: the reason for the condition, the words for people, and how soon to try again.

use crate::base::telemetry;
use crate::client;

/// A failed step of a reconcile. `Display` and sources name the object or field and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API did not do what was asked.
    #[error("{what}")]
    Kube {
        /// What was asked, naming the object.
        what: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The engine did not do what was asked.
    #[error("{what}")]
    Engine {
        /// What was asked.
        what: String,
        /// Why it failed.
        source: client::Error,
    },
    /// Somebody has to change an object or a permission.
    #[error("{message}")]
    Refused {
        /// One word in CamelCase for the condition.
        reason: &'static str,
        /// What is wrong, where, and what to do.
        message: String,
    },
    /// Something else has to happen first, and probably will.
    #[error("{message}")]
    Waiting {
        /// One word in CamelCase for the condition.
        reason: &'static str,
        /// What is waited for.
        message: String,
    },
}

impl Error {
    /// Wraps an error of the Kubernetes API.
    pub fn kube(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Kube { what: what.into(), source: Box::new(source) }
    }

    /// Wraps an error of the engine.
    pub fn engine(what: impl Into<String>) -> impl FnOnce(client::Error) -> Self {
        move |source| Self::Engine { what: what.into(), source }
    }

    /// Somebody has to change something.
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { reason, message: message.into() }
    }

    /// Something else has to happen first.
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Waiting { reason, message: message.into() }
    }

    /// The same failure once more, for those that meet it a second time.
    #[must_use]
    pub fn again(&self) -> Self {
        let (reason, message) = (self.reason(), self.story());
        if self.needs_change() { Self::refused(reason, message) } else { Self::waiting(reason, message) }
    }

    /// The reason of the condition, in CamelCase; one of a fixed set, so that metrics can count by it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kube { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.is_forbidden() => "KubernetesForbidden",
                kube::Error::Api(_) => "KubernetesRefused",
                _ => "KubernetesUnreachable",
            },
            Self::Engine { source, .. } => match source {
                client::Error::Transport { .. } => "EngineUnreachable",
                client::Error::Config(..) => "EngineClientMisconfigured",
                error if error.is_denied() => "EngineDenied",
                error if error.retryable() => "EngineUnavailable",
                _ => "EngineRefused",
            },
            Self::Refused { reason, .. } | Self::Waiting { reason, .. } => reason,
        }
    }

    /// The whole story on one line, for conditions, events and logs.
    pub fn story(&self) -> String {
        telemetry::chain(self)
    }

    /// Whether only somebody's change will help, so that trying often is of no use.
    pub fn needs_change(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// Whether the Kubernetes API says that there is no such object.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// Whether the object changed meanwhile, or is not the one that was meant.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16, text: &str) -> client::Error {
        client::Error::Api { path: "database/config/a.b".into(), status, errors: vec![text.into()] }
    }

    #[test]
    fn the_reason_names_the_cause_and_the_story_keeps_the_engines_words() {
        let error = Error::engine("cannot write DatabaseConnection a/b to the engine")(api(503, "Vault is sealed"));
        assert_eq!(error.reason(), "EngineUnavailable");
        assert!(error.story().ends_with("Vault is sealed (HTTP 503)"), "{}", error.story());
        assert_eq!(Error::engine("x")(api(400, "bad")).reason(), "EngineRefused");
        assert_eq!(Error::engine("x")(api(403, "no")).reason(), "EngineDenied");
    }
}
