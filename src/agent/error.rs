//! Why an agent ends before it was told to.

use std::path::PathBuf;

use super::config::ConfigError;
use crate::base::template::TemplateError;
use crate::client;

/// An error that ends the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A template cannot work.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A file that the configuration names cannot be read or written.
    #[error("cannot {verb} {path}", path = path.display())]
    File {
        /// `read`, `write` …
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The client cannot be made from the configuration.
    #[error("cannot talk to the engine")]
    Client(#[source] client::Error),
    /// A login failed and the configuration says to end then.
    #[error("login failed")]
    Login(#[source] client::Error),
    /// A secret could not be had, again and again.
    #[error("gave up after {attempts} attempts")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        source: client::Error,
    },
    /// The operating system refuses something basic: signals, a runtime.
    #[error("cannot start")]
    System(#[from] std::io::Error),
    /// The agent was asked, and it is not ready.
    #[error("{0}")]
    NotReady(String),
}
