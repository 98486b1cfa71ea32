//! The signals of the process as messages: what ends it, what reloads it, and what the supervised process gets.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::base::shutdown::Trigger;

/// SIGTERM and SIGINT pull the trigger; the others are told. Which of them mean anything depends on whether there is a
/// process to pass them on to.
///
/// # Errors
/// When the operating system refuses a handler.
pub fn listen(trigger: Trigger) -> std::io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(8);
    let told = [
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::user_defined1(), Signal::USR1),
        (SignalKind::user_defined2(), Signal::USR2),
        (SignalKind::quit(), Signal::QUIT),
        (SignalKind::window_change(), Signal::WINCH),
    ];
    for (kind, name) in told {
        let (mut stream, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(name).await.is_ok() {} });
    }
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut stream, trigger) = (signal(kind)?, trigger.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                tracing::info!("stopping");
                trigger.stop();
            }
        });
    }
    Ok(receiver)
}
