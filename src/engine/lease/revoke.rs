//! Ending leases: first durably marked, then dropped in the database, then forgotten. Every step may be repeated.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt as _};

use super::logins::Logins;
use super::{Attempt, Lease, Leases, record_key};
use crate::base::Timestamp;
use crate::base::clock::add_seconds;
use crate::engine::due::{self, Due};
use crate::storage::{Error as StorageError, Op, Txn, Version};
use crate::wire::{Error, Kind};

/// How many leases one transaction marks.
const BATCH: usize = 100;

/// How many credentials are dropped at once when somebody waits for all of them: those of one database share transactions.
const PARALLEL: usize = 128;

/// How long it is remembered that a workload has ended: longer than any token of its lives.
const TOMBSTONE_SECONDS: u64 = 86_400;

/// Whether the caller waits for the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Return when the credentials are dropped.
    Sync,
    /// Return when the leases are marked; the workers do the rest.
    Later,
}

impl Leases {
    /// Revokes one lease; an unknown one is revoked already.
    ///
    /// # Errors
    /// 400 `failed to revoke entry` when the database refuses now; it is tried again in the background.
    pub async fn revoke(self: &Arc<Self>, id: &str, wait: Wait) -> Result<(), Error> {
        self.revoke_all(vec![id.to_owned()], wait).await
    }

    /// Revokes many leases: all are marked first, so that none can be renewed, then dropped.
    ///
    /// # Errors
    /// As [`Leases::revoke`], the first error of several.
    pub async fn revoke_all(self: &Arc<Self>, ids: Vec<String>, wait: Wait) -> Result<(), Error> {
        for batch in ids.chunks(BATCH) {
            self.mark(batch).await?;
        }
        if wait == Wait::Later {
            self.wake_queues().await?;
            return Ok(());
        }
        let results: Vec<_> =
            stream::iter(ids).map(|id| self.drop_marked(id)).buffer_unordered(PARALLEL).collect().await;
        self.wake_queues().await?;
        results.into_iter().collect()
    }

    async fn drop_marked(self: &Arc<Self>, id: String) -> Result<(), Error> {
        let Some((lease, _)) = self.get(&id).await? else { return Ok(()) };
        self.drop_credential(&lease)
            .await
            .map_err(|error| Error::bad_request(format!("failed to revoke entry: {error}")).caused_by(error))
    }

    /// Revokes leases and forgets them even if the database refuses; returns those whose user may be left behind. A database
    /// that cannot be reached is tried once, however many leases need it: the caller waits for one deadline, not for thousands.
    ///
    /// # Errors
    /// What the store says.
    pub async fn force(self: &Arc<Self>, ids: Vec<String>) -> Result<Vec<String>, Error> {
        let (mut left, mut down) = (Vec::new(), HashSet::new());
        for id in ids {
            self.mark(std::slice::from_ref(&id)).await?;
            let Some((lease, _)) = self.get(&id).await? else { continue };
            if !down.contains(&lease.group) {
                let Err(error) = self.drop_credential(&lease).await else { continue };
                tracing::warn!(mount = lease.mount, %error, "forced: a credential may be left in the database");
                if matches!(error.kind(), Kind::Upstream | Kind::Unavailable) {
                    down.insert(lease.group.clone());
                }
            }
            self.forget(&lease).await?;
            self.counts.forced.fetch_add(1, Ordering::Relaxed);
            left.push(id);
        }
        Ok(left)
    }

    /// Marks leases as being revoked and moves them from the due index to their queues, in one transaction if possible.
    async fn mark(&self, ids: &[String]) -> Result<(), StorageError> {
        let now = self.clock.now();
        let mut txn = Txn::default();
        for id in ids {
            if let Some((lease, version)) = self.get(id).await? {
                self.stage_mark(&mut txn, lease, version, now)?;
            }
        }
        match self.view.store().commit(txn).await {
            // Somebody renewed or revoked one of them: go one by one.
            Err(StorageError::Conflict(_)) if ids.len() > 1 => {
                for id in ids {
                    self.mark_one(id, now).await?;
                }
                Ok(())
            }
            Err(StorageError::Conflict(_)) => self.mark_one(&ids[0], now).await,
            result => result,
        }
    }

    async fn mark_one(&self, id: &str, now: Timestamp) -> Result<(), StorageError> {
        loop {
            let Some((lease, version)) = self.get(id).await? else { return Ok(()) };
            let mut txn = Txn::default();
            self.stage_mark(&mut txn, lease, version, now)?;
            match self.view.store().commit(txn).await {
                Err(StorageError::Conflict(_)) => {}
                result => return result,
            }
        }
    }

    fn stage_mark(
        &self,
        txn: &mut Txn,
        mut lease: Lease,
        version: Version,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        if lease.revoking.is_some() {
            return Ok(());
        }
        txn.expect.push((self.view.full_key(&record_key(&lease.id)), version));
        self.due.stage_remove(txn, lease.expires, &lease.due());
        lease.revoking = Some(now);
        self.view.stage_put(txn, &record_key(&lease.id), &lease)?;
        self.view.stage_put(txn, &queue_key(&lease.group, now, &lease.id), &Attempt::default())
    }

    /// Drops the credential and, if that succeeds, forgets the lease.
    ///
    /// # Errors
    /// What the secrets engine says.
    pub(super) async fn drop_credential(&self, lease: &Lease) -> Result<(), Error> {
        let missing = || Error::new(Kind::Internal, format!("nothing is mounted at {}", lease.mount));
        let mounted = self.mounts.get(&lease.mount).ok_or_else(missing)?;
        if let Err(error) = mounted.plugin.revoke(&lease.record).await {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        self.forget(lease).await?;
        self.counts.revoked.fetch_add(1, Ordering::Relaxed);
        lease.log("dropped a workload's credential");
        Ok(())
    }

    /// Removes every trace of a lease. A queue entry elsewhere in time is removed by the worker that meets it.
    async fn forget(&self, lease: &Lease) -> Result<(), StorageError> {
        loop {
            let Some((lease, version)) = self.get(&lease.id).await? else { return Ok(()) };
            let mut txn = Txn { expect: vec![(self.view.full_key(&record_key(&lease.id)), version)], ops: Vec::new() };
            self.view.stage_delete(&mut txn, &record_key(&lease.id));
            self.view.stage_delete(&mut txn, &format!("{}{}", lease.owner.folder(), lease.id));
            self.due.stage_remove(&mut txn, lease.expires, &lease.due());
            if let Some(marked) = lease.revoking {
                self.view.stage_delete(&mut txn, &queue_key(&lease.group, marked, &lease.id));
            }
            match self.view.store().commit(txn).await {
                Err(StorageError::Conflict(_)) => {}
                Ok(()) => {
                    // Whoever forgets it gives its room back, once.
                    self.quotas.release(&self.place.full(path_of(&lease.id))).await;
                    return Ok(());
                }
                result => return result,
            }
        }
    }

    /// Takes a lease out of the due index and into its queue without reading it, as expiry does.
    pub(super) fn stage_expired(&self, txn: &mut Txn, key: &str, id: &str, group: &str) -> Result<(), StorageError> {
        self.due.stage_remove_key(txn, key);
        let at = due::at(key)?;
        self.view.stage_put(txn, &queue_key(group, at, id), &Attempt::default())
    }

    /// Ends a token: its leases are marked, its children end the same way, then it is forgotten. Leases and children may be in
    /// other namespaces.
    ///
    /// # Errors
    /// What the store says; the due index then brings it up again.
    pub async fn end_token(self: &Arc<Self>, hash: &str) -> Result<(), StorageError> {
        let mut open = vec![(hash.to_owned(), false)];
        while let Some((hash, children_done)) = open.pop() {
            let Some(home) = self.home_of(&hash) else { continue };
            if !children_done {
                let Some(found) = home.tokens.mark_revoking(&hash).await? else { continue };
                let children = home.tokens.children(&found.hash).await?;
                open.push((hash, true));
                open.extend(children.into_iter().map(|child| (child, false)));
                continue;
            }
            for (leases, owned) in home.everywhere(&hash).await? {
                for batch in owned.chunks(BATCH) {
                    leases.mark(batch).await?;
                }
                if leases.place != self.place && !owned.is_empty() {
                    leases.wake_queues().await?;
                }
            }
            if let Some(found) = home.tokens.read(hash).await? {
                home.tokens.remove(&found).await?;
            }
        }
        self.wake_queues().await
    }

    /// Ends workloads, those that came through `logins` where these are named: each gets a mark that forbids new leases, and all
    /// its leases are revoked. Returns their number.
    ///
    /// # Errors
    /// What the store says.
    pub async fn end_workloads(
        self: &Arc<Self>,
        uids: &[String],
        logins: Option<&Logins>,
    ) -> Result<usize, StorageError> {
        let mut ended = 0;
        for uid in uids {
            for mark in logins.map_or_else(|| vec![uid.clone()], |logins| logins.marks(uid)) {
                self.mark_ended(mark).await?;
            }
            let leases = self.owned_by(uid, logins).await?;
            for batch in leases.chunks(BATCH) {
                self.mark(batch).await?;
            }
            ended += leases.len();
        }
        self.wake_queues().await?;
        Ok(ended)
    }

    async fn mark_ended(&self, mark: String) -> Result<(), StorageError> {
        let forgotten = add_seconds(self.clock.now(), TOMBSTONE_SECONDS);
        let mut txn = Txn { expect: vec![(self.tombstones.full_key(&mark), 0)], ops: Vec::new() };
        self.tombstones.stage_put(&mut txn, &mark, &forgotten)?;
        self.due.stage_add(&mut txn, forgotten, &Due::Tombstone { uid: mark })?;
        match self.view.store().commit(txn).await {
            Ok(()) => {
                self.due.added(forgotten);
                Ok(())
            }
            Err(StorageError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn stage_forget_tombstone(&self, txn: &mut Txn, key: &str, uid: &str) {
        self.due.stage_remove_key(txn, key);
        txn.ops.push(Op::Delete(self.tombstones.full_key(uid)));
    }
}

/// The path of the request that a lease answered.
fn path_of(id: &str) -> &str {
    id.rsplit_once('/').map_or("", |(path, _)| path)
}

/// Where a lease waits in its queue, relative to the leases' view.
pub(super) fn queue_key(group: &str, at: Timestamp, id: &str) -> String {
    format!("queue/{group}/{}/{id}", due::second(at))
}
