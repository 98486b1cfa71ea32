//! The steps of a static role's change of password.
//!
//! Write the new password down, ask the database, prove by a login, hand out. A change whose outcome is unknown is asked for
//! again with the same password, because a statement that nobody waits for any more may still be carried out: only a refusal
//! by the database ends it. Whoever calls these functions has the role's turn.

use super::figures::Subject;
use super::login::{self, Login};
use super::role::{Held, StaticRole};
use super::{Failure, Rotation, is_refusal, not_set};
use crate::base::{Gate, Secret};
use crate::drivers::{self, Change, Credential};
use crate::secrets::database::connection::{self, Connection};
use crate::wire::Error;

impl Rotation {
    /// Changes the password that is next, or goes on with the change that is under way.
    pub(super) async fn change(&self, held: &mut Held) -> Result<(), Failure> {
        let done = self.attempt(held).await;
        if done.is_err() {
            self.counts.failed(Subject::Static, &held.role.db_name);
        }
        done
    }

    async fn attempt(&self, held: &mut Held) -> Result<(), Failure> {
        let connection = self.connections.get(&held.role.db_name).await.map_err(Failure::Down)?;
        if let Err(error) = connection.check_role(&held.name) {
            return self.failed(held, error).await;
        }
        let alive = connection.driver.verify().await;
        alive.map_err(|error| Failure::Down(not_set(&held.role.db_name, error)))?;
        if held.role.pending.is_none() {
            if let Err(error) = self.begin(held).await {
                return self.failed(held, error).await;
            }
        } else if matches!(self.try_new(held).await?, Some(Login::Works)) {
            return Ok(self.complete(held).await?);
        }
        match self.ask(held, &connection).await {
            Ok(()) => self.prove(held).await,
            Err(error) => self.settle(held, error).await,
        }
    }

    async fn begin(&self, held: &mut Held) -> Result<(), Error> {
        let password = self.new_password(&self.policy_of(&held.role).await?).await?;
        let now = self.clock.now();
        let begun = |role: &mut StaticRole| {
            role.begin(password, now);
            Ok(())
        };
        self.roles.change(held, begun).await
    }

    /// The role's own password policy, or its connection's.
    pub(super) async fn policy_of(&self, role: &StaticRole) -> Result<String, Error> {
        if !role.password_policy.is_empty() {
            return Ok(role.password_policy.clone());
        }
        let stored = self.connections.stored(&role.db_name).await?;
        Ok(stored.map(|(stored, _)| stored.password_policy).unwrap_or_default())
    }

    async fn ask(&self, held: &Held, connection: &Connection) -> Result<(), drivers::Error> {
        let Some((username, password)) = pending(held) else { return Ok(()) };
        let statements = &held.role.rotation_statements;
        let credential = Some(Credential::password(password));
        let change = Change { username, credential, expires: None, login: None, statements };
        connection.driver.update(change, &Gate::opened()).await
    }

    /// The database says that it has made the change.
    async fn prove(&self, held: &mut Held) -> Result<(), Failure> {
        let refusal = match self.try_new(held).await? {
            None | Some(Login::Works) => return Ok(self.complete(held).await?),
            Some(Login::Unknown(error)) => return self.failed(held, not_set(&held.role.db_name, error)).await,
            Some(Login::Refused(error)) => error,
        };
        if matches!(self.try_old(held).await?, Some(Login::Works)) {
            let text = "error setting credentials: the rotation statements were carried out, but the former password still \
                        logs in and the new one does not";
            return self.give_up(held, Error::bad_request(text)).await;
        }
        let text = format!(
            "error setting credentials: the new password is set, but does not log in: {}; set verify_login=false if this \
             account may not log in from here",
            refusal.message()
        );
        self.failed(held, Error::bad_request(text).caused_by(refusal)).await
    }

    /// The database has not said that it made the change.
    async fn settle(&self, held: &mut Held, error: drivers::Error) -> Result<(), Failure> {
        let refused = is_refusal(error.kind());
        let proof = self.try_new(held).await?;
        let error = not_set(&held.role.db_name, error);
        match proof {
            Some(Login::Works) => Ok(self.complete(held).await?),
            None | Some(Login::Refused(_)) if refused => self.give_up(held, error).await,
            _ => self.failed(held, error).await,
        }
    }

    /// The pending password holds: it is handed out from now on.
    pub(super) async fn complete(&self, held: &mut Held) -> Result<(), Error> {
        let now = self.clock.now();
        self.roles.change(held, |role| role.complete(now)).await?;
        self.counts.succeeded(Subject::Static, &held.role.db_name);
        self.wake(&held.role.db_name);
        tracing::info!(role = held.name, connection = held.role.db_name, "a static role has a new password");
        Ok(())
    }

    /// The pending password will not be tried again: the next attempt makes another.
    async fn give_up(&self, held: &mut Held, error: Error) -> Result<(), Failure> {
        if held.role.creating {
            self.roles.remove(held).await.map_err(Error::from)?;
            return Err(Failure::Failed(error));
        }
        let now = self.clock.now();
        let given_up = |role: &mut StaticRole| {
            role.pending = None;
            role.timing.fail(&error, now, &*self.random);
            role.wait_for_grace();
            Ok(())
        };
        self.roles.change(held, given_up).await?;
        self.wake(&held.role.db_name);
        Err(Failure::Failed(error))
    }

    /// The attempt failed and leaves everything as it is.
    async fn failed(&self, held: &mut Held, error: Error) -> Result<(), Failure> {
        let now = self.clock.now();
        let noted = |role: &mut StaticRole| {
            role.timing.fail(&error, now, &*self.random);
            Ok(())
        };
        self.roles.change(held, noted).await?;
        self.wake(&held.role.db_name);
        Err(Failure::Failed(error))
    }

    /// Tries the pending password, also wherever the connection's login probe looks: one that only some servers take is not
    /// known to hold. `None` when there is none, or when nothing is to be proved by logins.
    pub(super) async fn try_new(&self, held: &Held) -> Result<Option<Login>, Error> {
        let Some((username, password)) = pending(held).filter(|_| held.role.verify_login) else { return Ok(None) };
        let login = self.try_login(&held.role.db_name, username, password).await?;
        let probe = self.connections.get(&held.role.db_name).await?.probe;
        let (Login::Works, Some(probe)) = (&login, probe) else { return Ok(Some(login)) };
        Ok(Some(match probe.log_in(username, password, &self.clock, &self.random).await {
            Ok(()) => Login::Works,
            Err(error) => {
                Login::Unknown(drivers::Error::new(drivers::Kind::Timeout, error.to_string()).caused_by(error))
            }
        }))
    }

    /// Tries the password that the pending one is to replace. `None` when it is not known.
    pub(super) async fn try_old(&self, held: &Held) -> Result<Option<Login>, Error> {
        let account = held.role.pending.as_ref().and_then(|pending| held.role.accounts.get(pending.account));
        let Some((username, password)) = account.and_then(|found| Some((&found.username, found.password.as_ref()?)))
        else {
            return Ok(None);
        };
        self.try_login(&held.role.db_name, username, &password.0).await.map(Some)
    }

    /// Logs in to a connection's database as one of its users.
    ///
    /// # Errors
    /// 400 when there is no such connection.
    pub(super) async fn try_login(&self, name: &str, username: &str, password: &Secret) -> Result<Login, Error> {
        let missing = || connection::unknown(name);
        let (stored, _) = self.connections.stored(name).await?.ok_or_else(missing)?;
        Ok(login::attempt(stored.spec()?, stored.details(), username, password, self.random.clone()).await)
    }
}

/// Whose password is being changed, and to what.
fn pending(held: &Held) -> Option<(&str, &Secret)> {
    let pending = held.role.pending.as_ref()?;
    let account = held.role.accounts.get(pending.account)?;
    Some((&account.username, &pending.password.0))
}
