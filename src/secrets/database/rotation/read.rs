//! `static-creds/…` and the reads of `static-roles/…`: the password that certainly logs in, never a guess.

use serde_json::{Map, Value, json};

use super::login::Login;
use super::role::Held;
use super::{Rotation, fields};
use crate::base::Timestamp;
use crate::wire::{Answer, Error, Kind};

impl Rotation {
    /// The names of all static roles.
    pub(in crate::secrets::database) async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.roles.list().await?)
    }

    /// Whether there is a static role of that name.
    pub(in crate::secrets::database) async fn has_role(&self, name: &str) -> Result<bool, Error> {
        Ok(self.roles.get(name).await?.is_some())
    }

    /// What was configured, and when the password was changed last.
    ///
    /// # Errors
    /// 404 when there is no such role.
    pub(in crate::secrets::database) async fn read(&self, name: &str) -> Result<Answer, Error> {
        let held = self.roles.get(name).await?.ok_or_else(Error::not_found)?;
        Ok(Answer::data(fields::describe(&held.role)))
    }

    /// When a connection's own password was changed last and is next, and what goes wrong, as a static role's read tells it.
    /// `last_vault_rotation` is null while the password is one that somebody has written.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::secrets::database) async fn about_root(&self, connection: &str) -> Result<Map<String, Value>, Error> {
        let timing = self.roots.get(connection).await?.root.timing;
        let moment = |moment: Option<Timestamp>| json!(moment.map(|moment| moment.to_string()));
        let mut data = Map::new();
        data.insert("last_vault_rotation".into(), moment(timing.last));
        data.insert("next_vault_rotation".into(), moment(timing.due));
        data.insert("rotation_failures".into(), json!(timing.failures));
        data.insert("rotation_error".into(), json!(timing.error));
        Ok(data)
    }

    /// The password that is handed out now.
    ///
    /// # Errors
    /// 400 for an unknown role, one that its connection does not allow, or one without a password yet; 503 when a change is
    /// under way and the database cannot be asked which password holds.
    pub(in crate::secrets::database) async fn credential(&self, name: &str) -> Result<Answer, Error> {
        let unknown = || Error::bad_request(format!("unknown role: {name}"));
        let held = self.roles.get(name).await?.ok_or_else(unknown)?;
        self.connections.get(&held.role.db_name).await?.check_role(name)?;
        if !held.role.is_undecided() {
            return self.answer(&held);
        }
        // Whoever is changing the password has the turn: mostly this is all there is to wait for.
        let _turn = self.role_turns.take(name).await;
        let mut held = self.roles.get(name).await?.ok_or_else(unknown)?;
        if held.role.is_undecided() {
            self.decide(&mut held).await?;
        }
        self.answer(&held)
    }

    /// Finds out which of two passwords holds.
    async fn decide(&self, held: &mut Held) -> Result<(), Error> {
        if matches!(self.try_new(held).await?, Some(Login::Works)) {
            return self.complete(held).await;
        }
        let old = if held.role.verify_login { self.try_old(held).await? } else { None };
        if matches!(old, Some(Login::Works)) {
            return Ok(());
        }
        let reason = if held.role.timing.error.is_empty() { "it was interrupted" } else { &held.role.timing.error };
        Err(Error::new(
            Kind::Unavailable,
            format!(
                "the password of static role {:?} is being changed, and neither the former nor the new one is known to log \
                 in yet: {reason}; the change is tried again in {} s",
                held.name,
                held.role.timing.ttl(self.clock.now())
            ),
        ))
    }

    fn answer(&self, held: &Held) -> Result<Answer, Error> {
        let now = self.clock.now();
        let ttl = held.role.timing.ttl(now);
        let Some((username, password)) =
            held.role.handed_out().and_then(|account| Some((&account.username, account.password.as_ref()?)))
        else {
            return Err(Error::bad_request(format!(
                "static role {:?} has no password yet: it was imported without one, and is rotated in {ttl} s; call \
                 rotate-role/{} to have one now",
                held.name, held.name
            )));
        };
        let mut data = Map::new();
        data.insert("username".into(), json!(username));
        data.insert("password".into(), json!(password.0.expose()));
        data.insert("ttl".into(), json!(ttl));
        data.insert("last_vault_rotation".into(), json!(held.role.timing.last.map(|last| last.to_string())));
        held.role.schedule.describe(&mut data);
        Ok(Answer::data(Value::Object(data)))
    }
}
