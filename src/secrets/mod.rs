//! Secrets engines: the trait that every mount's type implements, and the table of types.
//!
//! An engine makes, prolongs and drops credentials; it never stores a lease. It describes a credential that it is ready to
//! make ([`Offer`]); `engine/lease/` records the lease durably, and only then does [`Make::make`] take effect.
//! A new type is one file (or folder) exporting `SPEC` and one line in [`TABLE`].

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use self::password_policy::PasswordPolicies;
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Gate, Random, Timestamp};
use crate::storage::{Version, View};
use crate::wire::{Answer, Error, Request, Route};

pub mod database;
pub mod kv;
pub mod password_policy;

/// Every type that `sys/mounts` can mount.
pub const TABLE: &[Spec] = &[database::SPEC, kv::SPEC];

/// A row of [`TABLE`].
#[derive(Clone, Copy)]
pub struct Spec {
    /// The `type` of `sys/mounts`.
    pub kind: &'static str,
    /// Opens the engine of one mount.
    pub open: fn(Setup) -> Arc<dyn SecretsEngine>,
}

/// What an engine of one mount is given.
#[derive(Clone)]
pub struct Setup {
    /// The mount's own storage.
    pub view: View,
    /// Names the mount, whatever its path.
    pub uuid: String,
    /// The `options` map of `sys/mounts`, or null.
    pub options: Value,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// How passwords are made.
    pub passwords: PasswordPolicies,
    /// The leases of the mount.
    pub leases: Arc<dyn LeaseBook>,
}

/// The leases of one mount, as its engine may see and use them.
#[async_trait]
pub trait LeaseBook: Send + Sync {
    /// At most `limit` leases of the mount in the order of their ids, after the id `after`.
    ///
    /// # Errors
    /// What the store says.
    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<Held>, Error>;

    /// Records a lease that nobody owns yet and makes its credential; [`Offer::stocked`] hands it out later. `path` is that of
    /// the requests that it will answer, relative to the mount.
    ///
    /// # Errors
    /// What the engine itself says; the lease is then revoked.
    async fn stock(&self, path: &str, offer: Offer) -> Result<Stocked, Error>;

    /// Revokes leases; returns the ids of those whose credential may be left behind ([`Ending::Force`] alone leaves any).
    ///
    /// # Errors
    /// What the store says, and with [`Ending::Wait`] what the first credential says that cannot be dropped.
    async fn end(&self, ids: Vec<String>, how: Ending) -> Result<Vec<String>, Error>;
}

/// A lease as its engine sees it.
#[derive(Debug, Clone)]
pub struct Held {
    /// The lease's id.
    pub id: String,
    /// As the offer had it.
    pub group: String,
    /// As the offer had it.
    pub record: Value,
    /// Whether nobody owns it yet.
    pub stocked: bool,
    /// Whether it is being revoked, or has expired.
    pub ended: bool,
    /// When it was recorded.
    pub issued: Timestamp,
}

/// A credential that waits for somebody to take it.
#[derive(Debug)]
pub struct Stocked {
    /// The lease's id.
    pub id: String,
    /// The answer's `data`.
    pub data: Map<String, Value>,
}

/// One figure of a mount. Labels come from objects that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// `lessor_…`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it only grows, so that its rate is what tells something.
    pub counter: bool,
    /// Besides the mount's path.
    pub labels: Vec<(&'static str, String)>,
    /// Its value now.
    pub value: u64,
}

/// How [`LeaseBook::end`] goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Mark them and return; workers drop the credentials.
    Later,
    /// Return when the credentials are dropped.
    Wait,
    /// As [`Ending::Wait`], but forget also leases whose credential cannot be dropped.
    Force,
}

/// The answer of an engine to a request.
pub enum Outcome {
    /// No lease is involved.
    Answer(Answer),
    /// A credential that waits to be made once its lease is recorded.
    Lease(Offer),
}

/// A credential ready to be made. Nothing has happened in the outside world yet.
pub struct Offer {
    /// The role's own terms; the engine caps them by mount and system.
    pub terms: Terms,
    /// A TTL that the caller asked for, whole seconds.
    pub requested: Option<u64>,
    /// Whether `sys/leases/renew` may prolong it.
    pub renewable: bool,
    /// What failures are counted by: the connection's name. One that is down delays no other.
    pub group: String,
    /// Kept in the lease: all that renewal and revocation need. It must hold no password.
    pub record: Value,
    /// The id of a stocked lease that now gets its owner, instead of a new one.
    pub stocked: Option<String>,
    /// Entries of the store that must not change before the lease is recorded: what the offer was made from.
    pub expect: Vec<(String, Version)>,
    /// Makes the credential.
    pub make: Box<dyn Make>,
}

/// TTL rules of a role, whole seconds; 0 is "the mount's".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// TTL when none is asked for.
    pub default_ttl: u64,
    /// Longest life, renewals included.
    pub max_ttl: u64,
}

/// The second step of issuing: begun while the lease is being recorded, and completed only after that.
#[async_trait]
pub trait Make: Send {
    /// Makes the credential, valid until `expires`, and returns the answer's `data`. Nothing may exist in the outside world
    /// before `recorded` has let it through; if that gate stays shut, nothing may be left behind.
    ///
    /// # Errors
    /// The engine then revokes the lease, so a half-made credential is cleaned up by [`SecretsEngine::revoke`].
    async fn make(self: Box<Self>, expires: Timestamp, recorded: Gate) -> Result<Map<String, Value>, Error>;
}

/// One mount's engine.
#[async_trait]
pub trait SecretsEngine: Send + Sync {
    /// What the engine answers: nothing else reaches [`SecretsEngine::handle`], but for what `sys/lessor/` asks.
    fn routes(&self) -> &'static [Route];

    /// Answers a request below the mount.
    ///
    /// # Errors
    /// As Vault's engine of this type answers.
    async fn handle(&self, request: Request) -> Result<Outcome, Error>;

    /// Whether a write to `path` would update something that exists (policies tell `create` from `update` by it).
    async fn exists(&self, path: &str) -> Result<bool, Error>;

    /// Whether `lessor/…` below the mount is where the engine answers `sys/lessor/…`, so that nobody else may ask it there. Where
    /// users choose the paths, it is a path like any other.
    fn answers_sys_lessor(&self) -> bool {
        true
    }

    /// The present terms of the role behind a lease, for renewal.
    ///
    /// # Errors
    /// When the role is gone: such a lease cannot be renewed.
    async fn terms(&self, record: &Value) -> Result<Terms, Error>;

    /// Prolongs the credential in the outside world until `expires`.
    ///
    /// # Errors
    /// The lease then keeps its old end.
    async fn renew(&self, record: &Value, expires: Timestamp) -> Result<(), Error>;

    /// Drops the credential. Idempotent: one that is gone already is success.
    ///
    /// # Errors
    /// The revocation is then tried again later.
    async fn revoke(&self, record: &Value) -> Result<(), Error>;

    /// Work that nobody asks for (rotations, spares, sweeps): runs until `shutdown` or [`SecretsEngine::close`].
    async fn run(self: Arc<Self>, _shutdown: Shutdown) {}

    /// What monitoring should know about the mount.
    async fn samples(&self) -> Vec<Sample> {
        Vec::new()
    }

    /// Closes connections; called when the mount is removed or the engine stops.
    async fn close(&self);
}
