//! Rotation over a scripted database: an engine that can crash at every step, and what its next life makes of it.

mod crash;
mod roles;
mod root;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::worker::Page;
use crate::base::clock::ManualClock;
use crate::base::random::SeededRandom;
use crate::base::{Clock as _, Timestamp};
use crate::drivers::Kind;
use crate::drivers::scripted::{Call, Server, Verdict};
use crate::secrets::database::Database;
use crate::secrets::password_policy::PasswordPolicies;
use crate::secrets::{Ending, Held, LeaseBook, Offer, Outcome, SecretsEngine as _, Setup, Stocked};
use crate::storage::memory::Memory;
use crate::storage::{Backend, Entry, Error as StorageError, Event, Txn, View};
use crate::wire::{Answer, Caller, Error, Operation, Request};

/// Ends an engine after a number of steps: each write to the store and each call of the database counts twice, once before
/// and once after it has been carried out.
#[derive(Default)]
struct Crash(AtomicUsize);

/// No crash.
const NEVER: usize = usize::MAX;

impl Crash {
    fn after(&self, steps: usize) {
        self.0.store(steps, Ordering::SeqCst);
    }

    /// Takes a step; `true` when the engine has ended before it.
    fn step(&self) -> bool {
        let less = |left: usize| (left != NEVER).then(|| left.saturating_sub(1));
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok_and(|left| left == 0)
    }

    fn has_come(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

/// A store that ends with its engine.
struct Mortal {
    store: Arc<Memory>,
    crash: Arc<Crash>,
}

impl Mortal {
    fn dead() -> StorageError {
        StorageError::Backend("the engine has crashed".into())
    }
}

#[async_trait]
impl Backend for Mortal {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        if self.crash.has_come() { Err(Self::dead()) } else { self.store.get(key).await }
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, StorageError> {
        if self.crash.has_come() { Err(Self::dead()) } else { self.store.range(prefix, after, limit).await }
    }

    async fn commit(&self, txn: Txn) -> Result<(), StorageError> {
        if self.crash.step() {
            return Err(Self::dead());
        }
        self.store.commit(txn).await?;
        if self.crash.step() { Err(Self::dead()) } else { Ok(()) }
    }

    fn watch(&self, prefix: &str) -> tokio::sync::mpsc::Receiver<Event> {
        self.store.watch(prefix)
    }
}

/// No leases.
struct NoLeases;

#[async_trait]
impl LeaseBook for NoLeases {
    async fn page(&self, _: Option<&str>, _: usize) -> Result<Vec<Held>, Error> {
        Ok(Vec::new())
    }

    async fn stock(&self, _: &str, _: Offer) -> Result<Stocked, Error> {
        Err(Error::internal("there are no leases here"))
    }

    async fn end(&self, _: Vec<String>, _: Ending) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}

/// A store, a clock, a database, and the engine that works on them.
struct World {
    store: Arc<Memory>,
    clock: ManualClock,
    server: Arc<Server>,
    crash: Arc<Crash>,
    engine: Arc<Database>,
}

impl World {
    /// A world with the connection `pg`, whose administrator is `root`, and accounts `app`, `a` and `b`. `host` must be the
    /// test's own.
    async fn new(host: &str) -> Self {
        let users = [("root", "root-1"), ("app", "app-1"), ("a", "a-1"), ("b", "b-1")];
        let (store, crash) = (Arc::new(Memory::default()), Arc::new(Crash(AtomicUsize::new(NEVER))));
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let engine = engine(&store, &crash, &clock);
        let server = Server::start(host, &users);
        let world = Self { store, clock, server, crash, engine };
        world.ok("config/pg", Server::fields(host, "root", "root-1")).await;
        world
    }

    /// Ends the engine in the middle of things and starts another one on the same store.
    fn restart(&mut self) {
        self.crash = Arc::new(Crash(AtomicUsize::new(NEVER)));
        self.engine = engine(&self.store, &self.crash, &self.clock);
        self.server.script(|_| Verdict::Pass);
    }

    /// From here on the engine lives for so many steps.
    fn crash_after(&self, steps: usize) {
        self.crash.after(steps);
        let crash = self.crash.clone();
        self.server.script(move |_| {
            if crash.step() {
                return Verdict::Fail(Kind::Connect);
            }
            if crash.step() { Verdict::Lose(Kind::Connect) } else { Verdict::Pass }
        });
    }

    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Answer, Error> {
        let fields = body.as_object().cloned().unwrap_or_default().into();
        let request = Request { operation, path: path.to_owned(), fields, caller: Caller::default() };
        match self.engine.handle(request).await? {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Lease(_) => Err(Error::internal("a lease is involved")),
        }
    }

    async fn write(&self, path: &str, body: Value) -> Result<Answer, Error> {
        self.ask(Operation::Write, path, body).await
    }

    /// A write that succeeds.
    async fn ok(&self, path: &str, body: Value) {
        self.write(path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The text of a write that fails.
    async fn refused(&self, path: &str, body: Value) -> String {
        self.write(path, body).await.expect_err("it is refused").to_string()
    }

    async fn read(&self, path: &str) -> Result<Value, Error> {
        Ok(self.ask(Operation::Read, path, Value::Null).await?.data.unwrap_or_default())
    }

    /// What `static-creds` hands out: username, password, ttl.
    async fn credential(&self, role: &str) -> Result<(String, String, u64), Error> {
        let data = self.read(&format!("static-creds/{role}")).await?;
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        Ok((text("username"), text("password"), data["ttl"].as_u64().unwrap_or_default()))
    }

    /// Asserts that what is handed out logs in, and returns it.
    async fn logs_in(&self, role: &str) -> (String, String) {
        let (username, password, ttl) = self.credential(role).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(ttl > 0);
        assert_eq!(self.server.password(&username).as_ref(), Some(&password), "the password of {username}");
        (username, password)
    }

    /// The password that is stored for the connection.
    async fn root_password(&self) -> String {
        let (stored, _) = self.engine.connections.stored("pg").await.unwrap().unwrap();
        stored.details().string("password").unwrap().unwrap()
    }

    async fn journal_is_open(&self) -> bool {
        self.engine.rotation.roots.get("pg").await.unwrap().root.journal.is_some()
    }

    /// Does everything that is due at this moment, as the worker would.
    async fn work(&self) {
        for _ in 0..50 {
            match self.engine.rotation.work_page("pg", 16).await {
                Ok(Page::Worked) => {}
                Ok(Page::Down(_)) if self.engine.rotation.mend_root("pg").await => {}
                Ok(Page::Empty | Page::NotBefore(_) | Page::Down(_)) | Err(_) => return,
            }
        }
        panic!("the queue does not come to rest");
    }

    /// Moves the clock and does what has become due.
    async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.work().await;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn engine(store: &Arc<Memory>, crash: &Arc<Crash>, clock: &ManualClock) -> Arc<Database> {
    static SEED: AtomicUsize = AtomicUsize::new(1);
    let seed = SEED.fetch_add(1, Ordering::Relaxed) as u64;
    let backend: Arc<dyn Backend> = Arc::new(Mortal { store: store.clone(), crash: crash.clone() });
    Arc::new(Database::new(Setup {
        passwords: PasswordPolicies::new(View::new(backend.clone(), "policy/")),
        view: View::new(backend, "mount/"),
        uuid: "uuid".into(),
        options: Value::Null,
        clock: Arc::new(clock.clone()),
        random: Arc::new(SeededRandom::new(seed)),
        leases: Arc::new(NoLeases),
    }))
}

/// Fails new passwords for `user`, and nothing else.
fn fail_updates_of(user: &'static str, verdict: Verdict) -> impl Fn(&Call) -> Verdict + Send + Sync {
    move |call| match call {
        Call::Update { username, .. } if username == user => verdict,
        _ => Verdict::Pass,
    }
}

fn daily(username: &str) -> Value {
    json!({"username": username, "db_name": "pg", "rotation_period": "24h"})
}

const DAY: u64 = 86_400;
