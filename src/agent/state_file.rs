//! What an agent leaves for the next one in the same pod: its token and its leases, so that one start of a pod stays one
//! credential when the agent is killed, or when an init container has fetched it for the sidecar.
//!
//! The file holds secrets, as the files beside it do: it belongs into a folder in memory, which only agents have.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::query::Query;
use super::write::{self, FileError, Style};
use crate::base::{Secret, Timestamp};
use crate::wire::Envelope;

/// Everything that is left. No `Debug`: it holds secrets.
#[derive(Serialize, Deserialize, Default)]
pub struct Left {
    /// The token; none where the agent makes no login.
    pub session: Option<LeftSession>,
    /// The secrets in use that have a lease.
    pub secrets: Vec<LeftSecret>,
    /// Leases that were replaced, and when they are to be revoked.
    pub retired: Vec<(String, Timestamp)>,
}

/// A token as it was at its login.
#[derive(Serialize, Deserialize)]
pub struct LeftSession {
    /// The token itself.
    pub token: String,
    /// When it ends, if ever.
    pub ends: Option<Timestamp>,
    /// The life that it was given, seconds, and is given again by each renewal; absent in files of older versions.
    #[serde(default)]
    pub life: Option<u64>,
    /// As in `Session`.
    pub renewable: bool,
    /// As in `Session`.
    pub own: bool,
    /// As in `Session`.
    pub workload_leases: bool,
}

/// The engine's answer to a query.
#[derive(Serialize, Deserialize)]
pub struct LeftSecret {
    /// What was asked.
    pub query: Query,
    /// What was answered.
    pub envelope: Envelope,
    /// When its lease ends unless it is renewed.
    pub ends: Timestamp,
}

/// Writes the file, for the agent's own user only.
///
/// # Errors
/// The operating system's.
pub fn write(path: &Path, left: &Left) -> Result<(), FileError> {
    let style = Style { mode: 0o600, create_folders: true, ..Style::default() };
    let text = serde_json::to_string(left).map(Secret::new).map_err(std::io::Error::from);
    text.and_then(|text| write::replace(path, text.expose().as_bytes(), &style))
        .map_err(|source| FileError::new("write", path, source))
}

/// What an earlier agent has left; nothing where there was none, or nothing that can be read: a login then begins anew.
pub fn read(path: &Path) -> Option<Left> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read what an earlier agent has left");
            return None;
        }
    };
    match serde_json::from_str(text.expose()) {
        Ok(left) => Some(left),
        // The error's text may show a part of what is a secret.
        Err(_) => {
            tracing::warn!(path = %path.display(), "what an earlier agent has left is of another version, beginning anew");
            None
        }
    }
}

/// Removes the file: everything that it names is given back.
pub fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove what the next agent would take over");
    }
}
