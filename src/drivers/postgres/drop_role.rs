//! The default end of a PostgreSQL role: no login, no sessions, nothing owned, no privileges, no role.
//!
//! Each step is idempotent and a transaction of its own, so that a revocation that stops half-way is simply begun again.
//! It works for a superuser and for an administrator that has only CREATEROLE: such a one makes itself a member first.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio_postgres::SimpleQueryRow;

use super::batch::{Call, Work};
use super::failure::Step;
use super::grants;
use super::pool::Pool;
use super::transaction::{alone, lock_keys};
use super::{NO_PRIVILEGE, identifier, literal, refused_with};
use crate::drivers::{Error, Kind};

/// How long sessions may take to end.
const SESSIONS_END: Duration = Duration::from_secs(5);

/// SQLSTATE: something still depends on the role.
const STILL_NEEDED: &str = "2BP01";

/// A role that is to go.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    pub username: String,
    pub end_sessions: bool,
}

/// What stands in the way of dropping a role.
struct Remains {
    username: String,
    oid: u32,
    has_sessions: bool,
    is_superuser: bool,
    server_version: u32,
    current_database: String,
    /// Databases in which something belongs to the role or is granted to it.
    databases: Vec<String>,
}

/// Drops roles: those that hold nothing in one transaction, the others one by one.
pub(super) struct Drops(pub Arc<Pool>);

#[async_trait]
impl Work for Drops {
    type Job = Leaving;

    async fn run(&self, calls: Vec<Call<Leaving>>) {
        let users: Vec<_> = calls.iter().map(|call| call.job.username.as_str()).collect();
        let Ok(remains) = disabled(&self.0, &users).await else {
            // One of them may not be changed: only alone it shows which.
            let alone = calls.into_iter().map(|call| async {
                let result = drop_role(&self.0, &call.job).await;
                call.finish(result);
            });
            join_all(alone).await;
            return;
        };
        let bare = |call: &Call<Leaving>| {
            let found = remains.iter().find(|remains| remains.username == call.job.username);
            found.is_none_or(|remains| !remains.holds(call.job.end_sessions))
        };
        let (bare, held): (Vec<_>, Vec<_>) = calls.into_iter().partition(bare);
        let names: Vec<_> = bare.iter().map(|call| call.job.username.as_str()).collect();
        let dropped = match &names[..] {
            [] => Ok(()),
            names => drop_now(&self.0, names).await,
        };
        let again = match dropped {
            Ok(()) => {
                bare.into_iter().for_each(|call| call.finish(Ok(())));
                held
            }
            Err(_) => bare.into_iter().chain(held).collect(),
        };
        let rest = again.into_iter().map(|call| async {
            let result = drop_role(&self.0, &call.job).await;
            call.finish(result);
        });
        join_all(rest).await;
    }
}

impl Remains {
    fn holds(&self, end_sessions: bool) -> bool {
        (end_sessions && self.has_sessions) || !self.databases.is_empty()
    }
}

/// Drops the role and everything that holds it; an absent role is success.
///
/// # Errors
/// Names what still depends on the role when that is beyond the administrator's rights. The role can no longer log in.
async fn drop_role(pool: &Pool, leaving: &Leaving) -> Result<(), Error> {
    let username = leaving.username.as_str();
    let Some(remains) = disabled(pool, &[username]).await?.pop() else { return Ok(()) };
    if remains.holds(leaving.end_sessions) {
        join(pool, &remains).await?;
        if leaving.end_sessions {
            end_sessions(pool, &remains).await?;
        }
        give_up_objects(pool, &remains).await?;
    }
    match drop_now(pool, &[username]).await {
        Err(error) if refused_with(&error, STILL_NEEDED) => {
            // The remains may have grown since, and only now is it known that ordinary revoking did not do.
            let Some(remains) = rows(pool, &inspection(&[username])).await?.pop() else { return Ok(()) };
            for database in &remains.databases {
                take_back(pool, &remains, database).await?;
            }
            drop_now(pool, &[username]).await
        }
        done => done,
    }
}

/// The first half of dropping: nobody gets logged in as the role any more, and, if asked for, nobody stays so. `false` when
/// there is no such role.
///
/// # Errors
/// When the administrator may not do that, or sessions do not end in time.
pub(super) async fn end_logins(pool: &Pool, leaving: &Leaving) -> Result<bool, Error> {
    let Some(remains) = disabled(pool, &[&leaving.username]).await?.pop() else { return Ok(false) };
    if leaving.end_sessions && remains.has_sessions {
        join(pool, &remains).await?;
        end_sessions(pool, &remains).await?;
    }
    Ok(true)
}

/// Those of the roles that exist, without login, and what holds them.
///
/// The logins are disabled in a transaction of their own, so that no new session can begin while the old ones end. It needs
/// no flush to disk: the DROP has one.
async fn disabled(pool: &Pool, users: &[&str]) -> Result<Vec<Remains>, Error> {
    let keys: Vec<_> = lock_keys(users).iter().map(i64::to_string).collect();
    let body = format!(
        "DECLARE found text; BEGIN \
           PERFORM pg_catalog.pg_advisory_xact_lock(k) FROM unnest(ARRAY[{}]::bigint[]) AS k; \
           FOR found IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY({}) LOOP \
             EXECUTE pg_catalog.format('ALTER ROLE %I NOLOGIN', found); \
           END LOOP; \
         END",
        keys.join(","),
        names(users)
    );
    let quote = dollar_quote(&body);
    let disable = format!("BEGIN;\nSET LOCAL synchronous_commit = off;\nDO {quote}{body}{quote};\nCOMMIT");
    rows(pool, &format!("{disable};\n{}", inspection(users))).await
}

/// A delimiter that the text does not contain.
fn dollar_quote(text: &str) -> String {
    let mut quote = "$do$".to_owned();
    while text.contains(&quote) {
        quote.insert(3, 'o');
    }
    quote
}

fn names(users: &[&str]) -> String {
    let quoted: Vec<_> = users.iter().map(|user| literal(user)).collect();
    format!("ARRAY[{}]::name[]", quoted.join(","))
}

async fn drop_now(pool: &Pool, users: &[&str]) -> Result<(), Error> {
    let quoted: Vec<_> = users.iter().map(|user| identifier(user)).collect();
    let keys: Vec<_> = lock_keys(users).iter().map(|key| format!("pg_catalog.pg_advisory_xact_lock({key})")).collect();
    let body = format!("SELECT {};\nDROP ROLE IF EXISTS {};\n", keys.join(", "), quoted.join(", "));
    pool.transaction(&body, &[]).await
}

fn inspection(users: &[&str]) -> String {
    format!(
        "SELECT r.rolname, r.oid, a.usesysid IS NOT NULL, \
           (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
           current_setting('server_version_num'), \
           current_database(), \
           (SELECT json_agg(DISTINCT coalesce(d.datname, current_database())) FROM pg_catalog.pg_shdepend s \
              LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
              WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid) \
         FROM pg_catalog.pg_roles r \
           LEFT JOIN (SELECT DISTINCT usesysid FROM pg_catalog.pg_stat_activity) a ON a.usesysid = r.oid \
         WHERE r.rolname = ANY({})",
        names(users)
    )
}

async fn rows(pool: &Pool, sql: &str) -> Result<Vec<Remains>, Error> {
    pool.query(sql, Step::Execute).await?.iter().map(read_remains).collect()
}

fn read_remains(row: &SimpleQueryRow) -> Result<Remains, Error> {
    let unexpected = || Error::new(Kind::Statement, "the server described the role in an unexpected form");
    let text = |at: usize| row.try_get(at).ok().flatten();
    let number = |at: usize| text(at).and_then(|text| text.parse().ok()).ok_or_else(unexpected);
    Ok(Remains {
        username: text(0).ok_or_else(unexpected)?.to_owned(),
        oid: number(1)?,
        has_sessions: text(2) == Some("t"),
        is_superuser: text(3) == Some("t"),
        server_version: number(4)?,
        current_database: text(5).ok_or_else(unexpected)?.to_owned(),
        databases: text(6).map(serde_json::from_str).transpose().map_err(|_| unexpected())?.unwrap_or_default(),
    })
}

/// Makes an administrator that is no superuser a member of the role: without that it may neither end its sessions nor take
/// over its objects. The membership goes with the role.
async fn join(pool: &Pool, remains: &Remains) -> Result<(), Error> {
    if remains.is_superuser {
        return Ok(());
    }
    let inherit = if remains.server_version >= 160_000 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
    let sql = format!("GRANT {} TO CURRENT_USER{inherit}", identifier(&remains.username));
    pool.query(&alone(&[&remains.username], &[sql]), Step::Execute).await.map(drop)
}

async fn end_sessions(pool: &Pool, remains: &Remains) -> Result<(), Error> {
    if !remains.has_sessions {
        return Ok(());
    }
    let sql = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usesysid = {}",
        remains.oid
    );
    let until_none = async {
        let mut pause = Duration::from_millis(5);
        while !pool.query(&sql, Step::Execute).await?.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    };
    match tokio::time::timeout(SESSIONS_END, until_none).await {
        Ok(ended) => ended,
        Err(elapsed) => {
            let message = format!("sessions of the user did not end within {} s", SESSIONS_END.as_secs());
            Err(Error::new(Kind::Timeout, message).caused_by(elapsed))
        }
    }
}

/// Hands what the role owns to the administrator and takes back what it was granted, in every database that has any of it.
async fn give_up_objects(pool: &Pool, remains: &Remains) -> Result<(), Error> {
    let role = identifier(&remains.username);
    for database in &remains.databases {
        let reassign = alone(&[&remains.username], &[format!("REASSIGN OWNED BY {role} TO CURRENT_USER")]);
        run_in(pool, remains, database, &reassign).await?;
        let drop_owned = alone(&[&remains.username], &[format!("DROP OWNED BY {role}")]);
        let dropped = match run_in(pool, remains, database, &drop_owned).await {
            // On a sequence that somebody else has granted it fails, where on others it only leaves the grant.
            Err(error) if refused_with(&error, NO_PRIVILEGE) => {
                take_back(pool, remains, database).await?;
                run_in(pool, remains, database, &drop_owned).await
            }
            done => done,
        };
        match dropped {
            // DROP ROLE will say what is in the way, and better.
            Err(error) if refused_with(&error, NO_PRIVILEGE) => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// Takes back in one database what others granted.
async fn take_back(pool: &Pool, remains: &Remains, database: &str) -> Result<(), Error> {
    let found = run_in(pool, remains, database, &grants::left(remains.oid, remains.server_version)).await?;
    match grants::take_back(&remains.username, remains.server_version, &found) {
        Some(revocations) => run_in(pool, remains, database, &revocations).await.map(drop),
        None => Ok(()),
    }
}

async fn run_in(pool: &Pool, remains: &Remains, database: &str, sql: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    if database == remains.current_database {
        pool.query(sql, Step::Execute).await
    } else {
        pool.query_in(database, sql, Step::Execute).await
    }
}
