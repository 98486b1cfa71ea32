//! What can go wrong between us and an engine, in words that name the path and never a token.

use crate::base::http::HttpError;

/// A failed call. `Display` gives the path and the server's own words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine answered with an error.
    #[error("{path}: {} (HTTP {status})", words(errors))]
    Api {
        /// The path that was asked, without `/v1/` and without parameters.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The texts of Vault's error body; may be empty.
        errors: Vec<String>,
    },
    /// There was no answer.
    #[error("{path}: no answer from the engine")]
    Transport {
        /// The path that was asked.
        path: String,
        /// Why.
        source: HttpError,
    },
    /// The answer is not what Vault's API promises; a proxy's error page, say.
    #[error("{path}: the answer (HTTP {status}) is not Vault's: {problem}")]
    Decode {
        /// The path that was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it, without quoting it: the answer may hold a secret.
        problem: String,
    },
    /// The client's own settings are unusable.
    #[error("{0}")]
    Config(String, #[source] Option<HttpError>),
}

fn words(errors: &[String]) -> String {
    if errors.is_empty() {
        return "refused without a reason".to_owned();
    }
    // Vault's aggregated form spreads over several lines; logs and conditions want one.
    errors.join("; ").split_whitespace().collect::<Vec<_>>().join(" ").replace(" * ", " ")
}

impl Error {
    /// The HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } | Self::Decode { status, .. } => Some(*status),
            Self::Transport { .. } | Self::Config(..) => None,
        }
    }

    /// 404: there is no such object or path.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { status: 404, .. })
    }

    /// 403: the token is unknown, expired, or its policies do not allow this.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Api { status: 403, .. })
    }

    /// 403 in the words that engines have for a token that they do not know, and not for one that may not: Vault adds
    /// `invalid token`, OpenBao leaves the list out that it puts a denial into.
    pub fn is_unknown_token(&self) -> bool {
        let Self::Api { status: 403, errors, .. } = self else { return false };
        errors
            .iter()
            .any(|text| text == "permission denied" || text.contains("invalid token") || text.contains("bad token"))
    }

    /// 400 in answer to a renewal: the lease is unknown, expired or past its longest life. Vault answers 400, too, when the
    /// database refuses to prolong the user; the lease lives on then.
    pub fn is_lease_ended(&self) -> bool {
        let Self::Api { status: 400, errors, .. } = self else { return false };
        let says = |words: &str| errors.iter().any(|text| text.contains(words));
        !says("failed to renew entry") || says("past the max TTL")
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Api { status, .. } | Self::Decode { status, .. } => retryable_status(*status),
            Self::Transport { source, .. } => source.retryable(),
            Self::Config(..) => false,
        }
    }
}

/// The statuses that Vault's Go client repeats a request for: replica not caught up, quota, any server error but
/// "not implemented".
pub(super) fn retryable_status(status: u16) -> bool {
    matches!(status, 412 | 429 | 500 | 502..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_with_path_and_words() {
        let error = |errors: &[&str]| Error::Api {
            path: "database/creds/app".into(),
            status: 403,
            errors: errors.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            error(&["1 error occurred:\n\t* permission denied\n\n"]).to_string(),
            "database/creds/app: 1 error occurred: permission denied (HTTP 403)"
        );
        assert_eq!(error(&[]).to_string(), "database/creds/app: refused without a reason (HTTP 403)");
        assert!(error(&[]).is_denied() && !error(&[]).retryable());
    }

    #[test]
    fn the_words_of_engines_tell_what_a_status_does_not() {
        let error = |status, text: &str| Error::Api { path: "p".into(), status, errors: vec![text.into()] };
        assert!(error(403, "permission denied").is_unknown_token());
        assert!(error(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n").is_unknown_token());
        assert!(!error(403, "1 error occurred:\n\t* permission denied\n\n").is_unknown_token());
        assert!(error(400, "lease not found").is_lease_ended());
        assert!(error(400, "failed to renew entry: past the max TTL, cannot renew").is_lease_ended());
        assert!(!error(400, "failed to renew entry: connection refused").is_lease_ended());
        assert!(!error(403, "permission denied").is_lease_ended());
    }

    #[test]
    fn what_the_go_client_repeats_is_retryable() {
        let retried: Vec<u16> = (400..=599).filter(|status| retryable_status(*status)).collect();
        assert!(retried.contains(&412) && retried.contains(&429) && retried.contains(&503));
        assert!(!retried.contains(&501) && !retried.contains(&400) && !retried.contains(&404));
    }
}
