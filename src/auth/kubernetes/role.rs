//! A role: which ServiceAccounts it admits, and who owns the leases of their tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::selector::Selector;
use crate::auth::objects::Object;
use crate::auth::{TokenParams, cidr};
use crate::base::glob;
use crate::wire::{Error, Fields, Kind};

const ALIAS_SOURCES: [&str; 2] = ["serviceaccount_uid", "serviceaccount_name"];

/// Who owns leases: our addition to Vault's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OwnerKind {
    /// Vault's rule: the token that asked.
    #[default]
    Token,
    /// The pod that the token is bound to, or the object that the login names.
    Workload,
}

/// A stored role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub names: Vec<String>,
    pub namespaces: Vec<String>,
    /// A LabelSelector as it was written, JSON or YAML; empty for none.
    #[serde(default)]
    pub namespace_selector: String,
    /// Our addition to Vault's two lists, which admit every combination: `NAMESPACE/NAME`, each for itself.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Empty for any.
    pub audience: String,
    pub alias_name_source: String,
    pub lease_owner: OwnerKind,
    pub token: TokenParams,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            namespaces: Vec::new(),
            namespace_selector: String::new(),
            accounts: Vec::new(),
            audience: String::new(),
            alias_name_source: ALIAS_SOURCES[0].to_owned(),
            lease_owner: OwnerKind::Token,
            token: TokenParams::default(),
        }
    }
}

impl Object for Role {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(names) = fields.comma_list("bound_service_account_names")? {
            self.names = names;
        }
        if let Some(namespaces) = fields.comma_list("bound_service_account_namespaces")? {
            self.namespaces = namespaces;
        }
        if let Some(accounts) = fields.comma_list("bound_service_accounts")? {
            self.accounts = accounts;
        }
        if let Some(audience) = fields.string("audience")? {
            self.audience = audience;
        }
        if let Some(source) = fields.string("alias_name_source")?.filter(|source| !source.is_empty()) {
            self.alias_name_source = source;
        }
        if let Some(owner) = fields.string("lease_owner")? {
            self.lease_owner = match owner.as_str() {
                "" | "token" => OwnerKind::Token,
                "workload" => OwnerKind::Workload,
                _ => {
                    return Err(Error::bad_request(format!(
                        "\"lease_owner\" must be token or workload, not {owner:?}"
                    )));
                }
            };
        }
        if let Some(selector) = fields.string("bound_service_account_namespace_selector")? {
            self.namespace_selector = selector;
        }
        self.token.merge(fields)?;
        cidr::check("token_bound_cidrs", &self.token.token_bound_cidrs)?;
        self.check()
    }

    // What Vault does not know is there only where it was set.
    fn describe(&self) -> Map<String, Value> {
        let mut data = Map::from_iter([
            ("alias_name_source".to_owned(), json!(self.alias_name_source)),
            ("bound_service_account_names".to_owned(), json!(self.names)),
            ("bound_service_account_namespaces".to_owned(), json!(self.namespaces)),
            ("bound_service_account_namespace_selector".to_owned(), json!(self.namespace_selector)),
        ]);
        if !self.accounts.is_empty() {
            data.insert("bound_service_accounts".to_owned(), json!(self.accounts));
        }
        if !self.audience.is_empty() {
            data.insert("audience".to_owned(), json!(self.audience));
        }
        if self.lease_owner != OwnerKind::Token {
            data.insert("lease_owner".to_owned(), json!(self.lease_owner));
        }
        self.token.describe(&mut data);
        data
    }
}

impl Role {
    fn check(&self) -> Result<(), Error> {
        if let Some(wrong) = self.accounts.iter().find(|account| halves(account).is_none()) {
            return Err(Error::bad_request(format!(
                "\"bound_service_accounts\": {wrong:?} is not NAMESPACE/NAME, such as shop/web or shop/*"
            )));
        }
        // Accounts by themselves do; half of a combination is still a mistake.
        let by_account = !self.accounts.is_empty() && self.names.is_empty() && self.namespaces.is_empty();
        for (field, list) in
            [("bound_service_account_names", &self.names), ("bound_service_account_namespaces", &self.namespaces)]
        {
            let selected = field == "bound_service_account_namespaces" && !self.namespace_selector.trim().is_empty();
            if list.is_empty() && !by_account && !selected {
                return Err(Error::bad_request(format!("{field:?} can not be empty")));
            }
            if list.len() > 1 && list.iter().any(|item| item == "*") {
                return Err(Error::bad_request(format!("{field:?}: can not mix \"*\" with values")));
            }
        }
        self.selector()?;
        if !ALIAS_SOURCES.contains(&self.alias_name_source.as_str()) {
            return Err(Error::bad_request(format!(
                "\"alias_name_source\" must be one of {ALIAS_SOURCES:?}, not {:?}",
                self.alias_name_source
            )));
        }
        Ok(())
    }

    /// What the labels of namespaces must be, where that is said.
    ///
    /// # Errors
    /// 400 for what is no LabelSelector.
    pub fn selector(&self) -> Result<Option<Selector>, Error> {
        if self.namespace_selector.trim().is_empty() {
            return Ok(None);
        }
        Selector::parse(&self.namespace_selector)
            .map(Some)
            .map_err(|why| Error::bad_request(format!("\"bound_service_account_namespace_selector\": {why}")))
    }

    /// Whether this ServiceAccount may log in; false where that hangs on the labels of its namespace.
    ///
    /// # Errors
    /// 403 saying which of its two names is not bound.
    pub fn admit(&self, namespace: &str, name: &str) -> Result<bool, Error> {
        let admits = |account: &String| {
            halves(account).is_some_and(|(in_namespace, named)| {
                glob::matches(in_namespace, namespace) && glob::matches(named, name)
            })
        };
        if self.accounts.iter().any(admits) {
            return Ok(true);
        }
        if !self.names.iter().any(|pattern| glob::matches(pattern, name)) {
            return Err(Error::new(Kind::Denied, "service account name not authorized"));
        }
        match self.namespaces.iter().any(|pattern| glob::matches(pattern, namespace)) {
            true => Ok(true),
            false if self.namespace_selector.trim().is_empty() => Err(wrong_namespace()),
            false => Ok(false),
        }
    }
}

/// 403 for a ServiceAccount of a namespace that is not bound.
pub(super) fn wrong_namespace() -> Error {
    Error::new(Kind::Denied, "namespace not authorized")
}

/// The namespace and the name of `NAMESPACE/NAME`.
fn halves(account: &str) -> Option<(&str, &str)> {
    account.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
}
