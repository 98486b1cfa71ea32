//! The agent: logs in, renders templates, renews in time, replaces what cannot be renewed, and revokes its own at its end.

mod arguments;
mod command;
pub mod config;
mod error;
mod exec;
mod install;
mod live;
mod login;
mod notify;
mod proxy;
mod query;
mod ready;
mod renderer;
mod schedule;
mod secrets;
mod signals;
mod state_file;
mod swap;
#[cfg(test)]
mod tests;
mod worker;
mod write;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;

use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::template::Variables;
use crate::base::{Clock, Random, shutdown, telemetry, tls};
use crate::client::Client;
use arguments::{Arguments, Verb};
use config::{Config, ConfigError};
pub use error::Error;
use proxy::Proxy;
use ready::State;
use renderer::Renderer;
use worker::Worker;
use write::{FileError, Style};

/// After so many failed attempts at the first read of a secret the agent ends, as Vault's does.
pub const MAX_ATTEMPTS: u32 = 12;

/// How long `wait` waits unless told otherwise.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What every part of the agent works with.
struct Context {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    config: Config,
}

/// The program: `arguments` without its name.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match Arguments::parse(arguments).map_err(|problem| (problem, 2)).and_then(execute) {
        Ok(code) => ExitCode::from(code),
        Err((problem, code)) => {
            // Before the logger is set up, and for `ready` and `wait`, standard error is the place to say it.
            let _ = writeln!(std::io::stderr(), "lessor-agent: {problem}");
            ExitCode::from(code)
        }
    }
}

fn execute(arguments: Arguments) -> Result<u8, (String, u8)> {
    if let Some(text) = arguments.information() {
        return writeln!(std::io::stdout(), "{text}").map(|()| 0).map_err(|error| (error.to_string(), 1));
    }
    // One thread: the agent waits nearly all the time. Names are resolved on a second one, which ends soon after.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(256 * 1024)
        .build()
        .map_err(|error| (error.to_string(), 1))?;
    let failure = |error: Error| (telemetry::chain(&error), if matches!(error, Error::Config(_)) { 2 } else { 1 });
    let outcome = runtime.block_on(dispatch(arguments)).map_err(failure);
    // A name that is being resolved would hold the process back for seconds.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(arguments: Arguments) -> Result<u8, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    match arguments.verb {
        Verb::Run | Verb::Once => run(arguments).await,
        Verb::Install => {
            let path = arguments.path.ok_or_else(|| ConfigError("install needs the path to copy to".to_owned()))?;
            install::install(&path).map(|()| 0)
        }
        Verb::Ready => ready::ask(&arguments.socket(&variable)?).await.map(|()| 0),
        Verb::Wait => {
            let timeout = arguments.timeout.unwrap_or(WAIT_TIMEOUT);
            ready::wait(&arguments.socket(&variable)?, timeout, &SystemClock).await.map(|()| 0)
        }
    }
}

/// Works, and tells with which code the program ends.
async fn run(arguments: Arguments) -> Result<u8, Error> {
    let variables: Variables = Arc::new(|name| std::env::var(name).ok());
    let mut config = config::load(&arguments.configs, &*variables)?;
    arguments.apply(&mut config)?;
    start_log(&mut config)?;
    tls::install_provider();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let renderer = Renderer::new(std::mem::take(&mut config.templates), config.swap_folders, &clock, variables)?;
    let client = Client::new(config.client.clone(), Arc::clone(&clock), Arc::clone(&random)).map_err(Error::Client)?;
    let context = Arc::new(Context { clock, random, config });
    let config = &context.config;
    let (state, _) = watch::channel(State::default());
    if let Some(path) = config.ready_socket.as_deref().filter(|_| !config.exit_after_auth) {
        ready::serve(path, state.subscribe())?;
    }
    let pid_file = config.pid_file.as_deref().map(write_pid).transpose()?;
    let (trigger, stop) = shutdown::channel();
    let signals = signals::listen(trigger.clone())?;
    let proxy =
        config.proxy.as_ref().map(|proxy| Proxy::start(proxy, client.clone(), &context, state.subscribe(), trigger));
    let proxy = proxy.transpose()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), engine = client.address(), "starting");
    let outcome = Worker::new(Arc::clone(&context), client, renderer, state, proxy).run(&stop, signals).await;
    if let Some(path) = pid_file {
        // A process id without its process misleads only those who do not check.
        let _ = std::fs::remove_file(path);
    }
    outcome
}

fn start_log(config: &mut Config) -> Result<(), Error> {
    let (level, format) = (config.logging.level, config.logging.format);
    let Some(file) = config.logging.file.take() else {
        telemetry::init(level, format);
        return Ok(());
    };
    let path = file.path.clone();
    Ok(telemetry::init_with_file(level, format, file).map_err(|source| FileError::new("write", &path, source))?)
}

fn write_pid(path: &Path) -> Result<&Path, Error> {
    let id = format!("{}\n", std::process::id());
    let style = Style { mode: 0o644, create_folders: true, ..Style::default() };
    write::replace(path, id.as_bytes(), &style).map_err(|source| FileError::new("write", path, source))?;
    Ok(path)
}
