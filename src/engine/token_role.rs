//! `auth/token/roles/…`: what tokens of a role may and must be.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::core::Core;
use super::request::Reply;
use super::token::Tokens;
use crate::auth::token_params::normal_policies;
use crate::auth::{TokenType, cidr};
use crate::base::glob;
use crate::storage::{Error as StorageError, Version};
use crate::wire::{Answer, Error, Fields, Operation};

/// A role of the token method, in Vault's names; durations in whole seconds, 0 is unset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    pub allowed_policies: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub allowed_policies_glob: Vec<String>,
    pub disallowed_policies_glob: Vec<String>,
    pub allowed_entity_aliases: Option<Vec<String>>,
    pub orphan: bool,
    pub renewable: bool,
    pub path_suffix: String,
    pub token_type: TokenType,
    pub token_no_default_policy: bool,
    pub token_num_uses: u64,
    pub token_period: u64,
    pub token_explicit_max_ttl: u64,
    pub token_bound_cidrs: Vec<String>,
    /// Deprecated twins that were used at write time and are echoed on reading.
    pub legacy: Vec<String>,
}

impl Role {
    fn new() -> Self {
        Self { renewable: true, token_type: TokenType::DefaultService, ..Self::default() }
    }

    /// Takes over the fields that were sent and keeps the rest; the warnings are for the caller.
    fn merge(&mut self, fields: &Fields) -> Result<Vec<String>, Error> {
        let lists = [
            ("allowed_policies", &mut self.allowed_policies),
            ("disallowed_policies", &mut self.disallowed_policies),
            ("allowed_policies_glob", &mut self.allowed_policies_glob),
            ("disallowed_policies_glob", &mut self.disallowed_policies_glob),
        ];
        for (name, slot) in lists {
            if let Some(names) = fields.comma_list(name)? {
                *slot = normal_policies(names);
            }
        }
        if let Some(aliases) = fields.comma_list("allowed_entity_aliases")? {
            self.allowed_entity_aliases = Some(normal_policies(aliases));
        }
        replace(&mut self.orphan, fields.bool("orphan")?);
        replace(&mut self.renewable, fields.bool("renewable")?);
        replace(&mut self.token_no_default_policy, fields.bool("token_no_default_policy")?);
        replace(&mut self.token_num_uses, fields.count("token_num_uses")?);
        if let Some(suffix) = fields.string("path_suffix")? {
            let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
            if suffix.contains("..") || suffix.contains(odd) {
                return Err(Error::bad_request("given role path suffix contains invalid characters"));
            }
            self.path_suffix = suffix.trim_matches('/').to_owned();
        }
        if let Some(text) = fields.string("token_type")? {
            self.token_type = match text.as_str() {
                "service" => TokenType::Service,
                "batch" => TokenType::Batch,
                "" | "default-service" => TokenType::DefaultService,
                "default-batch" => TokenType::DefaultBatch,
                _ => return Err(Error::bad_request(format!("invalid 'token_type' value {text:?}"))),
            };
        }
        let warnings = self.merge_twins(fields)?;
        self.check_batch()?;
        Ok(warnings)
    }

    /// The fields that have a deprecated twin.
    fn merge_twins(&mut self, fields: &Fields) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        for old in ["period", "explicit_max_ttl", "bound_cidrs"] {
            let new = format!("token_{old}");
            let name = match (fields.has(&new), fields.has(old)) {
                (false, false) => continue,
                (false, true) => old,
                (true, both) => {
                    if both {
                        warnings.push(format!(
                            "Both '{new}' and deprecated '{old}' value supplied, ignoring the deprecated value"
                        ));
                    }
                    &new
                }
            };
            self.legacy.retain(|used| used != old);
            if name == old {
                self.legacy.push(old.to_owned());
            }
            match old {
                "period" => replace(&mut self.token_period, fields.seconds(name)?),
                "explicit_max_ttl" => replace(&mut self.token_explicit_max_ttl, fields.seconds(name)?),
                _ => {
                    let blocks = fields.comma_list(name)?.unwrap_or_default();
                    cidr::check(name, &blocks)?;
                    self.token_bound_cidrs = blocks;
                }
            }
        }
        Ok(warnings)
    }

    fn check_batch(&self) -> Result<(), Error> {
        let problems = [
            (!self.orphan, "non-orphan tokens"),
            (self.token_period > 0, "periodic tokens"),
            (self.renewable, "renewable tokens"),
            (self.token_explicit_max_ttl > 0, "tokens with an explicit max TTL"),
        ];
        match problems.iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) if self.token_type == TokenType::Batch => {
                Err(Error::bad_request(format!("'token_type' cannot be 'batch' when role is set to generate {what}")))
            }
            _ => Ok(()),
        }
    }

    fn describe(&self, name: &str) -> Answer {
        let old = |name: &str| self.legacy.iter().any(|used| used == name);
        let mut data = json!({
            "name": name,
            "allowed_policies": self.allowed_policies, "disallowed_policies": self.disallowed_policies,
            "allowed_policies_glob": self.allowed_policies_glob,
            "disallowed_policies_glob": self.disallowed_policies_glob,
            "allowed_entity_aliases": self.allowed_entity_aliases,
            "orphan": self.orphan, "renewable": self.renewable, "path_suffix": self.path_suffix,
            "token_type": self.token_type, "token_no_default_policy": self.token_no_default_policy,
            "token_period": self.token_period, "token_explicit_max_ttl": self.token_explicit_max_ttl,
            "period": if old("period") { self.token_period } else { 0 },
            "explicit_max_ttl": if old("explicit_max_ttl") { self.token_explicit_max_ttl } else { 0 },
        });
        if !self.token_bound_cidrs.is_empty() {
            data["token_bound_cidrs"] = json!(self.token_bound_cidrs);
            if old("bound_cidrs") {
                data["bound_cidrs"] = json!(self.token_bound_cidrs);
            }
        }
        if self.token_num_uses > 0 {
            data["token_num_uses"] = json!(self.token_num_uses);
        }
        Answer::data(data)
    }

    /// Whether the role itself says which policies its tokens may have; otherwise the parent's rule holds.
    pub fn decides_policies(&self) -> bool {
        let lists = [
            &self.allowed_policies,
            &self.allowed_policies_glob,
            &self.disallowed_policies,
            &self.disallowed_policies_glob,
        ];
        lists.iter().any(|list| !list.is_empty())
    }

    /// The policies of a token that asks for `asked`, by a role that [decides](Role::decides_policies).
    ///
    /// # Errors
    /// 400 for a policy that the role does not allow.
    pub fn policies(&self, asked: Vec<String>, parent: &[String], no_default: bool) -> Result<Vec<String>, Error> {
        let add_default = !no_default && !self.token_no_default_policy && !self.disallows("default");
        let with_default = |mut names: Vec<String>| {
            if add_default {
                names.push("default".to_owned());
            }
            normal_policies(names)
        };
        let restricted = !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty();
        let mut policies = match (asked.is_empty(), restricted) {
            (false, _) => with_default(asked),
            (true, true) => with_default(self.allowed_policies.clone()),
            (true, false) => with_default(parent.to_vec()),
        };
        let allowed = with_default(self.allowed_policies.clone());
        let may = |name: &String| allowed.contains(name) || any_glob(&self.allowed_policies_glob, name);
        if restricted && !policies.iter().all(may) {
            return Err(Error::bad_request(format!(
                "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
                quoted(&policies),
                quoted(&allowed),
                quoted(&self.allowed_policies_glob)
            )));
        }
        if let Some(name) = policies.iter().find(|name| self.disallows(name)) {
            return Err(Error::bad_request(format!("token policy {name:?} is disallowed by this role")));
        }
        if no_default {
            policies.retain(|name| name != "default");
        }
        Ok(policies)
    }

    fn disallows(&self, name: &str) -> bool {
        self.disallowed_policies.iter().any(|other| other == name) || any_glob(&self.disallowed_policies_glob, name)
    }
}

fn any_glob(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob::matches(pattern, name))
}

/// A list as Go prints it: `["a" "b"]`.
fn quoted(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

fn replace<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

impl Tokens {
    /// A role, and its version for a write.
    ///
    /// # Errors
    /// What the store says.
    pub async fn role(&self, name: &str) -> Result<Option<(Role, Version)>, StorageError> {
        self.view.get(&format!("role/{name}")).await
    }
}

impl Core {
    pub(super) async fn token_roles(&self, name: &str, operation: Operation, fields: &Fields) -> Result<Reply, Error> {
        let key = format!("role/{name}");
        match operation {
            Operation::List if name.is_empty() => {
                Ok(Reply::answer(Answer::keys(self.tokens.view.list("role/").await?)?))
            }
            _ if name.is_empty() => Err(Error::unsupported_operation()),
            _ if name.contains('/') => Err(Error::unsupported_path()),
            Operation::Read => {
                let (role, _) = self.tokens.role(name).await?.ok_or_else(Error::not_found)?;
                Ok(Reply::answer(role.describe(name)))
            }
            Operation::Write => loop {
                let (mut role, version) = self.tokens.role(name).await?.unwrap_or_else(|| (Role::new(), 0));
                let warnings = role.merge(fields)?;
                match self.tokens.view.put_if(&key, &role, version).await {
                    Err(StorageError::Conflict(_)) => {}
                    done => {
                        done?;
                        break Ok(Reply::answer(warnings.into_iter().fold(Answer::empty(), Answer::warn)));
                    }
                }
            },
            Operation::Delete => {
                self.tokens.view.delete(&key).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(fields: serde_json::Value) -> Result<Role, Error> {
        let mut role = Role::new();
        role.merge(&Fields::from(fields.as_object().unwrap().clone())).map(|_| role)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_role_says_which_policies_its_tokens_get() {
        let allowing = role(json!({ "allowed_policies": "a,B", "allowed_policies_glob": ["team-*"] })).unwrap();
        let parent = names(&["p"]);
        assert_eq!(allowing.policies(vec![], &parent, false).unwrap(), ["a", "b", "default"]);
        assert_eq!(allowing.policies(names(&["a", "team-x"]), &parent, true).unwrap(), ["a", "team-x"]);
        let error = allowing.policies(names(&["c"]), &parent, false).unwrap_err().to_string();
        let expected = "token policies ([\"c\" \"default\"]) must be subset of the role's allowed policies \
                        ([\"a\" \"b\" \"default\"]) or glob policies ([\"team-*\"])";
        assert_eq!(error, expected);
        let refusing = role(json!({ "disallowed_policies": "p", "disallowed_policies_glob": "x*" })).unwrap();
        let error = refusing.policies(vec![], &parent, false).unwrap_err().to_string();
        assert_eq!(error, "token policy \"p\" is disallowed by this role");
        assert!(refusing.policies(names(&["x1"]), &parent, false).is_err());
        assert_eq!(refusing.policies(names(&["root2"]), &parent, false).unwrap(), ["default", "root2"]);
        let bare = role(json!({ "disallowed_policies": "default" })).unwrap();
        assert_eq!(bare.policies(vec![], &parent, false).unwrap(), ["p"]);
        assert!(!role(json!({})).unwrap().decides_policies());
    }

    #[test]
    fn batch_roles_make_nothing_that_a_batch_token_cannot_be() {
        let text = |fields| role(fields).unwrap_err().to_string();
        let non_orphan = "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens";
        assert_eq!(text(json!({ "token_type": "batch" })), non_orphan);
        assert!(text(json!({ "token_type": "batch", "orphan": true })).ends_with("renewable tokens"));
        assert!(role(json!({ "token_type": "batch", "orphan": true, "renewable": false })).is_ok());
        assert_eq!(text(json!({ "token_type": "x" })), "invalid 'token_type' value \"x\"");
        assert!(text(json!({ "bound_cidrs": "10.0.0.0/40" })).contains("bound_cidrs"));
    }

    #[test]
    fn deprecated_names_are_echoed_where_they_were_used() {
        let old = role(json!({ "period": "1h" })).unwrap().describe("r").data.unwrap();
        assert_eq!((&old["period"], &old["token_period"]), (&json!(3600), &json!(3600)));
        let new = role(json!({ "token_period": 60 })).unwrap().describe("r").data.unwrap();
        assert_eq!((&new["period"], &new["token_period"]), (&json!(0), &json!(60)));
    }
}
