//! The process that the agent runs with secrets in its environment: started, restarted, signalled, and its end passed on.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::config::{Environment, ExecConfig};
use super::write::FileError;
use super::{Context, Error, command};
use crate::base::Secret;

/// At most one process at a time.
pub struct Supervisor {
    context: Arc<Context>,
    running: Option<Running>,
    /// A process that was asked to end. It stays here until it has: whoever waits for that may be cut off.
    leaving: Option<Child>,
    /// The code of a process that has ended by itself.
    ended: watch::Sender<Option<u8>>,
}

/// A process, in the hands of a task that waits for its end whatever else the agent is waiting for.
struct Running {
    id: Option<Pid>,
    /// Asks for it back.
    back: Option<oneshot::Sender<()>>,
    /// Answers the process, unless it has ended.
    task: JoinHandle<Option<Child>>,
}

impl Supervisor {
    /// Nothing runs.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, running: None, leaving: None, ended: watch::Sender::new(None) }
    }

    fn config(&self) -> Option<&ExecConfig> {
        self.context.config.exec.as_ref()
    }

    /// Whether a process runs.
    pub fn runs(&self) -> bool {
        self.running.is_some() || self.leaving.is_some()
    }

    /// Starts the process, if there is one to start and it does not run yet; a running one is restarted if that is wanted.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn adopt(&mut self, variables: &BTreeMap<String, Secret>) -> Result<(), Error> {
        let Some(config) = self.config() else { return Ok(()) };
        if self.runs() && !config.restart {
            tracing::info!("a variable has changed; the process keeps what it was started with");
            return Ok(());
        }
        if self.runs() {
            tracing::info!("a variable has changed, restarting the process");
            self.stop().await;
        }
        self.running = Some(self.spawn(variables)?);
        Ok(())
    }

    fn spawn(&self, variables: &BTreeMap<String, Secret>) -> Result<Running, Error> {
        let Some(config) = self.config() else { return Err(Error::NotReady("there is nothing to run".to_owned())) };
        let words = &config.command;
        let unusable = |problem| Error::NotReady(format!("exec.command: {problem}"));
        let (program, mut command) = command::prepare(words, &Environment::default()).map_err(unusable)?;
        command.envs(variables.iter().map(|(name, value)| (name, value.expose())));
        if let Some(path) = &config.stdout {
            command.stdout(append(path)?);
        }
        if let Some(path) = &config.stderr {
            command.stderr(append(path)?);
        }
        let mut child = command.kill_on_drop(true).spawn().map_err(|source| Error::Exec { program, source })?;
        tracing::info!(pid = child.id(), "started the process");
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (back, wanted) = oneshot::channel();
        let ended = self.ended.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                status = child.wait() => {
                    ended.send_replace(Some(end(status)));
                    None
                }
                // An error means that nobody is left who could ask: the process goes with the agent.
                wanted = wanted => wanted.ok().map(|()| child),
            }
        });
        Ok(Running { id, back: Some(back), task })
    }

    /// Returns when a process has ended by itself, with the code that the agent ends with.
    pub fn ended(&self) -> impl Future<Output = u8> + use<> {
        let mut ended = self.ended.subscribe();
        async move {
            let code = ended.wait_for(Option::is_some).await.ok().and_then(|code| *code);
            match code {
                Some(code) => code,
                None => std::future::pending().await,
            }
        }
    }

    /// Tells the process that a file has changed, if it wants to know.
    pub fn files_changed(&self) {
        if let Some(signal) = self.config().and_then(|config| config.reload_signal) {
            self.signal(signal);
        }
    }

    /// Passes a signal on.
    pub fn signal(&self, signal: Signal) {
        // The id of a process that has ended may be another's.
        let running = self.running.as_ref().filter(|_| self.ended.borrow().is_none()).and_then(|running| running.id);
        let leaving = || Pid::from_raw(i32::try_from(self.leaving.as_ref()?.id()?).ok()?);
        if let Some(id) = running.or_else(leaving)
            && let Err(error) = kill_process(id, signal)
        {
            tracing::warn!(%error, "the process did not get a signal");
        }
    }

    /// Ends the process: asked first, killed when it takes too long. The code is its own; 0 without a process. Who was cut off
    /// here may begin again.
    pub async fn stop(&mut self) -> u8 {
        let Some(config) = self.config() else { return 0 };
        let (signal, patience) = (config.stop_signal, config.kill_timeout);
        self.signal(signal);
        if let Some(running) = &mut self.running {
            if let Some(back) = running.back.take() {
                // Nobody takes it when the process has just ended.
                let _ = back.send(());
            }
            self.leaving = (&mut running.task).await.ok().flatten();
            self.running = None;
        }
        let Some(child) = &mut self.leaving else { return self.ended.borrow().unwrap_or(0) };
        let status = tokio::select! {
            status = child.wait() => status,
            () = self.context.clock.sleep(patience) => {
                tracing::warn!(after = patience.as_secs(), "the process did not end when asked to, killing it");
                let _ = child.start_kill();
                child.wait().await
            }
        };
        self.leaving = None;
        status.map_or(1, code)
    }
}

/// Tells the log how the process has ended; the code that the agent ends with.
fn end(status: io::Result<ExitStatus>) -> u8 {
    match status {
        Ok(status) => {
            tracing::info!(%status, "the process has ended");
            code(status)
        }
        Err(error) => {
            tracing::error!(%error, "the process cannot be waited for");
            1
        }
    }
}

/// Shells' rule: what a process ended with, or 128 and the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn append(path: &Path) -> Result<Stdio, Error> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    Ok(file.map(Stdio::from).map_err(|source| FileError::new("write", path, source))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_shells() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(15)), 143);
    }
}
