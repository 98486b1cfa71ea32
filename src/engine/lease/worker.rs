//! Ends what nobody ends: expired leases and tokens, and revocations that have to be tried again.
//!
//! One task reads the due index and moves what has expired to the queue of its connection. Each queue that is not empty has
//! a task of its own, so that a database that is down delays no other; while it is down, one revocation in the whole queue
//! is tried per back-off, however many wait.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{Notify, mpsc};

use super::revoke::{Wait, queue_key};
use super::{Attempt, Lease, Leases, record_key};
use crate::base::clock::add;
use crate::base::shutdown::Shutdown;
use crate::base::{Timestamp, telemetry};
use crate::engine::due::{self, Due};
use crate::storage::{Error as StorageError, Txn};
use crate::wire::{Error, Kind};

/// Entries of the due index per transaction.
const PAGE: usize = 200;

/// Revocations of one connection that run at once, sharing transactions; no more are begun before these have shown whether
/// the database can be reached.
const PARALLEL: usize = 64;

/// Before the second attempt; doubled for each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// Longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// Wait after the store failed.
const STORE_BACKOFF: Duration = Duration::from_secs(1);

/// What became of one attempt.
enum Attempted {
    Done,
    /// The database cannot be reached: the whole queue waits.
    Down(Error),
    /// This credential cannot be dropped: it alone waits.
    Refused,
}

impl Leases {
    /// Runs until the shutdown: expiry, queues, and undelivered leases.
    pub async fn run(self: Arc<Self>, mut undelivered: mpsc::UnboundedReceiver<String>, shutdown: Shutdown) {
        if let Err(error) = self.wake_queues().await {
            tracing::error!(error = telemetry::chain(&error), "cannot read the revocation queues");
        }
        loop {
            let pause = self.expire().await.unwrap_or_else(|error| {
                tracing::error!(error = telemetry::chain(&error), "expiry stopped by the store");
                Some(add(self.clock.now(), STORE_BACKOFF))
            });
            let next = async {
                match pause {
                    Some(moment) => self.clock.sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.requested() => return,
                () = next => {}
                () = self.due.earlier() => {}
                Some(id) = undelivered.recv() => self.take_back(&id).await,
            }
        }
    }

    async fn take_back(self: &Arc<Self>, id: &str) {
        tracing::info!("a credential was not delivered; its lease is revoked");
        if let Err(error) = self.revoke(id, Wait::Later).await {
            // The lease stays and ends with its TTL.
            tracing::warn!(error = telemetry::chain(&error), "cannot revoke an undelivered lease at once");
        }
    }

    /// Handles everything that is due; returns when the next entry will be.
    async fn expire(self: &Arc<Self>) -> Result<Option<Timestamp>, StorageError> {
        loop {
            // Most looks find nothing: the first entry tells that, and a whole page would be read for nothing.
            let next = self.due.next().await?;
            if next.is_none_or(|next| next > self.clock.now()) {
                return Ok(next);
            }
            let ready = self.due.ready(&*self.clock, PAGE).await?;
            let mut txn = Txn::default();
            for (key, due) in &ready {
                match due {
                    Due::Lease { id, group } => self.stage_expired(&mut txn, key, id, group)?,
                    Due::Tombstone { uid } => self.stage_forget_tombstone(&mut txn, key, uid),
                    Due::Token { hash } => {
                        self.end_token(hash).await?;
                        self.due.stage_remove_key(&mut txn, key);
                    }
                }
            }
            self.view.store().commit(txn).await?;
            self.wake_queues().await?;
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task for every queue that has none, and wakes the others.
    pub(super) async fn wake_queues(self: &Arc<Self>) -> Result<(), StorageError> {
        for group in self.waiting_groups().await? {
            let mut groups = self.groups();
            if let Some(woken) = groups.get(&group) {
                woken.notify_one();
                continue;
            }
            let woken = Arc::new(Notify::new());
            groups.insert(group.clone(), woken.clone());
            tokio::spawn(self.clone().work(group, woken));
        }
        Ok(())
    }

    /// The groups whose queues are not empty, one read per group.
    pub(super) async fn waiting_groups(&self) -> Result<Vec<String>, StorageError> {
        let mut groups = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page: Vec<(String, Attempt)> = self.view.page("queue/", after.as_deref(), 1).await?;
            let Some(group) = page.first().and_then(|(key, _)| key.split('/').nth(1)) else { return Ok(groups) };
            // '0' follows '/': the next key is the first of another group.
            after = Some(format!("queue/{group}0"));
            groups.push(group.to_owned());
        }
    }

    /// Works through one queue and ends when it is empty.
    async fn work(self: Arc<Self>, group: String, woken: Arc<Notify>) {
        let mut down = 0;
        loop {
            let wait = match self.attempt_page(&group, if down > 0 { 1 } else { PARALLEL }).await {
                Ok(Page::Empty) => {
                    let mut groups = self.groups();
                    // Whoever added an entry since the read finds either this task's Notify, stored, or no task.
                    if futures_util::FutureExt::now_or_never(woken.notified()).is_none() {
                        groups.remove(&group);
                        return;
                    }
                    continue;
                }
                Ok(Page::Worked) => {
                    down = 0;
                    continue;
                }
                Ok(Page::NotBefore(moment)) => moment,
                Ok(Page::Down(error)) => {
                    down += 1;
                    let pause = backoff(down, self.random.jitter(0.2));
                    tracing::warn!(group, failures = down, %error, "revocations wait for their database");
                    self.clock.sleep(pause).await;
                    continue;
                }
                Err(StorageError::Sealed) => {
                    self.groups().remove(&group);
                    return;
                }
                Err(error) => {
                    tracing::error!(error = telemetry::chain(&error), "revocation stopped by the store");
                    add(self.clock.now(), STORE_BACKOFF)
                }
            };
            tokio::select! {
                () = self.clock.sleep_until(wait) => {}
                () = woken.notified() => {}
            }
        }
    }

    async fn attempt_page(&self, group: &str, limit: usize) -> Result<Page, StorageError> {
        let folder = format!("queue/{group}/");
        let page: Vec<(String, Attempt)> = self.view.page(&folder, None, limit).await?;
        let Some((first, _)) = page.first() else { return Ok(Page::Empty) };
        let (now, earliest) = (self.clock.now(), due::at(&first[folder.len()..])?);
        if earliest > now {
            return Ok(Page::NotBefore(earliest));
        }
        let ready = page.into_iter().filter(|(key, _)| due::at(&key[folder.len()..]).is_ok_and(|at| at <= now));
        let attempts = stream::iter(ready).map(|(key, attempt)| self.attempt(group, key, attempt));
        let results: Vec<_> = attempts.buffer_unordered(PARALLEL).collect().await;
        let mut down = None;
        for result in results {
            if let Attempted::Down(error) = result? {
                down = Some(error);
            }
        }
        Ok(down.map_or(Page::Worked, Page::Down))
    }

    async fn attempt(&self, group: &str, key: String, attempt: Attempt) -> Result<Attempted, StorageError> {
        let id = key.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        let lease = self.get(&id).await?.map(|(lease, _)| lease);
        // Renewed at the last moment, or gone: the entry is stale.
        let Some(lease) = lease.filter(|lease| lease.has_ended(self.clock.now())) else {
            self.view.delete(&key).await?;
            return Ok(Attempted::Done);
        };
        match self.drop_credential(&lease).await {
            Ok(()) => {
                self.view.delete(&key).await?;
                Ok(Attempted::Done)
            }
            Err(error) if matches!(error.kind(), Kind::Upstream | Kind::Unavailable) => {
                let noted = Attempt { failures: attempt.failures + 1, error: error.to_string() };
                self.note(&key, &noted).await?;
                Ok(Attempted::Down(error))
            }
            Err(error) => {
                self.postpone(group, &key, &lease, attempt, &error).await?;
                Ok(Attempted::Refused)
            }
        }
    }

    /// Keeps the failure for the stuck list, unless the entry was removed meanwhile.
    async fn note(&self, key: &str, attempt: &Attempt) -> Result<(), StorageError> {
        let Some((_, version)) = self.view.get::<Attempt>(key).await? else { return Ok(()) };
        match self.view.put_if(key, attempt, version).await {
            Err(StorageError::Conflict(_)) => Ok(()),
            result => result,
        }
    }

    async fn postpone(
        &self,
        group: &str,
        key: &str,
        lease: &Lease,
        attempt: Attempt,
        error: &Error,
    ) -> Result<(), StorageError> {
        let failures = attempt.failures + 1;
        tracing::warn!(mount = lease.mount, group, failures, %error, "a credential cannot be dropped; it is tried again");
        let next = add(self.clock.now(), backoff(failures, self.random.jitter(0.2)));
        let mut txn = Txn::default();
        self.view.stage_delete(&mut txn, key);
        let attempt = Attempt { failures, error: error.to_string() };
        self.view.stage_put(&mut txn, &queue_key(group, next, &lease.id), &attempt)?;
        // The lease may be revoked by hand at this very moment: then there is nothing to postpone.
        let Some((_, version)) = self.get(&lease.id).await? else { return self.view.delete(key).await };
        txn.expect.push((self.view.full_key(&record_key(&lease.id)), version));
        match self.view.store().commit(txn).await {
            Err(StorageError::Conflict(_)) => Ok(()),
            result => result,
        }
    }
}

enum Page {
    Empty,
    Worked,
    NotBefore(Timestamp),
    Down(Error),
}

/// The wait after the given number of failures, times `jitter`.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << (failures.saturating_sub(1)).min(16));
    doubled.min(LONGEST_BACKOFF).mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_cap() {
        let seconds: Vec<_> = [1, 2, 3, 9, 10, 1000].iter().map(|n| backoff(*n, 1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
    }
}
