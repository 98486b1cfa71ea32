//! A static role as it is stored: its accounts with their passwords, and the one change that may be under way.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kept::Kept;
use super::names;
use super::queue::{Item, Queue};
use super::schedule::Schedule;
use super::timing::Timing;
use crate::base::clock::add_seconds;
use crate::base::{Secret, Timestamp};
use crate::storage::{Error as StorageError, Txn, Version, View};
use crate::wire::Error;

/// A static role. It holds passwords: no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StaticRole {
    pub db_name: String,
    /// One account, or two that take turns.
    pub accounts: Vec<Account>,
    /// The account that is handed out.
    pub active: usize,
    pub schedule: Schedule,
    /// With two accounts: how many seconds after a change the former one keeps its password at least.
    pub grace_period: u64,
    pub rotation_statements: Vec<String>,
    pub credential_type: String,
    pub credential_config: Map<String, Value>,
    /// Of `credential_config`; empty is the connection's.
    pub password_policy: String,
    /// Whether passwords are proved by a login.
    pub verify_login: bool,
    pub timing: Timing,
    /// Written before the database is asked, removed once it is known which password holds.
    pub pending: Option<Pending>,
    /// The first change, without which there is no role, is still under way.
    pub creating: bool,
}

/// A user of the database whose password we keep.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub username: String,
    /// `None` until it is known.
    pub password: Option<Kept>,
}

/// A change of password of which it is not yet known whether the database has made it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Whose.
    pub account: usize,
    /// The new password, the same for every try.
    pub password: Kept,
}

impl StaticRole {
    /// The account that is handed out.
    pub(super) fn handed_out(&self) -> Option<&Account> {
        self.accounts.get(self.active)
    }

    /// The account whose password is changed next: the other one, unless nothing can be handed out yet.
    fn next_account(&self) -> usize {
        match self.handed_out() {
            Some(Account { password: Some(_), .. }) if self.accounts.len() > 1 => 1 - self.active,
            _ => self.active,
        }
    }

    /// Until when the next account keeps its password, because it was handed out until the last change.
    pub(super) fn grace_ends(&self) -> Option<Timestamp> {
        let next = self.next_account();
        let used = next != self.active && self.accounts.get(next)?.password.is_some();
        self.timing.last.filter(|_| used).map(|last| add_seconds(last, self.grace_period))
    }

    /// Notes what is about to be sent, due at once: whoever finds it after a crash goes on with it.
    pub(super) fn begin(&mut self, password: Secret, now: Timestamp) {
        self.pending = Some(Pending { account: self.next_account(), password: Kept(password) });
        self.timing.due = Some(now);
    }

    /// The new password is known to work: from now on it is handed out.
    pub(super) fn complete(&mut self, now: Timestamp) -> Result<(), Error> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        if let Some(account) = self.accounts.get_mut(pending.account) {
            account.password = Some(pending.password);
            self.active = pending.account;
        }
        self.creating = false;
        self.timing.succeed(Some(&self.schedule), now)?;
        self.wait_for_grace();
        Ok(())
    }

    /// Puts the next change off until the account that it concerns has had its grace.
    pub(super) fn wait_for_grace(&mut self) {
        let ends = self.grace_ends();
        self.timing.due = self.timing.due.max(ends);
        self.timing.planned = self.timing.planned.max(ends);
    }

    /// Takes over the password of the account that is handed out, which somebody has set outside.
    pub(super) fn adopt(&mut self, password: Secret) {
        if self.is_undecided() {
            self.pending = None;
            self.timing.due = self.timing.planned;
        }
        if let Some(account) = self.accounts.get_mut(self.active) {
            account.password = Some(Kept(password));
        }
        self.creating = false;
    }

    /// Whether `pending` concerns the very account that is handed out.
    pub(super) fn is_undecided(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.account == self.active)
    }
}

/// A role that was read, with the version that a change of it expects.
pub(super) struct Held {
    pub name: String,
    pub role: StaticRole,
    version: Version,
}

/// All static roles of a mount, with their entries in the queue.
pub(super) struct StaticRoles {
    view: View,
    /// The dynamic roles, whose names are taken.
    dynamic: View,
    queue: Queue,
}

impl StaticRoles {
    pub(super) fn new(mount: &View, queue: Queue) -> Self {
        Self { view: names::static_roles(mount), dynamic: names::dynamic_roles(mount), queue }
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Held>, StorageError> {
        let found = self.view.get(name).await?;
        Ok(found.map(|(role, version)| Held { name: name.to_owned(), role, version }))
    }

    pub(super) async fn list(&self) -> Result<Vec<String>, StorageError> {
        self.view.list("").await
    }

    /// The names of the roles whose account is in the database of a connection.
    pub(super) async fn of_connection(&self, connection: &str) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        for name in self.list().await? {
            if self.get(&name).await?.is_some_and(|held| held.role.db_name == connection) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether a dynamic role has the name.
    pub(super) async fn is_dynamic(&self, name: &str) -> Result<bool, StorageError> {
        Ok(self.dynamic.get::<Value>(name).await?.is_some())
    }

    fn key(&self, name: &str) -> String {
        self.view.full_key(name)
    }

    /// Stores a new role.
    ///
    /// # Errors
    /// 400 when a dynamic role has the name.
    pub(super) async fn insert(&self, name: &str, role: StaticRole) -> Result<Held, Error> {
        let mut txn = Txn { expect: vec![(self.key(name), 0)], ops: Vec::new() };
        self.view.stage_put(&mut txn, name, &role)?;
        self.stage_queue(&mut txn, name, None, Some(&role))?;
        names::commit(txn, &self.dynamic, name).await?;
        self.again(name).await
    }

    /// Applies `change` to a role, unless somebody else has changed it meanwhile.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn change(
        &self,
        held: &mut Held,
        change: impl FnOnce(&mut StaticRole) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut role = held.role.clone();
        change(&mut role)?;
        let mut txn = Txn { expect: vec![(self.key(&held.name), held.version)], ops: Vec::new() };
        self.view.stage_put(&mut txn, &held.name, &role)?;
        self.stage_queue(&mut txn, &held.name, Some(&held.role), Some(&role))?;
        self.view.store().commit(txn).await?;
        *held = self.again(&held.name).await?;
        Ok(())
    }

    /// Forgets a role.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn remove(&self, held: &Held) -> Result<(), StorageError> {
        let mut txn = Txn { expect: vec![(self.key(&held.name), held.version)], ops: Vec::new() };
        self.view.stage_delete(&mut txn, &held.name);
        self.stage_queue(&mut txn, &held.name, Some(&held.role), None)?;
        self.view.store().commit(txn).await
    }

    async fn again(&self, name: &str) -> Result<Held, Error> {
        self.get(name).await?.ok_or_else(|| StorageError::Conflict(self.key(name)).into())
    }

    fn stage_queue(
        &self,
        txn: &mut Txn,
        name: &str,
        from: Option<&StaticRole>,
        to: Option<&StaticRole>,
    ) -> Result<(), StorageError> {
        fn place(role: &StaticRole) -> Option<(&str, Timestamp)> {
            role.timing.due.map(|due| (role.db_name.as_str(), due))
        }
        let item = Item::Role { name: name.to_owned() };
        self.queue.stage(txn, &item, from.and_then(place), to.and_then(place))
    }
}
