//! The static seal: a fixed key, from a Kubernetes Secret say, protects the root key.

use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Seal, Wrapped};
use crate::base::Random;
use crate::storage::cipher::{self, Key};
use crate::wire::Error;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;

    fn seal(current: (&str, u8), previous: Option<(&str, u8)>) -> StaticSeal {
        let key = |(id, byte): (&str, u8)| SealKey::new(id, [byte; 32]);
        StaticSeal::new(key(current), previous.map(key), Arc::new(SystemRandom))
    }

    #[tokio::test]
    async fn only_the_same_key_opens_it() {
        let root = cipher::new_key(&SystemRandom);
        let wrapped = seal(("a", 1), None).wrap(&root).await.unwrap();
        assert_eq!(seal(("a", 1), None).unwrap(&wrapped).await.unwrap(), root);
        let error = seal(("a", 2), None).unwrap(&wrapped).await.unwrap_err();
        assert!(error.to_string().contains("is not the one that the store was sealed with"), "{error}");
        let error = seal(("b", 1), None).unwrap(&wrapped).await.unwrap_err();
        assert!(error.to_string().contains("give that key as previous_key"), "{error}");
        let both = seal(("b", 2), Some(("a", 1)));
        assert_eq!(both.unwrap(&wrapped).await.unwrap(), root);
        assert!(both.is_outdated(&wrapped) && !seal(("a", 1), None).is_outdated(&wrapped));
    }
}
