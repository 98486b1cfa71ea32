//! A store that can be taken away: what was begun before the engine was sealed must not go on after it was opened again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Backend, Entry, Error, Event, Txn};

/// A backend that answers [`Error::Sealed`] from [`Fence::close`] on, whatever becomes of the one beneath it.
pub struct Fence {
    inner: Arc<dyn Backend>,
    closed: AtomicBool,
}

impl Fence {
    /// An open one.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, closed: AtomicBool::new(false) }
    }

    /// Lets nothing through any more, for good.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Sealed) } else { Ok(()) }
    }
}

#[async_trait]
impl Backend for Fence {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        self.check()?;
        self.inner.range(prefix, after, limit).await
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        self.check()?;
        self.inner.commit(txn).await
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        self.inner.watch(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn a_closed_fence_lets_nothing_through() {
        let fence = Fence::new(Arc::new(Memory::default()));
        assert!(fence.get("a").await.is_ok());
        fence.close();
        assert!(matches!(fence.get("a").await, Err(Error::Sealed)));
        assert!(matches!(fence.range("", None, 1).await, Err(Error::Sealed)));
        assert!(matches!(fence.commit(Txn::default()).await, Err(Error::Sealed)));
    }
}
