//! The error that every plug-in and the engine answer with; `server/error.rs` alone turns it into HTTP.

use std::error::Error as StdError;

/// What went wrong, in the terms of vault-api.md 0.3. Each has exactly one status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 400: the caller's fault, and saying it again will not help.
    BadRequest,
    /// 400: a login by somebody who could not prove who he is; it counts towards the lock-out of that name.
    Credentials,
    /// 403: no token, a bad one, or one whose policies do not allow this.
    Denied,
    /// 404: the object, or the route, does not exist.
    NotFound,
    /// 405: the path exists, the operation does not.
    Unsupported,
    /// 413: the body is larger than the limit.
    TooLarge,
    /// 415: a PATCH with the wrong content type.
    MediaType,
    /// 429: a quota is used up.
    TooMany,
    /// 500: our own fault or that of something we depend on.
    Internal,
    /// 502: a database or another upstream is down or refuses; trying again later may help.
    Upstream,
    /// 503: sealed, or stopping.
    Unavailable,
}

/// An answer that is an error: status, the texts that clients see, and the cause for the log.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    messages: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with one message. The text reaches the caller: it must hold no secret.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, messages: vec![message.into()], source: None }
    }

    /// An error without text, as Vault answers a plain 404 or 405: `{"errors":[]}`.
    pub fn silent(kind: Kind) -> Self {
        Self { kind, messages: Vec::new(), source: None }
    }

    /// An error in the form in which Vault prints aggregated errors: `1 error occurred:\n\t* MESSAGE\n\n`.
    pub fn listed(kind: Kind, message: impl std::fmt::Display) -> Self {
        Self::new(kind, format!("1 error occurred:\n\t* {message}\n\n"))
    }

    /// 400 with one message.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// 400 for a password, secret id or the like that is wrong. The text must not tell which part of the login was wrong.
    pub fn credentials(message: impl Into<String>) -> Self {
        Self::new(Kind::Credentials, message)
    }

    /// 403 `permission denied`, bare, as for a missing or unknown token.
    pub fn denied() -> Self {
        Self::new(Kind::Denied, "permission denied")
    }

    /// 404 without text: the object that was read does not exist, or a list is empty.
    pub fn not_found() -> Self {
        Self::silent(Kind::NotFound)
    }

    /// 404 for a path that no engine or method serves.
    pub fn unsupported_path() -> Self {
        Self::listed(Kind::NotFound, "unsupported path")
    }

    /// 405 for a path that exists but not with this operation.
    pub fn unsupported_operation() -> Self {
        Self::listed(Kind::Unsupported, "unsupported operation")
    }

    /// 500 in the listed form.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::listed(Kind::Internal, message)
    }

    /// Attaches the cause; it is logged, never shown to the caller.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The texts of the error body.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// The HTTP status code.
    pub fn status(&self) -> u16 {
        match self.kind {
            Kind::BadRequest | Kind::Credentials => 400,
            Kind::Denied => 403,
            Kind::NotFound => 404,
            Kind::Unsupported => 405,
            Kind::TooLarge => 413,
            Kind::MediaType => 415,
            Kind::TooMany => 429,
            Kind::Internal => 500,
            Kind::Upstream => 502,
            Kind::Unavailable => 503,
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, Kind::TooMany | Kind::Internal | Kind::Upstream | Kind::Unavailable)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.messages.as_slice() {
            [] => write!(f, "{:?}", self.kind),
            messages => f.write_str(messages.join("; ").trim()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listed_form_is_vaults() {
        let error = Error::listed(Kind::Denied, "permission denied");
        assert_eq!(error.messages(), ["1 error occurred:\n\t* permission denied\n\n"]);
        assert_eq!(error.status(), 403);
    }
}
