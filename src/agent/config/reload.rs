//! `reload`: who is told that a file has changed, so that nobody has to restart. Ours, Vault's Agent has only commands.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use rustix::process::Signal;

use super::ConfigError;
use super::process::signal;
use super::section::Section;

/// One listener for changes.
#[derive(Debug, Clone)]
pub enum Reload {
    /// A process gets a signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// Which process.
        process: Process,
    },
    /// A URL is called, again and again until it answers well.
    Http(Hook),
}

/// How a process is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// Its id stands in a file.
    PidFile(PathBuf),
    /// All processes of this name that the agent sees; in a pod that takes a shared process namespace.
    Name(String),
}

/// A call.
#[derive(Clone)]
pub struct Hook {
    /// `http://` or `https://`.
    pub url: String,
    /// Usually `POST`.
    pub method: http::Method,
    /// Sent with it.
    pub headers: HeaderMap,
    /// For one attempt.
    pub timeout: Duration,
    /// The longest time between attempts.
    pub max_backoff: Duration,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A URL or header may hold somebody's token.
        f.debug_struct("Hook").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Reload {
    pub(super) fn new((kind, mut block): (String, Section)) -> Result<Self, ConfigError> {
        let made = match kind.as_str() {
            "signal" => Self::signal(&mut block)?,
            "http" => Self::Http(hook(&mut block)?),
            _ => return Err(block.wrong("type", format_args!("{kind:?} is not known: use \"signal\" or \"http\""))),
        };
        block.finish()?;
        Ok(made)
    }

    fn signal(block: &mut Section) -> Result<Self, ConfigError> {
        let process = match (block.filled("pid_file")?, block.filled("process")?) {
            (Some(path), None) => Process::PidFile(path.into()),
            (None, Some(name)) => Process::Name(name),
            _ => return Err(block.wrong("pid_file", "or process is required, and only one of them")),
        };
        Ok(Self::Signal { signal: signal(block, "signal")?.unwrap_or(Signal::HUP), process })
    }
}

fn hook(block: &mut Section) -> Result<Hook, ConfigError> {
    let url = block.required("url")?;
    if !url.starts_with("http://") && !url.starts_with("https://") || url.parse::<http::Uri>().is_err() {
        return Err(block.wrong("url", "must be an http:// or https:// URL"));
    }
    let method = block.filled("method")?.unwrap_or_else(|| "POST".to_owned());
    let method = method.parse().map_err(|_| block.wrong("method", "is no HTTP method"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in block.pairs("headers")? {
        let unusable = || block.wrong("headers", format_args!("{name:?} or its value cannot be sent"));
        let key: HeaderName = name.parse().map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(Hook {
        url,
        method,
        headers,
        timeout: block.duration("timeout")?.filter(|timeout| !timeout.is_zero()).unwrap_or(Duration::from_secs(10)),
        max_backoff: block.duration("max_backoff")?.unwrap_or(Duration::from_secs(60)).max(Duration::from_secs(1)),
    })
}
