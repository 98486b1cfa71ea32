//! What is logged, how, and where to.

use std::path::PathBuf;

use tracing_subscriber::filter::LevelFilter;

use super::ConfigError;
use super::section::Section;
use crate::base::log_file::LogFile;
use crate::base::telemetry::{LogFormat, parse_level};

/// A log file's largest size unless the configuration says otherwise, in bytes.
const ROTATE_AT: u64 = 10 * 1024 * 1024;

/// The settings of the log.
#[derive(Debug)]
pub struct Logging {
    /// The least that is logged.
    pub level: LevelFilter,
    /// For people or for programs.
    pub format: LogFormat,
    /// Gets the log besides standard error.
    pub file: Option<LogFile>,
}

impl Logging {
    pub(super) fn new(
        root: &mut Section,
        variable: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let (level, format) = (root.filled("log_level")?, root.filled("log_format")?);
        let from_environment = |name: &str| {
            let names = [format!("LESSOR_{name}"), format!("BAO_{name}"), format!("VAULT_{name}")];
            names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let level = from_environment("LOG_LEVEL").or(level).unwrap_or_default();
        let format = from_environment("LOG_FORMAT").or(format).unwrap_or_default();
        let by_size = "the file is rotated by size; set log_rotate_bytes";
        root.ignore(&[("log_rotate_duration", by_size)], warnings);
        let (bytes, files) = (root.number("log_rotate_bytes", 1)?, root.text("log_rotate_max_files")?);
        let file = root.filled("log_file")?.map(|path| {
            // Vault's name in a folder that is given.
            let path = if path.ends_with('/') { format!("{path}agent.log") } else { path };
            // There, 0 keeps all, which fills a pod's disk, and -1 none.
            let keep = files.as_deref().and_then(|files| files.parse().ok()).filter(|files| *files > 0).unwrap_or(1);
            LogFile { path: PathBuf::from(path), rotate_at: bytes.unwrap_or(ROTATE_AT), keep }
        });
        Ok(Self {
            level: parse_level(&level).map_err(|problem| root.wrong("log_level", problem))?,
            format: format.parse().map_err(|problem| root.wrong("log_format", problem))?,
            file,
        })
    }
}
