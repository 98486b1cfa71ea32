//! The `token_*` settings that every login method's roles share (vault-api.md 2.1).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::wire::{Error, Field, Fields};

/// What kind of token a login makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenType {
    /// The mount's setting: service unless tuned otherwise.
    #[default]
    Default,
    /// Stored, renewable, revocable.
    Service,
    /// Self-contained, neither renewable nor revocable.
    Batch,
    /// Service unless the client asks otherwise.
    DefaultService,
    /// Batch unless the client asks otherwise.
    DefaultBatch,
}

/// Token settings of a role; durations in whole seconds, 0 is unset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Vault's")]
pub struct TokenParams {
    pub token_ttl: u64,
    pub token_max_ttl: u64,
    pub token_period: u64,
    pub token_explicit_max_ttl: u64,
    pub token_policies: Vec<String>,
    pub token_bound_cidrs: Vec<String>,
    pub token_strictly_bind_ip: bool,
    pub token_no_default_policy: bool,
    pub token_num_uses: u64,
    pub token_type: TokenType,
    /// Deprecated twins that were used at write time and are echoed on reading.
    pub legacy: Vec<String>,
}

/// What [`TokenParams::merge`] understands.
pub const FIELDS: &[Field] = &[
    Field::seconds("token_ttl", "How long a token lasts; the mount's default when left out."),
    Field::seconds("token_max_ttl", "How long it can last, renewals included."),
    Field::seconds("token_period", "For how long each renewal prolongs it, without end."),
    Field::seconds("token_explicit_max_ttl", "How long it can last, also where it is periodic."),
    Field::list("token_policies", "Its policies."),
    Field::list("token_bound_cidrs", "Where it may be used from."),
    Field::flag("token_strictly_bind_ip", "Whether it may be used only from the address that it was asked for from.")
        .or("false"),
    Field::flag("token_no_default_policy", "Whether it goes without the policy \"default\".").or("false"),
    Field::int("token_num_uses", "How many requests it is good for; 0 is any number.").or("0"),
    Field::text("token_type", "default, service, batch, default-service or default-batch.").or("\"default\""),
    Field::seconds("ttl", "As token_ttl.").old(),
    Field::seconds("max_ttl", "As token_max_ttl.").old(),
    Field::seconds("period", "As token_period.").old(),
    Field::list("policies", "As token_policies.").old(),
    Field::list("bound_cidrs", "As token_bound_cidrs.").old(),
    Field::int("num_uses", "As token_num_uses.").old(),
];

impl TokenParams {
    /// Takes over the fields that were sent and keeps the rest.
    ///
    /// # Errors
    /// 400 naming the field; 400 when `token_ttl` is above `token_max_ttl`.
    pub fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        let mut legacy = std::mem::take(&mut self.legacy);
        let mut pick = |new: &str, old: &str| -> String {
            if fields.has(new) {
                legacy.retain(|name| name != old);
            } else if fields.has(old) && !legacy.iter().any(|name| name == old) {
                legacy.push(old.to_owned());
            }
            if fields.has(new) { new.to_owned() } else { old.to_owned() }
        };
        let (ttl, max, period) =
            (pick("token_ttl", "ttl"), pick("token_max_ttl", "max_ttl"), pick("token_period", "period"));
        let (policies, cidrs) = (pick("token_policies", "policies"), pick("token_bound_cidrs", "bound_cidrs"));
        let uses = pick("token_num_uses", "num_uses");
        self.legacy = legacy;
        replace(&mut self.token_ttl, fields.seconds(&ttl)?);
        replace(&mut self.token_max_ttl, fields.seconds(&max)?);
        replace(&mut self.token_period, fields.seconds(&period)?);
        replace(&mut self.token_explicit_max_ttl, fields.seconds("token_explicit_max_ttl")?);
        replace(&mut self.token_policies, fields.comma_list(&policies)?.map(normal_policies));
        replace(&mut self.token_bound_cidrs, fields.comma_list(&cidrs)?);
        replace(&mut self.token_strictly_bind_ip, fields.bool("token_strictly_bind_ip")?);
        replace(&mut self.token_no_default_policy, fields.bool("token_no_default_policy")?);
        replace(&mut self.token_num_uses, fields.count(&uses)?);
        if let Some(text) = fields.string("token_type")? {
            self.token_type = match text.as_str() {
                // As clients send it that have nothing to say.
                "" => TokenType::default(),
                _ => serde_json::from_value(Value::String(text.clone()))
                    .map_err(|_| Error::bad_request(format!("invalid 'token_type' value {text:?}")))?,
            };
        }
        if matches!(self.token_type, TokenType::Batch | TokenType::DefaultBatch) {
            let text = "'token_type' cannot be 'batch' or 'default_batch' when set to generate";
            if self.token_period > 0 {
                return Err(Error::bad_request(format!("{text} periodic tokens")));
            }
            if self.token_num_uses > 0 {
                return Err(Error::bad_request(format!("{text} tokens with limited use count")));
            }
        }
        if self.token_max_ttl > 0 && self.token_ttl > self.token_max_ttl {
            return Err(Error::bad_request("'token_ttl' cannot be greater than 'token_max_ttl'"));
        }
        Ok(())
    }

    /// Binds the token of a login to the caller's address, where the role says so. Whether `token_bound_cidrs` admit that
    /// address was the method's to check.
    ///
    /// # Errors
    /// 400 when the caller has none that is known.
    pub fn bind(&mut self, caller: Option<IpAddr>) -> Result<(), Error> {
        if self.token_strictly_bind_ip {
            let text = "token_strictly_bind_ip: the role's tokens are for one address, and yours is not known";
            let address = caller.ok_or_else(|| Error::bad_request(text))?;
            self.token_bound_cidrs = vec![address.to_canonical().to_string()];
        }
        Ok(())
    }

    /// The policies of the tokens, `default` included unless it is unwanted.
    pub fn policies(&self) -> Vec<String> {
        let default = (!self.token_no_default_policy).then(|| "default".to_owned());
        normal_policies(self.token_policies.iter().cloned().chain(default).collect())
    }

    /// Adds the settings to the answer of a role's read, deprecated twins included where they were used.
    pub fn describe(&self, data: &mut Map<String, Value>) {
        let kind = match self.token_type {
            TokenType::Default => json!("default"),
            other => json!(other),
        };
        let own = [
            ("token_ttl", json!(self.token_ttl)),
            ("token_max_ttl", json!(self.token_max_ttl)),
            ("token_period", json!(self.token_period)),
            ("token_explicit_max_ttl", json!(self.token_explicit_max_ttl)),
            ("token_policies", json!(self.token_policies)),
            ("token_bound_cidrs", json!(self.token_bound_cidrs)),
            ("token_strictly_bind_ip", json!(self.token_strictly_bind_ip)),
            ("token_no_default_policy", json!(self.token_no_default_policy)),
            ("token_num_uses", json!(self.token_num_uses)),
            ("token_type", kind),
        ];
        for (name, value) in own {
            if let Some(old) = name.strip_prefix("token_").filter(|old| self.legacy.iter().any(|used| used == old)) {
                data.insert(old.to_owned(), value.clone());
            }
            data.insert(name.to_owned(), value);
        }
    }
}

fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Policy names as Vault keeps them: trimmed, lower case, sorted, without duplicates.
pub fn normal_policies(names: Vec<String>) -> Vec<String> {
    let mut names: Vec<_> =
        names.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_one_address_only_where_its_role_says_so() {
        let caller = Some("::ffff:10.0.0.9".parse().unwrap());
        let mut params = TokenParams { token_bound_cidrs: vec!["10.0.0.0/8".into()], ..TokenParams::default() };
        params.bind(caller).unwrap();
        assert_eq!(params.token_bound_cidrs, ["10.0.0.0/8"]);
        params.token_strictly_bind_ip = true;
        assert_eq!(params.bind(None).unwrap_err().status(), 400);
        params.bind(caller).unwrap();
        assert_eq!(params.token_bound_cidrs, ["10.0.0.9"]);
    }
}
