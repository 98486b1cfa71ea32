//! `config/…`: connections as they are stored, and the open drivers behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ahead::Ahead;
use super::probe::Probe;
use super::rotation::RotationFields;
use super::{check_name, list, sweep, username};
use crate::base::{Clock, Random, Secret, glob};
use crate::drivers::{self, Driver, sql};
use crate::storage::{Txn, Version, View};
use crate::wire::{Answer, Error, Fields};

/// Fields that the engine itself reads; everything else is the driver's and is kept as it was sent.
const OWN: &[&str] = &[
    "plugin_name",
    "plugin_version",
    "verify_connection",
    "allowed_roles",
    "root_rotation_statements",
    "password_policy",
];

/// A connection as it is stored. Its details hold the admin password: the type has no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    plugin_name: String,
    plugin_version: String,
    allowed_roles: Vec<String>,
    pub(super) root_rotation_statements: Vec<String>,
    pub(super) password_policy: String,
    #[serde(default)]
    pub(super) rotation: RotationFields,
    details: Map<String, Value>,
    /// Nothing new is made over it; it goes with its last lease.
    #[serde(default)]
    pub(super) leaving: bool,
}

impl Stored {
    /// Takes over the fields that were sent and keeps the rest.
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        let keep = |slot: &mut String, sent: Option<String>| {
            if let Some(sent) = sent {
                *slot = sent;
            }
        };
        keep(&mut self.plugin_name, fields.string("plugin_name")?);
        keep(&mut self.plugin_version, fields.string("plugin_version")?);
        keep(&mut self.password_policy, fields.string("password_policy")?);
        if let Some(roles) = fields.comma_list("allowed_roles")? {
            self.allowed_roles = roles;
        }
        if let Some(statements) = fields.string_list("root_rotation_statements")? {
            self.root_rotation_statements = statements;
        }
        for (name, value) in fields.as_map() {
            if !OWN.contains(&name.as_str()) && !RotationFields::NAMES.contains(&name.as_str()) && !value.is_null() {
                self.details.insert(name.clone(), value.clone());
            }
        }
        self.rotation.merge(fields, &self.details())
    }

    pub(super) fn spec(&self) -> Result<&'static drivers::Spec, Error> {
        if self.plugin_name.is_empty() {
            return Err(Error::bad_request("empty plugin name"));
        }
        drivers::find(&self.plugin_name).ok_or_else(|| {
            Error::bad_request(format!(
                "error creating database object: plugin not found in the catalog: {}",
                self.plugin_name
            ))
        })
    }

    /// Whether the sweep may drop users of ours that no lease names.
    pub(super) fn removes_orphans(&self) -> bool {
        sweep::removes_orphans(&self.details())
    }

    pub(super) fn details(&self) -> Fields {
        self.details.clone().into()
    }

    /// The same connection with another password of its own.
    pub(super) fn with_password(mut self, password: &Secret) -> Self {
        self.details.insert("password".into(), json!(password.expose()));
        self
    }

    fn open(&self, random: Arc<dyn Random>) -> Result<Arc<dyn Driver>, Error> {
        drivers::open(self.spec()?, drivers::Settings { fields: self.details(), random }).map_err(|error| {
            Error::bad_request(format!("error creating database object: {}", error.message())).caused_by(error)
        })
    }

    /// The answer of a read: everything but secrets.
    fn describe(&self) -> Map<String, Value> {
        let secret = drivers::find(&self.plugin_name).map_or(&[][..], |spec| spec.secret_fields);
        let shown = |(name, value): (&String, &Value)| {
            let value = match (name.as_str(), value) {
                ("connection_url", Value::String(url)) => json!(sql::mask_passwords(url)),
                _ => value.clone(),
            };
            (!secret.contains(&name.as_str())).then(|| (name.clone(), value))
        };
        let details: Map<_, _> = self.details.iter().filter_map(shown).collect();
        let mut data = Map::new();
        data.insert("plugin_name".into(), json!(self.plugin_name));
        data.insert("plugin_version".into(), json!(self.plugin_version));
        data.insert("allowed_roles".into(), list(&self.allowed_roles));
        data.insert("connection_details".into(), json!(details));
        data.insert("root_credentials_rotate_statements".into(), list(&self.root_rotation_statements));
        data.insert("password_policy".into(), json!(self.password_policy));
        self.rotation.describe(&mut data);
        data
    }
}

/// There is no connection of that name.
pub(super) fn unknown(name: &str) -> Error {
    Error::bad_request(format!("failed to find entry for connection with name: {name:?}"))
}

/// A connection ready for use.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) spec: &'static drivers::Spec,
    /// Empty: the driver's own shape.
    pub(super) username_template: String,
    /// Of roles that name no password policy; empty: the built-in one.
    pub(super) password_policy: String,
    /// Where a new user has to be able to log in before it is handed out.
    pub(super) probe: Option<Arc<Probe>>,
    /// Passwords that are hashed already.
    pub(super) ahead: Arc<Ahead>,
    allowed_roles: Vec<String>,
    pub(super) version: Version,
    leaving: bool,
}

impl Connection {
    /// Whether `role` may be used over this connection.
    ///
    /// # Errors
    /// 400, not Vault's 500: clients try a 500 three times.
    pub(super) fn check_role(&self, role: &str) -> Result<(), Error> {
        if self.leaving {
            return Err(Error::bad_request("the connection of this role is being deleted"));
        }
        if self.allowed_roles.iter().any(|pattern| glob::matches(pattern, role)) {
            return Ok(());
        }
        Err(Error::listed(crate::wire::Kind::BadRequest, format!("{role:?} is not an allowed role")))
    }
}

/// All connections of a mount; drivers are opened at first use and kept.
pub(super) struct Connections {
    view: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    open: Mutex<HashMap<String, Connection>>,
}

impl Connections {
    pub(super) fn new(view: View, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { view, clock, random, open: Mutex::default() }
    }

    pub(super) async fn stored(&self, name: &str) -> Result<Option<(Stored, Version)>, Error> {
        Ok(self.view.get(name).await?)
    }

    /// The key of a connection in the store.
    pub(super) fn key(&self, name: &str) -> String {
        self.view.full_key(name)
    }

    /// Adds a write of a connection that has `version` to a transaction.
    pub(super) fn stage(&self, txn: &mut Txn, name: &str, stored: &Stored, version: Version) -> Result<(), Error> {
        txn.expect.push((self.key(name), version));
        Ok(self.view.stage_put(txn, name, stored)?)
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open connection of that name.
    ///
    /// # Errors
    /// 400 when there is none; what opening it says.
    pub(super) async fn get(&self, name: &str) -> Result<Connection, Error> {
        let (stored, version) = self.stored(name).await?.ok_or_else(|| unknown(name))?;
        if let Some(open) = self.opened().get(name).filter(|open| open.version == version) {
            return Ok(open.clone());
        }
        let driver = stored.open(self.random.clone())?;
        let fresh = Connection {
            probe: Probe::read(stored.spec()?, &stored.details())?,
            ahead: Ahead::new(driver.clone(), self.random.clone()),
            driver,
            leaving: stored.leaving,
            spec: stored.spec()?,
            username_template: stored.details().string("username_template")?.unwrap_or_default(),
            password_policy: stored.password_policy,
            allowed_roles: stored.allowed_roles,
            version,
        };
        let stale = {
            let mut opened = self.opened();
            if let Some(open) = opened.get(name).filter(|open| open.version == version) {
                return Ok(open.clone());
            }
            opened.insert(name.to_owned(), fresh.clone())
        };
        if let Some(stale) = stale {
            stale.driver.close().await;
        }
        Ok(fresh)
    }

    /// What can be said of a connection without opening it: its driver and its template for user names.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn target(&self, name: &str) -> Result<Option<(&'static drivers::Spec, String)>, Error> {
        let Some((stored, _)) = self.stored(name).await? else { return Ok(None) };
        let template = stored.details().string("username_template")?.unwrap_or_default();
        Ok(drivers::find(&stored.plugin_name).map(|spec| (spec, template)))
    }

    /// Every connection, those that are leaving included.
    pub(super) async fn all(&self) -> Result<Vec<(String, Stored)>, Error> {
        let mut found: Vec<(String, Stored)> = Vec::new();
        loop {
            let after = found.last().map(|(name, _)| name.clone());
            let page = self.view.page("", after.as_deref(), 100).await?;
            if page.is_empty() {
                return Ok(found);
            }
            found.extend(page);
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.all().await?.into_iter().filter(|(_, stored)| !stored.leaving).map(|(name, _)| name).collect())
    }

    /// What a read tells, all but the times of rotations.
    pub(super) async fn read(&self, name: &str) -> Result<Map<String, Value>, Error> {
        let stored = self.stored(name).await?.filter(|(stored, _)| !stored.leaving);
        let (stored, _) = stored.ok_or_else(Error::not_found)?;
        Ok(stored.describe())
    }

    /// Checks everything, connects if asked to, and only then stores: a wrong write changes nothing.
    pub(super) async fn write(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        check_name("connection", name)?;
        let (mut stored, version) = self.stored(name).await?.unwrap_or_default();
        stored.leaving = false;
        stored.merge(fields)?;
        let spec = stored.spec()?;
        let template = stored.details().string("username_template")?.unwrap_or_default();
        let warning = username::check(&template, spec, None, &self.clock, &self.random)?;
        stored.details().bool("remove_orphans")?;
        Probe::read(spec, &stored.details())?;
        let driver = stored.open(self.random.clone())?;
        if fields.bool("verify_connection")?.unwrap_or(true) {
            let verified = driver.verify().await;
            driver.close().await;
            verified.map_err(|error| {
                let text = format!("error creating database object: error verifying connection: {}", error.message());
                Error::bad_request(text).caused_by(error)
            })?;
        }
        self.view.put_if(name, &stored, version).await?;
        self.forget(name).await;
        let url = stored.details().string("connection_url")?.unwrap_or_default();
        let answer = warning.into_iter().fold(Answer::empty(), Answer::warn);
        if sql::inline_passwords(&url).is_empty() {
            return Ok(answer);
        }
        Ok(answer.warn(
            "Password found in connection_url, use a templated url to enable root rotation and prevent read access to password information.",
        ))
    }

    /// Sets whether the connection is leaving; `false` when there is no such connection.
    pub(super) async fn set_leaving(&self, name: &str, leaving: bool) -> Result<bool, Error> {
        let Some((mut stored, version)) = self.stored(name).await? else { return Ok(false) };
        if stored.leaving != leaving {
            stored.leaving = leaving;
            self.view.put_if(name, &stored, version).await?;
        }
        Ok(true)
    }

    /// Removes a connection.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        self.view.delete(name).await?;
        self.forget(name).await;
        Ok(())
    }

    /// Closes the connection's pool and opens a new one, whether or not the database answers.
    pub(super) async fn reset(&self, name: &str) -> Result<Answer, Error> {
        self.forget(name).await;
        self.get(name).await?;
        Ok(Answer::empty())
    }

    /// Resets every connection of one plug-in.
    pub(super) async fn reload(&self, plugin: &str) -> Result<Answer, Error> {
        let of_plugin = |(name, stored): (String, Stored)| (stored.plugin_name == plugin).then_some(name);
        let names: Vec<_> = self.all().await?.into_iter().filter_map(of_plugin).collect();
        if names.is_empty() && drivers::find(plugin).is_none() {
            return Err(Error::bad_request(format!("plugin not found in the catalog: {plugin}")));
        }
        for name in &names {
            self.reset(name).await?;
        }
        Ok(Answer::data(json!({ "connections": names, "count": names.len() })))
    }

    /// Closes a connection; its next use opens it anew.
    pub(super) async fn forget(&self, name: &str) {
        let stale = self.opened().remove(name);
        if let Some(stale) = stale {
            stale.driver.close().await;
        }
    }

    pub(super) async fn close(&self) {
        let all: Vec<_> = self.opened().drain().collect();
        for (_, connection) in all {
            connection.driver.close().await;
        }
    }
}
