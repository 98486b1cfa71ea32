//! RSA keys: made off the threads that serve requests, since finding primes takes up to seconds.

use std::sync::Arc;

use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::{RsaPrivateKey, RsaPublicKey};
use tokio::sync::Semaphore;

use crate::base::rand_core::RandCore;
use crate::base::{Random, Secret};
use crate::wire::{Error, Fields};

/// The sizes that Vault makes.
const BITS: [usize; 3] = [2048, 3072, 4096];

/// Keys that are made at a time: more would only take the processors from everything else.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A key and its public half.
pub(super) struct Pair {
    /// PKCS #8, PEM.
    pub(super) private: Secret,
    /// SubjectPublicKeyInfo, PEM.
    pub(super) public: String,
}

/// `key_bits`, 2048 when there are none.
///
/// # Errors
/// Says which sizes there are.
pub(super) fn bits(fields: &Fields) -> Result<usize, String> {
    let sent = fields.count("key_bits").map_err(|error| error.to_string())?.filter(|bits| *bits > 0).unwrap_or(2048);
    let bits = BITS.into_iter().find(|bits| u64::try_from(*bits) == Ok(sent));
    bits.ok_or_else(|| format!("key_bits: {sent} is not possible for RSA: use 2048, 3072 or 4096"))
}

/// A new key.
///
/// # Errors
/// Only when the engine is stopping.
pub(super) async fn generate(bits: usize, random: Arc<dyn Random>) -> Result<Pair, Error> {
    let stopping = |error: tokio::sync::AcquireError| Error::internal("the engine is stopping").caused_by(error);
    let _turn = TURNS.acquire().await.map_err(stopping)?;
    let made = tokio::task::spawn_blocking(move || generate_now(bits, &*random)).await;
    made.map_err(|error| Error::internal("making an RSA key was interrupted").caused_by(error))?
}

fn generate_now(bits: usize, random: &dyn Random) -> Result<Pair, Error> {
    let key = RsaPrivateKey::new(&mut RandCore(random), bits)
        .map_err(|error| Error::internal("an RSA key cannot be made").caused_by(error))?;
    let private = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| Error::internal("an RSA key cannot be written").caused_by(error))?;
    let public = RsaPublicKey::from(&key)
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| Error::internal("an RSA public key cannot be written").caused_by(error))?;
    Ok(Pair { private: Secret::new(private.as_str()), public })
}
