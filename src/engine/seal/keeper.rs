//! The one owner of the root key's records: initialises, opens, and knows whose shares have authority.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use super::pgp::{self, Recipient};
use super::records::{self, Records, Recovery, Shares};
use super::rekey::Rekey;
use super::root_token::Attempt;
use super::shamir::{self, Scheme};
use super::shares::{self, Collected};
use super::{Sealing, Wrapped};
use crate::base::{Random, Secret};
use crate::storage::barrier::Barrier;
use crate::storage::cipher::{self, Key};
use crate::storage::{Backend, Error as StorageError, Version};
use crate::wire::Error;

/// What initialisation gives out: shown once.
pub struct Initialized {
    /// Shares that open the engine, or of the recovery key where it opens itself; each in hex and in base64.
    pub shares: Vec<(Secret, Secret)>,
}

impl Initialized {
    /// The shares for those who read them.
    ///
    /// # Errors
    /// When they cannot be encrypted.
    pub(in crate::engine) fn for_readers(self, readers: &[Recipient], random: &dyn Random) -> Result<Self, Error> {
        Ok(Self { shares: pgp::for_readers(self.shares, readers, random)? })
    }

    /// The shares in hex and in base64, as answers have them.
    pub(in crate::engine) fn shown(&self) -> (serde_json::Value, serde_json::Value) {
        shown(&self.shares)
    }
}

/// Holds the records, and what people have handed in so far. The latter is in memory only, as in Vault: a restart, or
/// sealing, begins every attempt anew.
pub struct Keeper {
    pub(super) records: Records,
    barrier: Arc<Barrier>,
    sealing: Sealing,
    pub(super) random: Arc<dyn Random>,
    attempts: Mutex<Attempts>,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Attempts {
    pub unseal: Option<Collected>,
    pub rekey: Option<Rekey>,
    pub root: Option<Attempt>,
}

impl Keeper {
    /// The keeper of a store.
    pub fn new(raw: Arc<dyn Backend>, barrier: Arc<Barrier>, sealing: Sealing, random: Arc<dyn Random>) -> Self {
        Self { records: Records::new(raw), barrier, sealing, random, attempts: Mutex::default() }
    }

    /// How the engine is sealed.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// The barrier that it opens.
    pub fn barrier(&self) -> &Arc<Barrier> {
        &self.barrier
    }

    pub(super) async fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().await
    }

    /// Whether there is an engine, complete, in the store.
    ///
    /// # Errors
    /// What the store says.
    pub async fn is_initialized(&self) -> Result<bool, StorageError> {
        self.records.is_initialized().await
    }

    /// Number and threshold of the shares that have authority; zeros before initialisation.
    ///
    /// # Errors
    /// What the store says.
    pub async fn shares(&self) -> Result<(u8, u8), StorageError> {
        Ok(match &self.sealing {
            Sealing::Auto(_) => {
                self.records.recovery().await?.map_or((0, 0), |(recovery, _)| (recovery.shares, recovery.threshold))
            }
            Sealing::Shamir => {
                self.records.shares().await?.map_or((0, 0), |shares: Shares| (shares.shares, shares.threshold))
            }
        })
    }

    /// Makes root key, keyring and the shares that have authority, and opens the barrier. The engine counts as made only
    /// after [`Keeper::finish`]; until then this may be done again and throws away what there is. `recovery` is the
    /// recovery key, where it is not to be a random one.
    ///
    /// # Errors
    /// 400 when there is an engine already; what seal and store say.
    pub async fn initialize(&self, scheme: Scheme, recovery: Option<&Key>, given: bool) -> Result<Initialized, Error> {
        self.records.clear_unfinished().await?;
        let random = &*self.random;
        let root = cipher::new_key(random);
        let key = recovery.cloned().unwrap_or_else(|| cipher::new_key(random));
        let first = match &self.sealing {
            Sealing::Auto(seal) => {
                let recovery = Recovery::new(&root, &*key, scheme, given, random);
                self.records.first(&seal.wrap(&root).await?, Some(&recovery), None)?
            }
            Sealing::Shamir => {
                self.records.first(&records::wrap_shared(&root, &key, random), None, Some(scheme.into()))?
            }
        };
        match self.barrier.initialize(root, first).await {
            Err(StorageError::Conflict(_)) => return Err(Error::bad_request("Vault is already initialized")),
            done => done?,
        }
        let shares = shamir::split(&*key, scheme, random).iter().map(|share| shares::show(share)).collect();
        Ok(Initialized { shares })
    }

    /// The new engine has everything that it needs: from now on it stays.
    ///
    /// # Errors
    /// What the store says.
    pub async fn finish(&self) -> Result<(), Error> {
        Ok(self.records.finish().await?)
    }

    async fn stored_root(&self) -> Result<(Wrapped, Version), Error> {
        self.records.root_key().await?.ok_or_else(|| Error::bad_request("server is not yet initialized"))
    }

    /// Opens the barrier with the seal's own key, and wraps the root key anew if that key is about to go. `recovery` takes
    /// the place of a recovery key whose shares nobody was given.
    ///
    /// # Errors
    /// When the seal's key does not fit, or it takes shares; what the store says.
    pub async fn open(&self, recovery: Option<&Key>) -> Result<(), Error> {
        let Sealing::Auto(seal) = &self.sealing else {
            return Err(Error::bad_request("this seal is opened with shares: give one as 'key'"));
        };
        let (wrapped, version) = self.stored_root().await?;
        let root = seal.unwrap(&wrapped).await?;
        self.barrier.unseal(root.clone()).await?;
        if seal.is_outdated(&wrapped) {
            self.records.put_root_key(&seal.wrap(&root).await?, version).await?;
            tracing::info!(from = wrapped.key_id, "the root key is wrapped with the current seal key now");
        }
        if let (Some(key), Some((known, version))) = (recovery, self.records.recovery().await?)
            && !known.given
            && !known.is(&root, &**key)
        {
            let one = Scheme::ONE;
            self.records.put_recovery(&Recovery::new(&root, &**key, one, false, &*self.random), version).await?;
            tracing::info!("the recovery key of the configuration is the engine's now");
        }
        Ok(())
    }

    /// Takes a share of the key that opens the engine; true when that is open now.
    ///
    /// # Errors
    /// 400 when the shares do not give the key; they have to be handed in anew then.
    pub async fn unseal(&self, share: &Secret) -> Result<bool, Error> {
        let share = shares::read(share)?;
        let (wrapped, _) = self.stored_root().await?;
        let (_, threshold) = self.shares().await?;
        let mut attempts = self.attempts().await;
        let collected = attempts.unseal.get_or_insert_with(|| Collected::new(&*self.random));
        let taken = collected.take(share, threshold);
        if matches!(taken, Ok(None)) {
            return Ok(false);
        }
        attempts.unseal = None;
        let failed = || Error::bad_request("Unseal failed, invalid key");
        let key = taken?.ok_or_else(failed)?;
        let root = records::unwrap_shared(&wrapped, &key).ok_or_else(failed)?;
        self.barrier.unseal(root).await?;
        Ok(true)
    }

    /// Forgets the shares that were handed in to open the engine.
    pub async fn forget_shares(&self) {
        self.attempts().await.unseal = None;
    }

    /// Forgets everything that is under way.
    pub async fn forget_all(&self) {
        *self.attempts().await = Attempts::default();
    }

    /// How many shares were handed in to open the engine, and the name of that attempt.
    pub async fn progress(&self) -> (u32, String) {
        let attempts = self.attempts().await;
        attempts.unseal.as_ref().map_or_else(Default::default, |unseal| (unseal.progress(), unseal.nonce.clone()))
    }

    /// The root key, if `key` has authority: the key that opens the engine, or the recovery key of one that opens itself.
    pub(super) async fn authorize(&self, key: &[u8]) -> Result<Key, Error> {
        let (wrapped, _) = self.stored_root().await?;
        let root = match &self.sealing {
            Sealing::Auto(seal) => {
                let root = seal.unwrap(&wrapped).await?;
                let recovery = self.records.recovery().await?;
                recovery.filter(|(recovery, _)| recovery.is(&root, key)).map(|_| root)
            }
            Sealing::Shamir => records::unwrap_shared(&wrapped, key),
        };
        root.ok_or_else(|| Error::bad_request("the shares do not give the key: hand them in anew"))
    }

    /// Puts a new key with authority in the place of the old one.
    pub(super) async fn replace(&self, root: &Key, key: &Key, scheme: Scheme) -> Result<(), Error> {
        match &self.sealing {
            Sealing::Auto(_) => {
                let version = self.records.recovery().await?.map_or(0, |(_, version)| version);
                let recovery = Recovery::new(root, &**key, scheme, true, &*self.random);
                self.records.put_recovery(&recovery, version).await?;
            }
            Sealing::Shamir => {
                let (_, version) = self.stored_root().await?;
                let wrapped = records::wrap_shared(root, key, &*self.random);
                self.records.put_shared(&wrapped, &scheme.into(), version).await?;
            }
        }
        tracing::info!(shares = scheme.shares(), threshold = scheme.threshold(), "the key was divided anew");
        Ok(())
    }
}

/// Shares as answers have them: `keys` and `keys_base64`.
pub(super) fn shown(shares: &[(Secret, Secret)]) -> (serde_json::Value, serde_json::Value) {
    let hex: Vec<_> = shares.iter().map(|(hex, _)| hex.expose()).collect();
    let base64: Vec<_> = shares.iter().map(|(_, base64)| base64.expose()).collect();
    (json!(hex), json!(base64))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::random::SystemRandom;
    use crate::engine::seal::{SealKey, StaticSeal};
    use crate::storage::memory::Memory;

    fn fixed() -> Sealing {
        Sealing::Auto(Box::new(StaticSeal::new(SealKey::new("a", [1; 32]), None, Arc::new(SystemRandom))))
    }

    fn keeper(raw: &Arc<dyn Backend>, sealing: Sealing) -> Keeper {
        let barrier = Barrier::new(raw.clone(), Arc::new(SystemClock), Arc::new(SystemRandom));
        Keeper::new(raw.clone(), Arc::new(barrier), sealing, Arc::new(SystemRandom))
    }

    fn scheme(shares: u64, threshold: u64) -> Scheme {
        Scheme::new(shares, threshold).unwrap()
    }

    fn bytes(made: &Initialized) -> Vec<shares::Bytes> {
        made.shares.iter().map(|(hex, _)| shares::read(hex).unwrap()).collect()
    }

    #[tokio::test]
    async fn shares_open_and_only_enough_right_ones() {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        let first = keeper(&raw, Sealing::Shamir);
        let made = first.initialize(scheme(3, 2), None, true).await.unwrap();
        first.finish().await.unwrap();
        let shares: Vec<_> = made.shares.iter().map(|(hex, _)| hex.clone()).collect();
        let again = keeper(&raw, Sealing::Shamir);
        assert_eq!(again.shares().await.unwrap(), (3, 2));
        assert!(!again.unseal(&shares[0]).await.unwrap());
        assert_eq!(again.progress().await.0, 1);
        assert!(!again.progress().await.1.is_empty());
        let wrong = Secret::new(format!("00{}", &shares[1].expose()[2..]));
        assert_eq!(again.unseal(&wrong).await.unwrap_err().to_string(), "Unseal failed, invalid key");
        assert_eq!(again.progress().await, (0, String::new()));
        assert!(again.barrier.is_sealed());
        assert!(!again.unseal(&shares[2]).await.unwrap());
        assert!(again.unseal(&shares[1]).await.unwrap());
        assert!(!again.barrier.is_sealed());
        assert!(again.open(None).await.is_err(), "no key but the shares opens it");
    }

    #[tokio::test]
    async fn the_recovery_key_has_authority_and_opens_nothing() {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        let first = keeper(&raw, fixed());
        let made = first.initialize(scheme(3, 2), None, true).await.unwrap();
        first.finish().await.unwrap();
        let shares = bytes(&made);
        let key = shamir::combine(&[&shares[2], &shares[0]]).unwrap();
        assert!(first.authorize(&key).await.is_ok());
        assert!(first.authorize(&[0; 32]).await.is_err());
        let again = keeper(&raw, fixed());
        again.open(None).await.unwrap();
        assert!(again.authorize(&key).await.is_ok());
    }

    #[tokio::test]
    async fn a_recovery_key_that_nobody_has_gives_way_to_that_of_the_configuration() {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        let first = keeper(&raw, fixed());
        first.initialize(scheme(1, 1), None, false).await.unwrap();
        first.finish().await.unwrap();
        let configured = Zeroizing::new([9; 32]);
        first.open(Some(&configured)).await.unwrap();
        let root = first.authorize(&[9; 32]).await.unwrap();
        first.replace(&root, &Zeroizing::new([8; 32]), scheme(1, 1)).await.unwrap();
        first.open(Some(&configured)).await.unwrap();
        assert!(first.authorize(&[9; 32]).await.is_err(), "shares that somebody was given stay");
        assert!(first.authorize(&[8; 32]).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_initialises_second_harms_nothing() {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        let first = keeper(&raw, fixed());
        first.initialize(scheme(5, 3), None, true).await.unwrap();
        assert!(!first.is_initialized().await.unwrap());
        first.finish().await.unwrap();
        assert!(first.is_initialized().await.unwrap());
        let before = raw.range("", None, 9).await.unwrap();
        let again = keeper(&raw, fixed()).initialize(scheme(5, 3), None, true).await;
        assert_eq!(again.err().unwrap().messages(), ["Vault is already initialized"]);
        assert_eq!(raw.range("", None, 9).await.unwrap(), before);
    }

    #[tokio::test]
    async fn what_did_not_come_to_its_end_is_thrown_away() {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        let cut = keeper(&raw, fixed());
        cut.initialize(scheme(1, 1), None, true).await.unwrap();
        let view = crate::storage::View::new(cut.barrier.clone(), "sys/");
        view.put("half", &1).await.unwrap();
        let again = keeper(&raw, fixed());
        again.initialize(scheme(2, 2), None, true).await.unwrap();
        again.finish().await.unwrap();
        assert_eq!(again.shares().await.unwrap(), (2, 2));
        assert!(raw.get("sys/half").await.unwrap().is_none());
    }
}
