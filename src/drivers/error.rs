//! The error of every driver: what kind it is decides whether to retry and what the caller is told.

use std::error::Error as StdError;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A configured field is wrong; the message names it.
    Config,
    /// The server cannot be reached, is starting or stopping, or has no room for us.
    Connect,
    /// The call did not end in time. Its outcome is unknown.
    Timeout,
    /// The server does not accept our own login.
    Refused,
    /// Somebody else changed the same thing at the same moment: the same call may succeed at once.
    Conflict,
    /// The server took the statement and refused it.
    Statement,
    /// The user that was to be changed is not there.
    Absent,
}

/// An error of a driver. Outside the drivers its texts hold no secret: the guard has seen to it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error whose message reaches the caller.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// [`Kind::Config`]: `field: problem`.
    pub fn config(field: &str, problem: impl std::fmt::Display) -> Self {
        Self::new(Kind::Config, format!("{field}: {problem}"))
    }

    /// Attaches the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The text that the caller may see.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later without anybody changing its input.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Timeout | Kind::Conflict)
    }

    /// The same error with `[password]` in place of each of `secrets`, and without a cause that would show one.
    #[must_use]
    pub(super) fn without<'a>(mut self, secrets: impl Iterator<Item = &'a str>) -> Self {
        let cause = self.source.as_ref().map(|source| chain(source.as_ref())).unwrap_or_default();
        for secret in secrets.filter(|secret| !secret.is_empty()) {
            if self.message.contains(secret) {
                self.message = self.message.replace(secret, "[password]");
            }
            if cause.contains(secret) {
                self.source = None;
            }
        }
        self
    }
}

impl From<crate::wire::Error> for Error {
    fn from(error: crate::wire::Error) -> Self {
        Self::new(Kind::Config, error.to_string())
    }
}

/// Everything that printing the error and its causes could show.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_message_and_causes() {
        let error = Error::new(Kind::Statement, "near \"hunter2\"").caused_by(std::io::Error::other("at hunter2"));
        let clean = error.without(["", "hunter2"].into_iter());
        assert_eq!(clean.message(), "near \"[password]\"");
        assert!(clean.source().is_none());
        let kept =
            Error::new(Kind::Connect, "no").caused_by(std::io::Error::other("refused")).without(["x!"].into_iter());
        assert!(kept.source().is_some() && kept.retryable());
    }
}
