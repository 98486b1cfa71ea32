//! The steps of a change of a connection's own password, and what writes of the connection mean for it.
//!
//! Journal, ask the database, prove the new password by a login, store it. While the journal is open both passwords are
//! kept; it is closed when the new one logs in, when the database refuses the change and the old one logs in, or when
//! somebody writes another password. Whoever calls these functions has the connection's turn.

use super::figures::Subject;
use super::login::Login;
use super::root::{HeldRoot, Root};
use super::root_fields::root_login;
use super::turns::Turn;
use super::{Failure, Rotation, is_refusal};
use crate::base::{Gate, Secret};
use crate::drivers::{self, Change, Credential};
use crate::secrets::database::{answered, connection};
use crate::storage::Txn;
use crate::wire::{Answer, Error, Fields};

impl Rotation {
    /// Changes a connection's own password now, or finishes the change that is under way.
    ///
    /// # Errors
    /// 400 when the connection is missing or has no password that can be changed; what the database says.
    pub(in crate::secrets::database) async fn rotate_root(&self, connection: &str) -> Result<Answer, Error> {
        let _turn = self.root_turns.take(connection).await;
        let mut held = self.roots.get(connection).await?;
        self.change_root(&mut held).await.map_err(Failure::into_error)?;
        Ok(Answer::empty())
    }

    /// Waits until nobody changes the connection's password. Until the turn is dropped nobody does.
    ///
    /// # Errors
    /// 400 when a write would take the user away from a change that is under way.
    pub(in crate::secrets::database) async fn config_turn(
        &self,
        connection: &str,
        sent: &Fields,
    ) -> Result<Turn, Error> {
        let turn = self.root_turns.take(connection).await;
        let held = self.roots.get(connection).await?;
        let username = sent.string("username")?;
        let journal = held.root.journal.filter(|_| !sent.has("password"));
        match journal.zip(username) {
            Some((journal, username)) if journal.username != username => Err(Error::bad_request(format!(
                "connection {connection:?}: the password of {:?} is being rotated: write username and password together, \
                 or wait until it is done",
                journal.username
            ))),
            _ => Ok(turn),
        }
    }

    /// Brings the record in line with a connection that was written (or deleted): a password that was written counts, and
    /// ends a change that is under way.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::secrets::database) async fn config_written(
        &self,
        connection: &str,
        password_sent: bool,
    ) -> Result<(), Error> {
        let mut held = self.roots.get(connection).await?;
        let Some((config, _)) = self.connections.stored(connection).await? else {
            return Ok(self.roots.remove(&held).await?);
        };
        let (now, details) = (self.clock.now(), config.details());
        let schedule = config.rotation.schedule().cloned();
        let adapted = |root: &mut Root| {
            let over = root.journal.as_ref().is_some_and(|journal| password_sent || !journal.concerns(&details));
            if over {
                root.journal = None;
            }
            if password_sent {
                // It is somebody else's: how old it is, nobody knows.
                root.timing.last = None;
            }
            if over || root.schedule != schedule {
                let last = root.timing.last.unwrap_or(now);
                root.timing.plan(schedule.as_ref(), last)?;
                if root.journal.is_some() {
                    root.timing.due = Some(now);
                }
                root.schedule = schedule;
            }
            Ok(())
        };
        self.roots.change(&mut held, Txn::default(), adapted).await?;
        self.wake(connection);
        Ok(())
    }

    /// Changes the password, or goes on with the change that is under way.
    pub(super) async fn change_root(&self, held: &mut HeldRoot) -> Result<(), Failure> {
        let done = self.attempt_root(held).await;
        if done.is_err() {
            self.counts.failed(Subject::Root, &held.connection);
        }
        done
    }

    async fn attempt_root(&self, held: &mut HeldRoot) -> Result<(), Failure> {
        let connection = self.connections.get(&held.connection).await.map_err(Failure::Down)?;
        self.config_written(&held.connection, false).await?;
        *held = self.roots.get(&held.connection).await.map_err(Error::from)?;
        if held.root.journal.is_none() {
            let alive = connection.driver.verify().await;
            alive.map_err(|error| Failure::Down(answered(&held.connection, error)))?;
            if let Err(error) = self.begin_root(held).await {
                return self.root_failed(held, error).await;
            }
        } else {
            match self.try_root(held, Which::New).await? {
                Login::Works => return Ok(self.complete_root(held).await?),
                Login::Unknown(error) => return Err(Failure::Down(answered(&held.connection, error))),
                Login::Refused(_) => {}
            }
        }
        let asked = match (&held.root.journal, self.connections.stored(&held.connection).await?) {
            (Some(journal), Some((config, _))) => {
                let change = Change {
                    username: &journal.username,
                    credential: Some(Credential::password(&journal.new.0)),
                    expires: None,
                    login: None,
                    statements: &config.root_rotation_statements,
                };
                connection.driver.update(change, &Gate::opened()).await
            }
            _ => Ok(()),
        };
        self.prove_root(held, asked.err()).await
    }

    async fn begin_root(&self, held: &mut HeldRoot) -> Result<(), Error> {
        let missing = || connection::unknown(&held.connection);
        let (config, version) = self.connections.stored(&held.connection).await?.ok_or_else(missing)?;
        let (username, old) = root_login(&config.details())?;
        let new = self.new_password(&config.password_policy).await?;
        let now = self.clock.now();
        let unchanged = Txn { expect: vec![(self.connections.key(&held.connection), version)], ops: Vec::new() };
        let begun = |root: &mut Root| {
            root.begin(username, old, new, now);
            Ok(())
        };
        self.roots.change(held, unchanged, begun).await
    }

    /// Finds out by logins what became of a change that the database was asked for; `error` is what it said.
    async fn prove_root(&self, held: &mut HeldRoot, error: Option<drivers::Error>) -> Result<(), Failure> {
        let refused = error.as_ref().is_none_or(|error| is_refusal(error.kind()));
        let error = match (self.try_root(held, Which::New).await?, error) {
            (Login::Works, _) => return Ok(self.complete_root(held).await?),
            (_, Some(error)) => answered(&held.connection, error),
            (Login::Unknown(error), None) => return self.root_failed(held, answered(&held.connection, error)).await,
            (Login::Refused(error), None) => {
                let text = format!(
                    "connection {:?}: the statements of the rotation were carried out, but the new password does not log \
                     in: {}",
                    held.connection,
                    error.message()
                );
                Error::bad_request(text).caused_by(error)
            }
        };
        if refused && matches!(self.try_root(held, Which::Old).await?, Login::Works) {
            return self.give_up_root(held, error).await;
        }
        self.root_failed(held, error).await
    }

    /// The new password logs in: it becomes the connection's, and every connection is opened anew.
    async fn complete_root(&self, held: &mut HeldRoot) -> Result<(), Error> {
        let now = self.clock.now();
        let mut txn = Txn::default();
        let stored = self.connections.stored(&held.connection).await?;
        if let (Some(journal), Some((config, version))) = (&held.root.journal, stored)
            && journal.concerns(&config.details())
        {
            let config = config.with_password(&journal.new.0);
            self.connections.stage(&mut txn, &held.connection, &config, version)?;
        }
        let completed = |root: &mut Root| {
            root.journal = None;
            root.timing.succeed(root.schedule.clone().as_ref(), now)
        };
        self.roots.change(held, txn, completed).await?;
        self.counts.succeeded(Subject::Root, &held.connection);
        self.connections.forget(&held.connection).await;
        self.wake(&held.connection);
        tracing::info!(connection = held.connection, "a connection has a new password of its own");
        Ok(())
    }

    async fn give_up_root(&self, held: &mut HeldRoot, error: Error) -> Result<(), Failure> {
        let now = self.clock.now();
        let given_up = |root: &mut Root| {
            root.journal = None;
            root.fail(&error, now, &*self.random);
            Ok(())
        };
        self.roots.change(held, Txn::default(), given_up).await?;
        self.wake(&held.connection);
        Err(Failure::Failed(error))
    }

    async fn root_failed(&self, held: &mut HeldRoot, error: Error) -> Result<(), Failure> {
        let now = self.clock.now();
        let noted = |root: &mut Root| {
            root.fail(&error, now, &*self.random);
            Ok(())
        };
        self.roots.change(held, Txn::default(), noted).await?;
        self.wake(&held.connection);
        Err(Failure::Failed(error))
    }

    async fn try_root(&self, held: &HeldRoot, which: Which) -> Result<Login, Error> {
        let Some(journal) = &held.root.journal else {
            return Err(Error::internal("there is no change whose passwords could be tried"));
        };
        let password: &Secret = match which {
            Which::Old => &journal.old.0,
            Which::New => &journal.new.0,
        };
        self.try_login(&held.connection, &journal.username, password).await
    }
}

/// One of the two passwords of a journal.
#[derive(Clone, Copy)]
enum Which {
    Old,
    New,
}
