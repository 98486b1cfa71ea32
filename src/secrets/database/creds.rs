//! `creds/:role`: a credential described first, and made once its lease is recorded.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::connection::{Connection, Connections};
use super::credential::{self, Wanted};
use super::role::{Role, Roles};
use super::rotation::Rotation;
use super::spares::{Origin, Spare, Spares};
use super::{answered, username};
use crate::base::clock::add;
use crate::base::{Gate, Secret, Timestamp};
use crate::drivers::{self, Credential};
use crate::secrets::{Make, Offer, Outcome, Setup};
use crate::wire::{Error, Kind, Request};

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
    /// Used once the role is gone.
    #[serde(default = "yes")]
    pub(super) end_sessions: bool,
}

fn yes() -> bool {
    true
}

/// The expiry that the database is told for a lease that ends at `lease`.
pub(super) fn database_expiry(lease: Timestamp) -> Timestamp {
    add(lease, MARGIN)
}

/// Where credentials come from.
pub(super) struct Source<'a> {
    pub(super) setup: &'a Setup,
    pub(super) connections: &'a Connections,
    pub(super) roles: &'a Roles,
    pub(super) spares: &'a Arc<Spares>,
    pub(super) rotation: &'a Arc<Rotation>,
}

/// A role and its connection, as one credential is made from them.
struct Recipe {
    name: String,
    role: Role,
    wanted: Wanted,
    creation: Vec<String>,
    connection: Connection,
    origin: Origin,
}

impl Source<'_> {
    /// Describes a credential of a role for whoever asks. Nothing has happened in the database yet.
    ///
    /// # Errors
    /// 400 for an unknown role, one that its connection does not allow, or a wrong `ttl`.
    pub(super) async fn offer(&self, role_name: &str, request: &Request) -> Result<Outcome, Error> {
        let recipe = self.recipe(role_name).await?;
        let mut offer = match self.spares.take(role_name, recipe.origin) {
            Some(spare) => self.hand_over(recipe, spare)?,
            None => self.fresh(recipe, &request.caller.display_name, true)?,
        };
        offer.requested = request.fields.seconds("ttl")?;
        Ok(Outcome::Lease(offer))
    }

    /// Describes a user that may not log in yet.
    ///
    /// # Errors
    /// As [`Source::offer`], and 400 when the database cannot keep users from logging in.
    pub(super) async fn spare(&self, role_name: &str) -> Result<(Offer, Origin), Error> {
        let recipe = self.recipe(role_name).await?;
        if !recipe.connection.spec.capabilities.disables_logins {
            return Err(Error::bad_request(format!("role {role_name:?}: this database cannot keep spares")));
        }
        let origin = recipe.origin;
        Ok((self.fresh(recipe, "spare", false)?, origin))
    }

    /// What a role's spares are to be made from now; `None` for a role that wants none, or is gone.
    ///
    /// # Errors
    /// As [`Source::offer`].
    pub(super) async fn wanted(&self, role_name: &str) -> Result<Option<(u32, Origin)>, Error> {
        match self.roles.get(role_name).await? {
            Some(role) if role.spares > 0 => {
                let recipe = self.recipe(role_name).await?;
                Ok(Some((role.spares, recipe.origin)))
            }
            _ => Ok(None),
        }
    }

    async fn recipe(&self, role_name: &str) -> Result<Recipe, Error> {
        let unknown = || Error::bad_request(format!("unknown role: {role_name}"));
        let (role, version) = self.roles.stored(role_name).await?.ok_or_else(unknown)?;
        let connection = self.connections.get(&role.db_name).await?;
        connection.check_role(role_name)?;
        if !connection.spec.credentials.contains(&role.credential_type.as_str()) {
            return Err(Error::bad_request(format!("unsupported credential_type: {:?}", role.credential_type)));
        }
        let creation = role.creation(connection.spec)?;
        if creation.is_empty() && connection.spec.capabilities.needs_creation_statements {
            return Err(Error::bad_request(format!("role {role_name:?}: empty creation statements")));
        }
        let origin = Origin { role: version, connection: connection.version };
        let wanted = role.wanted()?;
        Ok(Recipe { name: role_name.to_owned(), role, wanted, creation, connection, origin })
    }

    /// A user that is yet to be made.
    fn fresh(&self, recipe: Recipe, display_name: &str, login: bool) -> Result<Offer, Error> {
        let Setup { clock, random, .. } = self.setup;
        let Recipe { connection, name, wanted, .. } = &recipe;
        let template = wanted.username_template(&connection.username_template);
        let username = username::make(template, connection.spec, display_name, name, clock, random)?;
        let make = Making {
            connection: recipe.connection.clone(),
            name: recipe.role.db_name.clone(),
            username: username.clone(),
            statements: recipe.creation.clone(),
            wanted: recipe.wanted.clone(),
            setup: self.setup.clone(),
            rotation: self.rotation.clone(),
            rollback: recipe.role.rollback_statements.clone(),
            mark: mark(&self.setup.uuid, &recipe.role.db_name),
            login,
        };
        self.describe(recipe, username, None, Box::new(make))
    }

    /// A user that is there already.
    fn hand_over(&self, recipe: Recipe, spare: Spare) -> Result<Offer, Error> {
        let Spare { lease, username, password, .. } = spare;
        let make = HandingOver {
            connection: recipe.connection.clone(),
            setup: self.setup.clone(),
            rotation: self.rotation.clone(),
            name: recipe.role.db_name.clone(),
            username: username.clone(),
            password,
            role: recipe.name.clone(),
            spares: self.spares.clone(),
        };
        self.describe(recipe, username, Some(lease), Box::new(make))
    }

    fn describe(
        &self,
        recipe: Recipe,
        username: String,
        stocked: Option<String>,
        make: Box<dyn Make>,
    ) -> Result<Offer, Error> {
        let Recipe { role, origin, name, .. } = recipe;
        let terms = role.terms();
        let record = Record {
            username,
            connection: role.db_name.clone(),
            end_sessions: role.end_sessions,
            role: name.clone(),
            revocation_statements: role.revocation_statements,
        };
        let record = serde_json::to_value(record)
            .map_err(|error| Error::internal("the lease's record cannot be written").caused_by(error))?;
        let expect =
            vec![(self.roles.key(&name), origin.role), (self.connections.key(&role.db_name), origin.connection)];
        Ok(Offer { terms, requested: None, renewable: true, group: role.db_name, record, stocked, expect, make })
    }
}

/// What users of a connection carry, so that those that no lease names can be told from others'.
pub(super) fn mark(mount_uuid: &str, connection: &str) -> String {
    format!("lessor {mount_uuid}/{connection}")
}

/// Makes a user.
struct Making {
    connection: Connection,
    name: String,
    username: String,
    statements: Vec<String>,
    rollback: Vec<String>,
    wanted: Wanted,
    mark: String,
    login: bool,
    setup: Setup,
    rotation: Arc<Rotation>,
}

#[async_trait]
impl Make for Making {
    async fn make(self: Box<Self>, expires: Timestamp, recorded: Gate) -> Result<Map<String, Value>, Error> {
        let expires = database_expiry(expires);
        let connection = (&*self.name, &*self.connection.password_policy, &self.connection.ahead);
        let made = credential::make(&self.wanted, connection, &self.setup, &self.username, expires).await?;
        let user = drivers::NewUser {
            username: &self.username,
            credential: made.driver_credential(),
            expires,
            statements: &self.statements,
            rollback: &self.rollback,
            mark: &self.mark,
            login: self.login,
        };
        if let Err(error) = self.connection.driver.create(user, &recorded).await {
            return Err(failed(&self.rotation, &self.connection, &self.name, error).await);
        }
        // A spare is tried when it is handed out: before, nobody may log in as it.
        if let (true, Credential::Password { password, .. }) = (self.login, made.driver_credential()) {
            probe(&self.connection, &self.setup, &self.username, password).await?;
        }
        Ok(made.answer(&self.username))
    }
}

/// Lets a user that was made ahead log in.
struct HandingOver {
    connection: Connection,
    setup: Setup,
    rotation: Arc<Rotation>,
    name: String,
    username: String,
    password: Secret,
    role: String,
    spares: Arc<Spares>,
}

#[async_trait]
impl Make for HandingOver {
    async fn make(self: Box<Self>, expires: Timestamp, recorded: Gate) -> Result<Map<String, Value>, Error> {
        let change = drivers::Change {
            username: &self.username,
            credential: None,
            expires: Some(database_expiry(expires)),
            login: Some(true),
            statements: &[],
        };
        match self.connection.driver.update(change, &recorded).await {
            Ok(()) => {}
            // Somebody dropped the spare behind our back: the caller gets another.
            Err(error) if error.kind() == drivers::Kind::Absent => {
                self.spares.distrust(&self.role);
                return Err(Error::new(Kind::Unavailable, "the spare was dropped outside").caused_by(error));
            }
            Err(error) => return Err(failed(&self.rotation, &self.connection, &self.name, error).await),
        }
        probe(&self.connection, &self.setup, &self.username, &self.password).await?;
        Ok(answer(&self.username, &self.password))
    }
}

/// What a user's making ended with. A login that was refused while the connection's own password changed is no fault of
/// anybody's: the request is answered anew, over the connection as it is then.
async fn failed(rotation: &Rotation, connection: &Connection, name: &str, error: drivers::Error) -> Error {
    if error.kind() == drivers::Kind::Refused && rotation.has_moved(name, connection.version).await {
        return Error::new(Kind::Unavailable, "the connection's password was changed at this moment").caused_by(error);
    }
    answered(name, error)
}

/// Waits until the user can log in wherever its connection's probe looks, if it has one.
async fn probe(connection: &Connection, setup: &Setup, username: &str, password: &Secret) -> Result<(), Error> {
    match &connection.probe {
        Some(probe) => probe.log_in(username, password, &setup.clock, &setup.random).await,
        None => Ok(()),
    }
}

fn answer(username: &str, password: &Secret) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("username".into(), json!(username));
    data.insert("password".into(), json!(password.expose()));
    data
}
