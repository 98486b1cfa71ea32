//! One turn at a time for each name: whoever changes a static role, or a connection's root password, waits for its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Held while one name is being changed.
pub(in crate::secrets::database) type Turn = OwnedMutexGuard<()>;

/// A lock for each name that somebody holds or waits for.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl Turns {
    /// Waits until everybody who came before has finished.
    pub(super) async fn take(&self, name: &str) -> Turn {
        self.lock_of(name).lock_owned().await
    }

    fn lock_of(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_name_has_one_turn_at_a_time_and_leaves_nothing_behind() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        assert!(turns.take("a").now_or_never().is_none());
        drop(turns.take("b").await);
        drop(first);
        drop(turns.take("a").await);
        drop(turns.take("c").await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
