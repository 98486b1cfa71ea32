//! Why an agent ends before it was told to.

use std::time::Duration;

use super::config::ConfigError;
use super::write::FileError;
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
    #[error(transparent)]
    File(#[from] FileError),
    /// The client cannot be made from the configuration.
    #[error("cannot talk to the engine")]
    Client(#[source] client::Error),
    /// A login failed and the configuration says to end then.
    #[error("login failed")]
    Login(#[source] client::Error),
    /// A sink wants a wrapped token and the engine made none.
    #[error("cannot wrap the token for a sink")]
    Wrap(#[source] client::Error),
    /// A secret could not be had, again and again.
    #[error("gave up after {attempts} attempts")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        source: client::Error,
    },
    /// The first writing took longer than the configuration allows.
    #[error("not every file was written within {} s: {cause}", after.as_secs())]
    Deadline {
        /// What was allowed.
        after: Duration,
        /// What stood in the way last.
        cause: String,
    },
    /// A listener of the local API cannot be served.
    #[error("cannot listen at {address}")]
    Listen {
        /// As the configuration has it.
        address: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A listener's certificate cannot be used.
    #[error("cannot serve TLS at {address}")]
    Tls {
        /// As the configuration has it.
        address: String,
        /// What is wrong with it.
        source: crate::base::tls::Error,
    },
    /// The supervised process cannot be run.
    #[error("cannot run {program}")]
    Exec {
        /// The program.
        program: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The operating system refuses something basic: signals, a runtime.
    #[error("cannot start")]
    System(#[from] std::io::Error),
    /// The agent was asked, and it is not ready.
    #[error("{0}")]
    NotReady(String),
}
