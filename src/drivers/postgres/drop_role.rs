//! The default end of a PostgreSQL role: no login, no sessions, nothing owned, no privileges, no role.
//!
//! Each step is idempotent and a transaction of its own, so that a revocation that stops half-way is simply begun again.
//! It works for a superuser and for an administrator that has only CREATEROLE: such a one makes itself a member first.

use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use super::failure::Step;
use super::pool::Pool;
use super::{ABSENT_OBJECT, identifier, literal, locked, refused_with};
use crate::drivers::{Error, Kind};

/// How long sessions may take to end.
const SESSIONS_END: Duration = Duration::from_secs(5);

/// SQLSTATE: something still depends on the role.
const STILL_NEEDED: &str = "2BP01";

/// What stands in the way of dropping a role.
struct Remains {
    oid: u32,
    has_sessions: bool,
    is_superuser: bool,
    server_version: u32,
    current_database: String,
    /// Databases in which something belongs to the role or is granted to it.
    databases: Vec<String>,
}

/// Drops the role and everything that holds it; an absent role is success.
///
/// # Errors
/// Names what still depends on the role when that is beyond the administrator's rights. The role can no longer log in.
pub(super) async fn drop_role(pool: &Pool, username: &str) -> Result<(), Error> {
    let Some(remains) = disabled(pool, username).await? else { return Ok(()) };
    if remains.has_sessions || !remains.databases.is_empty() {
        join(pool, username, &remains).await?;
        end_sessions(pool, &remains).await?;
        give_up_objects(pool, username, &remains).await?;
    }
    match drop_now(pool, username).await {
        Err(error) if refused_with(&error, STILL_NEEDED) => {
            // The remains may have grown since, and only now is it known that ordinary revoking did not do.
            let Some(remains) = inspect(pool, username).await? else { return Ok(()) };
            revoke_foreign_grants(pool, username, &remains).await?;
            drop_now(pool, username).await
        }
        done => done,
    }
}

/// The first half of [`drop_role`]: nobody is or gets logged in as the role any more. `false` when there is no such role.
///
/// # Errors
/// When the administrator may not do that, or sessions do not end in time.
pub(super) async fn end_logins(pool: &Pool, username: &str) -> Result<bool, Error> {
    let Some(remains) = disabled(pool, username).await? else { return Ok(false) };
    if remains.has_sessions {
        join(pool, username, &remains).await?;
        end_sessions(pool, &remains).await?;
    }
    Ok(true)
}

/// The role without login; `None` when there is no such role.
async fn disabled(pool: &Pool, username: &str) -> Result<Option<Remains>, Error> {
    match disable_login(pool, username).await {
        Err(error) if refused_with(&error, ABSENT_OBJECT) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => inspect(pool, username).await,
    }
}

/// Committed on its own, so that no new session can begin while the old ones end. It needs no flush to disk: the DROP has one.
async fn disable_login(pool: &Pool, username: &str) -> Result<(), Error> {
    let sql = format!("SET LOCAL synchronous_commit = off;\nALTER ROLE {} NOLOGIN", identifier(username));
    pool.query(&locked(username, &[sql]), Step::Execute).await.map(drop)
}

async fn drop_now(pool: &Pool, username: &str) -> Result<(), Error> {
    let sql = format!("DROP ROLE IF EXISTS {}", identifier(username));
    pool.query(&locked(username, &[sql]), Step::Execute).await.map(drop)
}

async fn inspect(pool: &Pool, username: &str) -> Result<Option<Remains>, Error> {
    let sql = format!(
        "SELECT r.oid, \
           EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid), \
           (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
           current_setting('server_version_num'), \
           current_database(), \
           (SELECT json_agg(DISTINCT coalesce(d.datname, current_database())) FROM pg_catalog.pg_shdepend s \
              LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
              WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid) \
         FROM pg_catalog.pg_roles r WHERE r.rolname = {}",
        literal(username)
    );
    let rows = pool.query(&sql, Step::Execute).await?;
    rows.first().map(read_remains).transpose()
}

fn read_remains(row: &SimpleQueryRow) -> Result<Remains, Error> {
    let unexpected = || Error::new(Kind::Statement, "the server described the role in an unexpected form");
    let text = |at: usize| row.try_get(at).ok().flatten();
    let number = |at: usize| text(at).and_then(|text| text.parse().ok()).ok_or_else(unexpected);
    Ok(Remains {
        oid: number(0)?,
        has_sessions: text(1) == Some("t"),
        is_superuser: text(2) == Some("t"),
        server_version: number(3)?,
        current_database: text(4).ok_or_else(unexpected)?.to_owned(),
        databases: text(5).map(serde_json::from_str).transpose().map_err(|_| unexpected())?.unwrap_or_default(),
    })
}

/// Makes an administrator that is no superuser a member of the role: without that it may neither end its sessions nor take
/// over its objects. The membership goes with the role.
async fn join(pool: &Pool, username: &str, remains: &Remains) -> Result<(), Error> {
    if remains.is_superuser {
        return Ok(());
    }
    let inherit = if remains.server_version >= 160_000 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
    let sql = format!("GRANT {} TO CURRENT_USER{inherit}", identifier(username));
    pool.query(&locked(username, &[sql]), Step::Execute).await.map(drop)
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
async fn give_up_objects(pool: &Pool, username: &str, remains: &Remains) -> Result<(), Error> {
    let role = identifier(username);
    for database in &remains.databases {
        let steps = [format!("REASSIGN OWNED BY {role} TO CURRENT_USER"), format!("DROP OWNED BY {role}")];
        run_in(pool, remains, database, &locked(username, &steps)).await?;
    }
    Ok(())
}

/// Takes back what others granted: DROP OWNED acts as the owner of an object and leaves grants that came by way of a grant
/// option. Each is revoked in the name of who gave it.
async fn revoke_foreign_grants(pool: &Pool, username: &str, remains: &Remains) -> Result<(), Error> {
    for database in &remains.databases {
        let grants = run_in(pool, remains, database, &foreign_grants(remains.oid)).await?;
        let statements: Vec<_> = grants
            .iter()
            .filter_map(|row| match (row.try_get(0).ok().flatten(), row.try_get(1).ok().flatten()) {
                (Some(grantor), Some(grant)) => Some(format!(
                    "SET LOCAL ROLE {grantor};\nREVOKE {grant} FROM {} CASCADE;\nRESET ROLE",
                    identifier(username)
                )),
                _ => None,
            })
            .collect();
        if !statements.is_empty() {
            run_in(pool, remains, database, &locked(username, &statements)).await?;
        }
    }
    Ok(())
}

/// Grantor and `privilege ON object`, both quoted, of every grant to the role that its object's owner did not make.
fn foreign_grants(oid: u32) -> String {
    // A catalogue, its acl and owner columns, and how REVOKE names the object.
    let kinds = [
        (
            "pg_class",
            "relacl",
            "relowner",
            "CASE o.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || o.oid::regclass",
        ),
        ("pg_namespace", "nspacl", "nspowner", "'SCHEMA ' || quote_ident(o.nspname)"),
        ("pg_proc", "proacl", "proowner", "'ROUTINE ' || o.oid::regprocedure"),
        ("pg_type", "typacl", "typowner", "'TYPE ' || o.oid::regtype"),
        ("pg_database", "datacl", "datdba", "'DATABASE ' || quote_ident(o.datname)"),
    ];
    let of_others = |owner: &str| format!("a.grantee = {oid} AND a.grantor <> o.{owner} AND g.oid = a.grantor");
    let columns = format!(
        "SELECT quote_ident(g.rolname), a.privilege_type || ' (' || quote_ident(c.attname) || ') ON TABLE ' || o.oid::regclass \
         FROM pg_catalog.pg_class o, pg_catalog.pg_attribute c, aclexplode(c.attacl) a, pg_catalog.pg_roles g \
         WHERE c.attrelid = o.oid AND {}",
        of_others("relowner")
    );
    let whole = kinds.map(|(catalogue, acl, owner, object)| {
        format!(
            "SELECT quote_ident(g.rolname), a.privilege_type || ' ON ' || {object} \
             FROM pg_catalog.{catalogue} o, aclexplode(o.{acl}) a, pg_catalog.pg_roles g WHERE {}",
            of_others(owner)
        )
    });
    format!("{} UNION ALL {columns}", whole.join(" UNION ALL "))
}

async fn run_in(pool: &Pool, remains: &Remains, database: &str, sql: &str) -> Result<Vec<SimpleQueryRow>, Error> {
    if database == remains.current_database {
        pool.query(sql, Step::Execute).await
    } else {
        pool.query_in(database, sql, Step::Execute).await
    }
}
