//! A small pool: at most so many connections, reused while they are young and sound.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::Config;
use super::failure;
use crate::base::telemetry;
use crate::drivers::{Error, Kind};

/// Connections to one server.
pub(super) struct Pool {
    config: Config,
    slots: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Open>>>,
}

struct Open {
    client: Client,
    backend: i32,
    since: Instant,
}

/// A connection in use. Dropped without [`Session::settle`] it is closed, since its state is unknown.
pub(super) struct Session {
    open: Option<Open>,
    idle: Arc<Mutex<Vec<Open>>>,
    max_idle: usize,
    _slot: OwnedSemaphorePermit,
}

impl Session {
    /// The connection.
    #[expect(clippy::expect_used, reason = "taken only by settle, which consumes the session")]
    pub(super) fn client(&self) -> &Client {
        &self.open.as_ref().expect("the session is open").client
    }

    /// The server's process behind it.
    pub(super) fn backend(&self) -> i32 {
        self.open.as_ref().map_or(0, |open| open.backend)
    }

    /// Gives the connection back, unless the result says that it is broken or the server not the right one any more.
    pub(super) fn settle<T>(mut self, result: &Result<T, Error>) {
        let sound = !matches!(result, Err(error) if error.kind() == Kind::Connect);
        if let Some(open) = self.open.take().filter(|open| sound && !open.client.is_closed()) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < self.max_idle {
                idle.push(open);
            }
        }
    }
}

impl Pool {
    pub(super) fn new(config: Config) -> Self {
        Self { slots: Arc::new(Semaphore::new(config.max_open)), config, idle: Arc::default() }
    }

    /// A sound connection, an idle one if there is any. Waits while all are in use.
    pub(super) async fn get(&self) -> Result<Session, Error> {
        let closed = |_| Error::new(Kind::Connect, "the connection was closed by a change of its configuration");
        let slot = self.slots.clone().acquire_owned().await.map_err(closed)?;
        let open = match self.take_idle() {
            Some(open) => open,
            None => self.connect(&self.config.server).await?,
        };
        Ok(Session { open: Some(open), idle: self.idle.clone(), max_idle: self.config.max_idle, _slot: slot })
    }

    /// A connection of its own to another database of the same server, for one use.
    pub(super) async fn other_database(&self, name: &str) -> Result<Client, Error> {
        let mut server = self.config.server.clone();
        server.dbname(name);
        Ok(self.connect(&server).await?.client)
    }

    fn take_idle(&self) -> Option<Open> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let young = |open: &Open| self.config.lifetime.is_none_or(|lifetime| open.since.elapsed() < lifetime);
        idle.retain(|open| !open.client.is_closed() && young(open));
        idle.pop()
    }

    async fn connect(&self, server: &tokio_postgres::Config) -> Result<Open, Error> {
        let failed = |error| failure::connect(&self.config.hosts(), error);
        // The library's own time-out covers reaching the host, not the login behind it.
        let limit = server.get_connect_timeout().copied().unwrap_or(Duration::from_secs(5)) * 2;
        let connecting = async {
            match &self.config.tls {
                Some(tls) => {
                    let (client, connection) = server.connect(MakeRustlsConnect::new(tls.clone())).await?;
                    tokio::spawn(drive(connection));
                    Ok(client)
                }
                None => {
                    let (client, connection) = server.connect(NoTls).await?;
                    tokio::spawn(drive(connection));
                    Ok(client)
                }
            }
        };
        let late = |_| Error::new(Kind::Connect, format!("failed to connect to {}: no answer in time", self.config.hosts()));
        let client = tokio::time::timeout(limit, connecting).await.map_err(late)?.map_err(failed)?;
        let row = tokio::time::timeout(limit, client.query_one("SELECT pg_backend_pid()", &[])).await;
        let backend = row.map_err(late)?.map_err(failed)?.get(0);
        Ok(Open { client, backend, since: Instant::now() })
    }

    /// No new connections; idle ones end now, those in use with their work.
    pub(super) fn close(&self) {
        self.slots.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(error = telemetry::chain(&error), "a database connection ended");
    }
}
