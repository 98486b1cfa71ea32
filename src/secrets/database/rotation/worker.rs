//! Makes the changes that are due. Each connection that has any has a task of its own, so that a database that is down
//! delays no other; while it is down, one change is tried per back-off, however many wait.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::queue::{Entry, Item};
use super::root::Root;
use super::timing::backoff;
use super::{Failure, Rotation};
use crate::base::clock::add;
use crate::base::{Timestamp, telemetry};
use crate::storage::{Error as StorageError, Txn};
use crate::wire::Error;

/// Changes over one connection that run at once: half of what a pool holds by default, so that issuing goes on.
const PARALLEL: usize = 2;

/// Entries of a queue that are read at a time.
const PAGE: usize = 16;

/// Wait after the store failed.
const STORE_BACKOFF: Duration = Duration::from_secs(1);

/// What a look at a connection's queue has found.
pub(super) enum Page {
    Empty,
    Worked,
    NotBefore(Timestamp),
    Down(Error),
}

impl Rotation {
    /// Makes what is due, for ever. A change that is cut off when this is dropped is like one that a crash has cut off: the
    /// next run finishes it.
    pub(in crate::secrets::database) async fn run(self: Arc<Self>) {
        let mut running = JoinSet::new();
        self.tasks().clear();
        self.align().await;
        loop {
            if let Err(error) = self.start_tasks(&mut running).await {
                tracing::error!(error = telemetry::chain(&error), "cannot read the queue of rotations");
                self.clock.sleep(STORE_BACKOFF).await;
                continue;
            }
            tokio::select! {
                () = self.untended.notified() => {}
                Some(_) = running.join_next() => {}
            }
        }
    }

    /// Makes up for a crash between the write of a connection and that of its record.
    pub(super) async fn align(&self) {
        let aligned = async {
            for connection in self.connections.list().await? {
                let _turn = self.root_turns.take(&connection).await;
                self.config_written(&connection, false).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = aligned.await {
            tracing::error!(error = telemetry::chain(&error), "cannot look through the connections");
        }
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection's task look at its queue, in which something was written.
    pub(super) fn wake(&self, connection: &str) {
        match self.tasks().get(connection) {
            Some(task) => task.notify_one(),
            None => self.untended.notify_one(),
        }
    }

    /// Starts a task for every connection that has something in its queue and no task.
    async fn start_tasks(self: &Arc<Self>, running: &mut JoinSet<()>) -> Result<(), StorageError> {
        for connection in self.queue.connections().await? {
            let mut tasks = self.tasks();
            if !tasks.contains_key(&connection) {
                let woken = Arc::new(Notify::new());
                tasks.insert(connection.clone(), woken.clone());
                running.spawn(self.clone().work(connection, woken));
            }
        }
        Ok(())
    }

    /// Works through one connection's queue and ends when it is empty.
    async fn work(self: Arc<Self>, connection: String, woken: Arc<Notify>) {
        let mut down = 0;
        loop {
            let limit = if down > 0 { 1 } else { PAGE };
            let wait = match self.work_page(&connection, limit).await {
                Ok(Page::Empty) => {
                    let mut tasks = self.tasks();
                    // Whoever added an entry since the read finds either this task's Notify, stored, or no task.
                    if futures_util::FutureExt::now_or_never(woken.notified()).is_none() {
                        tasks.remove(&connection);
                        return;
                    }
                    continue;
                }
                Ok(Page::Worked) => {
                    down = 0;
                    continue;
                }
                Ok(Page::NotBefore(moment)) => moment,
                Ok(Page::Down(_)) if self.mend_root(&connection).await => continue,
                Ok(Page::Down(error)) => {
                    down += 1;
                    tracing::warn!(connection, failures = down, %error, "rotations wait for their database");
                    add(self.clock.now(), backoff(down, &*self.random))
                }
                Err(error) => {
                    tracing::error!(error = telemetry::chain(&error), "rotation stopped by the store");
                    add(self.clock.now(), STORE_BACKOFF)
                }
            };
            tokio::select! {
                () = self.clock.sleep_until(wait) => {}
                () = woken.notified() => {}
            }
        }
    }

    /// Finishes a root rotation that was cut off: without it the connection's own login may be the one that is refused.
    pub(super) async fn mend_root(&self, connection: &str) -> bool {
        let _turn = self.root_turns.take(connection).await;
        match self.roots.get(connection).await {
            Ok(mut held) if held.root.journal.is_some() => self.change_root(&mut held).await.is_ok(),
            _ => false,
        }
    }

    pub(super) async fn work_page(&self, connection: &str, limit: usize) -> Result<Page, Error> {
        let page = self.queue.page(connection, limit).await?;
        let Some(first) = page.first() else { return Ok(Page::Empty) };
        let now = self.clock.now();
        if first.at > now {
            return Ok(Page::NotBefore(first.at));
        }
        let due = page.into_iter().filter(|entry| entry.at <= now);
        let results: Vec<_> =
            stream::iter(due).map(|entry| self.work_entry(entry)).buffer_unordered(PARALLEL).collect().await;
        let mut down = None;
        for result in results {
            match result {
                Ok(()) => {}
                Err(Failure::Down(error)) => down = Some(error),
                Err(Failure::Failed(error)) => return Err(error),
            }
        }
        Ok(down.map_or(Page::Worked, Page::Down))
    }

    /// Makes one change. A failure that is the item's own is in its record, with its next attempt.
    async fn work_entry(&self, entry: Entry) -> Result<(), Failure> {
        let done = match &entry.item {
            Item::Role { name } => self.work_role(name, &entry).await,
            Item::Root => self.work_root(&entry).await,
        };
        match done {
            Err(Failure::Failed(error)) if !is_from_store(&error) => {
                tracing::warn!(item = ?entry.item, %error, "a rotation failed; it is tried again");
                Ok(())
            }
            done => done,
        }
    }

    async fn work_role(&self, name: &str, entry: &Entry) -> Result<(), Failure> {
        let _turn = self.role_turns.take(name).await;
        let now = self.clock.now();
        let Some(mut held) = self.roles.get(name).await.map_err(Error::from)? else { return self.stale(entry).await };
        if !entry.is_for(&held.role.db_name, held.role.timing.due) {
            return self.stale(entry).await;
        }
        let schedule = held.role.schedule.clone();
        if held.role.pending.is_none() && held.role.timing.is_over(Some(&schedule), now) {
            tracing::warn!(role = name, "the window of a rotation has closed; it waits for the next one");
            let skipped = self.roles.change(&mut held, |role| role.timing.plan(Some(&schedule), now)).await;
            return Ok(skipped?);
        }
        self.change(&mut held).await
    }

    async fn work_root(&self, entry: &Entry) -> Result<(), Failure> {
        let connection = entry.connection();
        let _turn = self.root_turns.take(connection).await;
        let now = self.clock.now();
        self.config_written(connection, false).await?;
        let mut held = self.roots.get(connection).await.map_err(Error::from)?;
        if !entry.is_for(connection, held.root.timing.due) {
            return self.stale(entry).await;
        }
        let schedule = held.root.schedule.clone();
        if held.root.journal.is_none() && held.root.timing.is_over(schedule.as_ref(), now) {
            tracing::warn!(connection, "the window of a root rotation has closed; it waits for the next one");
            let plan = |root: &mut Root| root.timing.plan(schedule.as_ref(), now);
            return Ok(self.roots.change(&mut held, Txn::default(), plan).await?);
        }
        self.change_root(&mut held).await
    }

    /// The entry's item is gone or due at another time, at which it has another entry.
    async fn stale(&self, entry: &Entry) -> Result<(), Failure> {
        Ok(self.queue.remove(entry).await.map_err(Error::from)?)
    }
}

/// Whether an error is the store's: then nothing was noted, and the same entry is looked at again.
fn is_from_store(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<StorageError>())
}
