//! Secret ids: made, looked up and destroyed, by themselves or by their accessor.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::AppRole;
use crate::auth::cidr;
use crate::base::{Secret, Timestamp, clock};
use crate::wire::{Answer, Error, Fields, Kind};

/// What is stored of a secret id; the id itself is not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SecretId {
    /// Names it without giving its power.
    pub accessor: String,
    /// The half of its hash that is not in its key.
    pub check: String,
    /// Joins the metadata of the tokens.
    pub metadata: BTreeMap<String, String>,
    /// Where logins may come from; empty is everywhere.
    pub cidr_list: Vec<String>,
    /// Where the tokens may be used from; empty is the role's setting.
    pub token_bound_cidrs: Vec<String>,
    /// How many logins are left; 0 is without limit.
    pub num_uses: u64,
    /// Whole seconds; 0 is without limit.
    pub ttl: u64,
    pub created: Timestamp,
    pub updated: Timestamp,
}

impl SecretId {
    pub fn expires(&self) -> Option<Timestamp> {
        (self.ttl > 0).then(|| clock::add_seconds(self.created, self.ttl))
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|end| end <= now)
    }

    fn describe(&self) -> Answer {
        // Go's zero time, which clients know as "never".
        let never = || "0001-01-01T00:00:00Z".to_owned();
        Answer::data(json!({
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl,
            "creation_time": self.created.to_string(),
            "expiration_time": self.expires().map_or_else(never, |end| end.to_string()),
            "last_updated_time": self.updated.to_string(),
            "metadata": self.metadata,
            "cidr_list": self.cidr_list,
            "token_bound_cidrs": self.token_bound_cidrs,
        }))
    }
}

impl AppRole {
    /// Makes a secret id: a random one, or the given one.
    pub(super) async fn new_secret_id(
        &self,
        name: &str,
        fields: &Fields,
        given: Option<Secret>,
    ) -> Result<Answer, Error> {
        let role = self.known_role(name).await?;
        if !role.bind_secret_id {
            return Err(Error::bad_request("bind_secret_id is not set on the role"));
        }
        let now = self.clock.now();
        let secret = SecretId {
            accessor: self.random.uuid(),
            check: String::new(),
            metadata: metadata(fields)?,
            cidr_list: blocks(fields, "cidr_list", &role.secret_id_bound_cidrs)?,
            token_bound_cidrs: blocks(fields, "token_bound_cidrs", &role.token.token_bound_cidrs)?,
            num_uses: within(fields.count("num_uses")?, role.secret_id_num_uses, "num_uses")?,
            ttl: within(fields.seconds("ttl")?, role.secret_id_ttl, "ttl")?,
            created: now,
            updated: now,
        };
        let id = given.unwrap_or_else(|| self.random.uuid().into());
        let answer = json!({
            "secret_id": id.expose(), "secret_id_accessor": secret.accessor,
            "secret_id_ttl": secret.ttl, "secret_id_num_uses": secret.num_uses,
        });
        if !self.store.add(&role, &id, secret).await? {
            return Err(Error::bad_request("SecretID is already registered"));
        }
        self.tidy_now_and_then(now);
        Ok(Answer::data(answer))
    }

    /// What is known of a secret id; 204 for one that is not.
    pub(super) async fn lookup(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let id = fields.required("secret_id")?.into();
        let role = self.known_role(name).await?;
        let found = self.store.find(&role, &id).await?.map(|(_, secret, _)| secret);
        let found = found.filter(|secret| !secret.is_expired(self.clock.now()));
        Ok(found.map_or_else(Answer::empty, |secret| secret.describe()))
    }

    /// Removes a secret id; an absent one is fine.
    pub(super) async fn destroy(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let id = fields.required("secret_id")?.into();
        let role = self.known_role(name).await?;
        while let Some((place, secret, version)) = self.store.find(&role, &id).await? {
            if self.store.replace(&place, &secret, None, version).await? {
                break;
            }
        }
        Ok(Answer::empty())
    }

    pub(super) async fn lookup_accessor(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let accessor = fields.required("secret_id_accessor")?;
        let role = self.known_role(name).await?;
        let place = self.store.place(&accessor).await?.filter(|place| place.uid == role.uid);
        let found = match &place {
            Some(place) => self.store.at(place).await?,
            None => None,
        };
        let found = found.filter(|(secret, _)| !secret.is_expired(self.clock.now()));
        // Vault answers in the shape of a success here, and Terraform's provider reads the text there.
        let unknown = || Answer::data(json!({ "error": no_accessor(&accessor) })).missing();
        Ok(found.map_or_else(unknown, |(secret, _)| secret.describe()))
    }

    pub(super) async fn destroy_accessor(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let accessor = fields.required("secret_id_accessor")?;
        let role = self.known_role(name).await?;
        let missing = || Error::new(Kind::NotFound, no_accessor(&accessor));
        let place = self.store.place(&accessor).await?.ok_or_else(missing)?;
        if place.uid != role.uid {
            return Err(Error::new(Kind::Denied, "invalid secret id accessor"));
        }
        while let Some((secret, version)) = self.store.at(&place).await? {
            if self.store.replace(&place, &secret, None, version).await? {
                break;
            }
        }
        Ok(Answer::empty())
    }
}

fn no_accessor(accessor: &str) -> String {
    format!("failed to find accessor entry for secret_id_accessor: {accessor:?}")
}

/// A limit of a secret id: the role's, unless a stricter one was sent. 0 is without limit.
fn within(sent: Option<u64>, role: u64, field: &str) -> Result<u64, Error> {
    let sent = sent.unwrap_or(role);
    if role == 0 || (1..=role).contains(&sent) {
        return Ok(sent);
    }
    Err(Error::bad_request(match field {
        "ttl" => "ttl cannot be longer than the role's secret_id_ttl".to_owned(),
        _ => format!("{field} cannot be higher than the role's secret_id_{field}"),
    }))
}

fn blocks(fields: &Fields, field: &str, role: &[String]) -> Result<Vec<String>, Error> {
    let blocks = fields.comma_list(field)?.unwrap_or_default();
    cidr::check(field, &blocks)?;
    if cidr::all_within(&blocks, role) {
        return Ok(blocks);
    }
    Err(Error::bad_request(format!(
        "CIDR blocks {blocks:?} on the secret ID should be a subset of CIDR blocks {role:?} on the role"
    )))
}

/// `metadata`: a JSON object, its text, that in base64, or `k=v,k=v`.
fn metadata(fields: &Fields) -> Result<BTreeMap<String, String>, Error> {
    let Some(Value::String(text)) = fields.value("metadata") else {
        return Ok(fields.string_map("metadata")?.unwrap_or_default());
    };
    let text = text.trim();
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
    let wrong = || Error::bad_request("failed to parse metadata: send a JSON object of texts or k=v,k=v");
    decoded.iter().map(String::as_str).chain([text]).find_map(pairs).ok_or_else(wrong)
}

fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    if let Ok(map) = serde_json::from_str::<Map<String, Value>>(text) {
        let mut fields = Fields::default();
        fields.set("map", map.into());
        return fields.string_map("map").ok().flatten();
    }
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    text.split(',').map(pair).collect()
}
