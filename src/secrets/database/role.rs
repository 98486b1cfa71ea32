//! `roles/…`: which statements make and drop a credential, over which connection, and for how long.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{check_name, list};
use crate::secrets::Terms;
use crate::storage::{Version, View};
use crate::wire::{Answer, Error, Fields};

const KNOWN: &[&str] = &[
    "db_name",
    "creation_statements",
    "revocation_statements",
    "rollback_statements",
    "renew_statements",
    "default_ttl",
    "max_ttl",
    "credential_type",
    "credential_config",
    "end_sessions",
    "spares",
];

/// The most spares of one role.
const MOST_SPARES: i64 = 10_000;

/// A role as it is stored; TTLs in whole seconds, 0 is the mount's.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
        if let Some(ttl) = fields.seconds("default_ttl")? {
            self.default_ttl = ttl;
        }
        if let Some(ttl) = fields.seconds("max_ttl")? {
            self.max_ttl = ttl;
        }
        if let Some(kind) = fields.string("credential_type")? {
            self.credential_type = kind;
        }
        if let Some(end) = fields.bool("end_sessions")? {
            self.end_sessions = end;
        }
        if let Some(spares) = fields.int("spares")? {
            let wrong = || Error::bad_request(format!("spares: {spares} is not between 0 and {MOST_SPARES}"));
            self.spares = u32::try_from(spares).ok().filter(|_| spares <= MOST_SPARES).ok_or_else(wrong)?;
        }
        match fields.value("credential_config") {
            Some(Value::Object(config)) => self.credential_config = config.clone(),
            Some(_) => return Err(Error::bad_request("credential_config must be an object")),
            None => {}
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), Error> {
        if self.db_name.is_empty() {
            return Err(Error::bad_request("database name is required"));
        }
        if self.credential_type.is_empty() {
            self.credential_type = "password".into();
        }
        match self.credential_type.as_str() {
            "password" => {}
            kind @ ("rsa_private_key" | "client_certificate") => {
                return Err(Error::bad_request(format!("unsupported credential_type: {kind:?}")));
            }
            kind => return Err(Error::bad_request(format!("invalid credential_type {kind:?}"))),
        }
        if self.credential_config.contains_key("password_policy") {
            return Err(Error::bad_request("credential_config: password_policy is not supported: leave it out"));
        }
        Ok(())
    }

    fn describe(&self) -> Value {
        let mut data = json!({
            "db_name": self.db_name,
            "creation_statements": list(&self.creation_statements),
            "revocation_statements": list(&self.revocation_statements),
            "rollback_statements": list(&self.rollback_statements),
            "renew_statements": list(&self.renew_statements),
            "default_ttl": self.default_ttl, "max_ttl": self.max_ttl, "credential_type": self.credential_type,
        });
        if !self.credential_config.is_empty() {
            data["credential_config"] = json!(self.credential_config);
        }
        // What Vault does not know is shown only where it was set: clients compare whole answers.
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

    pub(super) async fn read(&self, name: &str) -> Result<Answer, Error> {
        Ok(Answer::data(self.get(name).await?.ok_or_else(Error::not_found)?.describe()))
    }

    pub(super) async fn write(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        check_name("role", name)?;
        let (mut role, version) = self.stored(name).await?.unwrap_or_default();
        role.merge(fields)?;
        self.0.put_if(name, &role, version).await?;
        let answer = Answer::empty();
        Ok(match fields.unrecognized(KNOWN) {
            Some(warning) => answer.warn(warning),
            None => answer,
        })
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Error> {
        Ok(self.0.delete(name).await?)
    }
}
