//! Seals: what protects the root key while the engine is down, who may open it, and who may make a new root token.
//!
//! | seal | the root key is protected by | the engine opens | root tokens and new shares by |
//! |---|---|---|---|
//! | a [`Seal`] such as `static` | something outside the store | by itself | shares of the recovery key |
//! | `shamir` | a key that only its shares give | when enough shares were handed in | the same shares |
//!
//! [`keeper`] holds it together; `rekey.rs` and `root_token.rs` are what is done with shares, `pgp` encrypts them for
//! their keepers.

mod api;
mod backup;
pub mod keeper;
pub(super) mod pgp;
mod records;
mod rekey;
mod root_token;
pub mod shamir;
mod shares;
pub mod static_seal;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(super) use self::api::{Area, open_area, twin_area};
pub use self::keeper::{Initialized, Keeper};
pub use self::pgp::Recipient;
pub use self::static_seal::{SealKey, StaticSeal};
use crate::storage::cipher::Key;
use crate::wire::Error;

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

/// How the engine is sealed.
pub enum Sealing {
    /// It opens itself.
    Auto(Box<dyn Seal>),
    /// People open it, each with a share.
    Shamir,
}

impl Sealing {
    /// The `type` of `sys/seal-status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Auto(seal) => seal.kind(),
            Self::Shamir => "shamir",
        }
    }

    /// Whether it opens itself, and so has a recovery key.
    pub fn is_auto(&self) -> bool {
        matches!(self, Self::Auto(_))
    }
}
