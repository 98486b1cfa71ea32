//! Programs that the agent runs: `exec`, the commands of templates, their environments and signals.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::ConfigError;
use super::section::Section;
use super::template::CommandConfig;
use crate::base::{Secret, glob};

/// The process that the agent supervises.
#[derive(Debug, Clone)]
pub struct ExecConfig {
    /// One text for a shell, or the words themselves; empty where the command line is to say it.
    pub command: Vec<String>,
    /// Whether a changed variable restarts it.
    pub restart: bool,
    /// What asks it to end.
    pub stop_signal: Signal,
    /// How long it may take to end before it is killed.
    pub kill_timeout: Duration,
    /// What it gets when a file has changed.
    pub reload_signal: Option<Signal>,
    /// Gets its standard output in place of the agent's.
    pub stdout: Option<PathBuf>,
    /// Gets its standard error in place of the agent's.
    pub stderr: Option<PathBuf>,
}

impl ExecConfig {
    pub(super) fn new(root: &mut Section) -> Result<Option<Self>, ConfigError> {
        let Some(mut block) = root.section("exec")? else { return Ok(None) };
        let restart = match block.filled("restart_on_secret_changes")?.as_deref() {
            None | Some("always") => true,
            Some("never") => false,
            Some(_) => return Err(block.wrong("restart_on_secret_changes", "must be \"always\" or \"never\"")),
        };
        let exec = Self {
            command: block.words("command")?.unwrap_or_default(),
            restart,
            stop_signal: signal(&mut block, "restart_stop_signal")?.unwrap_or(Signal::TERM),
            // Kubernetes gives 30 s: what is left is for giving leases back.
            kill_timeout: block.duration("kill_timeout")?.unwrap_or(Duration::from_secs(20)),
            reload_signal: signal(&mut block, "reload_signal")?,
            stdout: block.filled("child_process_stdout")?.map(PathBuf::from),
            stderr: block.filled("child_process_stderr")?.map(PathBuf::from),
        };
        block.finish()?;
        Ok(Some(exec))
    }
}

/// The command of a template.
pub(super) fn command(block: &mut Section, key: &str, timeout: &str) -> Result<Option<CommandConfig>, ConfigError> {
    let timeout = block.duration(timeout)?.unwrap_or(Duration::from_secs(30));
    Ok(block.words(key)?.map(|words| CommandConfig {
        words,
        timeout,
        splay: Duration::ZERO,
        environment: Environment::default(),
    }))
}

/// What a program gets of the agent's environment; patterns may hold `*`.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Nothing of it.
    pristine: bool,
    /// Only these, if there are any.
    allowed: Vec<String>,
    /// Not these.
    denied: Vec<String>,
    /// And these besides.
    custom: Vec<(String, Secret)>,
}

impl Environment {
    /// Of the block `env`.
    pub(super) fn new(block: &mut Section) -> Result<Self, ConfigError> {
        let Some(mut env) = block.section("env")? else { return Ok(Self::default()) };
        let mut list = |keys: [&str; 2]| -> Result<Vec<String>, ConfigError> {
            let mut all = env.words(keys[0])?.unwrap_or_default();
            all.extend(env.words(keys[1])?.unwrap_or_default());
            Ok(all)
        };
        let (allowed, denied) = (list(["allowlist", "whitelist"])?, list(["denylist", "blacklist"])?);
        let pairs = env.words("custom")?.unwrap_or_default();
        let pair = |text: &String| text.split_once('=').map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let Some(custom) = pairs.iter().map(pair).collect() else {
            return Err(env.wrong("custom", "must be a list of NAME=value"));
        };
        let pristine = env.flag("pristine")?.unwrap_or(false);
        env.finish()?;
        Ok(Self { pristine, allowed, denied, custom })
    }

    /// Whether everything is passed on as it is.
    pub fn is_whole(&self) -> bool {
        !self.pristine && self.allowed.is_empty() && self.denied.is_empty()
    }

    /// Whether the program gets the agent's variable of this name.
    pub fn passes(&self, name: &str) -> bool {
        let among = |patterns: &[String]| patterns.iter().any(|pattern| glob::matches(pattern, name));
        !self.pristine && (self.allowed.is_empty() || among(&self.allowed)) && !among(&self.denied)
    }

    /// What it gets besides, by name.
    pub fn custom(&self) -> impl Iterator<Item = (&str, &str)> {
        self.custom.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }
}

/// A signal by its name, with or without `SIG`, or by its number.
pub(super) fn signal(block: &mut Section, key: &str) -> Result<Option<Signal>, ConfigError> {
    let Some(name) = block.filled(key)? else { return Ok(None) };
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = SIGNALS.iter().find(|(known, signal)| *known == short || signal.as_raw().to_string() == short);
    match known {
        Some((_, signal)) => Ok(Some(*signal)),
        None => {
            let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
            Err(block.wrong(key, format_args!("{name:?} is no signal: use one of {}", names.join(", "))))
        }
    }
}

const SIGNALS: &[(&str, Signal)] = &[
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ABRT", Signal::ABORT),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CONT", Signal::CONT),
    ("WINCH", Signal::WINCH),
];
