//! Making and prolonging leases: record first, credential second, answer last.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value};

use super::logins::marks_of;
use super::revoke::Wait;
use super::trace::Grant;
use super::{Lease, Leases, Owner, record_key};
use crate::auth::{LeaseOwner, Workload};
use crate::base::clock::seconds_between;
use crate::base::{Timestamp, gate};
use crate::engine::mount::Mounted;
use crate::engine::namespace::{Place, id_in};
use crate::engine::request::Delivery;
use crate::engine::token::{Found, Kind as TokenKind};
use crate::engine::ttl::{self, Limits, Wish};
use crate::secrets::{Offer, SecretsEngine, Stocked, Terms};
use crate::storage::{Error as StorageError, Txn, Version};
use crate::wire::{Error, Kind, WORKLOAD_HEADER};

/// How often a lost race for the record is run again before the caller is told to.
const RACES: usize = 8;

/// A credential with its lease, ready to be answered.
#[derive(Debug)]
pub struct Issued {
    /// The lease's id.
    pub id: String,
    /// Granted whole seconds.
    pub ttl: u64,
    /// Whether it may be prolonged.
    pub renewable: bool,
    /// The answer's `data`.
    pub data: Map<String, Value>,
    /// For the envelope.
    pub warnings: Vec<String>,
    /// Takes the lease back unless the answer is written.
    pub delivery: Delivery,
}

/// Who asks for a credential.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The token, which the engine has found to be good.
    pub token: Found,
    /// The workload that the request names, as it was sent.
    pub workload: Option<String>,
}

impl Asker {
    /// Whose the lease is; `None`: the token's own. What is left to the token's login is not for a request to choose.
    /// Workloads are a matter of the namespace that a login belongs to: below it a lease is its token's.
    fn workload(&self, place: &Place) -> Result<Option<Workload>, Error> {
        let own = id_in(&self.token.hash) == place.id;
        match (if own { &self.token.token.owner } else { &LeaseOwner::Token }, &self.workload) {
            (LeaseOwner::Workload(workload), _) => Ok(Some(workload.clone())),
            (LeaseOwner::Requester { namespace, service_account, login }, Some(named)) => {
                let workload = Workload::named(namespace, named)?;
                Ok(Some(Workload { service_account: service_account.clone(), login: login.clone(), ..workload }))
            }
            (LeaseOwner::Token, Some(_)) => Err(Error::bad_request(format!(
                "{WORKLOAD_HEADER}: the leases of this token are its own; log in to a role with lease_owner=workload"
            ))),
            _ => Ok(None),
        }
    }
}

/// A prolonged lease.
#[derive(Debug)]
pub struct Renewed {
    /// Granted whole seconds.
    pub ttl: u64,
    /// Whether it may be prolonged again.
    pub renewable: bool,
    /// For the envelope.
    pub warnings: Vec<String>,
}

impl Leases {
    /// Issues a credential for `asker`: commits the lease, makes the credential, returns the answer.
    ///
    /// Making begins while the lease is on its way to the disk; the gate between them keeps the credential from existing
    /// before its lease. When making fails, or nobody waits for the answer any more, the lease is revoked: dropping
    /// [`Issued`] does that too.
    ///
    /// # Errors
    /// 400 for a workload that the token cannot ask for; 403 when token or workload have ended meanwhile; 503 when what the offer was made from has changed: ask again; what
    /// the secrets engine says.
    pub async fn issue(
        self: Arc<Self>,
        mounted: Arc<Mounted<dyn SecretsEngine>>,
        path: &str,
        offer: Offer,
        asker: &Asker,
    ) -> Result<Issued, Error> {
        let (now, found) = (self.clock.now(), &asker.token);
        let Terms { default_ttl, max_ttl } = offer.terms;
        let increment = offer.requested.unwrap_or(0);
        let wish = Wish { increment, role_ttl: default_ttl, role_max: max_ttl, ..Wish::default() };
        // Nobody can end what hangs on a batch token, so it ends with it at the latest.
        let batch = found.token.kind == TokenKind::Batch && asker.workload(&self.place)?.is_none();
        let until = found.token.expires.filter(|_| batch);
        let limits = capped(mounted.entry.limits(self.limits), now, until);
        let granted = ttl::grant(&wish, &limits, now, now).ok_or_else(|| Error::bad_request("ttl must be positive"))?;
        let expires = ttl::expiry(now, granted.ttl);
        let Offer { make, renewable, stocked, .. } = offer;
        let lease = Lease {
            id: stocked.clone().unwrap_or_else(|| self.new_id(path)),
            mount: mounted.entry.path.clone(),
            group: group(&mounted.entry.uuid, &offer.group),
            issued: now,
            expires,
            last_renewal: None,
            renewable,
            owner: Owner::Token(found.lease_holder().unwrap_or(&found.hash).to_owned()),
            record: offer.record,
            revoking: None,
            until,
        };
        // A spare was counted when it was made.
        let room = if stocked.is_some() { None } else { Some(self.quotas.reserve(&self.place.full(path)).await?) };
        let (opener, recorded) = gate::new();
        let recording = async {
            let lease = self.record(lease, &mounted.entry.uuid, asker, stocked.is_some(), &offer.expect).await?;
            if let Some(room) = room {
                room.keep();
            }
            let delivery = self.delivery(&lease.id);
            opener.open();
            Ok::<_, Error>((lease, delivery))
        };
        let (recorded, made) = tokio::join!(recording, make.make(expires, recorded));
        let (lease, delivery) = recorded?;
        let (data, warnings) = (made?, granted.warning.into_iter().collect());
        self.counts.issued.fetch_add(1, Ordering::Relaxed);
        lease.log("issued a workload's credential");
        Ok(Issued { id: lease.id, ttl: granted.ttl, renewable, data, warnings, delivery })
    }

    /// Records a lease that nobody owns yet and makes its credential. It ends after `offer.requested` seconds unless somebody
    /// takes it.
    ///
    /// # Errors
    /// As [`Leases::issue`].
    pub async fn stock(
        self: Arc<Self>,
        mounted: Arc<Mounted<dyn SecretsEngine>>,
        path: &str,
        offer: Offer,
    ) -> Result<Stocked, Error> {
        let now = self.clock.now();
        let expires = ttl::expiry(now, offer.requested.unwrap_or(offer.terms.default_ttl));
        let lease = Lease {
            id: self.new_id(path),
            mount: mounted.entry.path.clone(),
            group: group(&mounted.entry.uuid, &offer.group),
            issued: now,
            expires,
            last_renewal: None,
            renewable: offer.renewable,
            owner: Owner::Stock(mounted.entry.uuid.clone()),
            record: offer.record,
            revoking: None,
            until: None,
        };
        let room = self.quotas.reserve(&self.place.full(path)).await?;
        let (opener, recorded) = gate::new();
        let recording = async {
            let mut txn = Txn { expect: offer.expect, ops: Vec::new() };
            txn.expect.push((self.view.full_key(&record_key(&lease.id)), 0));
            txn.expect.push(self.mounts.expectation());
            self.stage_new(&mut txn, &lease)?;
            self.view.store().commit(txn).await?;
            room.keep();
            let delivery = self.delivery(&lease.id);
            opener.open();
            self.due.added(expires);
            Ok::<_, StorageError>(delivery)
        };
        let (recorded, made) = tokio::join!(recording, offer.make.make(expires, recorded));
        let (delivery, data) = (recorded?, made?);
        delivery.complete();
        Ok(Stocked { id: lease.id, data })
    }

    fn new_id(&self, path: &str) -> String {
        self.place.mark(format!("{}/{}", path.trim_end_matches('/'), self.random.base62(24)))
    }

    /// Commits a lease in one transaction, on condition that token (of a batch token: its parent), workload, mount and what the offer was made from are
    /// still there. With `stocked` it is one that exists and now gets its owner.
    async fn record(
        &self,
        mut lease: Lease,
        mount_uuid: &str,
        asker: &Asker,
        stocked: bool,
        expect: &[(String, Version)],
    ) -> Result<Lease, Error> {
        let found = &asker.token;
        for _ in 0..RACES {
            let mut txn = Txn { expect: expect.to_vec(), ops: Vec::new() };
            if let Some(hash) = found.lease_holder() {
                let holder = self.tokens.find_hash(hash.to_owned()).await?.ok_or_else(Error::denied)?;
                txn.expect.push((self.tokens.key(&holder.hash), holder.version));
                self.tokens.stage_abroad(&mut txn, &holder.hash)?;
            }
            txn.expect.push(self.mounts.expectation());
            if self.mounts.get(&lease.mount).is_none_or(|m| m.entry.uuid != mount_uuid || m.entry.tainted) {
                return Err(Error::not_found());
            }
            if let Some(workload) = asker.workload(&self.place)? {
                txn.expect.extend(marks_of(&workload).iter().map(|mark| (self.tombstones.full_key(mark), 0)));
                lease.owner = Owner::Workload(workload);
            }
            let version = if stocked { self.stage_taking(&mut txn, &lease.id).await? } else { 0 };
            txn.expect.push((self.view.full_key(&record_key(&lease.id)), version));
            self.stage_new(&mut txn, &lease)?;
            match self.view.store().commit(txn).await {
                Ok(()) => {
                    self.due.added(lease.expires);
                    return Ok(lease);
                }
                Err(StorageError::Conflict(key)) if expect.iter().any(|(expected, _)| *expected == key) => {
                    return Err(changed());
                }
                Err(StorageError::Conflict(key)) => self.still_wanted(&key, &lease)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(changed())
    }

    /// Takes a stocked lease out of its indexes; returns the version of its record.
    async fn stage_taking(&self, txn: &mut Txn, id: &str) -> Result<Version, Error> {
        let (stocked, version) = self.get(id).await?.ok_or_else(changed)?;
        if stocked.has_ended(self.clock.now()) || !matches!(stocked.owner, Owner::Stock(_)) {
            return Err(changed());
        }
        self.view.stage_delete(txn, &format!("{}{id}", stocked.owner.folder()));
        self.due.stage_remove(txn, stocked.expires, &stocked.due());
        Ok(version)
    }

    /// A lost race is run again, unless it was lost to the workload's end.
    fn still_wanted(&self, conflict: &str, lease: &Lease) -> Result<(), Error> {
        match &lease.owner {
            Owner::Workload(workload)
                if marks_of(workload).iter().any(|mark| conflict == self.tombstones.full_key(mark)) =>
            {
                Err(Error::new(Kind::Denied, "the workload of this token has ended: it gets no new credentials"))
            }
            _ => Ok(()),
        }
    }

    fn stage_new(&self, txn: &mut Txn, lease: &Lease) -> Result<(), StorageError> {
        self.view.stage_put(txn, &record_key(&lease.id), lease)?;
        let index = format!("{}{}", lease.owner.folder(), lease.id);
        match &lease.owner {
            Owner::Token(_) | Owner::Stock(_) => self.view.stage_put(txn, &index, &())?,
            Owner::Workload(workload) => self.view.stage_put(txn, &index, &Grant::of(lease, workload))?,
        }
        self.due.stage_add(txn, lease.expires, &lease.due())
    }

    fn delivery(&self, id: &str) -> Delivery {
        let (undelivered, id) = (self.undelivered.clone(), id.to_owned());
        Delivery::new(move || {
            // The receiver is gone only when the engine stops; the lease then ends with its TTL.
            let _ = undelivered.send(id);
        })
    }

    /// Prolongs a lease and its credential by `increment` seconds (0: the role's TTL), capped by its maximum.
    ///
    /// # Errors
    /// 400 `lease not found` (the exact text that clients wait for), `lease expired`, `lease is not renewable`, or
    /// `failed to renew entry` when the database refuses; the lease then keeps its old end.
    pub async fn renew(self: &Arc<Self>, id: &str, increment: u64) -> Result<Renewed, Error> {
        let not_found = || Error::bad_request("lease not found");
        let (lease, version) = self.get(id).await?.ok_or_else(not_found)?;
        let now = self.clock.now();
        if lease.has_ended(now) {
            return Err(Error::bad_request("lease expired"));
        }
        if !lease.renewable {
            return Err(Error::bad_request("lease is not renewable"));
        }
        let mounted = self.mounts.get(&lease.mount).ok_or_else(not_found)?;
        let terms = mounted.plugin.terms(&lease.record).await.map_err(failed)?;
        let wish = Wish { increment, role_ttl: terms.default_ttl, role_max: terms.max_ttl, ..Wish::default() };
        let limits = capped(mounted.entry.limits(self.limits), lease.issued, lease.until);
        let granted = ttl::grant(&wish, &limits, lease.issued, now)
            .ok_or_else(|| Error::bad_request("past the max TTL, cannot renew"))?;
        let expires = ttl::expiry(now, granted.ttl);
        if let Err(error) = mounted.plugin.renew(&lease.record, expires).await {
            if error.kind() != Kind::NotFound {
                return Err(failed(error));
            }
            // Somebody dropped the user behind our back: the caller is told in the words that make it ask for a new one.
            tracing::warn!(mount = lease.mount, "a credential was dropped outside; its lease ends");
            self.revoke(id, Wait::Later).await?;
            return Err(not_found());
        }
        let renewable = lease.renewable;
        self.prolong(lease, version, now, expires).await?;
        self.counts.renewed.fetch_add(1, Ordering::Relaxed);
        Ok(Renewed { ttl: granted.ttl, renewable, warnings: granted.warning.into_iter().collect() })
    }

    async fn prolong(&self, mut lease: Lease, version: u64, now: Timestamp, expires: Timestamp) -> Result<(), Error> {
        let mut txn = Txn { expect: vec![(self.view.full_key(&record_key(&lease.id)), version)], ops: Vec::new() };
        self.due.stage_remove(&mut txn, lease.expires, &lease.due());
        (lease.expires, lease.last_renewal) = (expires, Some(now));
        self.due.stage_add(&mut txn, lease.expires, &lease.due())?;
        self.view.stage_put(&mut txn, &record_key(&lease.id), &lease)?;
        match self.view.store().commit(txn).await {
            Err(StorageError::Conflict(_)) => match self.get(&lease.id).await? {
                // Two renewals at once: the other one has prolonged it just now.
                Some((other, _)) if other.revoking.is_none() => Ok(()),
                _ => Err(Error::bad_request("lease not found")),
            },
            result => {
                self.due.added(expires);
                Ok(result?)
            }
        }
    }
}

/// The limits of a lease that must not outlive `until`.
fn capped(limits: Limits, issued: Timestamp, until: Option<Timestamp>) -> Limits {
    let longest = until.map_or(u64::MAX, |until| seconds_between(issued, until));
    Limits { default_ttl: limits.default_ttl.min(longest), max_ttl: limits.max_ttl.min(longest) }
}

/// The revocation queue of a mount's connection.
pub(super) fn group(mount_uuid: &str, offered: &str) -> String {
    format!("{mount_uuid}.{}", offered.replace('/', "_"))
}

fn changed() -> Error {
    Error::new(Kind::Unavailable, "the role or its connection is being changed; try again")
}

fn failed(error: Error) -> Error {
    Error::bad_request(format!("failed to renew entry: {error}")).caused_by(error)
}
