//! The agent: logs in, renders templates, renews in time, replaces what cannot be renewed, and revokes its own at its end.

mod arguments;
mod command;
pub mod config;
mod error;
mod live;
mod login;
mod query;
mod ready;
mod renderer;
mod schedule;
mod secrets;
#[cfg(test)]
mod tests;
mod worker;
mod write;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::template::Variables;
use crate::base::{Clock, Random, shutdown, telemetry, tls};
use crate::client::Client;
use arguments::{Arguments, Verb};
use config::Config;
pub use error::Error;
use renderer::Renderer;
use worker::Worker;

/// After so many failed attempts at the first read of a secret the agent ends, as Vault's does.
pub const MAX_ATTEMPTS: u32 = 12;

/// What every part of the agent works with.
struct Context {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    config: Config,
}

/// The program: `arguments` without its name.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match Arguments::parse(arguments).map_err(|problem| (problem, 2)).and_then(execute) {
        Ok(()) => ExitCode::SUCCESS,
        Err((problem, code)) => {
            // Before the logger is set up, and for `ready` and `wait`, standard error is the place to say it.
            let _ = writeln!(std::io::stderr(), "lessor-agent: {problem}");
            ExitCode::from(code)
        }
    }
}

fn execute(arguments: Arguments) -> Result<(), (String, u8)> {
    if let Some(text) = arguments.information() {
        return writeln!(std::io::stdout(), "{text}").map_err(|error| (error.to_string(), 1));
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

async fn dispatch(arguments: Arguments) -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok();
    match arguments.verb {
        Verb::Run | Verb::Once => run(arguments).await,
        Verb::Ready => ready::ask(&arguments.socket(&variable)?).await,
        Verb::Wait => ready::wait(&arguments.socket(&variable)?, arguments.timeout, &SystemClock).await,
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let variables: Variables = Arc::new(|name| std::env::var(name).ok());
    let mut config = config::load(&arguments.configs, &*variables)?;
    arguments.apply(&mut config)?;
    telemetry::init(config.log_level, config.log_format);
    tls::install_provider();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let renderer = Renderer::new(std::mem::take(&mut config.templates), &clock, variables)?;
    let client = Client::new(config.client.clone(), Arc::clone(&clock), Arc::clone(&random)).map_err(Error::Client)?;
    let (ready, is_ready) = watch::channel(false);
    if let Some(path) = config.ready_socket.as_deref().filter(|_| !config.exit_after_auth) {
        ready::serve(path, is_ready)?;
    }
    if let Some(path) = &config.pid_file {
        let id = format!("{}\n", std::process::id());
        write::replace(path, id.as_bytes(), 0o644, true).map_err(|source| Error::File {
            verb: "write",
            path: path.clone(),
            source,
        })?;
    }
    let stop = shutdown::on_signals()?;
    let reload = reload_signals()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), engine = client.address(), "starting");
    let pid_file = config.pid_file.clone();
    let context = Arc::new(Context { clock, random, config });
    let outcome = Worker::new(context, client, renderer, ready).run(&stop, reload).await;
    if let Some(path) = pid_file {
        // A process id without its process misleads only those who do not check.
        let _ = std::fs::remove_file(path);
    }
    outcome
}

/// SIGHUP as messages.
fn reload_signals() -> Result<mpsc::Receiver<()>, Error> {
    let (sender, receiver) = mpsc::channel(1);
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
