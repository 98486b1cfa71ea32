//! Readiness between processes: the agent's socket answers once every file is written; `ready` and `wait` ask it.
//!
//! A connection stays open until then, so a waiter learns of it at once and without polling.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::Error;
use super::write::FileError;
use crate::base::Clock;

const READY: &str = "ready";
const NOT_YET: &str = "not yet";
/// What a client says who wants an answer at once.
const AT_ONCE: u8 = b'?';
/// What a client says who will wait.
const WAITS: u8 = b'w';
/// How often a waiter looks for an agent that has not started yet.
const POLL: Duration = Duration::from_millis(5);

/// How far the agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Whether everything was written once.
    pub written: bool,
    /// The path of a credential in use whose life is over and that could not be replaced.
    pub ended: Option<String>,
    /// What went wrong last, while not everything is well.
    pub cause: Option<String>,
}

impl State {
    /// Whether every file is there, and what stands in it still works.
    pub fn is_ready(&self) -> bool {
        self.written && self.ended.is_none()
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let what = match &self.ended {
            _ if self.is_ready() => return READY.to_owned(),
            Some(path) => format!("{NOT_YET}: the credential of {path} has ended"),
            None => NOT_YET.to_owned(),
        };
        match &self.cause {
            Some(cause) => format!("{what}: {cause}"),
            None => what,
        }
    }
}

/// Answers at `path` from now on. A socket that an earlier agent left there is removed.
///
/// # Errors
/// When the folder cannot be written to, or the path is longer than sockets allow (107 bytes).
pub fn serve(path: &Path, ready: watch::Receiver<State>) -> Result<(), Error> {
    let failed = |source| FileError::new("listen at", path, source);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, ready.clone()));
        }
    });
    Ok(())
}

async fn answer(mut stream: UnixStream, mut state: watch::Receiver<State>) -> std::io::Result<()> {
    if stream.read_u8().await? != AT_ONCE {
        // An error means that the agent is ending: then what it was last is told.
        let _ = state.wait_for(State::is_ready).await;
    }
    let text = state.borrow().describe();
    stream.write_all(text.as_bytes()).await
}

/// Whether everything is written.
///
/// # Errors
/// [`Error::NotReady`], with the reason.
pub async fn ask(path: &Path) -> Result<(), Error> {
    let stream = UnixStream::connect(path).await.map_err(|error| no_agent(path, &error))?;
    match exchange(stream, AT_ONCE).await {
        Ok(told) if told == READY => Ok(()),
        Ok(told) => Err(Error::NotReady(told)),
        Err(error) => Err(no_agent(path, &error)),
    }
}

/// Returns when everything is written.
///
/// # Errors
/// [`Error::NotReady`], when that takes longer than `timeout` or the agent ends before.
pub async fn wait(path: &Path, timeout: Duration, clock: &dyn Clock) -> Result<(), Error> {
    let attempt = async {
        loop {
            match UnixStream::connect(path).await {
                Ok(stream) => {
                    let told = exchange(stream, WAITS).await.unwrap_or_default();
                    let ended = || Error::NotReady(format!("the agent ended before every file was written ({told})"));
                    return if told == READY { Ok(()) } else { Err(ended()) };
                }
                Err(_) => clock.sleep(POLL).await,
            }
        }
    };
    tokio::select! {
        outcome = attempt => outcome,
        () = clock.sleep(timeout) => {
            let cause = match ask(path).await {
                Ok(()) => return Ok(()),
                Err(cause) => cause,
            };
            Err(Error::NotReady(format!("not every file was written within {} s: {cause}", timeout.as_secs())))
        }
    }
}

async fn exchange(mut stream: UnixStream, question: u8) -> std::io::Result<String> {
    stream.write_u8(question).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

fn no_agent(path: &Path, error: &std::io::Error) -> Error {
    Error::NotReady(format!("no agent answers at {}: {error}", path.display()))
}

/// The socket that a configuration names, for `ready` and `wait`.
///
/// # Errors
/// [`Error::NotReady`], when there is none.
pub fn socket_of(configured: Option<PathBuf>) -> Result<PathBuf, Error> {
    configured.ok_or_else(|| Error::NotReady("the configuration has no ready_socket".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    #[tokio::test]
    async fn waiters_are_released_when_everything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/socket");
        let waiter = tokio::spawn({
            let path = path.clone();
            async move { wait(&path, Duration::from_secs(10), &SystemClock).await }
        });
        assert!(ask(&path).await.unwrap_err().to_string().contains("no agent answers"));
        let (sender, receiver) = watch::channel(State::default());
        serve(&path, receiver.clone()).unwrap();
        // An agent that starts again finds the socket of the one before.
        serve(&path, receiver).unwrap();
        assert_eq!(ask(&path).await.unwrap_err().to_string(), "not yet");
        sender.send_modify(|state| state.cause = Some("cannot log in: refused".into()));
        assert_eq!(ask(&path).await.unwrap_err().to_string(), "not yet: cannot log in: refused");
        let error = wait(&path, Duration::from_millis(20), &SystemClock).await.unwrap_err().to_string();
        assert!(error.contains("within 0 s: not yet: cannot log in"), "{error}");
        assert!(!waiter.is_finished());
        sender.send_modify(|state| state.written = true);
        waiter.await.unwrap().unwrap();
        ask(&path).await.unwrap();
        sender.send_modify(|state| state.ended = Some("database/creds/app".into()));
        assert!(ask(&path).await.unwrap_err().to_string().contains("database/creds/app has ended"));
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        let path = Path::new("/nowhere/socket");
        let error = wait(path, Duration::from_millis(20), &SystemClock).await.unwrap_err();
        assert!(error.to_string().contains("within"));
    }
}
