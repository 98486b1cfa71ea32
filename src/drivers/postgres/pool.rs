//! Connections to one PostgreSQL: a bounded pool that hands out live ones and never takes back one in an unknown state.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::failure::{self, Step};
use crate::base::Gate;
use crate::drivers::{Error, Kind};

/// Sent once on every connection, so that the server gives up what we no longer wait for.
const SESSION: &str = "SET statement_timeout = '30s'";

/// How long one exchange may take: a transaction with its wait for the gate, or a message. Whoever asked for it has given up
/// by then, and a server that takes what is sent and never answers must not hold the connection for ever.
const EXCHANGE: Duration = Duration::from_secs(30);

/// The same for a transaction where another host may be the writable one by then.
const TRANSACTION_WITH_OTHERS: Duration = Duration::from_secs(5);

/// How long a cancel request may take before it is dropped.
const CANCEL: Duration = Duration::from_secs(5);

/// What opens connections.
pub(super) struct Connector {
    /// One for each host.
    pub configs: Vec<Config>,
    /// The host that let us in last, or the one after a host that fell silent; the next connection begins with it.
    pub next: AtomicUsize,
    pub tls: MakeRustlsConnect,
    /// Hosts, ports and database, for error messages.
    pub place: String,
    /// The URL sets what [`SESSION`] would.
    pub own_statement_timeout: bool,
}

/// Limits of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections at any time, those to other databases of the server included.
    pub open: usize,
    /// Connections kept while nothing uses them.
    pub idle: usize,
    /// The age at which a connection is replaced; `None` is never.
    pub lifetime: Option<Duration>,
}

/// Connections to one PostgreSQL.
pub(super) struct Pool {
    connector: Connector,
    limits: Limits,
    permits: Semaphore,
    idle: Mutex<Vec<Link>>,
    closed: AtomicBool,
}

/// One connection and the task that drives it.
struct Link {
    client: Client,
    task: AbortHandle,
    tls: MakeRustlsConnect,
    opened: Instant,
}

impl Link {
    /// Ends the connection at once and asks the server to stop what it is doing for us.
    fn abandon(self) {
        let cancel = self.client.cancel_token();
        let tls = self.tls;
        self.task.abort();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(CANCEL, cancel.cancel_query(tls)).await });
        }
    }
}

/// A connection on loan. Dropping it abandons it; only [`Loan::give_back`] returns it to the pool.
struct Loan<'p> {
    pool: &'p Pool,
    link: Option<Link>,
    pooled: bool,
    _permit: SemaphorePermit<'p>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.abandon();
        }
    }
}

impl Loan<'_> {
    /// Sends one message of statements and reads the rows of all of them.
    async fn send(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
        let Some(link) = &self.link else { return Ok(Vec::new()) };
        let messages = link.client.simple_query(sql).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// Returns a connection whose exchange is over.
    fn give_back(mut self) {
        let Some(link) = self.link.take() else { return };
        let pool = self.pool;
        let old = pool.limits.lifetime.is_some_and(|lifetime| link.opened.elapsed() >= lifetime);
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !pool.closed.load(Ordering::Acquire) && !old && idle.len() < pool.limits.idle && !link.client.is_closed() {
            idle.push(link);
        }
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, limits: Limits) -> Self {
        Self {
            connector,
            limits,
            permits: Semaphore::new(limits.open),
            idle: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Sends one message of statements and returns the rows of all of them. If a pooled connection turns out to have died
    /// while it lay idle, the message is sent once more on a new one; what runs must bear that.
    ///
    /// # Errors
    /// What connecting or the server says; an open transaction is rolled back.
    pub(super) async fn query(&self, sql: &str, step: Step) -> Result<Vec<SimpleQueryRow>, Error> {
        let work = async {
            let (loan, rows) = self.send(sql, step).await?;
            loan.give_back();
            Ok(rows)
        };
        self.within(EXCHANGE, work).await
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let host = self.connector.next.load(Ordering::Relaxed);
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(elapsed) => {
                // The connections that lie idle lead to the same silent server, most likely.
                self.forget_idle();
                self.connector.pass_over(host);
                let message = format!("the database did not answer within {} s", limit.as_secs());
                Err(Error::new(Kind::Timeout, message).caused_by(elapsed))
            }
        }
    }

    async fn send(&self, sql: &str, step: Step) -> Result<(Loan<'_>, Vec<SimpleQueryRow>), Error> {
        loop {
            let loan = self.lend().await?;
            match loan.send(sql).await {
                Ok(rows) => return Ok((loan, rows)),
                Err(error) if loan.pooled && failure::is_lost(&error) => self.forget_idle(),
                Err(error) => {
                    let error = failure::of(error, step, &self.connector.place);
                    if error.kind() != Kind::Connect && loan.send("ROLLBACK").await.is_ok() {
                        loan.give_back();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Runs `body` (statements, each with its separator) as one transaction that commits once all `gates` have let it through.
    ///
    /// # Errors
    /// As [`Pool::query`]; nothing has happened when a gate stays shut. When the connection is lost at COMMIT the outcome is
    /// unknown.
    pub(super) async fn transaction(&self, body: &str, gates: &[&Gate]) -> Result<(), Error> {
        let work = async {
            if gates.is_empty() {
                return self.query(&format!("BEGIN;\n{body}COMMIT"), Step::Execute).await.map(drop);
            }
            self.gated(&Zeroizing::new(format!("BEGIN;\n{body}")), gates).await
        };
        let limit = if self.connector.has_several() { TRANSACTION_WITH_OTHERS } else { EXCHANGE };
        self.within(limit, work).await
    }

    /// The end of the transaction is sent as soon as the gates say which, not when the server is done with the rest: after an
    /// error it takes COMMIT for ROLLBACK. Only what was lost before that is run again on another connection.
    async fn gated(&self, begin: &str, gates: &[&Gate]) -> Result<(), Error> {
        loop {
            let loan = self.lend().await?;
            let ending = AtomicBool::new(false);
            let end = async {
                let open = all_pass(gates).await;
                ending.store(true, Ordering::Relaxed);
                (open, loan.send(if open { "COMMIT" } else { "ROLLBACK" }).await)
            };
            // The first is polled first, so its message goes first.
            let (begun, (open, ended)) = match select(pin!(loan.send(begin)), pin!(end)).await {
                Either::Left((Err(error), _))
                    if loan.pooled && failure::is_lost(&error) && !ending.load(Ordering::Relaxed) =>
                {
                    self.forget_idle();
                    continue;
                }
                Either::Left((begun, end)) => (begun, end.await),
                Either::Right((ended, begun)) => (begun.await, ended),
            };
            let failed = |error| Err(failure::of(error, Step::Execute, &self.connector.place));
            return match (begun, ended) {
                (Err(error), Ok(_)) => {
                    loan.give_back();
                    failed(error)
                }
                (Err(error), Err(_)) | (Ok(_), Err(error)) => failed(error),
                (Ok(_), Ok(_)) => {
                    loan.give_back();
                    if open { Ok(()) } else { Err(not_recorded()) }
                }
            };
        }
    }

    /// As [`Pool::query`] on a connection of its own to another database of the same server.
    ///
    /// # Errors
    /// As [`Pool::query`].
    pub(super) async fn query_in(&self, database: &str, sql: &str, step: Step) -> Result<Vec<SimpleQueryRow>, Error> {
        let permit = self.permit().await?;
        let link = self.connector.open(Some(database)).await?;
        let loan = Loan { pool: self, link: Some(link), pooled: false, _permit: permit };
        let work = async {
            let rows = loan.send(sql).await.map_err(|error| failure::of(error, step, &self.connector.place))?;
            drop({ loan }.link.take());
            Ok(rows)
        };
        self.within(EXCHANGE, work).await
    }

    /// Closes idle connections now and busy ones when their exchange is over.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.forget_idle();
    }

    async fn lend(&self) -> Result<Loan<'_>, Error> {
        let permit = self.permit().await?;
        while let Some(link) = self.take_idle() {
            let young = self.limits.lifetime.is_none_or(|lifetime| link.opened.elapsed() < lifetime);
            if young && !link.client.is_closed() {
                return Ok(Loan { pool: self, link: Some(link), pooled: true, _permit: permit });
            }
        }
        let link = self.connector.open(None).await?;
        Ok(Loan { pool: self, link: Some(link), pooled: false, _permit: permit })
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let closed = |error| Error::new(Kind::Connect, "the connection was closed").caused_by(error);
        self.permits.acquire().await.map_err(closed)
    }

    fn take_idle(&self) -> Option<Link> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Drops every idle connection: when one was dead its siblings most likely are too.
    fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn all_pass(gates: &[&Gate]) -> bool {
    for gate in gates {
        if !gate.passed().await {
            return false;
        }
    }
    true
}

/// What a user's making ends with when its gate stays shut.
pub(super) fn not_recorded() -> Error {
    Error::new(Kind::Statement, "the lease was not recorded, so no user was made")
}

impl Connector {
    /// A connection to the first host that takes it, beginning with the one that did so last.
    async fn open(&self, database: Option<&str>) -> Result<Link, Error> {
        let (count, first) = (self.configs.len(), self.next.load(Ordering::Relaxed));
        let mut failed = None;
        for at in (0..count).map(|step| (first + step) % count) {
            let mut config = self.configs[at].clone();
            if let Some(database) = database {
                config.dbname(database);
            }
            match self.open_one(&config).await {
                Ok(link) => {
                    self.next.store(at, Ordering::Relaxed);
                    return Ok(link);
                }
                // What a host says about us is of more use than that another is out of reach.
                Err(error) if failed.is_none() || error.kind() == Kind::Refused => failed = Some(error),
                Err(_) => {}
            }
        }
        Err(failed.unwrap_or_else(|| Error::config("connection_url", "it names no host")))
    }

    async fn open_one(&self, config: &Config) -> Result<Link, Error> {
        let tls = self.tls.clone();
        // Reaching the server, and then being let in.
        let limit = config.get_connect_timeout().copied().unwrap_or_default() * 2;
        let limit = if self.has_several() { limit / 2 } else { limit };
        let connecting = async {
            let (client, connection) = config.connect(tls.clone()).await?;
            let task = tokio::spawn(connection).abort_handle();
            let link = Link { client, task, tls, opened: Instant::now() };
            if !self.own_statement_timeout {
                link.client.batch_execute(SESSION).await?;
            }
            Ok(link)
        };
        match tokio::time::timeout(limit, connecting).await {
            Ok(result) => result.map_err(|error| failure::of(error, Step::Connect, &self.place)),
            Err(elapsed) => {
                let message = format!("failed to connect to {}: no answer within {} s", self.place, limit.as_secs());
                Err(Error::new(Kind::Connect, message).caused_by(elapsed))
            }
        }
    }

    /// Has the next connection begin with the host after a silent one, unless that has happened since.
    fn pass_over(&self, host: usize) {
        let after = (host + 1) % self.configs.len().max(1);
        // A failed exchange means that somebody else has moved on already.
        let _ = self.next.compare_exchange(host, after, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn has_several(&self) -> bool {
        self.configs.len() > 1
    }
}
