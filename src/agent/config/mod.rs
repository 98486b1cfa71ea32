//! The agent's configuration: Vault Agent's keys in HCL or JSON, from files or from one environment variable.

mod auth;
mod load;
mod section;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing_subscriber::filter::LevelFilter;

use crate::base::Secret;
use crate::base::telemetry::{LogFormat, parse_level};
use crate::client::ClientConfig;
pub use auth::{AutoAuth, Method, Sink};
pub use load::load;
use section::Section;

/// A configuration that cannot work. It names the key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("agent configuration: {0}")]
pub struct ConfigError(pub(super) String);

/// Everything the agent is told.
#[derive(Debug)]
pub struct Config {
    /// The engine.
    pub client: ClientConfig,
    /// How to log in.
    pub auth: AutoAuth,
    /// What to write.
    pub templates: Vec<TemplateConfig>,
    /// Ends once everything is written, leaving leases and token alive.
    pub exit_after_auth: bool,
    /// How often secrets without a lease are read again.
    pub static_interval: Duration,
    /// Whether to exit when nothing could be rendered after [`super::MAX_ATTEMPTS`] attempts.
    pub exit_on_retry_failure: bool,
    /// The part of a non-renewable lease's life after which it is read again.
    pub renewal_threshold: f64,
    /// How long a replaced credential lives on for those who still use it.
    pub revoke_grace: Duration,
    /// Gets the process id.
    pub pid_file: Option<PathBuf>,
    /// Where `ready` and `wait` ask.
    pub ready_socket: Option<PathBuf>,
    /// What is logged.
    pub log_level: LevelFilter,
    /// How it is logged.
    pub log_format: LogFormat,
    /// What was said without effect.
    pub warnings: Vec<String>,
}

/// One file to write.
#[derive(Debug, Clone)]
pub struct TemplateConfig {
    /// What errors call it: the source, or the destination.
    pub name: String,
    /// The template.
    pub body: TemplateBody,
    /// The file.
    pub destination: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Run after the file has changed: one text for a shell, or the words themselves.
    pub command: Option<Vec<String>>,
    /// When the command is killed.
    pub command_timeout: Duration,
    /// Whether a missing key is an error.
    pub error_on_missing_key: bool,
    /// In place of `{{` and `}}`.
    pub delimiters: Option<(String, String)>,
    /// Whether missing folders are made.
    pub create_folders: bool,
}

/// Where a template's text comes from.
#[derive(Debug, Clone)]
pub enum TemplateBody {
    /// From the configuration itself.
    Text(String),
    /// From a file.
    File(PathBuf),
}

const WITHOUT_EFFECT: &[&str] = &[
    "disable_idle_connections",
    "disable_keep_alives",
    "telemetry",
    "log_file",
    "log_rotate_bytes",
    "log_rotate_duration",
    "log_rotate_max_files",
];
const UNSUPPORTED: &[&str] = &["cache", "api_proxy", "listener", "env_template", "exec", "plugin_directory"];

impl Config {
    /// Reads a configuration that has been merged from its files; the environment goes before it, as in Vault.
    ///
    /// # Errors
    /// Names the first key that is unknown, unsupported or wrong.
    pub fn new(fields: Map<String, Value>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut root = Section::root(fields);
        let mut warnings = Vec::new();
        root.refuse(UNSUPPORTED)?;
        root.ignore(WITHOUT_EFFECT, &mut warnings);
        let client = client(&mut root, variable)?;
        let auth = AutoAuth::new(&mut root, &mut warnings)?;
        let blocks = root.sections("template")?;
        let templates =
            blocks.into_iter().map(|block| template(block, &mut warnings)).collect::<Result<Vec<_>, _>>()?;
        let mut rendering = root.section("template_config")?.unwrap_or_else(|| Section::root(Map::new()));
        rendering.ignore(&["max_connections_per_host"], &mut warnings);
        let (level, format) =
            (root.text("log_level")?.unwrap_or_default(), root.text("log_format")?.unwrap_or_default());
        let socket = variable("LESSOR_AGENT_SOCKET").or(root.text("ready_socket")?).map(PathBuf::from);
        let config = Self {
            client,
            exit_after_auth: root.flag("exit_after_auth")?.unwrap_or(false),
            static_interval: rendering
                .duration("static_secret_render_interval")?
                .unwrap_or(Duration::from_secs(300))
                .max(Duration::from_secs(1)),
            exit_on_retry_failure: rendering.flag("exit_on_retry_failure")?.unwrap_or(true),
            renewal_threshold: rendering.fraction("lease_renewal_threshold")?.unwrap_or(0.9),
            revoke_grace: rendering.duration("revoke_grace")?.unwrap_or(Duration::from_secs(60)),
            pid_file: root.text("pid_file")?.map(PathBuf::from),
            ready_socket: socket.or_else(|| default_socket(&templates, &auth)),
            log_level: parse_level(&level).map_err(|problem| root.wrong("log_level", problem))?,
            log_format: format.parse().map_err(|problem| root.wrong("log_format", problem))?,
            templates,
            auth,
            warnings,
        };
        rendering.finish()?;
        root.finish()?;
        if config.templates.is_empty() && config.auth.sinks.is_empty() {
            return Err(ConfigError("neither a template nor an auto_auth sink: there is nothing to do".into()));
        }
        Ok(config)
    }
}

/// Beside the first file, since that folder can be written to. Two dots at its beginning keep programs that read the whole
/// folder (Spring's configtree, shells' `*`) from taking it for a secret.
fn default_socket(templates: &[TemplateConfig], auth: &AutoAuth) -> Option<PathBuf> {
    let file = templates.first().map(|template| &template.destination).or(auth.sinks.first().map(|sink| &sink.path))?;
    Some(file.with_file_name("..lessor-agent"))
}

fn client(root: &mut Section, variable: &dyn Fn(&str) -> Option<String>) -> Result<ClientConfig, ConfigError> {
    let mut config = ClientConfig::new("https://127.0.0.1:8200");
    if let Some(mut vault) = root.section("vault")? {
        if let Some(address) = vault.text("address")? {
            config.address = address;
        }
        config.namespace = vault.text("namespace")?;
        config.tls.ca_file = vault.text("ca_cert")?.filter(|path| !path.is_empty()).map(PathBuf::from);
        config.tls.skip_verify = vault.flag("tls_skip_verify")?.unwrap_or(false);
        config.tls.server_name = vault.text("tls_server_name")?.filter(|name| !name.is_empty());
        config.tls.client_cert_pem = file(&mut vault, "client_cert")?;
        config.tls.client_key_pem = file(&mut vault, "client_key")?.map(Secret::new);
        if let Some(mut retry) = vault.section("retry")? {
            // Vault's Agent counts -1 as "do not retry"; 0 is its default.
            match retry.text("num_retries")?.as_deref() {
                None | Some("" | "0") => {}
                Some("-1") => config.max_retries = 0,
                Some(text) => {
                    config.max_retries =
                        text.parse().map_err(|_| retry.wrong("num_retries", "must be a whole number"))?;
                }
            }
            retry.finish()?;
        }
        vault.refuse(&["ca_path"])?;
        vault.finish()?;
    }
    config.merge_env(variable).map_err(ConfigError)?;
    Ok(config)
}

fn file(section: &mut Section, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(path) = section.text(key)?.filter(|path| !path.is_empty()) else { return Ok(None) };
    let text = std::fs::read_to_string(&path);
    text.map(Some).map_err(|error| section.wrong(key, format_args!("cannot read {path}: {error}")))
}

fn template(mut block: Section, warnings: &mut Vec<String>) -> Result<TemplateConfig, ConfigError> {
    block.refuse(&["user", "group", "uid", "gid"])?;
    block.ignore(&["backup", "wait", "sandbox_path", "function_denylist", "map_to_environment_variable"], warnings);
    let destination = PathBuf::from(block.required("destination")?);
    if !destination.is_absolute() {
        return Err(block.wrong("destination", "must be an absolute path"));
    }
    let body = match (block.text("contents")?, block.text("source")?.filter(|source| !source.is_empty())) {
        (Some(text), None) => TemplateBody::Text(text),
        (None, Some(path)) => TemplateBody::File(path.into()),
        (Some(_), Some(_)) => return Err(block.wrong("source", "and contents exclude each other")),
        (None, None) => return Err(block.wrong("contents", "or source is required")),
    };
    let mut command = block.words("command")?;
    let mut timeout = block.duration("command_timeout")?;
    if let Some(mut exec) = block.section("exec")? {
        command = exec.words("command")?.or(command);
        timeout = exec.duration("timeout")?.or(timeout);
        exec.finish()?;
    }
    let delimiters = match (block.text("left_delimiter")?, block.text("right_delimiter")?) {
        (None, None) => None,
        (left, right) => Some((left.unwrap_or_else(|| "{{".into()), right.unwrap_or_else(|| "}}".into()))),
    };
    let name = match &body {
        TemplateBody::Text(_) => destination.display().to_string(),
        TemplateBody::File(path) => path.display().to_string(),
    };
    let template = TemplateConfig {
        name,
        body,
        destination,
        mode: block.mode("perms")?.unwrap_or(0o644),
        command,
        command_timeout: timeout.unwrap_or(Duration::from_secs(30)),
        error_on_missing_key: block.flag("error_on_missing_key")?.unwrap_or(false),
        delimiters,
        create_folders: block.flag("create_dest_dirs")?.unwrap_or(true),
    };
    block.finish()?;
    Ok(template)
}
