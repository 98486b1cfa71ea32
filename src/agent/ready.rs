//! Readiness between processes: the agent's socket answers once every file is written; `ready` and `wait` ask it.
//!
//! A connection stays open until then, so a waiter learns of it at once and without polling.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::Error;
use crate::base::Clock;

const READY: &[u8] = b"ready\n";
const NOT_YET: &[u8] = b"not yet\n";
/// What a client says who wants an answer at once.
const AT_ONCE: u8 = b'?';
/// What a client says who will wait.
const WAITS: u8 = b'w';
/// How often a waiter looks for an agent that has not started yet.
const POLL: Duration = Duration::from_millis(5);

/// Answers at `path` from now on. A socket that an earlier agent left there is removed.
///
/// # Errors
/// When the folder cannot be written to, or the path is longer than sockets allow (107 bytes).
pub fn serve(path: &Path, ready: watch::Receiver<bool>) -> Result<(), Error> {
    let failed = |source| Error::File { verb: "listen at", path: path.to_path_buf(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
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

async fn answer(mut stream: UnixStream, mut ready: watch::Receiver<bool>) -> std::io::Result<()> {
    let at_once = stream.read_u8().await? == AT_ONCE;
    let told = if at_once { *ready.borrow() } else { ready.wait_for(|ready| *ready).await.is_ok() };
    stream.write_all(if told { READY } else { NOT_YET }).await
}

/// Whether everything is written.
///
/// # Errors
/// [`Error::NotReady`], with the reason.
pub async fn ask(path: &Path) -> Result<(), Error> {
    let stream = UnixStream::connect(path).await.map_err(|error| no_agent(path, &error))?;
    match exchange(stream, AT_ONCE).await {
        Ok(true) => Ok(()),
        _ => Err(Error::NotReady("not every file is written yet".to_owned())),
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
                    let ended = || Error::NotReady("the agent ended before every file was written".to_owned());
                    return if exchange(stream, WAITS).await.unwrap_or(false) { Ok(()) } else { Err(ended()) };
                }
                Err(_) => clock.sleep(POLL).await,
            }
        }
    };
    tokio::select! {
        outcome = attempt => outcome,
        () = clock.sleep(timeout) => {
            Err(Error::NotReady(format!("not every file was written within {} s", timeout.as_secs())))
        }
    }
}

async fn exchange(mut stream: UnixStream, question: u8) -> std::io::Result<bool> {
    stream.write_u8(question).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer == READY)
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
        let (sender, receiver) = watch::channel(false);
        serve(&path, receiver.clone()).unwrap();
        // An agent that starts again finds the socket of the one before.
        serve(&path, receiver).unwrap();
        assert!(ask(&path).await.unwrap_err().to_string().contains("not every file"));
        assert!(!waiter.is_finished());
        sender.send_replace(true);
        waiter.await.unwrap().unwrap();
        ask(&path).await.unwrap();
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        let path = Path::new("/nowhere/socket");
        let error = wait(path, Duration::from_millis(20), &SystemClock).await.unwrap_err();
        assert!(error.to_string().contains("within"));
    }
}
