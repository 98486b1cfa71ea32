//! `creds/:role`: a credential described first, and made once its lease is recorded.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::connection::Connections;
use super::role::Roles;
use super::{answered, password, username};
use crate::base::clock::add;
use crate::base::{Random, Timestamp};
use crate::drivers::{self, Driver};
use crate::secrets::{Make, Offer, Outcome, Setup};
use crate::wire::{Error, Request};

/// How long after its lease a user may still log in by the database's own expiry: the safety net, not the rule.
const MARGIN: Duration = Duration::from_secs(5);

/// What a lease keeps of its credential. It never holds the password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) username: String,
    pub(super) role: String,
    pub(super) connection: String,
    /// Used once the role is gone.
    pub(super) revocation_statements: Vec<String>,
}

/// The expiry that the database is told for a lease that ends at `lease`.
pub(super) fn database_expiry(lease: Timestamp) -> Timestamp {
    add(lease, MARGIN)
}

/// Describes a new credential of `role`. Nothing has happened in the database yet.
///
/// # Errors
/// 400 for an unknown role, one that its connection does not allow, or a wrong `ttl`.
pub(super) async fn offer(
    setup: &Setup,
    connections: &Arc<Connections>,
    roles: &Roles,
    role_name: &str,
    request: &Request,
) -> Result<Outcome, Error> {
    let unknown = || Error::bad_request(format!("unknown role: {role_name}"));
    let role = roles.get(role_name).await?.ok_or_else(unknown)?;
    let connection = connections.get(&role.db_name).await?;
    connection.check_role(role_name)?;
    if !connection.spec.credentials.contains(&role.credential_type.as_str()) {
        return Err(Error::bad_request(format!("unsupported credential_type: {:?}", role.credential_type)));
    }
    if role.creation_statements.is_empty() && connection.spec.capabilities.needs_creation_statements {
        return Err(Error::bad_request(format!("role {role_name:?}: empty creation statements")));
    }
    let username = username::make(
        &connection.username_template,
        connection.spec,
        &request.caller.display_name,
        role_name,
        &setup.clock,
        &setup.random,
    )?;
    let record = Record {
        username: username.clone(),
        role: role_name.to_owned(),
        connection: role.db_name.clone(),
        revocation_statements: role.revocation_statements.clone(),
    };
    let record = serde_json::to_value(record)
        .map_err(|error| Error::internal("the lease's record cannot be written").caused_by(error))?;
    let making = Making {
        driver: connection.driver,
        connection: role.db_name.clone(),
        username,
        statements: role.creation_statements.clone(),
        random: setup.random.clone(),
    };
    Ok(Outcome::Lease(Offer {
        terms: role.terms(),
        requested: request.fields.seconds("ttl")?,
        renewable: true,
        group: role.db_name,
        record,
        make: Box::new(making),
    }))
}

struct Making {
    driver: Arc<dyn Driver>,
    connection: String,
    username: String,
    statements: Vec<String>,
    random: Arc<dyn Random>,
}

#[async_trait]
impl Make for Making {
    async fn make(self: Box<Self>, expires: Timestamp) -> Result<Map<String, Value>, Error> {
        let password = password::generate(&*self.random);
        let user = drivers::NewUser {
            username: &self.username,
            password: &password,
            expires: database_expiry(expires),
            statements: &self.statements,
        };
        self.driver.create(user).await.map_err(|error| answered(&self.connection, error))?;
        let mut data = Map::new();
        data.insert("username".into(), json!(self.username));
        data.insert("password".into(), json!(password.expose()));
        Ok(data)
    }
}
