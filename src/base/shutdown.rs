//! One place for the end of a process: the first SIGTERM or SIGINT asks every task to stop, tasks wait on a [`Shutdown`].

use tokio::sync::watch;

/// Handed to every long-running task; clones wait for the same request to stop.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks every holder of the matching [`Shutdown`] to stop.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Requests the stop; calling it again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A connected pair, for tests and for components that stop on their own conditions.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Shutdown {
    /// Returns once a stop was requested (or the trigger is gone).
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        // An error means that the trigger was dropped: nobody is left who could ask, so stop.
        let _ = receiver.wait_for(|stop| *stop).await;
    }

    /// Whether a stop was requested already.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// A [`Shutdown`] that follows SIGTERM and SIGINT.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signals() -> std::io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let (trigger, shutdown) = channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        trigger.stop();
        // Keeps the channel open, so that a second signal does not end the process half-way through its clean-up.
        std::future::pending::<()>().await;
    });
    Ok(shutdown)
}
