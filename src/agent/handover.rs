//! What an agent that has written everything leaves to the one that goes on after it: the login, secrets and leases, so that
//! both together are one start with one credential.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::login::Session;
use super::query::Query;
use super::write::{self, FileError, Style};
use crate::base::{Secret, Timestamp, telemetry};
use crate::client::Client;
use crate::wire::Envelope;

/// For the agents alone.
const MODE: u32 = 0o600;

/// All that is left. It holds secrets in the clear, as its file does, and so has no `Debug`.
#[derive(Serialize, Deserialize)]
pub struct Handover {
    token: String,
    life_seconds: Option<u64>,
    /// When the engine forgets the token; never for one without an end.
    pub ends: Option<Timestamp>,
    renewable: bool,
    own: bool,
    workload_leases: bool,
    /// What was read.
    pub secrets: Vec<Left>,
}

/// One secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Left {
    /// What was asked.
    pub query: Query,
    /// The answer.
    pub envelope: Envelope,
    /// When it came.
    pub at: Timestamp,
}

impl Handover {
    /// Of a session that goes on.
    pub fn new(session: &Session, ends: Option<Timestamp>, secrets: Vec<Left>) -> Self {
        Self {
            token: session.client.token().map(|token| token.expose().to_owned()).unwrap_or_default(),
            life_seconds: session.life.map(|life| life.as_secs()),
            ends,
            renewable: session.renewable,
            own: session.own,
            workload_leases: session.workload_leases,
            secrets,
        }
    }

    /// The session that goes on.
    pub fn session(&self, client: &Client) -> Session {
        Session {
            client: client.with_token(Secret::new(self.token.as_str())),
            life: self.life_seconds.map(Duration::from_secs),
            renewable: self.renewable,
            own: self.own,
            workload_leases: self.workload_leases,
        }
    }

    /// Puts it where the next agent looks.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn leave(&self, path: &Path) -> Result<(), FileError> {
        let text = Secret::new(serde_json::to_string(self).unwrap_or_default());
        let style = Style { mode: MODE, create_folders: true, ..Style::default() };
        write::replace(path, text.expose().as_bytes(), &style).map_err(|source| FileError::new("write", path, source))
    }

    /// What is there, if its login is alive. It is taken once: an agent that starts again begins anew, as what it had was
    /// given back.
    pub fn take(path: &Path, now: Timestamp) -> Option<Self> {
        let text = Secret::new(std::fs::read_to_string(path).ok()?);
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "cannot take over what an agent has left, logging in anew");
            return None;
        }
        match serde_json::from_str::<Self>(text.expose()) {
            Ok(found) => (found.ends.is_none_or(|ends| ends > now)).then_some(found),
            Err(error) => {
                tracing::warn!(error = telemetry::chain(&error), "cannot read what an agent has left, logging in anew");
                None
            }
        }
    }
}
