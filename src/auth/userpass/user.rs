//! A user: the hash of its password and the tokens that it gets.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::objects::Object;
use crate::auth::{TokenParams, cidr};
use crate::wire::{Error, Fields};

/// A stored user. It has no `Debug`, since a hash can be guessed at.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct User {
    /// bcrypt's text form.
    pub hash: String,
    pub token: TokenParams,
}

impl Object for User {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        self.token.merge(fields)?;
        cidr::check("token_bound_cidrs", &self.token.token_bound_cidrs)
    }

    fn describe(&self) -> Map<String, Value> {
        let mut data = Map::new();
        self.token.describe(&mut data);
        data
    }
}
