//! Tidying: index entries without a lease go, leases without an index entry get one. Nothing makes either on purpose.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Attempt, Lease, Leases};
use crate::storage::{Error as StorageError, Txn};

/// Entries per page.
const PAGE: usize = 500;

/// The leases of queues that were read, by group.
type Queued = HashMap<String, HashSet<String>>;

/// What was put in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Owners' entries whose lease is gone.
    pub owners: usize,
    /// Leases that nothing would have ended.
    pub forgotten: usize,
}

impl Leases {
    /// Compares the leases with their indexes and mends what differs.
    ///
    /// # Errors
    /// What the store says; what was mended stays so.
    pub async fn tidy(self: &Arc<Self>) -> Result<Tidied, StorageError> {
        let tidied = Tidied { owners: self.tidy_owners().await?, forgotten: self.tidy_due().await? };
        self.wake_queues().await?;
        Ok(tidied)
    }

    async fn tidy_owners(&self) -> Result<usize, StorageError> {
        let mut removed = 0;
        let mut after: Option<String> = None;
        loop {
            let page: Vec<(String, Value)> = self.view.page("owner/", after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            for (key, _) in page {
                // owner / t, w or s / who / lease id
                let id = key.splitn(4, '/').nth(3).unwrap_or_default();
                if self.get(id).await?.is_none() {
                    self.view.delete(&key).await?;
                    removed += 1;
                }
            }
        }
    }

    async fn tidy_due(&self) -> Result<usize, StorageError> {
        let (mut mended, mut queued) = (0, Queued::new());
        let mut after: Option<String> = None;
        loop {
            let page: Vec<(String, Lease)> = self.view.page("id/", after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(mended) };
            after = Some(last.clone());
            for (key, lease) in page {
                if self.is_indexed(&lease, &mut queued).await? {
                    continue;
                }
                // Only if it is still as it was read: a lease that moves between its indexes right now needs no help.
                let Some((lease, version)) = self.get(&lease.id).await? else { continue };
                let mut txn = Txn { expect: vec![(self.view.full_key(&key), version)], ops: Vec::new() };
                self.due.stage_add(&mut txn, lease.expires, &lease.due())?;
                match self.view.store().commit(txn).await {
                    Err(StorageError::Conflict(_)) => {}
                    result => {
                        result?;
                        self.due.added(lease.expires);
                        mended += 1;
                    }
                }
            }
        }
    }

    /// Whether something will end the lease: its due entry, or an entry in its queue. A queue is read once, and again for a
    /// lease that it did not hold: most likely the lease has come in since.
    async fn is_indexed(&self, lease: &Lease, queued: &mut Queued) -> Result<bool, StorageError> {
        if self.due.has(lease.expires, &lease.due()).await? {
            return Ok(true);
        }
        if queued.get(&lease.group).is_some_and(|ids| ids.contains(&lease.id)) {
            return Ok(true);
        }
        let ids = self.queued(&lease.group).await?;
        let found = ids.contains(&lease.id);
        queued.insert(lease.group.clone(), ids);
        Ok(found)
    }

    /// The leases that wait in a queue.
    async fn queued(&self, group: &str) -> Result<HashSet<String>, StorageError> {
        let folder = format!("queue/{group}/");
        let mut ids = HashSet::new();
        let mut after: Option<String> = None;
        loop {
            let page: Vec<(String, Attempt)> = self.view.page(&folder, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(ids) };
            after = Some(last.clone());
            ids.extend(page.iter().filter_map(|(key, _)| key.splitn(4, '/').nth(3)).map(str::to_owned));
        }
    }
}
