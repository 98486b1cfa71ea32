//! The only encryption at rest: a backend over a backend that encrypts every value.
//!
//! A stored value is `version byte | key term (4 bytes) | nonce (12) | ciphertext and tag`, AES-256-GCM with the key's name as
//! associated data, so that a value moved to another name does not open. Keys of the keyring encrypt values; the root key
//! encrypts the keyring and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Backend, Entry, Error, Event, Op, Txn};
use crate::base::{Clock, Random, Timestamp};

/// Where the keyring is stored, encrypted by the root key.
pub const KEYRING: &str = "core/keyring";

/// Form of the records, for the day that it changes.
const FORM: u8 = 1;
const HEADER: usize = 1 + 4;
const NONCE: usize = 12;

/// A 256-bit key, zeroed on drop.
pub type Key = Zeroizing<[u8; 32]>;

/// Why bytes could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was changed, moved, or encrypted with another key")]
pub struct Unreadable;

/// Encrypts `plain` for the place `name`: nonce, ciphertext, tag.
pub fn encrypt(key: &Key, name: &str, plain: &[u8], random: &dyn Random) -> Vec<u8> {
    let mut out = Vec::with_capacity(NONCE + plain.len() + AES_256_GCM.tag_len());
    append_encrypted(&mut out, &cipher(key), name, plain, random);
    out
}

/// Opens what [`encrypt`] made for the same place.
///
/// # Errors
/// [`Unreadable`], which does not say why: an attacker must not learn it either.
pub fn decrypt(key: &Key, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    open(&cipher(key), name, sealed)
}

fn cipher(key: &Key) -> LessSafeKey {
    // A key of 32 bytes is always taken; the other arm keeps the type without a panic.
    match UnboundKey::new(&AES_256_GCM, &**key) {
        Ok(key) => LessSafeKey::new(key),
        Err(ring::error::Unspecified) => unreachable_key(),
    }
}

#[expect(clippy::panic, reason = "AES-256 takes every key of 32 bytes; the type of the argument has 32")]
fn unreachable_key() -> LessSafeKey {
    panic!("a 32-byte key was refused")
}

fn append_encrypted(out: &mut Vec<u8>, key: &LessSafeKey, name: &str, plain: &[u8], random: &dyn Random) {
    let mut nonce = [0; NONCE];
    random.fill(&mut nonce);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    match key.seal_in_place_separate_tag(nonce, Aad::from(name), &mut out[start..]) {
        Ok(tag) => out.extend_from_slice(tag.as_ref()),
        // Only texts of more than 64 GiB are refused. Never let the plain text through.
        Err(ring::error::Unspecified) => out.clear(),
    }
}

fn open(key: &LessSafeKey, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let (nonce, body) = sealed.split_at_checked(NONCE).ok_or(Unreadable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable)?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = key.open_in_place(nonce, Aad::from(name), &mut body).map_err(|_| Unreadable)?.len();
    body.truncate(length);
    Ok(body)
}

#[derive(Serialize, Deserialize)]
struct StoredTerm {
    key: [u8; 32],
    installed: Timestamp,
}

impl Drop for StoredTerm {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// As stored: terms in order, the last one encrypts.
type StoredKeyring = BTreeMap<u32, StoredTerm>;

struct Keyring {
    root: Key,
    terms: BTreeMap<u32, (LessSafeKey, Timestamp)>,
}

impl Keyring {
    fn new(root: Key, stored: &StoredKeyring) -> Self {
        let term = |(number, term): (&u32, &StoredTerm)| {
            (*number, (cipher(&Zeroizing::new(term.key)), term.installed))
        };
        Self { root, terms: stored.iter().map(term).collect() }
    }

    fn encrypt(&self, name: &str, plain: &[u8], random: &dyn Random) -> Result<Vec<u8>, Error> {
        let (number, (key, _)) = self.terms.last_key_value().ok_or(Error::Sealed)?;
        let mut out = Vec::with_capacity(HEADER + NONCE + plain.len() + AES_256_GCM.tag_len());
        out.push(FORM);
        out.extend_from_slice(&number.to_be_bytes());
        append_encrypted(&mut out, key, name, plain, random);
        Ok(out)
    }

    fn decrypt(&self, entry: Entry) -> Result<Entry, Error> {
        let corrupt = |problem: String| Error::Corrupt { key: entry.key.clone(), problem };
        let unreadable = |error: Unreadable| corrupt(error.to_string());
        let (header, sealed) = entry.value.split_at_checked(HEADER).ok_or(Unreadable).map_err(unreadable)?;
        let (form, number) = header.split_at(1);
        if form != [FORM] {
            return Err(corrupt(format!("records of form {form:?} are not known")));
        }
        let number = <[u8; 4]>::try_from(number).map(u32::from_be_bytes).unwrap_or_default();
        let (key, _) = self.terms.get(&number).ok_or_else(|| corrupt(format!("key term {number} is missing")))?;
        let mut plain = open(key, &entry.key, sealed).map_err(unreadable)?;
        Ok(Entry { key: entry.key, value: std::mem::take(&mut *plain), version: entry.version })
    }
}

/// What `sys/key-status` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatus {
    /// Number of the term that encrypts now.
    pub term: u32,
    /// Since when.
    pub installed: Timestamp,
}

/// Encrypts everything on its way to the backend beneath it. While it is sealed every call answers [`Error::Sealed`].
pub struct Barrier {
    inner: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    keyring: Arc<RwLock<Option<Keyring>>>,
}

impl Barrier {
    /// A sealed barrier over `inner`.
    pub fn new(inner: Arc<dyn Backend>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { inner, clock, random, keyring: Arc::default() }
    }

    /// Makes the first key and stores the keyring under `root`; leaves the barrier unsealed.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is a keyring already.
    pub async fn initialize(&self, root: Key) -> Result<(), Error> {
        self.install(root, StoredKeyring::new(), 0).await
    }

    /// Opens the stored keyring.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when `root` is not its key.
    pub async fn unseal(&self, root: Key) -> Result<(), Error> {
        let (stored, _) = self.stored(&root).await?;
        *self.write() = Some(Keyring::new(root, &stored));
        Ok(())
    }

    /// Forgets all keys.
    pub fn seal(&self) {
        *self.write() = None;
    }

    /// Whether keys are missing.
    pub fn is_sealed(&self) -> bool {
        self.read(|_| ()).is_err()
    }

    /// Makes a new key for everything written from now on; older values stay readable.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else rotates at the same time.
    pub async fn rotate(&self) -> Result<(), Error> {
        let root = self.read(|keyring| keyring.root.clone())?;
        let (stored, version) = self.stored(&root).await?;
        self.install(root, stored, version).await
    }

    /// The key that encrypts now.
    ///
    /// # Errors
    /// [`Error::Sealed`].
    pub fn key_status(&self) -> Result<KeyStatus, Error> {
        self.read(|keyring| {
            let newest = keyring.terms.last_key_value();
            newest.map(|(term, (_, installed))| KeyStatus { term: *term, installed: *installed })
        })?
        .ok_or(Error::Sealed)
    }

    async fn install(&self, root: Key, mut stored: StoredKeyring, version: u64) -> Result<(), Error> {
        let mut key = Zeroizing::new([0; 32]);
        self.random.fill(&mut *key);
        let number = stored.last_key_value().map_or(1, |(number, _)| number + 1);
        stored.insert(number, StoredTerm { key: *key, installed: self.clock.now() });
        let corrupt = |error: serde_json::Error| Error::Corrupt { key: KEYRING.into(), problem: error.to_string() };
        let plain = Zeroizing::new(serde_json::to_vec(&stored).map_err(corrupt)?);
        let sealed = encrypt(&root, KEYRING, &plain, &*self.random);
        let txn = Txn { expect: vec![(KEYRING.into(), version)], ops: vec![Op::Put(KEYRING.into(), sealed)] };
        self.inner.commit(txn).await?;
        *self.write() = Some(Keyring::new(root, &stored));
        Ok(())
    }

    async fn stored(&self, root: &Key) -> Result<(StoredKeyring, u64), Error> {
        let corrupt = |problem: String| Error::Corrupt { key: KEYRING.into(), problem };
        let entry = self.inner.get(KEYRING).await?.ok_or_else(|| corrupt("it is missing".into()))?;
        let plain = decrypt(root, KEYRING, &entry.value).map_err(|error| corrupt(error.to_string()))?;
        let stored = serde_json::from_slice(&plain).map_err(|error| corrupt(error.to_string()))?;
        Ok((stored, entry.version))
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Keyring>> {
        self.keyring.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&Keyring) -> T) -> Result<T, Error> {
        let keyring = self.keyring.read().unwrap_or_else(PoisonError::into_inner);
        keyring.as_ref().map(look).ok_or(Error::Sealed)
    }

    fn encrypt_op(&self, op: Op) -> Result<Op, Error> {
        match op {
            Op::Put(key, plain) => {
                let plain = Zeroizing::new(plain);
                let sealed = self.read(|keyring| keyring.encrypt(&key, &plain, &*self.random))??;
                Ok(Op::Put(key, sealed))
            }
            Op::Delete(key) => Ok(Op::Delete(key)),
        }
    }
}

#[async_trait]
impl Backend for Barrier {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let entry = self.inner.get(key).await?;
        self.read(|keyring| entry.map(|entry| keyring.decrypt(entry)).transpose())?
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        let entries = self.inner.range(prefix, after, limit).await?;
        self.read(|keyring| entries.into_iter().map(|entry| keyring.decrypt(entry)).collect())?
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        let ops = txn.ops.into_iter().map(|op| self.encrypt_op(op)).collect::<Result<_, _>>()?;
        self.inner.commit(Txn { expect: txn.expect, ops }).await
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        let mut events = self.inner.watch(prefix);
        let (sender, receiver) = mpsc::channel(1);
        let keyring = self.keyring.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let event = match event {
                    Event::Put(entry) => {
                        let keyring = keyring.read().unwrap_or_else(PoisonError::into_inner);
                        // What cannot be read now must be read again: the receiver is told that it missed something.
                        let opened = keyring.as_ref().and_then(|keyring| keyring.decrypt(entry).ok());
                        opened.map_or(Event::Lagged, Event::Put)
                    }
                    other => other,
                };
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::random::SystemRandom;
    use crate::storage::memory::Memory;

    const ROOT: [u8; 32] = [9; 32];

    async fn barrier() -> (Arc<Memory>, Barrier) {
        let inner = Arc::new(Memory::default());
        let barrier = Barrier::new(inner.clone(), Arc::new(SystemClock), Arc::new(SystemRandom));
        barrier.initialize(Zeroizing::new(ROOT)).await.unwrap();
        (inner, barrier)
    }

    async fn put(backend: &dyn Backend, key: &str, value: &[u8]) {
        backend.commit(Txn { ops: vec![Op::Put(key.into(), value.to_vec())], ..Txn::default() }).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_plain_reaches_the_backend() {
        let (inner, barrier) = barrier().await;
        put(&barrier, "k", b"canary").await;
        assert_eq!(barrier.get("k").await.unwrap().unwrap().value, b"canary");
        for entry in inner.range("", None, 10).await.unwrap() {
            assert!(!entry.value.windows(6).any(|window| window == b"canary"), "{}", entry.key);
        }
    }

    #[tokio::test]
    async fn values_that_were_changed_or_moved_do_not_open() {
        let (inner, barrier) = barrier().await;
        put(&barrier, "k", b"value").await;
        let stored = inner.get("k").await.unwrap().unwrap().value;
        put(&*inner, "moved", &stored).await;
        assert!(matches!(barrier.get("moved").await, Err(Error::Corrupt { key, .. }) if key == "moved"));
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            put(&*inner, "k", &changed).await;
            assert!(matches!(barrier.get("k").await, Err(Error::Corrupt { .. })), "byte {at}");
            put(&*inner, "k", &stored[..at]).await;
            assert!(matches!(barrier.range("k", None, 1).await, Err(Error::Corrupt { .. })), "cut at {at}");
        }
    }

    #[tokio::test]
    async fn sealing_forgets_the_keys_and_only_the_root_key_brings_them_back() {
        let (inner, barrier) = barrier().await;
        put(&barrier, "k", b"value").await;
        barrier.seal();
        assert!(matches!(barrier.get("k").await, Err(Error::Sealed)));
        assert!(matches!(barrier.commit(Txn { ops: vec![Op::Put("k".into(), vec![])], ..Txn::default() }).await, Err(Error::Sealed)));
        assert!(matches!(barrier.unseal(Zeroizing::new([1; 32])).await, Err(Error::Corrupt { .. })));
        let again = Barrier::new(inner, Arc::new(SystemClock), Arc::new(SystemRandom));
        assert!(again.is_sealed());
        again.unseal(Zeroizing::new(ROOT)).await.unwrap();
        assert_eq!(again.get("k").await.unwrap().unwrap().value, b"value");
        assert!(matches!(again.initialize(Zeroizing::new(ROOT)).await, Err(Error::Conflict(_))));
    }

    #[tokio::test]
    async fn old_values_stay_readable_after_a_rotation() {
        let (inner, barrier) = barrier().await;
        put(&barrier, "old", b"1").await;
        barrier.rotate().await.unwrap();
        put(&barrier, "new", b"2").await;
        assert_eq!(barrier.key_status().unwrap().term, 2);
        let term = async |key| inner.get(key).await.unwrap().unwrap().value[1..HEADER].to_vec();
        assert_eq!((term("old").await, term("new").await), (vec![0, 0, 0, 1], vec![0, 0, 0, 2]));
        barrier.seal();
        barrier.unseal(Zeroizing::new(ROOT)).await.unwrap();
        assert_eq!(barrier.get("old").await.unwrap().unwrap().value, b"1");
        assert_eq!(barrier.get("new").await.unwrap().unwrap().value, b"2");
    }

    #[tokio::test]
    async fn a_watcher_sees_plain_values() {
        let (_, barrier) = barrier().await;
        let mut events = barrier.watch("k");
        put(&barrier, "k", b"value").await;
        assert!(matches!(events.recv().await, Some(Event::Put(entry)) if entry.value == b"value"));
    }
}
