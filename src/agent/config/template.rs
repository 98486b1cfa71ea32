//! `template` and `env_template`: what is rendered, where to, and who hears of a change.

use std::path::PathBuf;
use std::time::Duration;

use super::auth::Owner;
use super::process::{Environment, command};
use super::reload::Reload;
use super::section::Section;
use super::{ConfigError, WHOLE_PROCESS};

/// One file or variable to fill.
#[derive(Debug)]
pub struct TemplateConfig {
    /// What errors call it: the source, or else the destination.
    pub name: String,
    /// The template.
    pub body: TemplateBody,
    /// Where its result goes.
    pub target: Target,
    /// Run after a change.
    pub command: Option<CommandConfig>,
    /// Told of a change.
    pub reloads: Vec<Reload>,
    /// Whether a missing key is an error.
    pub error_on_missing_key: bool,
    /// Whether its failure at the start ends the agent.
    pub fatal: bool,
    /// In place of `{{` and `}}`.
    pub delimiters: Option<(String, String)>,
    /// The only folder whose files the template may read.
    pub sandbox: Option<PathBuf>,
    /// Functions that the template may not call.
    pub denied: Vec<String>,
    /// Lets changes gather before they are written.
    pub wait: Option<Wait>,
}

/// Where a template's text comes from.
#[derive(Debug, Clone)]
pub enum TemplateBody {
    /// From the configuration itself.
    Text(String),
    /// From a file.
    File(PathBuf),
}

/// Where a template's result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into a file.
    File(FileTarget),
    /// Into the environment of the process that `exec` runs.
    Variable(String),
}

/// A file with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTarget {
    /// Absolute.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Its user and group.
    pub owner: Owner,
    /// Whether missing folders are made.
    pub create_folders: bool,
    /// Whether what it held before is kept beside it, as `.bak`.
    pub backup: bool,
}

/// A program with its circumstances.
#[derive(Debug, Clone)]
pub struct CommandConfig {
    /// One text for a shell, or the words themselves.
    pub words: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
    /// The longest of the random times before it starts.
    pub splay: Duration,
    /// What it gets of the agent's environment.
    pub environment: Environment,
}

/// Consul Template's quiescence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How long nothing may have changed.
    pub min: Duration,
    /// The longest that the first change waits.
    pub max: Duration,
}

impl TemplateConfig {
    /// Of `template`.
    pub(super) fn file(mut block: Section, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let path = PathBuf::from(block.required("destination")?);
        if !path.is_absolute() {
            return Err(block.wrong("destination", "must be an absolute path"));
        }
        let target = Target::File(FileTarget {
            path: path.clone(),
            mode: block.mode("perms")?.unwrap_or(0o644),
            owner: Owner::new(&mut block, ["user", "uid"], ["group", "gid"])?,
            create_folders: block.flag("create_dest_dirs")?.unwrap_or(true),
            backup: block.flag("backup")?.unwrap_or(false),
        });
        let command = command_of(&mut block, warnings)?;
        let reloads = block.typed("reload")?.into_iter().map(Reload::new).collect::<Result<_, _>>()?;
        Self::new(block, target, path.display().to_string(), command, reloads)
    }

    /// Of `env_template`.
    pub(super) fn variable((name, block): (String, Section)) -> Result<Self, ConfigError> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(block.wrong("title", "must be the name of an environment variable"));
        }
        Self::new(block, Target::Variable(name.clone()), name, None, Vec::new())
    }

    fn new(
        mut block: Section,
        target: Target,
        name: String,
        command: Option<CommandConfig>,
        reloads: Vec<Reload>,
    ) -> Result<Self, ConfigError> {
        let body = body(&mut block)?;
        let name = if let TemplateBody::File(path) = &body { path.display().to_string() } else { name };
        let delimiters = match (block.filled("left_delimiter")?, block.filled("right_delimiter")?) {
            (None, None) => None,
            (left, right) => Some((left.unwrap_or_else(|| "{{".into()), right.unwrap_or_else(|| "}}".into()))),
        };
        let mut denied = block.words("function_denylist")?.unwrap_or_default();
        denied.extend(block.words("function_blacklist")?.unwrap_or_default());
        let template = Self {
            name,
            body,
            target,
            command,
            reloads,
            error_on_missing_key: block.flag("error_on_missing_key")?.unwrap_or(false),
            fatal: block.flag("error_fatal")?.unwrap_or(true),
            delimiters,
            sandbox: block.filled("sandbox_path")?.map(PathBuf::from),
            denied,
            wait: wait(&mut block)?,
        };
        block.finish()?;
        Ok(template)
    }

    /// Whether one of the two would overwrite the other's result.
    pub(super) fn clashes_with(&self, other: &Self) -> bool {
        match (&self.target, &other.target) {
            (Target::File(one), Target::File(other)) => one.path == other.path,
            (Target::Variable(one), Target::Variable(other)) => one == other,
            _ => false,
        }
    }
}

fn body(block: &mut Section) -> Result<TemplateBody, ConfigError> {
    match (block.text("contents")?, block.filled("source")?) {
        (Some(text), None) => Ok(TemplateBody::Text(text)),
        (None, Some(path)) => Ok(TemplateBody::File(path.into())),
        (Some(_), Some(_)) => Err(block.wrong("source", "and contents exclude each other")),
        (None, None) => Err(block.wrong("contents", "or source is required")),
    }
}

fn command_of(block: &mut Section, warnings: &mut Vec<String>) -> Result<Option<CommandConfig>, ConfigError> {
    let mut made = command(block, "command", "command_timeout")?;
    if let Some(mut exec) = block.section("exec")? {
        exec.ignore(&["kill_signal", "kill_timeout", "reload_signal"].map(|key| (key, WHOLE_PROCESS)), warnings);
        if exec.flag("enabled")?.unwrap_or(true) {
            made = command(&mut exec, "command", "timeout")?.or(made);
        } else {
            exec.words("command")?;
            exec.text("timeout")?;
        }
        let (splay, environment) = (exec.duration("splay")?.unwrap_or_default(), Environment::new(&mut exec)?);
        made = made.map(|made| CommandConfig { splay, environment, ..made });
        exec.finish()?;
    }
    Ok(made)
}

fn wait(block: &mut Section) -> Result<Option<Wait>, ConfigError> {
    let Some(mut section) = block.section("wait")? else { return Ok(None) };
    let enabled = section.flag("enabled")?.unwrap_or(true);
    let min = section.duration("min")?.unwrap_or_default();
    // Consul Template's rule for a maximum that is not given.
    let max = section.duration("max")?.unwrap_or(min.saturating_mul(4));
    if max < min {
        return Err(section.wrong("max", "must not be below min"));
    }
    section.finish()?;
    Ok((enabled && !min.is_zero()).then_some(Wait { min, max }))
}
