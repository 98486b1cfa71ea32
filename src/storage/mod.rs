//! Where state lives: one trait in etcd's terms, its backends, and the barrier, which is the only encryption at rest.
//!
//! A new backend is one file with an `impl Backend` and one line where `server/config.rs` chooses it.

use async_trait::async_trait;

pub mod barrier;
pub mod cipher;
#[cfg(test)]
mod conformance;
#[cfg(test)]
pub mod dying;
pub mod embedded;
pub mod fence;
mod keyring;
pub mod memory;
pub mod moment;
pub mod view;
mod watch;

pub use view::View;

/// The version of an entry: it grows with every change of that entry. 0 stands for "absent".
pub type Version = u64;

/// A stored value. The backend sees ciphertext; only the barrier knows more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// The stored bytes.
    pub value: Vec<u8>,
    /// At least 1.
    pub version: Version,
}

/// One change within a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the value, creating the entry if need be.
    Put(String, Vec<u8>),
    /// Removes the entry; removing an absent one is fine.
    Delete(String),
}

/// All or nothing: applied only if every expected version still holds.
#[derive(Debug, Clone, Default)]
pub struct Txn {
    /// Keys and the versions that they must have (0: must be absent).
    pub expect: Vec<(String, Version)>,
    /// Applied in order.
    pub ops: Vec<Op>,
}

/// A change as [`Backend::watch`] reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The entry was written.
    Put(Entry),
    /// The entry with this key was removed.
    Delete(String),
    /// Events were lost because the receiver was too slow: read the range again.
    Lagged,
}

/// Why storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expected version did not hold: somebody else was faster. Read again and retry.
    #[error("the entry {0:?} was changed by another writer")]
    Conflict(String),
    /// The stored bytes are not what this program wrote, or the key is wrong.
    #[error("stored entry {key:?} cannot be read: {problem}")]
    Corrupt {
        /// Which entry.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The name is one that the barrier keeps for itself.
    #[error("the name {0:?} is taken: what begins with {prefix} belongs to the barrier", prefix = barrier::RAW)]
    Reserved(String),
    /// The engine is sealed: no key to read values with.
    #[error("storage is sealed")]
    Sealed,
    /// The backend failed (disk full, connection lost).
    #[error("storage failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Backend(_))
    }
}

impl From<Error> for crate::wire::Error {
    fn from(error: Error) -> Self {
        use crate::wire::Kind;
        match error {
            Error::Sealed => Self::new(Kind::Unavailable, "Vault is sealed"),
            error => Self::internal(&error).caused_by(error),
        }
    }
}

/// A key-value store with ordered keys. Implementations are cheap to share and safe to call concurrently.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The name that `sys/seal-status` shows as `storage_type`.
    fn name(&self) -> &'static str;

    /// The entry, or `None`: "not found" is no error.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// At most `limit` entries whose keys begin with `prefix`, in key order, after the key `after` (exclusive).
    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error>;

    /// Applies the transaction durably: when this returns `Ok`, a crash loses nothing of it.
    /// Concurrent commits may share one flush to disk (group commit).
    async fn commit(&self, txn: Txn) -> Result<(), Error>;

    /// Changes below `prefix` from now on.
    fn watch(&self, prefix: &str) -> tokio::sync::mpsc::Receiver<Event>;
}
