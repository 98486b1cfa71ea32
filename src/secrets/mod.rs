//! Secrets engines: the trait that every mount's type implements, and the table of types.
//!
//! An engine makes, prolongs and drops credentials; it never stores a lease. It describes a credential that it is ready to
//! make ([`Offer`]), `engine/lease.rs` records the lease durably, and only then is [`Make::make`] called.
//! A new type is one file (or folder) exporting `SPEC` and one line in [`TABLE`].

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::base::{Clock, Random, Timestamp};
use crate::storage::View;
use crate::wire::{Answer, Error, Request};

pub mod database;

/// Every type that `sys/mounts` can mount.
pub const TABLE: &[Spec] = &[database::SPEC];

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
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
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

/// The second step of issuing: called after the lease is durable.
#[async_trait]
pub trait Make: Send {
    /// Makes the credential, valid until `expires`, and returns the answer's `data`.
    ///
    /// # Errors
    /// The engine then revokes the lease, so a half-made credential is cleaned up by [`SecretsEngine::revoke`].
    async fn make(self: Box<Self>, expires: Timestamp) -> Result<Map<String, Value>, Error>;
}

/// One mount's engine.
#[async_trait]
pub trait SecretsEngine: Send + Sync {
    /// Answers a request below the mount.
    ///
    /// # Errors
    /// As Vault's engine of this type answers.
    async fn handle(&self, request: Request) -> Result<Outcome, Error>;

    /// Whether a write to `path` would update something that exists (policies tell `create` from `update` by it).
    async fn exists(&self, path: &str) -> Result<bool, Error>;

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

    /// Closes connections; called when the mount is removed or the engine stops.
    async fn close(&self);
}
