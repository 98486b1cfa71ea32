//! Seals: what protects the root key while the engine is down, and how an engine is initialised and unsealed with one.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::shamir::{self, Scheme};
use crate::base::{Random, Secret};
use crate::storage::barrier::Barrier;
use crate::storage::cipher::{self, Key};
use crate::storage::{Backend, Error as StorageError, Txn, View};
use crate::wire::{Error, Kind};

/// Below this prefix of the backend lies what must be read before the barrier is open; none of it is secret.
const FOLDER: &str = "core/seal/";
const ROOT_KEY: &str = "root-key";
const RECOVERY: &str = "recovery";

/// The root key as a seal protects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// Names the key that opens it.
    pub key_id: String,
    /// Only that key makes sense of it.
    pub ciphertext: Vec<u8>,
}

/// Protects the root key with something outside the store.
#[async_trait]
pub trait Seal: Send + Sync {
    /// The `type` of `sys/seal-status`.
    fn kind(&self) -> &'static str;

    /// Protects the root key.
    ///
    /// # Errors
    /// When what protects it cannot be reached.
    async fn wrap(&self, root: &Key) -> Result<Wrapped, Error>;

    /// Opens what [`Seal::wrap`] made.
    ///
    /// # Errors
    /// When the key is another one; names the key that is needed.
    async fn unwrap(&self, wrapped: &Wrapped) -> Result<Key, Error>;

    /// Whether a record should be wrapped anew, because its key is about to go.
    fn is_outdated(&self, wrapped: &Wrapped) -> bool;
}

/// A key of the static seal.
#[derive(Clone)]
pub struct SealKey {
    id: String,
    key: Key,
}

impl SealKey {
    /// The key with the id under which the configuration names it.
    pub fn new(id: impl Into<String>, key: [u8; 32]) -> Self {
        Self { id: id.into(), key: Zeroizing::new(key) }
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A fixed key, from a Kubernetes Secret say: the engine unseals itself at every start.
pub struct StaticSeal {
    current: SealKey,
    previous: Option<SealKey>,
    random: Arc<dyn Random>,
}

impl StaticSeal {
    /// A seal that wraps with `current`, and opens with `previous` too while records are being wrapped anew.
    pub fn new(current: SealKey, previous: Option<SealKey>, random: Arc<dyn Random>) -> Self {
        Self { current, previous, random }
    }
}

#[async_trait]
impl Seal for StaticSeal {
    fn kind(&self) -> &'static str {
        "static"
    }

    async fn wrap(&self, root: &Key) -> Result<Wrapped, Error> {
        let key_id = self.current.id.clone();
        let ciphertext = cipher::encrypt(&self.current.key, &key_id, &**root, &*self.random);
        Ok(Wrapped { key_id, ciphertext })
    }

    async fn unwrap(&self, wrapped: &Wrapped) -> Result<Key, Error> {
        let known = [Some(&self.current), self.previous.as_ref()];
        let key = known.into_iter().flatten().find(|key| key.id == wrapped.key_id).ok_or_else(|| {
            Error::internal(format!(
                "the store is sealed with the key {:?}, the configuration has {:?}: give that key as previous_key",
                wrapped.key_id, self.current.id
            ))
        })?;
        let wrong = || Error::internal(format!("the key {:?} is not the one that the store was sealed with", key.id));
        let plain =
            cipher::decrypt(&key.key, &key.id, &wrapped.ciphertext).map_err(|error| wrong().caused_by(error))?;
        <[u8; 32]>::try_from(plain.as_slice()).map(Zeroizing::new).map_err(|_| wrong())
    }

    fn is_outdated(&self, wrapped: &Wrapped) -> bool {
        wrapped.key_id != self.current.id
    }
}

/// What initialisation gives out: shown once.
pub struct Initialized {
    /// Shares of the recovery key, in hex.
    pub recovery_keys: Vec<Secret>,
}

/// What is kept of the recovery key: enough to recognise it, not to make it.
#[derive(Serialize, Deserialize)]
struct Recovery {
    shares: u8,
    threshold: u8,
    /// SHA-256 of the key, which has 256 random bits; encrypted with the root key, so that nobody can put another in.
    digest: Vec<u8>,
}

fn view(raw: &Arc<dyn Backend>) -> View {
    View::new(raw.clone(), FOLDER)
}

/// Whether a root key is stored.
///
/// # Errors
/// What the store says.
pub async fn is_initialized(raw: &Arc<dyn Backend>) -> Result<bool, StorageError> {
    Ok(view(raw).get::<Wrapped>(ROOT_KEY).await?.is_some())
}

/// Number and threshold of the recovery shares; zeros before initialisation.
///
/// # Errors
/// What the store says.
pub async fn shares(raw: &Arc<dyn Backend>) -> Result<(u32, u32), StorageError> {
    let recovery = view(raw).get::<Recovery>(RECOVERY).await?;
    Ok(recovery.map_or((0, 0), |(recovery, _)| (recovery.shares.into(), recovery.threshold.into())))
}

/// Makes root key, keyring and recovery key; leaves the barrier unsealed.
///
/// # Errors
/// 400 when the shares make no sense; what seal and store say.
pub async fn initialize(
    seal: &dyn Seal,
    barrier: &Barrier,
    raw: &Arc<dyn Backend>,
    random: &dyn Random,
    shares: u64,
    threshold: u64,
) -> Result<Initialized, Error> {
    let scheme = Scheme::new(shares, threshold)
        .map_err(|problem| Error::bad_request(format!("invalid recovery_shares or recovery_threshold: {problem}")))?;
    let (root, recovery_key) = (cipher::new_key(random), cipher::new_key(random));
    let digest = ring::digest::digest(&ring::digest::SHA256, &*recovery_key);
    let recovery = Recovery {
        shares: scheme.shares(),
        threshold: scheme.threshold(),
        digest: cipher::encrypt(&root, RECOVERY, digest.as_ref(), random),
    };
    let view = view(raw);
    let mut records = Txn { expect: vec![(view.full_key(ROOT_KEY), 0)], ops: Vec::new() };
    view.stage_put(&mut records, ROOT_KEY, &seal.wrap(&root).await?)?;
    view.stage_put(&mut records, RECOVERY, &recovery)?;
    match barrier.initialize(root, records).await {
        Err(StorageError::Conflict(_)) => return Err(Error::bad_request("Vault is already initialized")),
        done => done?,
    }
    let hex = |share: &[u8]| Secret::new(share.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let recovery_keys = shamir::split(&*recovery_key, scheme, random).iter().map(|share| hex(share)).collect();
    Ok(Initialized { recovery_keys })
}

/// Opens the barrier with the stored root key, and wraps that anew if its seal key is about to go.
///
/// # Errors
/// When the seal's key does not fit; what the store says.
pub async fn unseal(seal: &dyn Seal, barrier: &Barrier, raw: &Arc<dyn Backend>) -> Result<(), Error> {
    let stored = view(raw).get::<Wrapped>(ROOT_KEY).await?;
    let (wrapped, version) = stored.ok_or_else(|| Error::new(Kind::BadRequest, "server is not yet initialized"))?;
    let root = seal.unwrap(&wrapped).await?;
    barrier.unseal(root.clone()).await?;
    if seal.is_outdated(&wrapped) {
        view(raw).put_if(ROOT_KEY, &seal.wrap(&root).await?, version).await?;
        tracing::info!(from = wrapped.key_id, "the root key is wrapped with the current seal key now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::random::{SeededRandom, SystemRandom};
    use crate::storage::memory::Memory;

    fn seal(current: (&str, u8), previous: Option<(&str, u8)>) -> StaticSeal {
        let key = |(id, byte): (&str, u8)| SealKey::new(id, [byte; 32]);
        StaticSeal::new(key(current), previous.map(key), Arc::new(SystemRandom))
    }

    fn barrier(raw: &Arc<dyn Backend>) -> Barrier {
        Barrier::new(raw.clone(), Arc::new(SystemClock), Arc::new(SystemRandom))
    }

    async fn initialized() -> Arc<dyn Backend> {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        assert!(!is_initialized(&raw).await.unwrap());
        initialize(&seal(("a", 1), None), &barrier(&raw), &raw, &SystemRandom, 5, 3).await.unwrap();
        raw
    }

    #[tokio::test]
    async fn a_restart_unseals_with_the_same_key_only() {
        let raw = initialized().await;
        assert!(is_initialized(&raw).await.unwrap());
        assert_eq!(shares(&raw).await.unwrap(), (5, 3));
        unseal(&seal(("a", 1), None), &barrier(&raw), &raw).await.unwrap();
        let error = unseal(&seal(("a", 2), None), &barrier(&raw), &raw).await.unwrap_err();
        assert!(error.to_string().contains("is not the one that the store was sealed with"), "{error}");
        let error = unseal(&seal(("b", 1), None), &barrier(&raw), &raw).await.unwrap_err();
        assert!(error.to_string().contains("give that key as previous_key"), "{error}");
    }

    #[tokio::test]
    async fn a_new_seal_key_takes_over_while_the_old_one_is_still_given() {
        let raw = initialized().await;
        unseal(&seal(("b", 2), Some(("a", 1))), &barrier(&raw), &raw).await.unwrap();
        unseal(&seal(("b", 2), None), &barrier(&raw), &raw).await.unwrap();
    }

    #[tokio::test]
    async fn the_recovery_shares_give_the_recovery_key() {
        let raw: Arc<dyn Backend> = Arc::new(Memory::default());
        let made = initialize(&seal(("a", 1), None), &barrier(&raw), &raw, &SeededRandom::new(1), 3, 2).await.unwrap();
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        let shares: Vec<_> = made.recovery_keys.iter().map(|key| bytes(key.expose())).collect();
        let key = shamir::combine(&[&shares[2], &shares[0]]).unwrap();
        let (recovery, _) = view(&raw).get::<Recovery>(RECOVERY).await.unwrap().unwrap();
        let (wrapped, _) = view(&raw).get::<Wrapped>(ROOT_KEY).await.unwrap().unwrap();
        let root = seal(("a", 1), None).unwrap(&wrapped).await.unwrap();
        let digest = cipher::decrypt(&root, RECOVERY, &recovery.digest).unwrap();
        assert_eq!(ring::digest::digest(&ring::digest::SHA256, &key).as_ref(), &**digest);
        assert!(initialize(&seal(("a", 1), None), &barrier(&raw), &raw, &SystemRandom, 1, 2).await.is_err());
    }

    #[tokio::test]
    async fn whoever_initialises_second_harms_nothing() {
        let raw = initialized().await;
        let before = raw.range("", None, 9).await.unwrap();
        let again = initialize(&seal(("a", 1), None), &barrier(&raw), &raw, &SystemRandom, 5, 3).await;
        assert_eq!(again.err().unwrap().messages(), ["Vault is already initialized"]);
        assert_eq!(raw.range("", None, 9).await.unwrap(), before);
    }
}
