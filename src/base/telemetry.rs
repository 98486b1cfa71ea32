//! Logs: to standard error, as text for people or one JSON object a line for machines.

use std::sync::{Mutex, OnceLock};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_file::{LogFile, Rotating};

/// The two shapes of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people (`standard` in Vault's words).
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "standard" | "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("log format {other:?} is not known: use \"standard\" or \"json\"")),
        }
    }
}

/// Reads a log level as Vault names them: trace, debug, info, warn, error (`err`), off.
///
/// # Errors
/// Names the levels that there are.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "" | "info" | "notice" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "err" => Ok(LevelFilter::ERROR),
        "off" => Ok(LevelFilter::OFF),
        other => Err(format!("log level {other:?} is not known: use trace, debug, info, warn, error or off")),
    }
}

/// Changes the level of the process-wide logger.
type SetLevel = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// How to change the level, and the one that the process began with; nothing before the logger is installed.
static LEVEL: OnceLock<(SetLevel, LevelFilter)> = OnceLock::new();

/// Logs from now on what `level` says, or with `None` what the process began with.
pub fn set_level(level: Option<LevelFilter>) {
    if let Some((set, first)) = LEVEL.get() {
        set(level.unwrap_or(*first));
    }
}

/// What is logged now, as [`parse_level`] reads it.
pub fn level() -> String {
    LevelFilter::current().to_string()
}

/// Installs the process-wide logger; a second call is ignored.
pub fn init(level: LevelFilter, format: LogFormat) {
    install(level, format, std::io::IsTerminal::is_terminal(&std::io::stderr()), std::io::stderr);
}

/// The same, with every line in `file` as well.
///
/// # Errors
/// When the file cannot be written to.
pub fn init_with_file(level: LevelFilter, format: LogFormat, file: LogFile) -> std::io::Result<()> {
    let file = Mutex::new(Rotating::open(file)?);
    // Colours would stand in the file, too.
    install(level, format, false, std::io::stderr.and(file));
    Ok(())
}

fn install<W>(level: LevelFilter, format: LogFormat, colours: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_writer(writer).with_target(false);
    let logger = tracing_subscriber::registry().with(filter);
    let installed = match format {
        LogFormat::Text => logger.with(lines.with_ansi(colours)).try_init(),
        LogFormat::Json => logger.with(lines.json().flatten_event(true)).try_init(),
    };
    // An error means that a logger is there already, as in tests.
    if installed.is_ok() {
        // It is the first one, so nobody has set this before; and it lives as long as the process, so it can be reloaded.
        let _ = LEVEL.set((Box::new(move |level| drop(handle.reload(level))), level));
    }
}

/// An error with all its sources on one line, for logs: `Display` of each, joined by `: `.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
