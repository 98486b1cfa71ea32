//! Changing passwords: static roles, whose accounts exist already, and the connections' own users.
//!
//! Every change is written down before the database is asked and settled by a login afterwards, so that a crash at any step
//! leaves a password that works and is known. `role.rs` and `root.rs` hold the two kinds of records, `change.rs` and
//! `root_change.rs` the steps of a change, `worker.rs` makes the changes that are due.

mod change;
mod fields;
mod figures;
mod kept;
mod login;
pub(super) mod names;
mod queue;
mod read;
mod role;
mod root;
mod root_change;
mod root_fields;
mod schedule;
mod timing;
mod turns;
mod worker;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use self::figures::Counts;
use self::queue::Queue;
use self::role::StaticRoles;
use self::root::Roots;
pub(super) use self::root_fields::RotationFields;
use self::turns::Turns;
use super::connection::Connections;
use super::{answered, password};
use crate::base::{Clock, Random, Secret};
use crate::drivers::{self, Kind};
use crate::secrets::Setup;
use crate::secrets::password_policy::PasswordPolicies;
use crate::storage::Version;
use crate::wire::{self, Error};

/// Static roles and root rotation of one mount.
pub(super) struct Rotation {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    passwords: PasswordPolicies,
    connections: Arc<Connections>,
    roles: StaticRoles,
    roots: Roots,
    queue: Queue,
    role_turns: Turns,
    root_turns: Turns,
    counts: Counts,
    /// The tasks that make due changes, by connection; each waits on its own [`Notify`].
    tasks: Mutex<HashMap<String, Arc<Notify>>>,
    /// Wakes the worker when a connection without a task has something to do.
    untended: Notify,
}

impl Rotation {
    pub(super) fn new(setup: &Setup, connections: Arc<Connections>) -> Self {
        let queue = Queue::new(setup.view.sub("rotation-queue"));
        Self {
            clock: setup.clock.clone(),
            random: setup.random.clone(),
            passwords: setup.passwords.clone(),
            connections,
            roles: StaticRoles::new(&setup.view, queue.clone()),
            roots: Roots::new(setup.view.sub("root"), queue.clone()),
            queue,
            role_turns: Turns::default(),
            root_turns: Turns::default(),
            counts: Counts::default(),
            tasks: Mutex::default(),
            untended: Notify::new(),
        }
    }

    /// After a refused login: waits for a change of the connection's own password that is under way, and tells whether the
    /// connection has become another since `version`, so that trying again may help.
    pub(super) async fn has_moved(&self, connection: &str, version: Version) -> bool {
        drop(self.root_turns.take(connection).await);
        self.connections.get(connection).await.is_ok_and(|now| now.version != version)
    }

    /// The static roles of a connection.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn roles_of(&self, connection: &str) -> Result<Vec<String>, Error> {
        Ok(self.roles.of_connection(connection).await?)
    }

    /// A new password by the policy of that name; the empty one is the built-in rule.
    async fn new_password(&self, policy: &str) -> Result<Secret, Error> {
        password::generate(&self.passwords, policy, &*self.random).await
    }
}

/// How an attempt at a change ended when it did not succeed.
enum Failure {
    /// Nothing was tried: the connection is missing or its database cannot be reached.
    Down(Error),
    /// It was tried, and the record says how it goes on.
    Failed(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Self::Down(error) | Self::Failed(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A driver's error in the words of Vault.
fn not_set(connection: &str, error: drivers::Error) -> Error {
    let error = answered(connection, error);
    // An account that is missing in the database is no path that is missing here.
    let kind = if error.kind() == wire::Kind::NotFound { wire::Kind::BadRequest } else { error.kind() };
    Error::new(kind, format!("error setting credentials: {error}")).caused_by(error)
}

/// Whether the database has refused a change, so that it has certainly not been made by this call.
fn is_refusal(kind: Kind) -> bool {
    match kind {
        Kind::Statement | Kind::Config | Kind::Absent => true,
        Kind::Connect | Kind::Timeout | Kind::Conflict | Kind::Refused => false,
    }
}
