//! Writes of `static-roles/…` and `rotate-role/…`: roles made, adopted, changed, rotated at once and forgotten.

use super::kept::Kept;
use super::login::{self, Login};
use super::role::{Held, StaticRole};
use super::{Failure, Rotation, fields, names, not_set};
use crate::base::Secret;
use crate::secrets::database::check_name;
use crate::wire::{Answer, Error, Fields, Kind};

impl Rotation {
    /// Makes or changes a static role. A new one is rotated at once, unless `skip_import_rotation` says otherwise.
    ///
    /// # Errors
    /// 400 for wrong fields; what the database says to a first rotation or to a given password: then nothing is stored.
    pub(in crate::secrets::database) async fn write(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        check_name("role", name)?;
        let _turn = self.role_turns.take(name).await;
        match self.roles.get(name).await? {
            Some(held) => self.update(held, fields).await?,
            None => self.create(name, fields).await?,
        }
        Ok(Answer::empty())
    }

    async fn create(&self, name: &str, fields: &Fields) -> Result<(), Error> {
        let mut role = fields::create(fields)?;
        self.check(name, &role).await?;
        let given = fields::given_password(fields)?;
        if let Some(password) = &given {
            self.check_password(&role, &role.accounts[0].username, password).await?;
            role.accounts[0].password = given.clone().map(Kept);
        }
        let now = self.clock.now();
        let schedule = role.schedule.clone();
        role.timing.plan(Some(&schedule), now)?;
        if self.keeps_imported(&role, fields).await? {
            role.timing.last = given.map(|_| now);
            let held = self.roles.insert(name, role).await?;
            self.wake(&held.role.db_name);
            return Ok(());
        }
        let connection = self.connections.get(&role.db_name).await?;
        connection.driver.verify().await.map_err(|error| not_set(&role.db_name, error))?;
        role.creating = true;
        role.begin(self.new_password(&self.policy_of(&role).await?).await?, now);
        let mut held = self.roles.insert(name, role).await?;
        self.first_change(&mut held).await
    }

    /// The change without which there is no role.
    async fn first_change(&self, held: &mut Held) -> Result<(), Error> {
        let error = match self.change(held).await {
            Ok(()) => return Ok(()),
            Err(Failure::Down(error)) => {
                // The database went away after it was asked for a sign of life, and before it was asked for anything else.
                self.roles.remove(held).await?;
                return Err(error);
            }
            Err(Failure::Failed(error)) => error,
        };
        let Some(left) = self.roles.get(&held.name).await? else { return Err(error) };
        if error.kind() == Kind::BadRequest {
            self.roles.remove(&left).await?;
            return Err(error);
        }
        let text = format!(
            "{error}; whether the password was changed is not known: static role {:?} is kept and the change tried again",
            held.name
        );
        Err(Error::new(error.kind(), text).caused_by(error))
    }

    async fn update(&self, mut held: Held, fields: &Fields) -> Result<(), Error> {
        let mut role = held.role.clone();
        fields::merge(&mut role, fields)?;
        self.check(&held.name, &role).await?;
        let given = fields::given_password(fields)?;
        if let (Some(password), Some(account)) = (&given, role.accounts.get(role.active)) {
            self.check_password(&role, &account.username, password).await?;
        }
        let now = self.clock.now();
        self.roles
            .change(&mut held, |kept| {
                let rescheduled = role.schedule != kept.schedule;
                *kept = role;
                if let Some(password) = given {
                    kept.adopt(password);
                }
                if rescheduled && kept.pending.is_none() {
                    let (schedule, last) = (kept.schedule.clone(), kept.timing.last.unwrap_or(now));
                    kept.timing.plan(Some(&schedule), last)?;
                }
                kept.wait_for_grace();
                Ok(())
            })
            .await?;
        self.wake(&held.role.db_name);
        Ok(())
    }

    /// What every write must keep to.
    async fn check(&self, name: &str, role: &StaticRole) -> Result<(), Error> {
        if self.roles.is_dynamic(name).await? {
            return Err(names::not_unique());
        }
        let connection = self.connections.get(&role.db_name).await?;
        connection.check_role(name)?;
        if !connection.spec.credentials.contains(&role.credential_type.as_str()) {
            return Err(Error::bad_request(format!("unsupported credential_type: {:?}", role.credential_type)));
        }
        let Some((stored, _)) = self.connections.stored(&role.db_name).await? else { return Ok(()) };
        let details = stored.details();
        let own = details.string("username")?;
        if let Some(account) = role.accounts.iter().find(|account| own.as_ref() == Some(&account.username)) {
            return Err(Error::bad_request(format!(
                "username: {:?} is the connection's own user, which would lose its password: use rotate-root/{}",
                account.username, role.db_name
            )));
        }
        match login::check_template(&details) {
            Err(error) if role.verify_login => {
                let text = format!("connection {:?}: {}; or set verify_login=false", role.db_name, error.message());
                Err(Error::bad_request(text).caused_by(error))
            }
            _ => Ok(()),
        }
    }

    /// A password that somebody gives us must log in now, or it is refused.
    async fn check_password(&self, role: &StaticRole, username: &str, password: &Secret) -> Result<(), Error> {
        if !role.verify_login {
            return Ok(());
        }
        match self.try_login(&role.db_name, username, password).await? {
            Login::Works => Ok(()),
            Login::Refused(error) => {
                let text = format!("password: {username:?} cannot log in with it: {}", error.message());
                Err(Error::bad_request(text).caused_by(error))
            }
            Login::Unknown(error) => Err(not_set(&role.db_name, error)),
        }
    }

    async fn keeps_imported(&self, role: &StaticRole, fields: &Fields) -> Result<bool, Error> {
        if let Some(skip) = fields.bool("skip_import_rotation")? {
            return Ok(skip);
        }
        let stored = self.connections.stored(&role.db_name).await?;
        Ok(stored.is_some_and(|(stored, _)| stored.rotation.skips_import))
    }

    /// Rotates at once, outside the schedule.
    ///
    /// # Errors
    /// 400 for an unknown role, or for an account whose grace has not passed; what the database says.
    pub(in crate::secrets::database) async fn rotate_role(&self, name: &str) -> Result<Answer, Error> {
        let _turn = self.role_turns.take(name).await;
        let held = self.roles.get(name).await?;
        let mut held = held.ok_or_else(|| Error::bad_request("no static role found for role name"))?;
        let now = self.clock.now();
        if let Some(ends) = held.role.grace_ends().filter(|ends| held.role.pending.is_none() && *ends > now) {
            return Err(Error::bad_request(format!(
                "static role {name:?}: the account that is next keeps its password until {ends}, when its grace_period ends"
            )));
        }
        self.change(&mut held).await.map_err(Failure::into_error)?;
        Ok(Answer::empty())
    }

    /// Forgets a static role and leaves its accounts as they are.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::secrets::database) async fn delete(&self, name: &str) -> Result<Answer, Error> {
        let _turn = self.role_turns.take(name).await;
        if let Some(held) = self.roles.get(name).await? {
            self.roles.remove(&held).await?;
        }
        Ok(Answer::empty())
    }
}
