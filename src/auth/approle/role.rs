//! A role: its settings, how requests change them, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::auth::{TokenParams, cidr};
use crate::wire::{Error, Fields};

/// A stored role. TTLs are whole seconds; 0 is without limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub name: String,
    /// What clients log in with; unique in the mount.
    pub role_id: String,
    /// Separates the secret ids of this role from those of an earlier one of the same name. Never shown.
    pub uid: String,
    pub bind_secret_id: bool,
    pub secret_id_bound_cidrs: Vec<String>,
    pub secret_id_num_uses: u64,
    pub secret_id_ttl: u64,
    /// Fixed when the role is made; `None` until then.
    pub local_secret_ids: Option<bool>,
    pub token: TokenParams,
}

impl Role {
    pub fn new(name: &str, role_id: String, uid: String) -> Self {
        Self {
            name: name.to_owned(),
            role_id,
            uid,
            bind_secret_id: true,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: 0,
            local_secret_ids: None,
            token: TokenParams::default(),
        }
    }

    /// Takes over what was sent and keeps the rest.
    ///
    /// # Errors
    /// 400 naming the field, or saying that nothing would bind a login.
    pub fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(role_id) = fields.string("role_id")? {
            self.set_id(&role_id)?;
        }
        let local = fields.bool("local_secret_ids")?;
        match (self.local_secret_ids, local) {
            (None, local) => self.local_secret_ids = Some(local.unwrap_or(false)),
            (Some(old), Some(new)) if old != new => {
                return Err(Error::bad_request("local_secret_ids can only be modified during role creation"));
            }
            _ => {}
        }
        if let Some(bind) = fields.bool("bind_secret_id")? {
            self.bind_secret_id = bind;
        }
        for name in ["bound_cidr_list", "secret_id_bound_cidrs"] {
            if let Some(blocks) = fields.comma_list(name)? {
                cidr::check(name, &blocks)?;
                self.secret_id_bound_cidrs = blocks;
            }
        }
        if let Some(uses) = fields.count("secret_id_num_uses")? {
            self.secret_id_num_uses = uses;
        }
        if let Some(ttl) = fields.seconds("secret_id_ttl")? {
            self.secret_id_ttl = ttl;
        }
        self.token.merge(fields)?;
        cidr::check("token_bound_cidrs", &self.token.token_bound_cidrs)?;
        if !self.bind_secret_id && self.secret_id_bound_cidrs.is_empty() && self.token.token_bound_cidrs.is_empty() {
            return Err(Error::bad_request("at least one constraint should be enabled on the role"));
        }
        Ok(())
    }

    /// Sets the id that clients log in with.
    ///
    /// # Errors
    /// 400 when it is empty.
    pub fn set_id(&mut self, role_id: &str) -> Result<(), Error> {
        if role_id.is_empty() {
            return Err(Error::bad_request("invalid role_id supplied, or role_id cannot be empty"));
        }
        role_id.clone_into(&mut self.role_id);
        Ok(())
    }

    /// The answer of a read. Empty CIDR lists of secret ids are null here, as Vault has it.
    pub fn describe(&self) -> Map<String, Value> {
        let cidrs = &self.secret_id_bound_cidrs;
        let mut data = Map::from_iter([
            ("bind_secret_id".to_owned(), json!(self.bind_secret_id)),
            ("local_secret_ids".to_owned(), json!(self.local_secret_ids.unwrap_or(false))),
            ("secret_id_bound_cidrs".to_owned(), if cidrs.is_empty() { Value::Null } else { json!(cidrs) }),
            ("secret_id_num_uses".to_owned(), json!(self.secret_id_num_uses)),
            ("secret_id_ttl".to_owned(), json!(self.secret_id_ttl)),
        ]);
        self.token.describe(&mut data);
        data
    }
}

/// A setting with a path of its own, `role/NAME/SEGMENT`.
pub(super) struct Part {
    pub segment: &'static str,
    pub read_only: bool,
    /// Its name among the role's settings.
    setting: &'static str,
    /// The older name under which it may be sent.
    older: Option<&'static str>,
}

const fn part(segment: &'static str, setting: &'static str) -> Part {
    Part { segment, read_only: false, setting, older: None }
}

/// Every setting with a path of its own.
pub(super) const PARTS: &[Part] = &[
    Part { older: Some("policies"), ..part("policies", "token_policies") },
    Part { older: Some("bound_cidr_list"), ..part("bound-cidr-list", "secret_id_bound_cidrs") },
    part("secret-id-bound-cidrs", "secret_id_bound_cidrs"),
    part("token-bound-cidrs", "token_bound_cidrs"),
    part("bind-secret-id", "bind_secret_id"),
    part("secret-id-num-uses", "secret_id_num_uses"),
    part("secret-id-ttl", "secret_id_ttl"),
    Part { older: Some("period"), ..part("period", "token_period") },
    part("token-num-uses", "token_num_uses"),
    part("token-ttl", "token_ttl"),
    part("token-max-ttl", "token_max_ttl"),
    Part { read_only: true, ..part("local-secret-ids", "local_secret_ids") },
];

impl Part {
    /// The answer of a read: the setting, and its older name where that was used or is the path's own.
    pub fn describe(&self, role: &Role) -> Map<String, Value> {
        let all = role.describe();
        let value = all.get(self.setting).cloned().unwrap_or_default();
        if self.segment == "bound-cidr-list" {
            return Map::from_iter([("bound_cidr_list".to_owned(), value)]);
        }
        let older = self.older.filter(|older| all.contains_key(*older));
        older.into_iter().chain([self.setting]).map(|name| (name.to_owned(), value.clone())).collect()
    }

    /// What of a request is meant for this setting.
    ///
    /// # Errors
    /// 400 when it was not sent.
    pub fn choose(&self, fields: &Fields) -> Result<Fields, Error> {
        let names = [Some(self.setting), self.older];
        let name = names.into_iter().flatten().find(|name| fields.has(name));
        let name = name.ok_or_else(|| Error::bad_request(format!("missing {}", self.older.unwrap_or(self.setting))))?;
        let mut chosen = Fields::default();
        chosen.set(name, fields.value(name).cloned().unwrap_or_default());
        Ok(chosen)
    }

    /// The setting as a new role has it.
    pub fn reset(&self) -> Fields {
        let fresh = Role::new("", String::new(), String::new()).describe();
        let value = fresh.get(self.setting).filter(|value| !value.is_null()).cloned();
        let mut fields = Fields::default();
        fields.set(self.setting, value.unwrap_or_else(|| json!([])));
        fields
    }
}
