//! What is noted here of people and groups of the directory: policies, and groups that only the engine knows.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::auth::objects::Object;
use crate::auth::token_params::normal_policies;
use crate::wire::{Error, Fields};

/// What `users/` holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct User {
    pub groups: Vec<String>,
    pub policies: Vec<String>,
}

impl Object for User {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(groups) = fields.comma_list("groups")? {
            self.groups = groups;
        }
        if let Some(policies) = fields.comma_list("policies")? {
            self.policies = normal_policies(policies);
        }
        Ok(())
    }

    // Groups are one text, as in Vault.
    fn describe(&self) -> Map<String, Value> {
        Map::from_iter([
            ("groups".to_owned(), json!(self.groups.join(","))),
            ("policies".to_owned(), json!(self.policies)),
        ])
    }
}

/// What `groups/` holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Group {
    pub policies: Vec<String>,
}

impl Object for Group {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(policies) = fields.comma_list("policies")? {
            self.policies = normal_policies(policies);
        }
        Ok(())
    }

    fn describe(&self) -> Map<String, Value> {
        Map::from_iter([("policies".to_owned(), json!(self.policies))])
    }
}
