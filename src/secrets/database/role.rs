//! `roles/…`: which statements make and drop a credential, over which connection, and for how long.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::connection::Connections;
use super::credential::{self, Wanted};
use super::rotation::names;
use super::{check_name, list, username};
use crate::drivers::{Preset, Spec, sql};
use crate::secrets::{Setup, Terms};
use crate::storage::{Txn, Version, View};
use crate::wire::{Answer, Error, Fields};

/// The schema of a preset that names none.
const SCHEMA: &str = "public";

/// The most spares of one role.
const MOST_SPARES: i64 = 10_000;

/// A role as it is stored; TTLs in whole seconds, 0 is the mount's. Its configuration may hold an authority's key: the type has
/// no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) db_name: String,
    pub(super) creation_statements: Vec<String>,
    pub(super) revocation_statements: Vec<String>,
    pub(super) rollback_statements: Vec<String>,
    pub(super) renew_statements: Vec<String>,
    pub(super) default_ttl: u64,
    pub(super) max_ttl: u64,
    pub(super) credential_type: String,
    pub(super) credential_config: Map<String, Value>,
    /// Stands for creation statements; empty: none.
    preset: String,
    /// Where the preset applies.
    schema: String,
    /// Whether a user's sessions end with its lease.
    pub(super) end_sessions: bool,
    /// How many users are kept ready.
    pub(super) spares: u32,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            db_name: String::new(),
            creation_statements: Vec::new(),
            revocation_statements: Vec::new(),
            rollback_statements: Vec::new(),
            renew_statements: Vec::new(),
            default_ttl: 0,
            max_ttl: 0,
            credential_type: String::new(),
            credential_config: Map::new(),
            preset: String::new(),
            schema: String::new(),
            end_sessions: true,
            spares: 0,
        }
    }
}

impl Role {
    pub(super) fn terms(&self) -> Terms {
        Terms { default_ttl: self.default_ttl, max_ttl: self.max_ttl }
    }

    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(name) = fields.string("db_name")? {
            self.db_name = name;
        }
        for (name, slot) in [
            ("creation_statements", &mut self.creation_statements),
            ("revocation_statements", &mut self.revocation_statements),
            ("rollback_statements", &mut self.rollback_statements),
            ("renew_statements", &mut self.renew_statements),
        ] {
            if let Some(statements) = fields.string_list(name)? {
                *slot = statements.into_iter().filter(|statement| !statement.trim().is_empty()).collect();
            }
        }
        self.merge_preset(fields)?;
        if let Some(ttl) = fields.seconds("default_ttl")? {
            self.default_ttl = ttl;
        }
        if let Some(ttl) = fields.seconds("max_ttl")? {
            self.max_ttl = ttl;
        }
        if let Some(end) = fields.bool("end_sessions")? {
            self.end_sessions = end;
        }
        if let Some(spares) = fields.int("spares")? {
            let wrong = || Error::bad_request(format!("spares: {spares} is not between 0 and {MOST_SPARES}"));
            self.spares = u32::try_from(spares).ok().filter(|_| spares <= MOST_SPARES).ok_or_else(wrong)?;
        }
        self.merge_credential(fields)
    }

    /// A role has statements or a preset: whichever was written last.
    fn merge_preset(&mut self, fields: &Fields) -> Result<(), Error> {
        let has_statements = fields.has("creation_statements") && !self.creation_statements.is_empty();
        let preset = fields.string("preset")?;
        if let Some(preset) = preset {
            if has_statements && !preset.is_empty() {
                return Err(Error::bad_request(
                    "preset and creation_statements exclude each other: a preset stands for statements; leave one out",
                ));
            }
            if !preset.is_empty() {
                self.creation_statements.clear();
            }
            self.preset = preset;
        } else if has_statements {
            self.preset.clear();
        }
        if self.preset.is_empty() {
            self.schema.clear();
        }
        match fields.string("schema")?.filter(|schema| !schema.is_empty()) {
            Some(_) if self.preset.is_empty() => Err(Error::bad_request("schema goes with preset, and there is none")),
            Some(schema) => {
                self.schema = schema;
                Ok(())
            }
            None => {
                if !self.preset.is_empty() && self.schema.is_empty() {
                    self.schema = SCHEMA.to_owned();
                }
                Ok(())
            }
        }
    }

    fn merge_credential(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(kind) = fields.string("credential_type")?.filter(|kind| *kind != self.credential_type) {
            self.credential_type = kind;
            // What configured another type means nothing to this one.
            self.credential_config.clear();
        }
        if self.credential_type.is_empty() {
            self.credential_type = "password".into();
        }
        if let Some(config) = credential::config(fields)? {
            credential::replace(&mut self.credential_config, config);
        }
        Ok(())
    }

    /// What its users log in with.
    ///
    /// # Errors
    /// 400 naming what is wrong.
    pub(super) fn wanted(&self) -> Result<Wanted, Error> {
        Wanted::read(&self.credential_type, &self.credential_config)
    }

    /// What makes a user: its own statements, or those of its preset.
    ///
    /// # Errors
    /// 400 when the database does not have the preset.
    pub(super) fn creation(&self, spec: &Spec) -> Result<Vec<String>, Error> {
        if self.preset.is_empty() {
            return Ok(self.creation_statements.clone());
        }
        let preset = Preset::new(&self.preset, &self.schema, self.credential_type == "password");
        let preset = preset.map_err(|error| Error::bad_request(error.message()).caused_by(error))?;
        (spec.preset)(&preset).ok_or_else(|| {
            let plugin = spec.plugins.first().copied().unwrap_or_default();
            Error::bad_request(format!("preset: {plugin} has no {:?}: write creation_statements", self.preset))
        })
    }

    /// What can be said without knowing the database.
    fn check(&self) -> Result<Wanted, Error> {
        if self.db_name.is_empty() {
            return Err(Error::bad_request("database name is required"));
        }
        let wanted = self.wanted()?;
        if self.spares > 0 && !wanted.has_password() {
            let kind = &self.credential_type;
            return Err(Error::bad_request(format!("spares: credentials of type {kind:?} cannot be made ahead")));
        }
        let statements = sql::statements(&self.creation_statements, |_| true);
        if !wanted.has_password() && statements.iter().any(|statement| statement.contains("{{password}}")) {
            // The placeholder itself would become the password.
            return Err(Error::bad_request(format!(
                "creation_statements hold {{{{password}}}}, but credential_type {:?} has none: leave PASSWORD out",
                self.credential_type
            )));
        }
        Ok(wanted)
    }

    /// What can be said with the driver and the connection's template for user names. Returns warnings.
    fn check_for(
        &self,
        name: &str,
        wanted: &Wanted,
        (spec, template): (&Spec, &str),
        setup: &Setup,
    ) -> Result<Vec<String>, Error> {
        if !spec.credentials.contains(&self.credential_type.as_str()) {
            return Err(Error::bad_request(format!("unsupported credential_type: {:?}", self.credential_type)));
        }
        self.creation(spec)?;
        let mut warnings = (spec.lint)(&self.creation_statements);
        let template = wanted.username_template(template);
        warnings.extend(username::check(template, spec, Some(name), &setup.clock, &setup.random)?);
        Ok(warnings)
    }

    fn describe(&self, spec: Option<&Spec>) -> Value {
        let mut data = json!({
            "db_name": self.db_name,
            "creation_statements": list(&self.creation_statements),
            "revocation_statements": list(&self.revocation_statements),
            "rollback_statements": list(&self.rollback_statements),
            "renew_statements": list(&self.renew_statements),
            "default_ttl": self.default_ttl, "max_ttl": self.max_ttl, "credential_type": self.credential_type,
        });
        if !self.credential_config.is_empty() {
            data["credential_config"] = json!(credential::shown(&self.credential_config));
        }
        // What Vault does not know is shown only where it was set: clients compare whole answers.
        if !self.preset.is_empty() {
            data["preset"] = json!(self.preset);
            data["schema"] = json!(self.schema);
            data["preset_statements"] = json!(spec.and_then(|spec| self.creation(spec).ok()).unwrap_or_default());
        }
        if !self.end_sessions {
            data["end_sessions"] = json!(false);
        }
        if self.spares > 0 {
            data["spares"] = json!(self.spares);
        }
        data
    }
}

/// All roles of a mount.
pub(super) struct Roles(View);

impl Roles {
    pub(super) fn new(view: View) -> Self {
        Self(view)
    }

    pub(super) async fn stored(&self, name: &str) -> Result<Option<(Role, Version)>, Error> {
        Ok(self.0.get(name).await?)
    }

    /// The role's entry in the store.
    pub(super) fn key(&self, name: &str) -> String {
        self.0.full_key(name)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.stored(name).await?.map(|(role, _)| role))
    }

    pub(super) async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.list("").await?)
    }

    pub(super) async fn read(&self, name: &str, connections: &Connections) -> Result<Answer, Error> {
        let role = self.get(name).await?.ok_or_else(Error::not_found)?;
        let target = connections.target(&role.db_name).await?;
        Ok(Answer::data(role.describe(target.map(|(spec, _)| spec))))
    }

    /// Checks what can be checked: the connection may be written later.
    pub(super) async fn write(
        &self,
        name: &str,
        fields: &Fields,
        connections: &Connections,
        setup: &Setup,
    ) -> Result<Answer, Error> {
        check_name("role", name)?;
        let (mut role, version) = self.stored(name).await?.unwrap_or_default();
        role.merge(fields)?;
        let wanted = role.check()?;
        let warnings = match connections.target(&role.db_name).await? {
            Some((spec, template)) => role.check_for(name, &wanted, (spec, &template), setup)?,
            None => Vec::new(),
        };
        let mut txn = Txn { expect: vec![(self.0.full_key(name), version)], ops: Vec::new() };
        self.0.stage_put(&mut txn, name, &role)?;
        names::commit(txn, &names::static_roles(&setup.view), name).await?;
        Ok(warnings.into_iter().fold(Answer::empty(), Answer::warn))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Error> {
        Ok(self.0.delete(name).await?)
    }
}
