//! A gate: work that may begin early but must not take effect before somebody else has opened the way.
//!
//! Making a user begins while its lease is still on its way to the disk; what makes the user visible (COMMIT) waits here.

use tokio::sync::watch;

/// Opens a gate. Dropped without opening, it closes the gate for good.
#[derive(Debug)]
pub struct Opener(watch::Sender<bool>);

/// The side that waits.
#[derive(Debug, Clone)]
pub struct Gate(watch::Receiver<bool>);

/// A closed gate and what opens it.
pub fn new() -> (Opener, Gate) {
    let (sender, receiver) = watch::channel(false);
    (Opener(sender), Gate(receiver))
}

impl Opener {
    /// Lets everybody through.
    pub fn open(self) {
        self.0.send_replace(true);
    }
}

impl Gate {
    /// A gate that stands open.
    pub fn opened() -> Self {
        let (opener, gate) = new();
        opener.open();
        gate
    }

    /// Waits until the gate is opened (`true`) or will never be (`false`).
    pub async fn passed(&self) -> bool {
        let mut state = self.0.clone();
        state.wait_for(|open| *open).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nobody_passes_before_it_is_opened() {
        let (opener, gate) = new();
        assert_eq!(gate.passed().now_or_never(), None);
        opener.open();
        assert!(gate.passed().await && gate.clone().passed().await && Gate::opened().passed().await);
    }

    #[tokio::test]
    async fn a_gate_that_will_never_open_says_so() {
        let (opener, gate) = new();
        drop(opener);
        assert!(!gate.passed().await);
    }
}
