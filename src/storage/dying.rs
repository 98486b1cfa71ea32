//! A store for tests of what a kill leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::memory::Memory;
use super::{Backend, Entry, Error, Event, Txn};

/// Fails for good after so many commits, as for a process that was killed.
pub struct Dying {
    inner: Arc<Memory>,
    left: AtomicUsize,
}

impl Dying {
    /// A store over `inner` that takes `left` more commits.
    pub fn new(inner: Arc<Memory>, left: usize) -> Self {
        Self { inner, left: AtomicUsize::new(left) }
    }

    /// From now on it takes `left` more.
    pub fn set(&self, left: usize) {
        self.left.store(left, Ordering::SeqCst);
    }
}

#[async_trait]
impl Backend for Dying {
    fn name(&self) -> &'static str {
        "dying"
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        self.inner.range(prefix, after, limit).await
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        let less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err() {
            return Err(Error::Backend("killed".into()));
        }
        self.inner.commit(txn).await
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        self.inner.watch(prefix)
    }
}
