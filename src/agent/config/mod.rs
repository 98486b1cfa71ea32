//! The agent's configuration: Vault Agent's keys in HCL or JSON, from files, folders or one environment variable.

mod auth;
mod engine;
mod load;
mod logging;
mod places;
mod process;
mod proxy;
mod reload;
mod section;
mod template;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::client::ClientConfig;
pub use auth::{AutoAuth, Method, Owner, Sink};
pub use load::load;
pub use logging::Logging;
use places::Places;
pub use process::{Environment, ExecConfig};
pub use proxy::{Address, Listener, ProxyConfig, TokenUse};
pub use reload::{Hook, Process, Reload};
use section::Section;
pub use template::{CommandConfig, FileTarget, Target, TemplateBody, TemplateConfig, Wait};

/// A configuration that cannot work. It names the key, its place, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("agent configuration: {0}")]
pub struct ConfigError(pub(super) String);

/// Everything the agent is told.
#[derive(Debug)]
pub struct Config {
    /// The engine.
    pub client: ClientConfig,
    /// How to log in; without it the agent only passes on requests that bring their own token.
    pub auth: Option<AutoAuth>,
    /// What to write.
    pub templates: Vec<TemplateConfig>,
    /// The process to run.
    pub exec: Option<ExecConfig>,
    /// What to serve.
    pub proxy: Option<ProxyConfig>,
    /// Ends once everything is written, leaving leases and token alive.
    pub exit_after_auth: bool,
    /// How long the first writing of all files may take; `None` is for ever.
    pub start_timeout: Option<Duration>,
    /// How often secrets without a lease are read again.
    pub static_interval: Duration,
    /// Whether to exit when nothing could be rendered after [`super::MAX_ATTEMPTS`] attempts.
    pub exit_on_retry_failure: bool,
    /// The part of a non-renewable lease's life after which it is read again.
    pub renewal_threshold: f64,
    /// How many requests for secrets are under way at most.
    pub max_connections: usize,
    /// Whether leases that belong to the workload are revoked at the agent's end; otherwise they end with the workload.
    pub revoke_on_shutdown: bool,
    /// How long a replaced credential lives on for those who still use it.
    pub revoke_grace: Duration,
    /// Whether the files of one folder change together, as those of a ConfigMap volume do.
    pub swap_folders: bool,
    /// Gets the process id.
    pub pid_file: Option<PathBuf>,
    /// What a killed agent leaves for the next one; holds secrets.
    pub state_file: Option<PathBuf>,
    /// Where `ready` and `wait` ask.
    pub ready_socket: Option<PathBuf>,
    /// What is logged, and how.
    pub logging: Logging,
    /// What was said without effect.
    pub warnings: Vec<String>,
}

/// Why keys that aim at the supervised process mean nothing for a template's command.
const WHOLE_PROCESS: &str =
    "a template's command runs to its end; the exec stanza has the keys for a process that stays";

const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("disable_idle_connections", "idle connections close after 30 s and cost next to nothing"),
    ("disable_keep_alives", "idle connections close after 30 s and cost next to nothing"),
    ("telemetry", "the agent has no metrics; the engine and the operator have those of leases"),
    ("disable_mlock", "secrets are zeroed after use instead, and the agent never locks memory"),
];
const UNSUPPORTED: &[(&str, &str)] = &[("plugin_directory", "there are no plug-ins in the agent")];

impl Config {
    /// Reads a configuration that has been merged from its files; the environment goes before it, as in Vault.
    ///
    /// # Errors
    /// Names the first key that is unknown, unsupported or wrong, and its place if `places` knows it.
    fn new(
        fields: Map<String, Value>,
        places: Places,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut root = Section::root(fields, Arc::new(places));
        let mut warnings = Vec::new();
        root.refuse(UNSUPPORTED)?;
        root.ignore(WITHOUT_EFFECT, &mut warnings);
        let client = engine::client(&mut root, variable, &mut warnings)?;
        let auth = AutoAuth::new(&mut root, &mut warnings)?;
        let proxy = ProxyConfig::new(&mut root, auth.is_some(), &mut warnings)?;
        let templates = templates(&mut root, &mut warnings)?;
        let exec = ExecConfig::new(&mut root)?;
        let mut rendering = root.section_or_empty("template_config")?;
        let socket = variable("LESSOR_AGENT_SOCKET").or(root.filled("ready_socket")?).map(PathBuf::from);
        let config = Self {
            client,
            exit_after_auth: root.flag("exit_after_auth")?.unwrap_or(false),
            revoke_on_shutdown: root.flag("revoke_on_shutdown")?.unwrap_or(true),
            start_timeout: root.duration("start_timeout")?.filter(|timeout| !timeout.is_zero()),
            static_interval: rendering
                .duration("static_secret_render_interval")?
                .unwrap_or(Duration::from_secs(300))
                .max(Duration::from_secs(1)),
            exit_on_retry_failure: rendering.flag("exit_on_retry_failure")?.unwrap_or(true),
            renewal_threshold: rendering.fraction("lease_renewal_threshold")?.unwrap_or(0.9),
            max_connections: usize::try_from(rendering.number("max_connections_per_host", 0)?.unwrap_or(0))
                .ok()
                .filter(|number| *number > 0)
                .unwrap_or(10),
            revoke_grace: rendering.duration("revoke_grace")?.unwrap_or(Duration::from_secs(60)),
            swap_folders: rendering.flag("swap_folders")?.unwrap_or(false),
            pid_file: root.filled("pid_file")?.map(PathBuf::from),
            state_file: root.filled("state_file")?.map(PathBuf::from),
            ready_socket: socket.or_else(|| default_socket(&templates, auth.as_ref())),
            logging: Logging::new(&mut root, variable, &mut warnings)?,
            templates,
            auth,
            exec,
            proxy,
            warnings,
        };
        rendering.finish()?;
        config.check(&root)?;
        root.finish()?;
        Ok(config)
    }

    /// What only the whole tells.
    fn check(&self, root: &Section) -> Result<(), ConfigError> {
        let variables = self.templates.iter().any(|template| matches!(template.target, Target::Variable(_)));
        let sinks = self.auth.as_ref().is_some_and(|auth| !auth.sinks.is_empty());
        if self.auth.is_none() && (!self.templates.is_empty() || self.proxy.is_none()) {
            return Err(root.wrong("auto_auth", "is required: without it the agent has no token"));
        }
        if variables && self.exec.is_none() {
            return Err(root.wrong("exec", "is required by env_template: it says whose environment that is"));
        }
        if self.exec.is_some() && self.templates.is_empty() {
            return Err(root.wrong("env_template", "is required by exec"));
        }
        if self.exec.is_some() && self.exit_after_auth {
            return Err(root.wrong("exit_after_auth", "and exec exclude each other"));
        }
        if self.templates.is_empty() && !sinks && self.proxy.is_none() {
            return Err(ConfigError("neither a template, a sink nor a listener: there is nothing to do".into()));
        }
        Ok(())
    }
}

/// A configuration as a test writes it.
#[cfg(test)]
pub fn of(fields: &Value) -> Result<Config, ConfigError> {
    Config::new(fields.as_object().cloned().unwrap_or_default(), Places::default(), &|_| None)
}

fn templates(root: &mut Section, warnings: &mut Vec<String>) -> Result<Vec<TemplateConfig>, ConfigError> {
    let mut templates = Vec::new();
    for block in root.sections("template")? {
        templates.push(TemplateConfig::file(block, warnings)?);
    }
    for block in root.titled("env_template", "title")? {
        templates.push(TemplateConfig::variable(block)?);
    }
    for (number, template) in templates.iter().enumerate() {
        if let Some(first) = templates[..number].iter().find(|earlier| earlier.clashes_with(template)) {
            return Err(ConfigError(format!("{} and {} write to the same place", first.name, template.name)));
        }
    }
    Ok(templates)
}

/// Beside the first file, since that folder can be written to. Two dots at its beginning keep programs that read the whole
/// folder (Spring's configtree, shells' `*`) from taking it for a secret.
fn default_socket(templates: &[TemplateConfig], auth: Option<&AutoAuth>) -> Option<PathBuf> {
    let file = templates.iter().find_map(|template| match &template.target {
        Target::File(file) => Some(&file.path),
        Target::Variable(_) => None,
    });
    let sink = || auth.and_then(|auth| auth.sinks.first()).map(|sink| &sink.path);
    Some(file.or_else(sink)?.with_file_name("..lessor-agent"))
}
