//! The lease protocol against a database that can be taken down, with a clock that moves only when told to.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, json};

use super::issue::{Asker, Issued};
use super::revoke::Wait;
use super::*;
use crate::auth::{LeaseOwner, Login, TokenParams, TokenType};
use crate::base::clock::ManualClock;
use crate::base::random::SeededRandom;
use crate::base::shutdown::{self, Trigger};
use crate::base::{Gate, Secret};
use crate::engine::mount;
use crate::engine::token::{Kind as TokenKind, Token};
use crate::engine::token_create::from_login;
use crate::secrets::{Make, Offer, Outcome, Terms};
use crate::storage::Backend;
use crate::storage::memory::Memory;
use crate::wire::{Error, Fields, Kind, Request, Route};

/// Databases by name; a user exists in one of them. `down` ones refuse everything.
#[derive(Default)]
pub(super) struct World {
    users: Mutex<BTreeSet<(String, String)>>,
    pub(super) down: Mutex<BTreeSet<String>>,
    attempts: AtomicUsize,
    make_fails: Mutex<bool>,
}

impl World {
    pub(super) fn users(&self, database: &str) -> usize {
        self.users.lock().unwrap().iter().filter(|(name, _)| name == database).count()
    }

    fn is_down(&self, database: &str) -> Result<(), Error> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        match self.down.lock().unwrap().contains(database) {
            true => Err(Error::new(Kind::Upstream, "the database is down")),
            false => Ok(()),
        }
    }
}

struct Fake(Arc<World>);

struct Making {
    world: Arc<World>,
    user: (String, String),
}

#[async_trait]
impl Make for Making {
    async fn make(self: Box<Self>, _expires: Timestamp, recorded: Gate) -> Result<Map<String, Value>, Error> {
        self.world.is_down(&self.user.0)?;
        if !recorded.passed().await {
            return Err(Error::new(Kind::Unavailable, "not recorded"));
        }
        self.world.users.lock().unwrap().insert(self.user.clone());
        if *self.world.make_fails.lock().unwrap() {
            return Err(Error::new(Kind::Upstream, "the connection broke after the user was made"));
        }
        Ok(json!({ "username": self.user.1 }).as_object().unwrap().clone())
    }
}

#[async_trait]
impl SecretsEngine for Fake {
    fn routes(&self) -> &'static [Route] {
        &[]
    }

    async fn handle(&self, _request: Request) -> Result<Outcome, Error> {
        Err(Error::unsupported_path())
    }
    async fn exists(&self, _path: &str) -> Result<bool, Error> {
        Ok(false)
    }
    async fn terms(&self, _record: &Value) -> Result<Terms, Error> {
        Ok(Terms { default_ttl: 60, max_ttl: 90 })
    }
    async fn renew(&self, record: &Value, _expires: Timestamp) -> Result<(), Error> {
        self.0.is_down(record["database"].as_str().unwrap())
    }
    async fn revoke(&self, record: &Value) -> Result<(), Error> {
        let database = record["database"].as_str().unwrap().to_owned();
        self.0.is_down(&database)?;
        self.0.users.lock().unwrap().remove(&(database, record["user"].as_str().unwrap().to_owned()));
        Ok(())
    }
    async fn close(&self) {}
}

pub(super) struct Bench {
    pub(super) world: Arc<World>,
    pub(super) clock: ManualClock,
    pub(super) store: View,
    pub(super) tokens: Arc<Tokens>,
    pub(super) leases: Arc<Leases>,
    names: AtomicUsize,
    _stop: Trigger,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_000_000).unwrap());
        Self::at(Place::default(), Arc::new(Memory::default()), Arc::default(), Arc::default(), clock).await
    }

    /// A namespace below, in the same store and with the same databases.
    pub(super) async fn below(&self) -> Self {
        let place = Place { id: "team01".into(), path: "team/".into() };
        let peers = self.leases.peers.clone();
        Self::at(place, self.store.store().clone(), peers, self.world.clone(), self.clock.clone()).await
    }

    async fn at(
        place: Place,
        backend: Arc<dyn Backend>,
        peers: Arc<Peers>,
        world: Arc<World>,
        clock: ManualClock,
    ) -> Self {
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let store = View::new(backend, format!("{}sys/", place.prefix()));
        let open: mount::Open<dyn SecretsEngine> = {
            let world = world.clone();
            Box::new(move |_| Some(Arc::new(Fake(world.clone()))))
        };
        let mounts = Arc::new(Table::load(store.sub("core"), "mounts", open).await.unwrap());
        let fields = Fields::from(json!({"type": "fake"}).as_object().unwrap().clone());
        mounts.add(mount::new_entry("db", false, &fields, &*random).unwrap()).await.unwrap();
        let due = Index::new(store.sub("due"));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let tokens = Tokens::open(store.sub("token"), place.clone(), due.clone(), shared.clone(), random.clone()).await;
        let tokens = Arc::new(tokens.unwrap());
        let (leases, undelivered) = Leases::open(Parts {
            place,
            peers,
            view: store.clone(),
            due,
            mounts,
            tokens: tokens.clone(),
            limits: Limits::default(),
            quotas: Arc::new(Quotas::load(store.sub("quota"), store.sub("lease")).await.unwrap()),
            clock: shared,
            random,
        });
        let (stop, shutdown) = shutdown::channel();
        tokio::spawn(leases.clone().run(undelivered, shutdown));
        Self { world, clock, store, tokens, leases, names: AtomicUsize::new(0), _stop: stop }
    }

    async fn workloads(&self) -> Vec<(Workload, usize)> {
        self.leases.census(None).await.unwrap().workloads
    }

    pub(super) async fn token(&self, owner: LeaseOwner) -> String {
        let login = Login {
            display_name: "t".into(),
            metadata: Default::default(),
            alias: None,
            groups: Vec::new(),
            token: TokenParams::default(),
            owner,
        };
        let made = self
            .tokens
            .create(from_login(login, "auth/x/login", TokenType::Default), None, Limits::default())
            .await
            .unwrap();
        self.tokens.hash(&made.id)
    }

    pub(super) async fn issue(&self, database: &str, token: &str) -> Result<Issued, Error> {
        self.issue_for(database, token, None).await
    }

    async fn issue_for(&self, database: &str, token: &str, workload: Option<&str>) -> Result<Issued, Error> {
        let token = self.tokens.read(token.to_owned()).await?.ok_or_else(Error::denied)?;
        self.issue_to(database, Asker { token, workload: workload.map(str::to_owned) }).await
    }

    pub(super) async fn issue_to(&self, database: &str, asker: Asker) -> Result<Issued, Error> {
        let user = format!("u{}", self.names.fetch_add(1, Ordering::SeqCst));
        let mounted = self.leases.mounts.get("db/").unwrap();
        let offer = Offer {
            terms: Terms { default_ttl: 60, max_ttl: 90 },
            requested: None,
            renewable: true,
            group: database.to_owned(),
            record: json!({ "database": database, "user": user }),
            stocked: None,
            expect: Vec::new(),
            make: Box::new(Making { world: self.world.clone(), user: (database.to_owned(), user) }),
        };
        self.leases.clone().issue(mounted, &format!("db/creds/{database}"), offer, &asker).await
    }

    pub(super) async fn deliver(&self, database: &str, token: &str) -> String {
        let issued = self.issue(database, token).await.unwrap();
        issued.delivery.complete();
        issued.id
    }

    /// Waits, without moving the clock, until the background work has brought about what is expected.
    pub(super) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        for _ in 0..100_000 {
            if condition().await {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("this did not come about: {what}");
    }

    pub(super) async fn count(&self) -> usize {
        self.leases.below("db").await.unwrap().len()
    }
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_with_its_user() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    bench.deliver("a", &token).await;
    bench.clock.advance(Duration::from_secs(59));
    tokio::task::yield_now().await;
    assert_eq!(bench.world.users("a"), 1);
    bench.clock.advance(Duration::from_secs(1));
    bench.until("the user is gone", async || bench.world.users("a") == 0 && bench.count().await == 0).await;
    assert!(bench.store.keys("lease/").await.unwrap().is_empty(), "nothing of the lease is left");
}

#[tokio::test]
async fn a_renewed_lease_lives_on_until_its_maximum() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    let id = bench.deliver("a", &token).await;
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(bench.leases.renew(&id, 0).await.unwrap().ttl, 60, "a renewal reports the full TTL");
    bench.clock.advance(Duration::from_secs(50));
    tokio::task::yield_now().await;
    let renewed = bench.leases.renew(&id, 0).await.unwrap();
    assert_eq!((renewed.ttl, bench.world.users("a")), (20, 1), "capped by the maximum of 90 s");
    assert!(renewed.warnings[0].contains("capped"));
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(bench.leases.renew(&id, 0).await.unwrap_err().to_string(), "lease expired");
    bench.until("the user is gone", async || bench.world.users("a") == 0).await;
    bench.until("the lease is gone", async || bench.count().await == 0).await;
    assert_eq!(bench.leases.renew(&id, 0).await.unwrap_err().to_string(), "lease not found");
}

#[tokio::test]
async fn a_credential_that_could_not_be_made_or_delivered_leaves_nothing() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    *bench.world.make_fails.lock().unwrap() = true;
    bench.issue("a", &token).await.unwrap_err();
    bench.until("the half-made user is gone", async || bench.world.users("a") + bench.count().await == 0).await;
    *bench.world.make_fails.lock().unwrap() = false;
    drop(bench.issue("a", &token).await.unwrap());
    bench.until("the undelivered user is gone", async || bench.world.users("a") + bench.count().await == 0).await;
}

#[tokio::test]
async fn leases_of_a_token_end_with_it_and_with_its_parent() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    bench.deliver("a", &token).await;
    bench.leases.end_token(&token).await.unwrap();
    bench.until("the user is gone", async || bench.world.users("a") == 0).await;
    assert_eq!(bench.issue("a", &token).await.unwrap_err().status(), 403);
    assert!(bench.tokens.read(token).await.unwrap().is_none());
}

#[tokio::test]
async fn leases_of_a_workload_outlive_the_token_and_end_with_the_workload() {
    let bench = Bench::new().await;
    let workload = Workload { uid: "uid-1".into(), namespace: "ns".into(), name: "pod".into(), ..Workload::default() };
    let token = bench.token(LeaseOwner::Workload(workload.clone())).await;
    bench.deliver("a", &token).await;
    bench.leases.end_token(&token).await.unwrap();
    assert_eq!(bench.workloads().await, [(workload.clone(), 1)]);
    assert_eq!(bench.world.users("a"), 1);
    assert_eq!(bench.leases.end_workloads(&["uid-1".into()], None).await.unwrap(), 1);
    bench.until("the user is gone", async || bench.world.users("a") == 0 && bench.count().await == 0).await;
    let late = bench.token(LeaseOwner::Workload(workload)).await;
    assert_eq!(bench.issue("a", &late).await.unwrap_err().status(), 403, "the pod is gone: no new credential");
    assert_eq!(bench.world.users("a"), 0);
}

#[tokio::test]
async fn one_login_serves_every_workload_that_its_requests_name() {
    let bench = Bench::new().await;
    let token =
        bench.token(LeaseOwner::Requester { namespace: "ns".into(), service_account: "sa".into(), login: None }).await;
    for workload in [Some("uid-1/db"), Some("uid-2"), None] {
        bench.issue_for("a", &token, workload).await.unwrap().delivery.complete();
    }
    let workload = |uid: &str, name: &str| {
        let workload = Workload { uid: uid.into(), namespace: "ns".into(), ..Workload::default() };
        Workload { name: name.into(), service_account: "sa".into(), ..workload }
    };
    assert_eq!(bench.workloads().await, [(workload("uid-1", "db"), 1), (workload("uid-2", ""), 1)]);
    bench.leases.end_token(&token).await.unwrap();
    bench.until("the token's own user is gone", async || bench.world.users("a") == 2).await;
    bench.leases.end_workloads(&["uid-1".into()], None).await.unwrap();
    bench.until("the user of the workload is gone", async || bench.world.users("a") == 1).await;
}

#[tokio::test]
async fn a_request_names_no_workload_that_its_login_does_not_leave_to_it() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    assert_eq!(bench.issue_for("a", &token, Some("uid-1")).await.unwrap_err().status(), 400);
    let open =
        bench.token(LeaseOwner::Requester { namespace: "ns".into(), service_account: "sa".into(), login: None }).await;
    for named in ["", "/db", "a b", "uid/na/me", "uid/\u{e9}"] {
        let error = bench.issue_for("a", &open, Some(named)).await.unwrap_err();
        assert_eq!(error.status(), 400, "{named}");
    }
    let pod = bench.token(LeaseOwner::Workload(Workload { uid: "pod".into(), ..Workload::default() })).await;
    bench.issue_for("a", &pod, Some("uid-1")).await.unwrap().delivery.complete();
    assert_eq!(bench.workloads().await[0].0.uid, "pod", "a pod's leases are the pod's");
    assert_eq!(bench.world.users("a"), 1);
}

#[tokio::test]
async fn a_uid_that_others_claim_is_shown_for_each_of_them() {
    let bench = Bench::new().await;
    let workload =
        |namespace: &str| Workload { uid: "uid-1".into(), namespace: namespace.into(), ..Workload::default() };
    for namespace in ["b", "a", "b"] {
        let token = bench.token(LeaseOwner::Workload(workload(namespace))).await;
        bench.deliver(namespace, &token).await;
    }
    let mut found = bench.workloads().await;
    found.sort_by_key(|(_, leases)| *leases);
    assert_eq!(found, [(workload("a"), 1), (workload("b"), 2)]);
    assert_eq!(bench.leases.of_workload("uid-1").await.unwrap().len(), 3);
    assert!(bench.leases.of_workload("uid").await.unwrap().is_empty(), "no prefix of a UID is one");
}

#[tokio::test]
async fn a_dead_database_delays_no_other_and_its_backlog_drains_when_it_is_back() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    for _ in 0..300 {
        bench.deliver("dead", &token).await;
    }
    for _ in 0..20 {
        bench.deliver("well", &token).await;
    }
    bench.world.down.lock().unwrap().insert("dead".into());
    bench.clock.advance(Duration::from_secs(61));
    bench.until("the healthy database is cleaned", async || bench.world.users("well") == 0).await;
    bench.until("all that wait are shown", async || bench.leases.stuck(10).await.unwrap().1 == 300).await;
    let (shown, _) = bench.leases.stuck(10).await.unwrap();
    assert!(shown.len() == 10 && shown.iter().all(|stuck| stuck.attempt.error.contains("is down")), "and why");
    let before = bench.world.attempts.load(Ordering::SeqCst);
    for _ in 0..10 {
        bench.clock.advance(Duration::from_secs(5));
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
    }
    let tried = bench.world.attempts.load(Ordering::SeqCst) - before;
    assert!(tried <= 12, "one attempt per back-off, not one per lease: {tried}");
    assert_eq!(bench.world.users("dead"), 300);
    bench.world.down.lock().unwrap().clear();
    bench.clock.advance(Duration::from_secs(301));
    bench.until("the backlog drains", async || bench.world.users("dead") == 0 && bench.count().await == 0).await;
}

#[tokio::test]
async fn revoking_waits_for_the_database_unless_told_otherwise() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    let ids = [bench.deliver("a", &token).await, bench.deliver("a", &token).await];
    bench.leases.revoke(&ids[0], Wait::Sync).await.unwrap();
    assert_eq!(bench.world.users("a"), 1);
    bench.leases.revoke(&ids[0], Wait::Sync).await.unwrap();
    bench.world.down.lock().unwrap().insert("a".into());
    let error = bench.leases.revoke(&ids[1], Wait::Sync).await.unwrap_err();
    assert_eq!((error.status(), error.to_string()), (400, "failed to revoke entry: the database is down".into()));
    assert_eq!(bench.leases.renew(&ids[1], 0).await.unwrap_err().to_string(), "lease expired");
    let left = bench.leases.force(vec![ids[1].clone()]).await.unwrap();
    assert_eq!((left, bench.count().await), (vec![ids[1].clone()], 0));
}

#[tokio::test]
async fn a_restart_goes_on_with_what_was_marked() {
    let bench = Bench::new().await;
    let token = bench.token(LeaseOwner::Token).await;
    let id = bench.deliver("a", &token).await;
    bench.world.down.lock().unwrap().insert("a".into());
    bench.leases.revoke(&id, Wait::Later).await.unwrap();
    bench.until("it was tried", async || !bench.leases.stuck(1).await.unwrap().0.is_empty()).await;
    bench.world.down.lock().unwrap().clear();
    let (again, undelivered) = Leases::open(Parts {
        place: Place::default(),
        peers: Arc::default(),
        view: bench.store.clone(),
        due: Index::new(bench.store.sub("due")),
        mounts: bench.leases.mounts.clone(),
        tokens: bench.tokens.clone(),
        limits: Limits::default(),
        quotas: Arc::new(Quotas::load(bench.store.sub("quota"), bench.store.sub("lease")).await.unwrap()),
        clock: Arc::new(bench.clock.clone()),
        random: Arc::new(SeededRandom::new(2)),
    });
    let (_stop, shutdown) = shutdown::channel();
    tokio::spawn(again.run(undelivered, shutdown));
    bench.until("the user is gone", async || bench.world.users("a") == 0).await;
}

#[tokio::test]
async fn tokens_expire_with_their_leases_and_uses_run_out() {
    let bench = Bench::new().await;
    let hash = bench.token(LeaseOwner::Token).await;
    bench.deliver("a", &hash).await;
    bench.clock.advance(Duration::from_secs(super::super::ttl::SYSTEM_TTL));
    bench.until("the token is gone", async || bench.tokens.read(hash.clone()).await.unwrap().is_none()).await;
    bench.until("and its user", async || bench.world.users("a") == 0).await;
    let token = TokenParams { token_num_uses: 2, ..TokenParams::default() };
    let login = Login {
        display_name: "t".into(),
        metadata: Default::default(),
        alias: None,
        groups: Vec::new(),
        token,
        owner: LeaseOwner::Token,
    };
    let made = bench
        .tokens
        .create(from_login(login, "auth/x/login", TokenType::Default), None, Limits::default())
        .await
        .unwrap();
    let stale = bench.tokens.find(&made.id).await.unwrap().unwrap();
    for uses in [true, true, false] {
        // The same stale record each time: the count is the store's, not the caller's.
        assert_eq!(bench.tokens.use_once(&mut stale.clone()).await.unwrap(), uses);
    }
    assert!(bench.tokens.find(&made.id).await.unwrap().is_none());
    assert!(bench.tokens.find(&Secret::new("s.unknown")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_lease_of_a_batch_token_ends_with_it_and_hangs_on_its_parent() {
    let bench = Bench::new().await;
    let parent = bench.token(LeaseOwner::Token).await;
    let batch = Token {
        kind: TokenKind::Batch,
        parent: Some(parent.clone()),
        orphan: false,
        role_ttl: 30,
        ..Token::blank(bench.clock.now())
    };
    let made = bench.tokens.create(batch, None, Limits::default()).await.unwrap();
    let token = bench.tokens.find(&made.id).await.unwrap().unwrap();
    let asker = || Asker { token: token.clone(), workload: None };
    let issued = bench.issue_to("a", asker()).await.unwrap();
    issued.delivery.complete();
    assert_eq!(issued.ttl, 30, "the role says 60");
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(bench.leases.renew(&issued.id, 60).await.unwrap().ttl, 10);
    bench.leases.end_token(&parent).await.unwrap();
    assert!(bench.tokens.find(&made.id).await.unwrap().is_none(), "it is no better than its parent");
    assert_eq!(bench.issue_to("a", asker()).await.unwrap_err().status(), 403);
    bench.until("the user is gone", async || bench.world.users("a") == 0).await;
}
