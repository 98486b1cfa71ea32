//! The leases of one mount as its secrets engine sees them.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;

use super::revoke::Wait;
use super::{Lease, Leases, Owner};
use crate::engine::mount::{Entry, Mounted};
use crate::secrets::{Ending, Held, LeaseBook, Offer, SecretsEngine, Stocked};
use crate::wire::{Error, Kind};

/// Where the leases will be once they are opened: secrets engines are opened before them.
pub type Slot = Arc<OnceLock<Weak<Leases>>>;

/// One mount's view of the leases.
pub struct Book {
    leases: Slot,
    uuid: String,
    path: String,
}

impl Book {
    /// The leases of the mount `entry`.
    pub fn new(leases: Slot, entry: &Entry) -> Arc<Self> {
        Arc::new(Self { leases, uuid: entry.uuid.clone(), path: entry.path.clone() })
    }

    fn leases(&self) -> Result<Arc<Leases>, Error> {
        let stopping = || Error::new(Kind::Unavailable, "the engine is starting or stopping");
        self.leases.get().and_then(Weak::upgrade).ok_or_else(stopping)
    }

    fn mounted(&self, leases: &Leases) -> Result<Arc<Mounted<dyn SecretsEngine>>, Error> {
        let mounted = leases.mounts.get(&self.path).filter(|mounted| mounted.entry.uuid == self.uuid);
        mounted.filter(|mounted| !mounted.entry.tainted).ok_or_else(Error::not_found)
    }
}

#[async_trait]
impl LeaseBook for Book {
    async fn page(&self, after: Option<&str>, limit: usize) -> Result<Vec<Held>, Error> {
        let leases = self.leases()?;
        let (after, now) = (after.map(super::record_key), leases.clock.now());
        let folder = super::record_key(&self.path);
        let page: Vec<(String, Lease)> = leases.view.page(&folder, after.as_deref(), limit).await?;
        let own = format!("{}.", self.uuid);
        let held = |lease: Lease| Held {
            stocked: matches!(lease.owner, Owner::Stock(_)),
            ended: lease.has_ended(now),
            group: lease.group.strip_prefix(&own).unwrap_or(&lease.group).to_owned(),
            issued: lease.issued,
            id: lease.id,
            record: lease.record,
        };
        Ok(page.into_iter().map(|(_, lease)| held(lease)).collect())
    }

    async fn stock(&self, path: &str, offer: Offer) -> Result<Stocked, Error> {
        let leases = self.leases()?;
        let mounted = self.mounted(&leases)?;
        let path = format!("{}{path}", self.path);
        // A task of its own, so that an engine that is closed meanwhile does not cut it in two.
        let made = tokio::spawn(async move { leases.stock(mounted, &path, offer).await });
        made.await.map_err(|error| Error::internal("making a spare was interrupted").caused_by(error))?
    }

    async fn end(&self, ids: Vec<String>, how: Ending) -> Result<Vec<String>, Error> {
        let leases = self.leases()?;
        match how {
            Ending::Later => leases.revoke_all(ids, Wait::Later).await.map(|()| Vec::new()),
            Ending::Wait => leases.revoke_all(ids, Wait::Sync).await.map(|()| Vec::new()),
            Ending::Force => leases.force(ids).await,
        }
    }
}
