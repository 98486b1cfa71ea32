//! What stands for OpenPGP keys in a program that was built without them: none can be read.

use crate::base::{Random, Secret, Timestamp};
use crate::wire::Error;

/// Somebody to encrypt to: nobody.
pub enum Recipient {}

impl Recipient {
    /// Reads no key.
    ///
    /// # Errors
    /// Always 400.
    pub fn parse(label: &str, _: &str, _: Timestamp, _: &dyn Random) -> Result<Self, Error> {
        let text = "this program was built without PGP (cargo feature `pgp`), so that its answers are not encrypted";
        Err(Error::bad_request(format!("{label}: {text}: leave it out")))
    }

    /// The fingerprint of the key.
    pub fn fingerprint(&self) -> &str {
        match *self {}
    }

    /// A message that only the key's owner reads.
    ///
    /// # Errors
    /// None, since there is no recipient.
    pub(in crate::engine) fn encrypt(&self, _: &Secret, _: &dyn Random) -> Result<Vec<u8>, Error> {
        match *self {}
    }
}
