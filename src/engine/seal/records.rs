//! The records below `core/seal/`: what must be read before the barrier is open. None of it is secret as it stands there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Wrapped;
use super::backup::Backup;
use super::rekey::Which;
use super::shamir::Scheme;
use crate::base::Random;
use crate::storage::barrier::RAW;
use crate::storage::cipher::{self, Key};
use crate::storage::{Backend, Error as StorageError, Op, Txn, Version, View};

const FOLDER: &str = "core/seal/";
const ROOT_KEY: &str = "root-key";
const RECOVERY: &str = "recovery";
const SHARES: &str = "shares";
const BACKUP: &str = "shares-backup";
const RECOVERY_BACKUP: &str = "recovery-backup";

/// There from the first record on until everything that belongs to a new engine is: with it the store counts as empty.
const UNFINISHED: &str = "unfinished";

/// What is encrypted with a key made of shares, for its cipher.
const SHARED: &str = "shamir";

/// How many deletions one transaction has.
const PAGE: usize = 500;

/// What is kept of the recovery key: enough to recognise it, not to make it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Recovery {
    pub shares: u8,
    pub threshold: u8,
    /// SHA-256 of the key, which has 256 random bits; encrypted with the root key, so that nobody can put another in.
    digest: Vec<u8>,
    /// Whether somebody was given the shares: not at a first start in a cluster.
    #[serde(default)]
    pub given: bool,
}

impl Recovery {
    pub(super) fn new(root: &Key, key: &[u8], scheme: Scheme, given: bool, random: &dyn Random) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, key);
        let digest = cipher::encrypt(root, RECOVERY, digest.as_ref(), random);
        Self { shares: scheme.shares(), threshold: scheme.threshold(), digest, given }
    }

    /// Whether this is the recovery key.
    pub(super) fn is(&self, root: &Key, key: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        let digest = ring::digest::digest(&ring::digest::SHA256, key);
        cipher::decrypt(root, RECOVERY, &self.digest).is_ok_and(|known| known.ct_eq(digest.as_ref()).into())
    }
}

/// How the key that opens the engine was divided.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Shares {
    pub shares: u8,
    pub threshold: u8,
}

impl From<Scheme> for Shares {
    fn from(scheme: Scheme) -> Self {
        Self { shares: scheme.shares(), threshold: scheme.threshold() }
    }
}

/// Protects the root key with a key that is divided into shares.
pub(super) fn wrap_shared(root: &Key, key: &[u8; 32], random: &dyn Random) -> Wrapped {
    Wrapped { key_id: SHARED.into(), ciphertext: cipher::encrypt(key, SHARED, &**root, random) }
}

/// Opens what [`wrap_shared`] made; none if the key is another one.
pub(super) fn unwrap_shared(wrapped: &Wrapped, key: &[u8]) -> Option<Key> {
    let plain = cipher::decrypt(key.try_into().ok()?, SHARED, &wrapped.ciphertext).ok()?;
    <[u8; 32]>::try_from(plain.as_slice()).ok().map(Zeroizing::new)
}

/// The records of one store.
pub(super) struct Records {
    raw: Arc<dyn Backend>,
    view: View,
}

impl Records {
    pub(super) fn new(raw: Arc<dyn Backend>) -> Self {
        Self { view: View::new(raw.clone(), FOLDER), raw }
    }

    /// Whether there is an engine, complete, in the store.
    pub(super) async fn is_initialized(&self) -> Result<bool, StorageError> {
        Ok(self.root_key().await?.is_some() && !self.is_unfinished().await?)
    }

    async fn is_unfinished(&self) -> Result<bool, StorageError> {
        Ok(self.view.get::<bool>(UNFINISHED).await?.is_some())
    }

    pub(super) async fn root_key(&self) -> Result<Option<(Wrapped, Version)>, StorageError> {
        self.view.get(ROOT_KEY).await
    }

    pub(super) async fn recovery(&self) -> Result<Option<(Recovery, Version)>, StorageError> {
        self.view.get(RECOVERY).await
    }

    /// How the key that opens the engine is divided.
    pub(super) async fn shares(&self) -> Result<Option<Shares>, StorageError> {
        Ok(self.view.get(SHARES).await?.map(|(shares, _)| shares))
    }

    /// The first records of a new engine, which is unfinished until [`Records::finish`].
    pub(super) fn first(
        &self,
        wrapped: &Wrapped,
        recovery: Option<&Recovery>,
        shares: Option<Shares>,
    ) -> Result<Txn, StorageError> {
        let mut txn = Txn { expect: vec![(self.view.full_key(ROOT_KEY), 0)], ops: Vec::new() };
        self.view.stage_put(&mut txn, UNFINISHED, &true)?;
        self.view.stage_put(&mut txn, ROOT_KEY, wrapped)?;
        if let Some(recovery) = recovery {
            self.view.stage_put(&mut txn, RECOVERY, recovery)?;
        }
        if let Some(shares) = shares {
            self.view.stage_put(&mut txn, SHARES, &shares)?;
        }
        Ok(txn)
    }

    /// The engine has all that it needs.
    pub(super) async fn finish(&self) -> Result<(), StorageError> {
        self.view.delete(UNFINISHED).await
    }

    /// Removes what an initialisation left behind that did not come to its end. Nobody was given anything of it.
    pub(super) async fn clear_unfinished(&self) -> Result<(), StorageError> {
        if !self.is_unfinished().await? {
            return Ok(());
        }
        tracing::warn!("an initialisation was cut off before it was complete; it begins anew");
        let mark = self.view.full_key(UNFINISHED);
        loop {
            let page = self.raw.range("", None, PAGE).await?;
            let ops: Vec<_> =
                page.iter().filter(|entry| entry.key != mark).map(|entry| Op::Delete(entry.key.clone())).collect();
            if ops.is_empty() {
                // Last, so that a crash in the midst of this leaves the store unfinished.
                return self.view.delete(UNFINISHED).await;
            }
            self.raw.commit(Txn { expect: Vec::new(), ops }).await?;
        }
    }

    pub(super) async fn put_root_key(&self, wrapped: &Wrapped, version: Version) -> Result<(), StorageError> {
        self.view.put_if(ROOT_KEY, wrapped, version).await
    }

    pub(super) async fn put_recovery(&self, recovery: &Recovery, version: Version) -> Result<(), StorageError> {
        self.view.put_if(RECOVERY, recovery, version).await
    }

    /// Keeps shares that are encrypted for their keepers, in the place of those before.
    pub(super) async fn put_backup(&self, which: Which, backup: &Backup) -> Result<(), StorageError> {
        self.view.put(backup_key(which), backup).await
    }

    /// What was kept of a rekeying.
    pub(super) async fn backup(&self, which: Which) -> Result<Option<Backup>, StorageError> {
        Ok(self.view.get(backup_key(which)).await?.map(|(backup, _)| backup))
    }

    /// Forgets it.
    pub(super) async fn delete_backup(&self, which: Which) -> Result<(), StorageError> {
        self.view.delete(backup_key(which)).await
    }

    /// The root key under a new key, and how that is divided: both or neither.
    pub(super) async fn put_shared(
        &self,
        wrapped: &Wrapped,
        shares: &Shares,
        version: Version,
    ) -> Result<(), StorageError> {
        let mut txn = Txn { expect: vec![(self.view.full_key(ROOT_KEY), version)], ops: Vec::new() };
        self.view.stage_put(&mut txn, ROOT_KEY, wrapped)?;
        self.view.stage_put(&mut txn, SHARES, shares)?;
        self.raw.commit(txn).await
    }
}

fn backup_key(which: Which) -> &'static str {
    match which {
        Which::Barrier => BACKUP,
        Which::Recovery => RECOVERY_BACKUP,
    }
}

const _: () = assert!(FOLDER.len() > RAW.len(), "below what the barrier leaves alone");
