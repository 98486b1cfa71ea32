//! PostgreSQL: users as roles, made in one transaction, prolonged by `VALID UNTIL`, dropped with their sessions and objects.

mod batch;
mod config;
mod drop_role;
mod failure;
mod grants;
mod lint;
mod pool;
mod presets;
mod scram;
mod transaction;
mod url;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::batch::Batches;
use self::config::{Config, Passwords};
use self::drop_role::{Drops, Leaving};
use self::failure::Step;
use self::pool::Pool;
use self::transaction::{Job, Transactions};
use super::{
    Capabilities, Change, Credential, Driver, DropUser, Error, FoundUser, Kind, NewUser, Settings, Spec, UsernameShape,
    sql,
};
use crate::base::{Gate, Random, Secret, Timestamp};
use crate::wire::Fields;

/// The row of this driver in the table.
pub const SPEC: Spec = Spec {
    plugins: &["postgresql-database-plugin"],
    username: UsernameShape { prefix: "v", separator: '-', display_name: 8, role_name: 8, random: 20, max: 63 },
    credentials: &["password", "client_certificate"],
    capabilities: Capabilities {
        needs_creation_statements: true,
        expires_users: true,
        ends_sessions: true,
        marks_users: true,
        disables_logins: true,
    },
    secret_fields: &["password", "private_key"],
    preset: |preset| Some(presets::statements(preset)),
    lint: |blocks| lint::lint(&sql::statements(blocks, sql::has_end)),
    endpoints,
    connect: |settings| Ok(Arc::new(Postgres::new(settings)?)),
};

/// SQLSTATE: the object, here always the role, does not exist.
const ABSENT_OBJECT: &str = "42704";

/// SQLSTATE: the administrator may not do that.
const NO_PRIVILEGE: &str = "42501";

/// The most transactions at a time, whatever the pool allows: with more they only wait for each other's flushes and locks.
const LANES: usize = 16;

/// Roles that are read at once when all are listed.
const PAGE: usize = 5000;

/// One server (or several hosts of one).
struct Postgres {
    pool: Arc<Pool>,
    transactions: Arc<Batches<Transactions>>,
    drops: Arc<Batches<Drops>>,
    passwords: Passwords,
    random: Arc<dyn Random>,
    /// Turns at hashing: one for each processor, so that a crowd of requests leaves some for everything else.
    hashing: Semaphore,
    /// Whether the administrator may comment on roles.
    marks: AtomicBool,
}

impl Postgres {
    fn new(settings: Settings) -> Result<Self, Error> {
        let config = Config::read(&settings.fields)?;
        let lanes = config.limits.open.min(LANES);
        let pool = Arc::new(Pool::new(config.connector, config.limits));
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            transactions: Batches::new(Transactions(pool.clone()), lanes),
            drops: Batches::new(Drops(pool.clone()), lanes.div_ceil(2)),
            pool,
            passwords: config.passwords,
            random: settings.random,
            hashing: Semaphore::new(processors),
            marks: AtomicBool::new(true),
        })
    }

    /// A password's SCRAM verifier.
    async fn verifier(&self, password: &Secret) -> Result<Secret, Error> {
        let stopping = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(Kind::Connect, "the engine is stopping").caused_by(cause)
        };
        let _turn = self.hashing.acquire().await.map_err(|error| stopping(error.into()))?;
        let (password, random) = (password.clone(), self.random.clone());
        // Half a millisecond or more of pure computing: too long for a thread that serves others.
        let hashed = tokio::task::spawn_blocking(move || scram::verifier(&password, &*random));
        hashed.await.map_err(|error| stopping(error.into()))
    }

    /// The password as it goes into a statement: a SCRAM verifier, so that no log of the server holds the password.
    async fn stated(&self, credential: Option<Credential<'_>>) -> Result<Option<Secret>, Error> {
        match credential {
            None | Some(Credential::Certificate { .. }) => Ok(None),
            Some(Credential::PublicKey(_)) => {
                Err(Error::new(Kind::Config, "PostgreSQL has no logins by a bare public key"))
            }
            Some(Credential::Password { password, prepared }) => {
                sql::check_value("password", password.expose())?;
                match (self.passwords, prepared) {
                    (Passwords::Clear, _) => Ok(Some(password.clone())),
                    (Passwords::Scram, Some(prepared)) => Ok(Some(prepared.clone())),
                    (Passwords::Scram, None) => self.verifier(password).await.map(Some),
                }
            }
        }
    }

    /// Fills the statements in and runs them in a transaction, which others may share.
    async fn change(&self, change: Filling<'_>, recorded: Option<&Gate>) -> Result<(), Error> {
        let Filling { username, stated, expires, statements } = change;
        let expiration = expires.map(timestamp);
        let mut values = vec![("name", username), ("username", username)];
        values.extend(stated.map(|stated| ("password", stated.expose())));
        values.extend(expiration.as_deref().map(|expiration| ("expiration", expiration)));
        let filled = statements.iter().map(|statement| Zeroizing::new(sql::fill(statement, &values))).collect();
        let alone = statements.iter().any(|statement| may_commit(statement));
        let job = Job { username: username.to_owned(), statements: filled, recorded: recorded.cloned(), alone };
        let done = self.transactions.call(job).await;
        done.map_err(|error| error.without(stated.into_iter().map(Secret::expose)))
    }

    /// Makes a user with its mark, if it is to carry one.
    async fn make(&self, user: Filling<'_>, mark: &str, recorded: &Gate) -> Result<(), Error> {
        if mark.is_empty() || !self.marks.load(Ordering::Relaxed) {
            return self.change(user, Some(recorded)).await;
        }
        let mut marked = user.statements.to_vec();
        marked.push(format!("COMMENT ON ROLE \"{{{{name}}}}\" IS {}", literal(mark)));
        let result = self.change(Filling { statements: &marked, ..user }, Some(recorded)).await;
        let Err(error) = result else { return Ok(()) };
        if !refused_with(&error, NO_PRIVILEGE) && !refused_with(&error, ABSENT_OBJECT) {
            return Err(error);
        }
        // It may be the comment that the administrator may not make (users made by a function of somebody else's).
        self.change(user, Some(recorded)).await?;
        self.marks.store(false, Ordering::Relaxed);
        tracing::warn!(%error, "users of this connection cannot be marked, so the orphan sweep will not know them");
        Ok(())
    }

    async fn has_role(&self, username: &str) -> Result<bool, Error> {
        let sql = format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}", literal(username));
        Ok(!self.pool.query(&sql, Step::Execute).await?.is_empty())
    }
}

/// What goes into statements.
#[derive(Clone, Copy)]
struct Filling<'a> {
    username: &'a str,
    /// The password as the server gets it.
    stated: Option<&'a Secret>,
    expires: Option<Timestamp>,
    statements: &'a [String],
}

#[async_trait]
impl Driver for Postgres {
    async fn verify(&self) -> Result<(), Error> {
        self.pool.query("SELECT 1", Step::Execute).await.map(drop)
    }

    async fn create(&self, user: NewUser<'_>, recorded: &Gate) -> Result<(), Error> {
        sql::check_value("username", user.username)?;
        let mut statements = sql::statements(user.statements, sql::has_end);
        if statements.is_empty() {
            return Err(Error::new(Kind::Config, "empty creation statements"));
        }
        if !user.login {
            statements.push("ALTER ROLE \"{{name}}\" NOLOGIN".to_owned());
        }
        let stated = self.stated(Some(user.credential)).await?;
        let filling = |statements| Filling {
            username: user.username,
            stated: stated.as_ref(),
            expires: Some(user.expires),
            statements,
        };
        let made = self.make(filling(&statements), user.mark, recorded).await;
        let rollback = sql::statements(user.rollback, sql::has_end);
        if made.is_err() && !rollback.is_empty() {
            // A transaction leaves nothing to undo; statements that commit by themselves may.
            if let Err(error) = self.change(filling(&rollback), None).await {
                tracing::warn!(%error, "rollback statements failed");
            }
        }
        made
    }

    async fn update(&self, change: Change<'_>, recorded: &Gate) -> Result<(), Error> {
        sql::check_value("username", change.username)?;
        let stated = self.stated(change.credential).await?;
        let mut statements = sql::statements(change.statements, |_| false);
        let mut options = String::new();
        if let Some(login) = change.login {
            options.push_str(if login { " LOGIN" } else { " NOLOGIN" });
        }
        if statements.is_empty() {
            options.push_str(stated.as_ref().map_or("", |_| " PASSWORD '{{password}}'"));
            options.push_str(change.expires.map_or("", |_| " VALID UNTIL '{{expiration}}'"));
        }
        if !options.is_empty() {
            statements.push(format!("ALTER ROLE \"{{{{name}}}}\"{options}"));
        }
        let (username, stated, expires) = (change.username, stated.as_ref(), change.expires);
        match self.change(Filling { username, stated, expires, statements: &statements }, Some(recorded)).await {
            Err(error) if refused_with(&error, ABSENT_OBJECT) && !self.has_role(username).await? => {
                Err(Error::new(Kind::Absent, format!("there is no user {username:?} any more")).caused_by(error))
            }
            done => done,
        }
    }

    async fn delete(&self, user: DropUser<'_>) -> Result<(), Error> {
        sql::check_value("username", user.username)?;
        let statements = sql::statements(user.statements, sql::has_end);
        let leaving = Leaving { username: user.username.to_owned(), end_sessions: user.end_sessions };
        if statements.is_empty() {
            return self.drops.call(leaving).await;
        }
        if !drop_role::end_logins(&self.pool, &leaving).await? {
            return Ok(());
        }
        let filling = Filling { username: user.username, stated: None, expires: None, statements: &statements };
        match self.change(filling, None).await {
            // Whoever dropped the role meanwhile has done the statements' work.
            Err(error) if refused_with(&error, ABSENT_OBJECT) && !self.has_role(user.username).await? => Ok(()),
            done => done,
        }
    }

    async fn users(&self, mark: &str) -> Result<Vec<FoundUser>, Error> {
        let (mark, mut found) = (literal(mark), Vec::new());
        loop {
            let after = found.last().map_or("", |user: &FoundUser| &user.username);
            // No role has an empty name, so the first page begins with the first.
            let sql = format!(
                "SELECT r.rolname, coalesce(d.description = {mark}, false) FROM pg_catalog.pg_roles r \
                   LEFT JOIN pg_catalog.pg_shdescription d \
                     ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::regclass \
                 WHERE r.rolname > {} ORDER BY r.rolname LIMIT {PAGE}",
                literal(after)
            );
            let rows = self.pool.query(&sql, Step::Execute).await?;
            found.extend(rows.iter().filter_map(|row| {
                let username = row.try_get(0).ok().flatten()?.to_owned();
                Some(FoundUser { username, marked: row.try_get(1).ok().flatten() == Some("t") })
            }));
            if rows.len() < PAGE {
                return Ok(found);
            }
        }
    }

    async fn prepare(&self, password: &Secret) -> Result<Option<Secret>, Error> {
        match self.passwords {
            Passwords::Clear => Ok(None),
            Passwords::Scram => self.verifier(password).await.map(Some),
        }
    }

    async fn close(&self) {
        self.pool.close();
    }
}

/// The fields of a connection to each host of `connection_url`.
fn endpoints(fields: &Fields) -> Result<Vec<Fields>, Error> {
    let url = fields.string("connection_url")?.unwrap_or_default();
    let with = |url: String| {
        let mut map = fields.as_map().clone();
        map.insert("connection_url".to_owned(), url.into());
        Fields::from(map)
    };
    Ok(url::single_hosts(&url)?.into_iter().map(with).collect())
}

/// Whether a statement could end the transaction around it: one too many is only slower.
fn may_commit(statement: &str) -> bool {
    let words = statement.split(|c: char| !c.is_alphanumeric() && c != '_');
    let ends = ["commit", "end", "rollback", "abort"];
    words.into_iter().any(|word| ends.iter().any(|end| word.eq_ignore_ascii_case(end)))
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
    fn what_could_end_a_transaction_is_recognised() {
        for (statement, expected) in [
            ("BEGIN; CREATE ROLE x; COMMIT", true),
            ("DO $$ BEGIN NULL; END $$", true),
            ("CREATE ROLE \"commit_x\"; GRANT weekend TO y", false),
        ] {
            assert_eq!(may_commit(statement), expected, "{statement}");
        }
    }

    #[test]
    fn names_texts_and_moments_have_the_servers_form() {
        assert_eq!((identifier("a\"b").as_str(), literal("a'b").as_str()), ("\"a\"\"b\"", "'a''b'"));
        assert_eq!(timestamp(Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00+0000");
    }
}
