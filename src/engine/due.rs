//! The due index: what ends when, ordered by time, read in pages; nothing is loaded at start and nothing scanned.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::base::{Clock, Timestamp};
pub use crate::storage::moment::{at, second};
use crate::storage::{Error, Txn, View};

/// What an entry of the index is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Due {
    /// A lease ends; its revocation queue is named here, so that moving it there needs no read.
    Lease {
        /// The lease.
        id: String,
        /// Its revocation queue.
        group: String,
    },
    /// A token ends, with its leases and children.
    Token {
        /// The salted hash of the token.
        hash: String,
    },
    /// The mark that a workload has ended may be forgotten.
    Tombstone {
        /// The workload.
        uid: String,
    },
}

impl Due {
    fn name(&self) -> String {
        match self {
            Self::Lease { id, .. } => format!("l/{id}"),
            Self::Token { hash } => format!("t/{hash}"),
            Self::Tombstone { uid } => format!("w/{uid}"),
        }
    }
}

/// The index itself: keys are `<Unix seconds, 11 digits>/<kind>/<name>`.
#[derive(Clone)]
pub struct Index {
    view: View,
    watch: Arc<Watch>,
}

/// Between those who add entries and the one worker that acts on them.
struct Watch {
    earlier: Notify,
    /// The Unix second of the worker's next look; later entries need not disturb it.
    next: AtomicI64,
}

impl Index {
    /// The index stored in `view`.
    pub fn new(view: View) -> Self {
        Self { view, watch: Arc::new(Watch { earlier: Notify::new(), next: AtomicI64::new(i64::MAX) }) }
    }

    /// Says that an entry for `at` was committed: the worker wakes up if it would look too late.
    pub fn added(&self, at: Timestamp) {
        if at.as_second() < self.watch.next.load(Ordering::SeqCst) {
            self.watch.earlier.notify_one();
        }
    }

    /// Waits until an entry comes in that is due before the moment that [`Index::next`] gave.
    pub async fn earlier(&self) {
        self.watch.earlier.notified().await;
    }

    /// When the first entry is due.
    ///
    /// # Errors
    /// What the store says.
    pub async fn next(&self) -> Result<Option<Timestamp>, Error> {
        // What is committed from now on may be missing from the page, and wakes the worker whatever its time.
        self.watch.next.store(i64::MAX, Ordering::SeqCst);
        let next = self.page(1).await?.first().map(|(_, at, _)| *at);
        self.watch.next.store(next.map_or(i64::MAX, Timestamp::as_second), Ordering::SeqCst);
        Ok(next)
    }

    fn key(at: Timestamp, due: &Due) -> String {
        format!("{}/{}", second(at), due.name())
    }

    /// Adds an entry to a transaction.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn stage_add(&self, txn: &mut Txn, at: Timestamp, due: &Due) -> Result<(), Error> {
        self.view.stage_put(txn, &Self::key(at, due), due)
    }

    /// Removes an entry in a transaction.
    pub fn stage_remove(&self, txn: &mut Txn, at: Timestamp, due: &Due) {
        self.view.stage_delete(txn, &Self::key(at, due));
    }

    /// Removes an entry by the key that [`Index::page`] gave.
    pub fn stage_remove_key(&self, txn: &mut Txn, key: &str) {
        self.view.stage_delete(txn, key);
    }

    /// Whether that entry is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn has(&self, at: Timestamp, due: &Due) -> Result<bool, Error> {
        Ok(self.view.get::<Due>(&Self::key(at, due)).await?.is_some())
    }

    /// The first entries of the index, each with its key and the second at which it is due.
    ///
    /// # Errors
    /// What the store says.
    pub async fn page(&self, limit: usize) -> Result<Vec<(String, Timestamp, Due)>, Error> {
        let page = self.view.page::<Due>("", None, limit).await?;
        page.into_iter().map(|(key, due)| Ok((key.clone(), at(&key)?, due))).collect()
    }

    /// The first entries that are due at `clock`'s present.
    ///
    /// # Errors
    /// What the store says.
    pub async fn ready(&self, clock: &dyn Clock, limit: usize) -> Result<Vec<(String, Due)>, Error> {
        let now = clock.now();
        let page = self.page(limit).await?;
        Ok(page.into_iter().take_while(|(_, at, _)| *at <= now).map(|(key, _, due)| (key, due)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::clock::{ManualClock, add_seconds};
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn only_what_comes_before_the_next_look_wakes_the_worker() {
        let index = Index::new(View::new(Arc::new(Memory::default()), "due/"));
        let woken = || futures_util::FutureExt::now_or_never(index.earlier()).is_some();
        let at = |seconds| add_seconds(Timestamp::UNIX_EPOCH, seconds);
        assert_eq!(index.next().await.unwrap(), None);
        index.added(at(50));
        assert!(woken(), "nothing was expected at all");
        let mut txn = Txn::default();
        index.stage_add(&mut txn, at(50), &Due::Token { hash: "h".into() }).unwrap();
        index.view.store().commit(txn).await.unwrap();
        assert_eq!(index.next().await.unwrap(), Some(at(50)));
        index.added(at(50));
        index.added(at(51));
        assert!(!woken());
        index.added(at(49));
        assert!(woken());
    }

    #[tokio::test]
    async fn entries_come_in_the_order_of_their_time_and_not_before_it() {
        let index = Index::new(View::new(Arc::new(Memory::default()), "due/"));
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let mut txn = Txn::default();
        for (name, seconds) in [("late", 1_000_000), ("soon", 90), ("first", 9)] {
            let due = Due::Token { hash: name.into() };
            index.stage_add(&mut txn, add_seconds(clock.now(), seconds), &due).unwrap();
        }
        index.view.store().commit(txn).await.unwrap();
        assert!(index.ready(&clock, 10).await.unwrap().is_empty());
        clock.advance(Duration::from_secs(90));
        let ready: Vec<_> = index.ready(&clock, 10).await.unwrap().into_iter().map(|(_, due)| due).collect();
        assert_eq!(ready, [Due::Token { hash: "first".into() }, Due::Token { hash: "soon".into() }]);
    }
}
