//! PostgreSQL: users as roles, made in one transaction, prolonged by `VALID UNTIL`, dropped with their sessions and objects.

mod config;
mod drop_role;
mod failure;
mod pool;
mod scram;
mod url;

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use self::config::{Config, Passwords};
use self::failure::Step;
use self::pool::Pool;
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

/// SQLSTATE: the object, here always the role, does not exist.
const ABSENT_OBJECT: &str = "42704";

/// One server (or several hosts of one).
struct Postgres {
    pool: Pool,
    passwords: Passwords,
    random: Arc<dyn Random>,
    /// Turns at hashing: one for each processor, so that a crowd of requests leaves some for everything else.
    hashing: Semaphore,
}

impl Postgres {
    fn new(settings: Settings) -> Result<Self, Error> {
        let config = Config::read(&settings.fields)?;
        let pool = Pool::new(config.connector, config.limits);
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let hashing = Semaphore::new(processors);
        Ok(Self { pool, passwords: config.passwords, random: settings.random, hashing })
    }

    /// The password as it goes into a statement: a SCRAM verifier, so that no log of the server holds the password.
    async fn stated(&self, password: &Secret) -> Result<Secret, Error> {
        if self.passwords == Passwords::Clear {
            return Ok(password.clone());
        }
        let stopping = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(Kind::Connect, "the engine is stopping").caused_by(cause)
        };
        let _turn = self.hashing.acquire().await.map_err(|error| stopping(error.into()))?;
        let (password, random) = (password.clone(), self.random.clone());
        // A millisecond or more of pure computing: too long for a thread that serves others.
        let hashed = tokio::task::spawn_blocking(move || scram::verifier(&password, &*random));
        hashed.await.map_err(|error| stopping(error.into()))
    }

    /// Fills the statements in and runs them as one transaction.
    async fn change(
        &self,
        username: &str,
        password: Option<&Secret>,
        expires: Option<Timestamp>,
        statements: &[String],
    ) -> Result<(), Error> {
        sql::check_value("username", username)?;
        let stated = match password {
            None => None,
            Some(password) => {
                sql::check_value("password", password.expose())?;
                Some(self.stated(password).await?)
            }
        };
        let expiration = expires.map(timestamp);
        let mut values = vec![("name", username), ("username", username)];
        values.extend(stated.as_ref().map(|stated| ("password", stated.expose())));
        values.extend(expiration.as_deref().map(|expiration| ("expiration", expiration)));
        let filled: Vec<_> = statements.iter().map(|statement| sql::fill(statement, &values)).collect();
        let done = self.pool.query(&locked(username, &filled), Step::Execute).await;
        done.map(drop).map_err(|error| error.without(stated.iter().map(Secret::expose)))
    }

    async fn has_role(&self, username: &str) -> Result<bool, Error> {
        let sql = format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}", literal(username));
        Ok(!self.pool.query(&sql, Step::Execute).await?.is_empty())
    }
}

#[async_trait]
impl Driver for Postgres {
    async fn verify(&self) -> Result<(), Error> {
        self.pool.query("SELECT 1", Step::Execute).await.map(drop)
    }

    async fn create(&self, user: NewUser<'_>) -> Result<(), Error> {
        let statements = sql::statements(user.statements, sql::has_end);
        if statements.is_empty() {
            return Err(Error::new(Kind::Config, "empty creation statements"));
        }
        self.change(user.username, Some(user.password), Some(user.expires), &statements).await
    }

    async fn update(&self, change: Change<'_>) -> Result<(), Error> {
        let mut statements = sql::statements(change.statements, |_| false);
        if statements.is_empty() {
            let password = change.password.map(|_| "ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}'".to_owned());
            let expiry = change.expires.map(|_| "ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'".to_owned());
            statements.extend(password.into_iter().chain(expiry));
        }
        self.change(change.username, change.password, change.expires, &statements).await
    }

    async fn delete(&self, user: DropUser<'_>) -> Result<(), Error> {
        sql::check_value("username", user.username)?;
        let statements = sql::statements(user.statements, sql::has_end);
        if statements.is_empty() {
            return drop_role::drop_role(&self.pool, user.username).await;
        }
        if !drop_role::end_logins(&self.pool, user.username).await? {
            return Ok(());
        }
        match self.change(user.username, None, None, &statements).await {
            // Whoever dropped the role meanwhile has done the statements' work.
            Err(error) if refused_with(&error, ABSENT_OBJECT) && !self.has_role(user.username).await? => Ok(()),
            done => done,
        }
    }

    async fn close(&self) {
        self.pool.close();
    }
}

/// One message that runs `statements` as one transaction, after any other transaction of ours on the same user has ended.
///
/// The lock keeps a creation that the server is still running, though nobody waits for it any more (a time-out, a restart of
/// the engine), from committing after the user's revocation: the revocation waits for it.
fn locked(username: &str, statements: &[String]) -> String {
    let key = i64::from_ne_bytes(fnv(username).to_ne_bytes());
    // A statement may end in a comment, so each separator stands on a line of its own.
    format!("BEGIN;\nSELECT pg_catalog.pg_advisory_xact_lock({key});\n{}\n;\nCOMMIT", statements.join("\n;\n"))
}

/// FNV-1a: two names that share a number only wait for each other.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A moment as statements have it: `2026-01-02 15:04:05+0000`.
fn timestamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S+0000").to_string()
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal under `standard_conforming_strings`, which every supported server has on.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether the server refused a statement with that SQLSTATE.
fn refused_with(error: &Error, state: &str) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.and_then(tokio_postgres::Error::code).is_some_and(|code| code.code() == state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_survives_comments_at_the_end_of_statements() {
        let sql = locked("u", &["A -- note".to_owned(), "B".to_owned()]);
        assert!(sql.starts_with("BEGIN;\nSELECT pg_catalog.pg_advisory_xact_lock("));
        assert!(sql.ends_with("A -- note\n;\nB\n;\nCOMMIT"), "{sql}");
    }

    #[test]
    fn names_texts_and_moments_have_the_servers_form() {
        assert_eq!((identifier("a\"b").as_str(), literal("a'b").as_str()), ("\"a\"\"b\"", "'a''b'"));
        assert_eq!(timestamp(Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00+0000");
    }
}
