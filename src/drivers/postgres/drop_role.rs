//! Dropping a role for good: no login, no sessions, no objects, no role. Every step may be repeated.

use super::pool::Session;
use super::{Postgres, failure, quote_identifier, quote_literal};
use crate::drivers::{Error, Kind};

/// How long ending one session may take, milliseconds.
const SESSION_MS: u32 = 5000;

/// Ends `username`; with `statements` of its own instead of `DROP ROLE`, if there are any. An absent role is success.
pub(super) async fn drop_role(postgres: &Postgres, username: &str, statements: &[String]) -> Result<(), Error> {
    let session = postgres.pool.get().await?;
    let result = run(postgres, &session, username, statements).await;
    session.settle(&result);
    result
}

async fn run(postgres: &Postgres, session: &Session, username: &str, statements: &[String]) -> Result<(), Error> {
    let role = quote_identifier(username);
    // First of all, and in a transaction of its own: from here on nobody logs in with it.
    match session.client().batch_execute(&format!("ALTER ROLE {role} NOLOGIN")).await {
        Err(error) if failure::state(&error) == UNDEFINED_OBJECT => return Ok(()),
        Err(error) => return Err(failure::execute(&error)),
        Ok(()) => end_sessions(session, username).await?,
    }
    let own = if statements.is_empty() { vec![format!("DROP ROLE IF EXISTS {role}")] } else { statements.to_vec() };
    match session.client().batch_execute(&own.join(";\n")).await {
        Ok(()) => Ok(()),
        Err(error) if failure::state(&error) == DEPENDENT_OBJECTS && statements.is_empty() => {
            release_everything(postgres, session, username).await?;
            session.client().batch_execute(&own.join(";\n")).await.map_err(|error| failure::execute(&error))
        }
        Err(error) => Err(failure::execute(&error)),
    }
}

const UNDEFINED_OBJECT: &str = "42704";
const DEPENDENT_OBJECTS: &str = "2BP01";
const NOT_ALLOWED: &str = "42501";

/// Ends the role's sessions. That takes membership in the role, which an admin who may create roles can give itself.
async fn end_sessions(session: &Session, username: &str) -> Result<(), Error> {
    let end = format!(
        "SELECT pg_terminate_backend(pid, {SESSION_MS}) FROM pg_stat_activity WHERE usename = {}",
        quote_literal(username)
    );
    match session.client().batch_execute(&end).await {
        Err(error) if failure::state(&error) == NOT_ALLOWED => {
            become_member(session, username).await?;
            session.client().batch_execute(&end).await.map_err(|error| failure::execute(&error))
        }
        result => result.map_err(|error| failure::execute(&error)),
    }
}

async fn become_member(session: &Session, username: &str) -> Result<(), Error> {
    let grant = format!("GRANT {} TO CURRENT_USER", quote_identifier(username));
    session.client().batch_execute(&grant).await.map_err(|error| failure::execute(&error))
}

/// Hands over what the role owns and takes back what it was granted, in every database where it has either.
async fn release_everything(postgres: &Postgres, session: &Session, username: &str) -> Result<(), Error> {
    become_member(session, username).await?;
    let databases = "SELECT DISTINCT datname, datname = current_database() FROM pg_shdepend \
        JOIN pg_database d ON d.oid = dbid OR (dbid = 0 AND datname = current_database()) \
        WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)";
    let rows = session.client().query(databases, &[&username]).await.map_err(|error| failure::execute(&error))?;
    let role = quote_identifier(username);
    let release = format!("REASSIGN OWNED BY {role} TO CURRENT_USER;\nDROP OWNED BY {role}");
    for row in rows {
        let (name, current): (String, bool) = (row.get(0), row.get(1));
        let released = if current {
            session.client().batch_execute(&release).await
        } else {
            postgres.pool.other_database(&name).await?.batch_execute(&release).await
        };
        released.map_err(|error| {
            let error = failure::execute(&error);
            let kind = if error.kind() == Kind::Connect { Kind::Connect } else { Kind::Statement };
            Error::new(kind, format!("in database {name:?}: {}", error.message()))
        })?;
    }
    Ok(())
}
