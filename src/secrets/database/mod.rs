//! The database engine: connections, roles and credentials (vault-api.md section 3).
//!
//! `connection.rs` keeps and opens connections, `role.rs` keeps roles, `creds.rs` describes a credential before it is made
//! and makes it afterwards, `password.rs` and `username.rs` make its two halves.

mod connection;
mod creds;
mod password;
mod role;
mod username;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use self::connection::Connections;
use self::creds::Record;
use self::role::Roles;
use super::{Outcome, SecretsEngine, Setup, Spec, Terms};
use crate::base::Timestamp;
use crate::drivers;
use crate::wire::{Answer, Error, Kind, Operation, Request};

/// The row of this engine in the table of types.
pub const SPEC: Spec = Spec { kind: "database", open: |setup| Arc::new(Database::new(setup)) };

/// One mount.
struct Database {
    connections: Arc<Connections>,
    roles: Roles,
    setup: Setup,
}

impl Database {
    fn new(setup: Setup) -> Self {
        let connections = Connections::new(setup.view.sub("config"), setup.clock.clone(), setup.random.clone());
        Self { connections: Arc::new(connections), roles: Roles::new(setup.view.sub("role")), setup }
    }

    /// The role behind a lease, for renewal and revocation by its present statements.
    fn record(record: &Value) -> Result<Record, Error> {
        serde_json::from_value(record.clone())
            .map_err(|error| Error::internal("the lease's record cannot be read").caused_by(error))
    }
}

#[async_trait]
impl SecretsEngine for Database {
    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        use Operation::{Delete, List, Patch, Read, Write};
        let segments = request.segments();
        let answer = match (request.operation, &segments[..]) {
            (List, ["config"]) => Answer::keys(self.connections.list().await?)?,
            (List, ["roles"]) => Answer::keys(self.roles.list().await?)?,
            (Write | Patch, ["config", name]) => self.connections.write(name, &request.fields).await?,
            (Read, ["config", name]) => self.connections.read(name).await?,
            (Delete, ["config", name]) => self.connections.delete(name).await?,
            (Write, ["reset", name]) => self.connections.reset(name).await?,
            (Write | Patch, ["roles", name]) => self.roles.write(name, &request.fields).await?,
            (Read, ["roles", name]) => self.roles.read(name).await?,
            (Delete, ["roles", name]) => self.roles.delete(name).await?,
            (Read, ["creds", name]) => {
                return creds::offer(&self.setup, &self.connections, &self.roles, name, &request).await;
            }
            (_, ["config" | "roles"] | ["config" | "roles" | "creds" | "reset", _]) => {
                return Err(Error::unsupported_operation());
            }
            _ => return Err(Error::unsupported_path()),
        };
        Ok(Outcome::Answer(answer))
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split_once('/') {
            Some(("config", name)) => Ok(self.connections.stored(name).await?.is_some()),
            Some(("roles", name)) => Ok(self.roles.get(name).await?.is_some()),
            _ => Ok(true),
        }
    }

    async fn terms(&self, record: &Value) -> Result<Terms, Error> {
        let record = Self::record(record)?;
        let gone = || Error::bad_request(format!("could not find role with name {:?}", record.role));
        Ok(self.roles.get(&record.role).await?.ok_or_else(gone)?.terms())
    }

    async fn renew(&self, record: &Value, expires: Timestamp) -> Result<(), Error> {
        let record = Self::record(record)?;
        let role = self.roles.get(&record.role).await?;
        let statements = role.map(|role| role.renew_statements).unwrap_or_default();
        let connection = self.connections.get(&record.connection).await?;
        let change = drivers::Change {
            username: &record.username,
            password: None,
            expires: Some(creds::database_expiry(expires)),
            statements: &statements,
        };
        connection.driver.update(change).await.map_err(|error| answered(&record.connection, error))
    }

    async fn revoke(&self, record: &Value) -> Result<(), Error> {
        let record = Self::record(record)?;
        let role = self.roles.get(&record.role).await?;
        // The role may be gone, or belong to another connection now: then what the lease remembers counts.
        let role = role.filter(|role| role.db_name == record.connection);
        let statements = role.map_or(record.revocation_statements, |role| role.revocation_statements);
        let connection = self.connections.get(&record.connection).await?;
        let user = drivers::DropUser { username: &record.username, statements: &statements };
        connection.driver.delete(user).await.map_err(|error| answered(&record.connection, error))
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}

/// A driver's error as the caller sees it, with the name of the connection. What a retry may mend is 5xx, so that clients
/// retry only that.
fn answered(connection: &str, error: drivers::Error) -> Error {
    let kind = match error.kind() {
        drivers::Kind::Connect | drivers::Kind::Timeout | drivers::Kind::Refused => Kind::Upstream,
        drivers::Kind::Conflict => Kind::Unavailable,
        drivers::Kind::Config | drivers::Kind::Statement => Kind::BadRequest,
    };
    Error::new(kind, format!("connection {connection:?}: {}", error.message())).caused_by(error)
}

/// Vault's rule for names in paths: word characters, `-` and `.` inside.
///
/// # Errors
/// 400 naming the name.
fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let edge = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().all(inside) && name.starts_with(edge) && name.ends_with(edge) {
        return Ok(());
    }
    Err(Error::bad_request(format!("invalid {what} name {name:?}: use letters, digits, '_', and '-' or '.' inside")))
}

/// A stored list as JSON, always an array.
fn list(items: &[String]) -> Value {
    json!(items)
}
