//! Rollouts: the consumers of a Secret are moved to its new content, and watched until the last pod with the old one is gone.
//!
//! | file | what it does |
//! |---|---|
//! | `follow.rs` | one look at the consumers of one content: begins rollouts, tells how far they are and what goes wrong |
//! | `targets.rs`, `usage.rs` | which workloads are meant: by name, by label, or because their pods use the Secret |
//! | `pods.rs`, `workload.rs` | what pods and workloads say of themselves |
//! | `change.rs` | what they are to move to, and how much time there is |
//! | `board.rs` | batching and pacing: whose turn it is |
//! | `estimate.rs` | how long a rollout will take |
//! | `window.rs` | when it may begin |
//!
//! A pod is old as long as it neither carries the hash of the new content nor was made well after the Secret was written. The
//! hash is an annotation of the pod template, applied server-side under a field manager of its own, so that nobody's fields are
//! touched; where it is there already, nothing happens.

mod board;
mod change;
mod estimate;
mod follow;
mod pods;
mod targets;
mod usage;
mod window;
mod workload;

pub use board::{Board, spread};
pub use change::{Change, Deadline};
pub use follow::{follow, guess};
pub use window::Window;

/// What all rollouts of an operator share.
#[derive(Debug)]
pub struct Rollouts {
    /// Who waits, and who rolls.
    pub board: Board,
    kinds: targets::KnownKinds,
}

impl Rollouts {
    /// At most `limit` workloads roll at once.
    pub fn new(limit: usize) -> Self {
        Self { board: Board::new(limit), kinds: targets::KnownKinds::default() }
    }
}
