//! The record of a connection's own password: when it is changed, and the journal of a change that is under way.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::queue::{Item, Queue};
use super::root_fields::root_login;
use super::schedule::Schedule;
use super::timing::Timing;
use crate::base::{Random, Secret, Timestamp};
use crate::storage::{Error as StorageError, Txn, Version, View};
use crate::wire::{Error, Fields};

/// What is kept of a connection's own password besides the connection. It may hold passwords: no `Debug`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Root {
    pub timing: Timing,
    /// The schedule by which `timing` was planned.
    pub schedule: Option<Schedule>,
    /// Written before the database is asked, removed once it is known which password holds.
    pub journal: Option<Journal>,
}

/// A change of which it is not yet known whether the database has made it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub username: String,
    pub old: Kept,
    pub new: Kept,
}

impl Journal {
    /// Whether a connection still has the user and one of the passwords of this change; if not, somebody has written others,
    /// and they count.
    pub(super) fn concerns(&self, details: &Fields) -> bool {
        root_login(details).is_ok_and(|(username, password)| {
            username == self.username && (password == self.old.0 || password == self.new.0)
        })
    }
}

impl Root {
    /// Notes what is about to be sent, due at once: whoever finds it after a crash goes on with it.
    pub(super) fn begin(&mut self, username: String, old: Secret, new: Secret, now: Timestamp) {
        self.journal = Some(Journal { username, old: Kept(old), new: Kept(new) });
        self.timing.due = Some(now);
    }

    /// An attempt failed. Without a schedule and without an open journal nobody tries again.
    pub(super) fn fail(&mut self, error: &Error, now: Timestamp, random: &dyn Random) {
        self.timing.fail(error, now, random);
        if self.schedule.is_none() && self.journal.is_none() {
            self.timing.due = None;
        }
    }
}

/// A record that was read, with the version that a change of it expects.
pub(super) struct HeldRoot {
    pub connection: String,
    pub root: Root,
    version: Version,
}

/// The records of all connections of a mount, with their entries in the queue.
pub(super) struct Roots {
    view: View,
    queue: Queue,
}

impl Roots {
    pub(super) fn new(view: View, queue: Queue) -> Self {
        Self { view, queue }
    }

    /// The record, or an empty one.
    pub(super) async fn get(&self, connection: &str) -> Result<HeldRoot, StorageError> {
        let (root, version) = self.view.get(connection).await?.unwrap_or_default();
        Ok(HeldRoot { connection: connection.to_owned(), root, version })
    }

    /// Applies `change` to a record, together with what `txn` holds already.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn change(
        &self,
        held: &mut HeldRoot,
        mut txn: Txn,
        change: impl FnOnce(&mut Root) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut root = held.root.clone();
        change(&mut root)?;
        if root == held.root && txn.ops.is_empty() {
            return Ok(());
        }
        txn.expect.push((self.view.full_key(&held.connection), held.version));
        self.view.stage_put(&mut txn, &held.connection, &root)?;
        self.stage_queue(&mut txn, held, root.timing.due)?;
        self.view.store().commit(txn).await?;
        *held = self.get(&held.connection).await?;
        Ok(())
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn remove(&self, held: &HeldRoot) -> Result<(), StorageError> {
        let mut txn = Txn::default();
        self.view.stage_delete(&mut txn, &held.connection);
        self.stage_queue(&mut txn, held, None)?;
        self.view.store().commit(txn).await
    }

    fn stage_queue(&self, txn: &mut Txn, held: &HeldRoot, due: Option<Timestamp>) -> Result<(), StorageError> {
        let place = |due: Option<Timestamp>| due.map(|due| (held.connection.as_str(), due));
        self.queue.stage(txn, &Item::Root, place(held.root.timing.due), place(due))
    }
}
