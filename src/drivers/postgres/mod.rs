//! PostgreSQL: users as roles, made in one transaction, prolonged by `VALID UNTIL`, dropped with their sessions and objects.

mod config;
mod drop_role;
mod failure;
mod pool;
mod scram;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use self::config::{Config, Passwords};
use self::pool::{Pool, Session};
use super::{Capabilities, Change, Driver, DropUser, Error, Kind, NewUser, Settings, Spec, UsernameShape, sql};
use crate::base::{Random, Secret, Timestamp};

/// The row of this driver in the table.
pub const SPEC: Spec = Spec {
    plugins: &["postgresql-database-plugin"],
    username: UsernameShape { prefix: "v", separator: '-', display_name: 8, role_name: 8, random: 20, max: 63 },
    credentials: &["password"],
    capabilities: Capabilities { needs_creation_statements: true, expires_users: true, ends_sessions: true },
    secret_fields: &["password", "private_key"],
    connect: |settings| Ok(Arc::new(Postgres::new(settings)?)),
};

/// One server (or several hosts of one).
struct Postgres {
    pool: Pool,
    passwords: Passwords,
    random: Arc<dyn Random>,
    /// Backends that were creating a user when their caller gave up, by user name: what they do is not known to have ended.
    abandoned: Arc<Mutex<HashMap<String, i32>>>,
}

impl Postgres {
    fn new(settings: Settings) -> Result<Self, Error> {
        let config = Config::read(&settings.fields)?;
        let passwords = config.passwords;
        Ok(Self { pool: Pool::new(config), passwords, random: settings.random, abandoned: Arc::default() })
    }

    /// The password as it goes into a statement: a SCRAM verifier, so that no log of the server holds the password.
    fn stated(&self, password: &Secret) -> Secret {
        match self.passwords {
            Passwords::Scram => scram::verifier(password, &*self.random),
            Passwords::Clear => password.clone(),
        }
    }

    /// Runs statements as one transaction: a simple query with several statements is one.
    async fn transaction(&self, session: &Session, statements: &[String]) -> Result<(), Error> {
        session.client().batch_execute(&statements.join(";\n")).await.map_err(|error| failure::execute(&error))
    }

    async fn run(&self, statements: &[String]) -> Result<(), Error> {
        let session = self.pool.get().await?;
        let result = self.transaction(&session, statements).await;
        session.settle(&result);
        result
    }

    /// Ends a backend that may still be creating `username`, so that it cannot create it after it was dropped.
    async fn end_abandoned(&self, username: &str) -> Result<(), Error> {
        let lock = || self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(backend) = lock().get(username).copied() else { return Ok(()) };
        // Waits until the backend has ended; one that is gone already is fine.
        self.run(&[format!("SELECT pg_terminate_backend({backend}, 10000)")]).await?;
        lock().remove(username);
        Ok(())
    }
}

/// Remembers a backend until its work is known to have ended.
struct Creating {
    abandoned: Arc<Mutex<HashMap<String, i32>>>,
    username: String,
}

impl Creating {
    fn start(abandoned: &Arc<Mutex<HashMap<String, i32>>>, username: &str, backend: i32) -> Self {
        abandoned.lock().unwrap_or_else(PoisonError::into_inner).insert(username.to_owned(), backend);
        Self { abandoned: abandoned.clone(), username: username.to_owned() }
    }

    /// The server has answered, or the connection is gone in a way that the server has noticed.
    fn ended(self) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.username);
    }
}

#[async_trait]
impl Driver for Postgres {
    async fn verify(&self) -> Result<(), Error> {
        self.run(&["SELECT 1".to_owned()]).await
    }

    async fn create(&self, user: NewUser<'_>) -> Result<(), Error> {
        let stated = self.stated(user.password);
        let statements = filled(user.statements, user.username, Some(&stated), Some(user.expires))?;
        if statements.is_empty() {
            return Err(Error::new(Kind::Config, "empty creation statements"));
        }
        let session = self.pool.get().await?;
        let creating = Creating::start(&self.abandoned, user.username, session.backend());
        let result = self.transaction(&session, &statements).await;
        session.settle(&result);
        // A connection that broke leaves a backend that may go on: then the entry stays for `delete`.
        if !matches!(&result, Err(error) if error.kind() == Kind::Connect) {
            creating.ended();
        }
        result
    }

    async fn update(&self, change: Change<'_>) -> Result<(), Error> {
        let stated = change.password.map(|password| self.stated(password));
        let name = quote_identifier(change.username);
        let mut statements = filled(change.statements, change.username, stated.as_ref(), change.expires)?;
        if statements.is_empty() {
            if let Some(expires) = change.expires {
                statements.push(format!("ALTER ROLE {name} VALID UNTIL '{}'", timestamp(expires)));
            }
            if let Some(stated) = &stated {
                statements.push(format!("ALTER ROLE {name} WITH PASSWORD {}", quote_literal(stated.expose())));
            }
        }
        self.run(&statements).await
    }

    async fn delete(&self, user: DropUser<'_>) -> Result<(), Error> {
        self.end_abandoned(user.username).await?;
        let statements = filled(user.statements, user.username, None, None)?;
        drop_role::drop_role(self, user.username, &statements).await
    }

    async fn close(&self) {
        self.pool.close();
    }
}

/// The statements of a role's blocks with their placeholders filled in.
fn filled(
    blocks: &[String],
    username: &str,
    password: Option<&Secret>,
    expires: Option<Timestamp>,
) -> Result<Vec<String>, Error> {
    sql::check_value("username", username)?;
    let expiration = expires.map(timestamp);
    let mut values = vec![("name", username), ("username", username)];
    if let Some(password) = password {
        sql::check_value("password", password.expose())?;
        values.push(("password", password.expose()));
    }
    if let Some(expiration) = &expiration {
        values.push(("expiration", expiration));
    }
    let statements = sql::statements(blocks, sql::has_end);
    Ok(statements.iter().map(|statement| sql::fill(statement.trim_end_matches(';'), &values)).collect())
}

/// A moment as statements have it: `2026-01-02 15:04:05+0000`.
fn timestamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S+0000").to_string()
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal under `standard_conforming_strings`, which every supported server has on.
fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_block_by_block() {
        let block = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT x TO \"{{username}}\";";
        let expires = Timestamp::from_second(86_400 + 61).unwrap();
        let statements = filled(&[block.to_owned()], "u", Some(&Secret::new("p")), Some(expires)).unwrap();
        let expected =
            ["CREATE ROLE \"u\" LOGIN PASSWORD 'p' VALID UNTIL '1970-01-02 00:01:01+0000'", "GRANT x TO \"u\""];
        assert_eq!(statements, expected);
        assert!(filled(&[], "u'", None, None).is_err());
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!((quote_identifier("a\"b").as_str(), quote_literal("a'b").as_str()), ("\"a\"\"b\"", "'a''b'"));
    }
}
