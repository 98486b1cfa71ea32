//! The only encryption at rest: a backend over a backend that encrypts every value.
//!
//! A stored value is `form (1 byte) | key term (4) | nonce (12) | ciphertext | tag (16)`, AES-256-GCM with the key's name as
//! associated data, so that a value moved to another name does not open. Keys of the keyring encrypt values; the root key
//! encrypts the keyring and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::keyring::{self, Keyring};
use super::{Backend, Entry, Error, Event, Op, Txn, Version, watch};
use crate::base::{Clock, Random, Timestamp};

pub use super::cipher::Key;

/// What must be read before the barrier is open lies below this prefix of the inner backend; through the barrier it is
/// neither seen nor written.
pub const RAW: &str = "core/";

/// When to act on the number of values that a key has encrypted.
#[derive(Clone, Copy)]
struct Limits {
    /// Store the count whenever so many came together; a crash forgets at most as many.
    store: u64,
    /// Begin a new term. NIST SP 800-38D allows 2^32 random nonces per key; half of it leaves room for what was not counted.
    rotate: u64,
}

const LIMITS: Limits = Limits { store: 1 << 20, rotate: 1 << 31 };

/// What `sys/key-status` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatus {
    /// Number of the term that encrypts now.
    pub term: u32,
    /// Since when.
    pub installed: Timestamp,
    /// Values that it has encrypted; lower than the truth by what crashes made it forget.
    pub encryptions: u64,
}

/// Encrypts everything on its way to the backend beneath it. While it is sealed every call answers [`Error::Sealed`].
pub struct Barrier {
    inner: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    open: Arc<RwLock<Option<Open>>>,
    /// Encryptions that the stored keyring does not count yet.
    uncounted: AtomicU64,
    limits: Limits,
    /// Held while the stored keyring changes, so that no older one replaces a newer one in memory.
    changing: tokio::sync::Mutex<()>,
}

struct Open {
    root: Key,
    keyring: Keyring,
}

impl Barrier {
    /// A sealed barrier over `inner`.
    pub fn new(inner: Arc<dyn Backend>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let uncounted = AtomicU64::new(0);
        Self { inner, clock, random, open: Arc::default(), uncounted, limits: LIMITS, changing: Default::default() }
    }

    /// Makes the first key and stores the keyring under `root` together with `records`, which go to the inner backend as
    /// they are: all or nothing, so that no crash leaves a keyring whose root key is lost. Leaves the barrier unsealed.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is a keyring already, or an expectation of `records` is broken.
    pub async fn initialize(&self, root: Key, records: Txn) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        let keyring = Keyring::new(self.clock.now(), &*self.random);
        self.store(&root, &keyring, 0, records).await?;
        self.set(Some(Open { root, keyring }));
        Ok(())
    }

    /// Opens the stored keyring.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when `root` is not its key.
    pub async fn unseal(&self, root: Key) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        let (keyring, _) = self.stored(&root).await?;
        self.set(Some(Open { root, keyring }));
        Ok(())
    }

    /// Forgets all keys.
    pub fn seal(&self) {
        self.set(None);
    }

    /// Whether keys are missing.
    pub fn is_sealed(&self) -> bool {
        self.read(|_| ()).is_err()
    }

    /// Makes a new key for everything written from now on; older values stay readable. It happens by itself long before a
    /// key has encrypted too much.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else rotates at the same time.
    pub async fn rotate(&self) -> Result<(), Error> {
        self.update(|keyring| keyring.rotate(self.clock.now(), &*self.random)).await
    }

    /// The key that encrypts now.
    ///
    /// # Errors
    /// [`Error::Sealed`].
    pub fn key_status(&self) -> Result<KeyStatus, Error> {
        self.read(|open| {
            let (number, term) = open.keyring.newest();
            let encryptions = term.encryptions + self.uncounted.load(Ordering::Relaxed);
            KeyStatus { term: number, installed: term.installed, encryptions }
        })
    }

    /// Changes the stored keyring, and brings its count up to date.
    async fn update(&self, change: impl FnOnce(&mut Keyring)) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        let root = self.read(|open| open.root.clone())?;
        let (mut keyring, version) = self.stored(&root).await?;
        let counted = self.uncounted.swap(0, Ordering::Relaxed);
        keyring.count(counted);
        change(&mut keyring);
        let stored = self.store(&root, &keyring, version, Txn::default()).await;
        if stored.is_err() {
            self.uncounted.fetch_add(counted, Ordering::Relaxed);
            return stored;
        }
        // Whoever sealed it meanwhile wants it to stay so.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = open.take().map(|_| Open { root, keyring });
        Ok(())
    }

    async fn store(&self, root: &Key, keyring: &Keyring, version: Version, mut txn: Txn) -> Result<(), Error> {
        txn.expect.push((keyring::NAME.into(), version));
        txn.ops.push(Op::Put(keyring::NAME.into(), keyring.seal(root, &*self.random)?));
        self.inner.commit(txn).await
    }

    async fn stored(&self, root: &Key) -> Result<(Keyring, Version), Error> {
        let missing = || Error::Corrupt { key: keyring::NAME.into(), problem: "it is missing".into() };
        let entry = self.inner.get(keyring::NAME).await?.ok_or_else(missing)?;
        Ok((Keyring::open(root, &entry.value)?, entry.version))
    }

    fn set(&self, open: Option<Open>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open;
    }

    fn read<T>(&self, look: impl FnOnce(&Open) -> T) -> Result<T, Error> {
        lock(&self.open).as_ref().map(look).ok_or(Error::Sealed)
    }

    async fn decrypt(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, Error> {
        if !self.read(|open| entries.iter().all(|entry| open.keyring.knows(&entry.value)))? {
            self.reload().await?;
        }
        self.read(|open| entries.into_iter().map(|entry| open.keyring.decrypt(entry)).collect())?
    }

    /// Takes the stored keyring over: another replica on the same store has begun a term.
    async fn reload(&self) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        let root = self.read(|open| open.root.clone())?;
        let (keyring, _) = self.stored(&root).await?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = open.take().map(|_| Open { root, keyring });
        Ok(())
    }

    fn encrypt(&self, ops: Vec<Op>) -> Result<Vec<Op>, Error> {
        let encrypt = |open: &Open, op| match op {
            Op::Put(key, plain) => {
                let plain = Zeroizing::new(plain);
                let record = open.keyring.encrypt(&key, &plain, &*self.random);
                Op::Put(key, record)
            }
            delete @ Op::Delete(_) => delete,
        };
        self.read(|open| ops.into_iter().map(|op| encrypt(open, op)).collect())
    }

    /// Counts `encryptions`, and now and then stores the count and begins a new term.
    async fn count(&self, encryptions: u64) {
        let before = self.uncounted.fetch_add(encryptions, Ordering::Relaxed);
        if before / self.limits.store == (before + encryptions) / self.limits.store {
            return;
        }
        let used_up = |keyring: &Keyring| keyring.newest().1.encryptions >= self.limits.rotate;
        let rotate = |keyring: &mut Keyring| {
            if used_up(keyring) {
                keyring.rotate(self.clock.now(), &*self.random);
            }
        };
        match self.update(rotate).await {
            // Whoever was faster has counted its own; ours is stored next time.
            Ok(()) | Err(Error::Conflict(_) | Error::Sealed) => {}
            Err(error) => tracing::warn!(%error, "the number of uses of the encryption key was not stored"),
        }
    }
}

fn lock(open: &RwLock<Option<Open>>) -> RwLockReadGuard<'_, Option<Open>> {
    open.read().unwrap_or_else(PoisonError::into_inner)
}

fn refuse_raw(txn: &Txn) -> Result<(), Error> {
    let written = txn.ops.iter().map(|op| match op {
        Op::Put(key, _) | Op::Delete(key) => key,
    });
    let mut named = written.chain(txn.expect.iter().map(|(key, _)| key));
    named.find(|key| key.starts_with(RAW)).map_or(Ok(()), |key| Err(Error::Reserved(key.clone())))
}

#[async_trait]
impl Backend for Barrier {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        if key.starts_with(RAW) {
            return self.read(|_| None);
        }
        let entry = self.inner.get(key).await?;
        Ok(self.decrypt(entry.into_iter().collect()).await?.pop())
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        let mut found = self.inner.range(prefix, after, limit).await?;
        let mut last_page = found.len() < limit;
        let mut last = found.last().map(|entry| entry.key.clone());
        found.retain(|entry| !entry.key.starts_with(RAW));
        // A page must be full unless it is the last: that is how a reader tells.
        while let Some(after) = last.take_if(|_| !last_page && found.len() < limit) {
            let wanted = limit - found.len();
            let more = self.inner.range(prefix, Some(&after), wanted).await?;
            last_page = more.len() < wanted;
            last = more.last().map(|entry| entry.key.clone());
            found.extend(more.into_iter().filter(|entry| !entry.key.starts_with(RAW)));
        }
        self.decrypt(found).await
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        refuse_raw(&txn)?;
        let encryptions = txn.ops.iter().filter(|op| matches!(op, Op::Put(..))).count();
        let ops = self.encrypt(txn.ops)?;
        self.count(encryptions as u64).await;
        self.inner.commit(Txn { expect: txn.expect, ops }).await
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        let open = self.open.clone();
        watch::relay(self.inner.watch(prefix), move |event| match event {
            Event::Put(entry) if entry.key.starts_with(RAW) => None,
            Event::Delete(key) if key.starts_with(RAW) => None,
            Event::Put(entry) => {
                // What cannot be read now must be read again: the receiver is told that it missed something.
                let opened = lock(&open).as_ref().and_then(|open| open.keyring.decrypt(entry).ok());
                Some(opened.map_or(Event::Lagged, Event::Put))
            }
            other => Some(other),
        })
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
        barrier.initialize(Zeroizing::new(ROOT), Txn::default()).await.unwrap();
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
        assert!(matches!(barrier.range("", None, 1).await, Err(Error::Sealed)));
        for op in [Op::Put("k".into(), vec![]), Op::Delete("k".into())] {
            assert!(matches!(barrier.commit(Txn { ops: vec![op], ..Txn::default() }).await, Err(Error::Sealed)));
        }
        assert!(matches!(barrier.rotate().await, Err(Error::Sealed)));
        assert!(matches!(barrier.unseal(Zeroizing::new([1; 32])).await, Err(Error::Corrupt { .. })));
        let again = Barrier::new(inner, Arc::new(SystemClock), Arc::new(SystemRandom));
        assert!(again.is_sealed());
        again.unseal(Zeroizing::new(ROOT)).await.unwrap();
        assert_eq!(again.get("k").await.unwrap().unwrap().value, b"value");
        assert!(matches!(again.initialize(Zeroizing::new(ROOT), Txn::default()).await, Err(Error::Conflict(_))));
    }

    #[tokio::test]
    async fn a_replica_learns_of_a_key_that_another_one_made() {
        let (inner, first) = barrier().await;
        let second = Barrier::new(inner.clone(), Arc::new(SystemClock), Arc::new(SystemRandom));
        second.unseal(Zeroizing::new(ROOT)).await.unwrap();
        let mut changes = second.watch("");
        for (term, read_all) in [(2, false), (3, true)] {
            first.rotate().await.unwrap();
            put(&first, "k", b"value").await;
            assert_eq!(changes.recv().await, Some(Event::Lagged), "to be read again");
            let read = match read_all {
                true => second.range("", None, 9).await.unwrap(),
                false => second.get("k").await.unwrap().into_iter().collect(),
            };
            assert_eq!(read.iter().map(|entry| &*entry.value).collect::<Vec<_>>(), [b"value"]);
            assert_eq!(second.key_status().unwrap().term, term);
        }
        put(&second, "k", b"other").await;
        assert_eq!(first.get("k").await.unwrap().unwrap().value, b"other");
        second.seal();
        first.rotate().await.unwrap();
        put(&first, "k", b"value").await;
        assert!(matches!(second.get("k").await, Err(Error::Sealed)));
    }

    #[tokio::test]
    async fn old_values_stay_readable_after_a_rotation() {
        let (inner, barrier) = barrier().await;
        put(&barrier, "old", b"1").await;
        barrier.rotate().await.unwrap();
        put(&barrier, "new", b"2").await;
        assert_eq!(barrier.key_status().unwrap().term, 2);
        let term = async |key| inner.get(key).await.unwrap().unwrap().value[1..keyring::HEADER].to_vec();
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

    #[tokio::test]
    async fn its_own_records_are_neither_seen_nor_written_through_it() {
        let (inner, barrier) = barrier().await;
        put(&*inner, "core/seal/x", b"raw").await;
        for key in ["a", "d", "e"] {
            put(&barrier, key, b"value").await;
        }
        assert_eq!(barrier.get("core/seal/x").await.unwrap(), None);
        let keys = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
        assert_eq!(keys(barrier.range("", None, 2).await.unwrap()), ["a", "d"], "a page is full unless it is the last");
        assert_eq!(keys(barrier.range("", None, 9).await.unwrap()), ["a", "d", "e"]);
        assert_eq!(keys(barrier.range("core/", None, 9).await.unwrap()), [""; 0]);
        let delete = Txn { ops: vec![Op::Delete("core/keyring".into())], ..Txn::default() };
        assert!(matches!(barrier.commit(delete).await, Err(Error::Reserved(key)) if key == "core/keyring"));
    }

    #[tokio::test]
    async fn a_key_that_has_encrypted_enough_is_replaced() {
        let (inner, mut barrier) = barrier().await;
        barrier.limits = Limits { store: 2, rotate: 5 };
        let status = |barrier: &Barrier| barrier.key_status().map(|status| (status.term, status.encryptions)).unwrap();
        for _ in 0..3 {
            put(&barrier, "k", b"value").await;
        }
        assert_eq!(status(&barrier), (1, 3));
        let again = Barrier::new(inner, Arc::new(SystemClock), Arc::new(SystemRandom));
        again.unseal(Zeroizing::new(ROOT)).await.unwrap();
        assert_eq!(status(&again), (1, 2), "what was counted before the crash");
        for _ in 0..3 {
            put(&barrier, "k", b"value").await;
        }
        assert_eq!(status(&barrier), (2, 0));
        assert_eq!(barrier.get("k").await.unwrap().unwrap().value, b"value");
    }
}
