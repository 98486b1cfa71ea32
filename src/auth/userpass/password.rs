//! Passwords as bcrypt hashes, as Vault's userpass keeps them. A hash takes tens of milliseconds, so few are made at a time.

use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};

use crate::base::{Random, Secret};
use crate::wire::{Error, Kind};

/// Rounds as a power of two: what Go's library, and so Vault, takes when nothing else is said.
const COST: u32 = 10;

/// The costs that a hash may be brought along with: one of 31 would take a login days.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// bcrypt looks at no more of a password, in bytes.
const LONGEST: usize = 72;

/// How many passwords are hashed at a time; others wait, so that a flood of logins leaves processors for everything else.
const AT_ONCE: usize = 4;

pub(super) struct Hasher {
    random: Arc<dyn Random>,
    turns: Semaphore,
    /// What the password of an unknown user is compared with.
    nobody: OnceCell<String>,
}

impl Hasher {
    pub fn new(random: Arc<dyn Random>) -> Self {
        Self { random, turns: Semaphore::new(AT_ONCE), nobody: OnceCell::new() }
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// 400 for one that is longer than bcrypt looks at.
    pub async fn hash(&self, password: Secret) -> Result<String, Error> {
        if password.expose().len() > LONGEST {
            return Err(Error::bad_request(format!("\"password\": bcrypt takes at most {LONGEST} bytes")));
        }
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        let hash = move || bcrypt::hash_with_salt(password.expose(), COST, salt).map(|parts| parts.to_string());
        self.beside(hash).await?.map_err(|error| Error::internal("cannot hash the password").caused_by(error))
    }

    /// Whether the password belongs to the hash. Without a hash it takes as long and is always wrong.
    ///
    /// # Errors
    /// 503 when the engine stops meanwhile.
    pub async fn verify(&self, password: Secret, hash: Option<String>) -> Result<bool, Error> {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self.nobody.get_or_try_init(|| self.hash(self.random.base62(24).into())).await?.clone(),
        };
        // No hash was made of a longer one, and the library would compare the beginning.
        let possible = known && password.expose().len() <= LONGEST;
        let right = self.beside(move || bcrypt::verify(password.expose(), &hash)).await?;
        let right = right.map_err(|error| Error::internal("a stored hash cannot be read").caused_by(error))?;
        Ok(right && possible)
    }

    async fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let stopping = || Error::new(Kind::Unavailable, "the engine is stopping");
        let _turn = self.turns.acquire().await.map_err(|error| stopping().caused_by(error))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| stopping().caused_by(error))
    }
}

/// Whether a text is a hash that a login can be checked with.
///
/// # Errors
/// 400 saying what is expected.
pub(super) fn check(hash: &str) -> Result<(), Error> {
    let wrong =
        || Error::bad_request("\"password_hash\" must be a bcrypt hash such as $2a$10$…, of a cost from 4 to 16");
    let parts: bcrypt::HashParts = hash.parse().map_err(|error: bcrypt::BcryptError| wrong().caused_by(error))?;
    if COSTS.contains(&parts.get_cost()) { Ok(()) } else { Err(wrong()) }
}
