//! Namespaces made, found again after a start, locked and deleted.

use std::sync::Arc;
use std::time::Duration;

use super::{Directory, Metadata, Place, Record, Space};
use crate::base::shutdown::{self, Shutdown};
use crate::base::{Random, Secret, telemetry};
use crate::engine::core::{Core, Shared};
use crate::storage::View;
use crate::wire::{Error, Kind};

/// Between two looks whether the databases of a namespace that is being deleted have dropped its users.
const DELETION_PAUSE: Duration = Duration::from_secs(5);

/// Letters and digits of the key that unlocks a namespace.
const UNLOCK_KEY_LENGTH: usize = 24;

impl Core {
    /// Opens every stored namespace. Their work begins with [`Core::begin`], when all are there.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) async fn load_namespaces(self: &Arc<Self>) -> Result<(), Error> {
        let directory = &self.shared.directory;
        directory.set_root(self);
        for id in directory.records.keys("").await? {
            let Some((record, _)) = directory.records.get::<Record>(&id).await? else { continue };
            let space = open(self.shared.clone(), record).await?;
            directory.insert(space);
        }
        Ok(())
    }

    /// Starts what runs in the background, here and in every namespace; deletions that were cut off go on.
    pub(in crate::engine) fn begin_all(self: &Arc<Self>) {
        self.begin();
        for space in self.shared.directory.below("") {
            space.core.begin();
            if space.record.tainted {
                tokio::spawn(keep_deleting(self.shared.directory.clone(), space));
            }
        }
    }

    /// Makes the namespace at `path` (in terms of root), directly below one that is there.
    ///
    /// # Errors
    /// 400 when the path is in use, or what lies above it is missing; what the store says.
    pub(in crate::engine) async fn make_namespace(
        &self,
        path: &str,
        custom_metadata: Metadata,
    ) -> Result<Record, Error> {
        let directory = &self.shared.directory;
        let _one_writer = directory.changing.lock().await;
        let (above, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let name = format!("{}/", name.trim_end_matches('/'));
        let core = match above {
            "" => directory.core(""),
            above => directory.get(&format!("{above}/")).filter(|s| !s.record.tainted).map(|space| space.core.clone()),
        };
        let core = core.ok_or_else(|| Error::bad_request(format!("parent namespace {above:?} does not exist")))?;
        let overlaps = |mount: &str| mount.starts_with(&name) || name.starts_with(mount);
        if let Some(mounted) = core.mounts.all().iter().find(|mounted| overlaps(&mounted.entry.path)) {
            return Err(Error::bad_request(format!("path is already in use at {}", mounted.entry.path)));
        }
        if let Some(other) = directory.get(path) {
            return Err(Error::bad_request(format!("path is already in use at {}", other.record.path)));
        }
        let record = Record { custom_metadata, ..Record::new(path.to_owned(), &*self.shared.random) };
        let space = open(self.shared.clone(), record.clone()).await?;
        directory.records.put_if(&record.id, &record, 0).await?;
        space.core.begin();
        directory.insert(space);
        Ok(record)
    }

    /// Revokes every lease and token of this namespace, drops the users, removes the mounts.
    async fn empty(&self) -> Result<(), Error> {
        // Tokens first: nobody asks for anything while the mounts go.
        for accessor in self.tokens.accessors().await? {
            if let Some(found) = self.tokens.find_accessor(&accessor).await? {
                self.leases.end_token(&found.hash).await?;
            }
        }
        let mut refused = None;
        for mounted in self.mounts.all() {
            if let Err(error) = self.unmount(&mounted.entry.path, false).await {
                refused = Some(error);
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

impl Directory {
    /// Deletes a namespace without namespaces in it; false when that goes on in the background because a database does
    /// not drop its users now.
    ///
    /// # Errors
    /// 400 when there are namespaces in it; what the store says.
    pub(in crate::engine) async fn delete(self: &Arc<Self>, space: Arc<Space>) -> Result<bool, Error> {
        let (path, begun) = (space.record.path.clone(), space.record.tainted);
        self.amend(&path, |record| {
            // Nobody makes one in it from here on.
            if !self.below(&path).is_empty() {
                return Err(Error::bad_request(format!(
                    "cannot delete namespace {path:?} containing child namespaces"
                )));
            }
            record.tainted = true;
            Ok(())
        })
        .await?;
        let Err(error) = self.try_delete(&space).await else { return Ok(true) };
        tracing::warn!(namespace = path, %error, "a namespace is deleted once its databases and the store allow it");
        if !begun {
            tokio::spawn(keep_deleting(self.clone(), space));
        }
        if matches!(error.kind(), Kind::Internal) { Err(error) } else { Ok(false) }
    }

    async fn try_delete(&self, space: &Space) -> Result<(), Error> {
        space.core.empty().await?;
        let view = View::new(self.records.store().clone(), space.record.place().prefix());
        for key in view.keys("").await? {
            view.delete(&key).await?;
        }
        // Last: what a crash leaves behind is deleted after the next start.
        self.records.delete(&space.record.id).await?;
        if self.remove(&space.record) {
            space.core.leave().await;
            space.stop.stop();
            tracing::info!(namespace = space.record.path, "deleted");
        }
        Ok(())
    }

    /// Locks a namespace with all in it, and returns the key that opens it again.
    ///
    /// # Errors
    /// 400 when it is locked; what the store says.
    pub(in crate::engine) async fn lock(&self, path: &str, random: &dyn Random) -> Result<Secret, Error> {
        let key = Secret::new(random.base62(UNLOCK_KEY_LENGTH));
        self.amend(path, |record| match record.lock.replace(digest(&key)) {
            Some(_) => Err(Error::bad_request(format!("namespace {path:?} is already locked"))),
            None => Ok(()),
        })
        .await?;
        Ok(key)
    }

    /// Unlocks it, with its key or, for root tokens, without.
    ///
    /// # Errors
    /// 400 when it is not locked, or the key is another one.
    pub(in crate::engine) async fn unlock(&self, path: &str, key: Option<Secret>, root: bool) -> Result<(), Error> {
        let opens = |locked: &String| root || key.as_ref().is_some_and(|key| digest(key) == *locked);
        self.amend(path, |record| match record.lock.take() {
            None => Err(Error::bad_request(format!("namespace {path:?} is not locked"))),
            Some(locked) if !opens(&locked) => Err(Error::bad_request("incorrect unlock key")),
            Some(_) => Ok(()),
        })
        .await
        .map(|_| ())
    }
}

fn digest(key: &Secret) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.expose().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn open(shared: Shared, record: Record) -> Result<Space, Error> {
    let (stop, stopped) = shutdown::channel();
    let end: Shutdown = shared.shutdown.clone();
    let (trigger, own) = (stop.clone(), stopped.clone());
    let place: Place = record.place();
    let core = Core::open(Shared { shutdown: stopped, ..shared }, place).await?;
    tokio::spawn(async move {
        tokio::select! {
            () = end.requested() => trigger.stop(),
            () = own.requested() => {}
        }
    });
    Ok(Space { record, core, stop })
}

/// Tries a deletion that a database refused again and again.
async fn keep_deleting(directory: Arc<Directory>, space: Arc<Space>) {
    let core = &space.core;
    while !core.shutdown().is_requested() {
        match directory.try_delete(&space).await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(
                    namespace = space.record.path,
                    error = telemetry::chain(&error),
                    "a namespace cannot be deleted yet"
                );
            }
        }
        tokio::select! {
            () = core.shutdown().requested() => {}
            () = core.shared.clock.sleep(DELETION_PAUSE) => {}
        }
    }
}
