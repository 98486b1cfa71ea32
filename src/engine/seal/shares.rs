//! Shares as people hand them in: read, collected one by one, put together when there are enough.

use base64::Engine as _;
use zeroize::Zeroizing;

use super::shamir;
use crate::base::{Random, Secret};
use crate::wire::Error;

/// A share, or what shares give together.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// Reads a share in hex or in base64.
///
/// # Errors
/// 400, as Vault says it.
pub(super) fn read(text: &Secret) -> Result<Bytes, Error> {
    let text = text.expose().trim();
    let hex = || -> Option<Bytes> {
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
        for at in (0..text.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&text[at..at + 2], 16).ok()?);
        }
        Some(bytes)
    };
    let base64 = || base64::engine::general_purpose::STANDARD.decode(text).ok().map(Zeroizing::new);
    let bytes = hex().or_else(base64).filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| Error::bad_request("'key' must be a valid hex or base64 string"))
}

/// A share in hex and in base64, as answers show it.
pub(super) fn show(share: &[u8]) -> (Secret, Secret) {
    let hex: String = share.iter().map(|byte| format!("{byte:02x}")).collect();
    (Secret::new(hex), Secret::new(base64::engine::general_purpose::STANDARD.encode(share)))
}

/// The shares that were handed in so far, for one purpose.
pub(super) struct Collected {
    /// Names this collection, so that nobody's share goes into another one.
    pub nonce: String,
    shares: Vec<Bytes>,
}

impl Collected {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self { nonce: random.uuid(), shares: Vec::new() }
    }

    /// How many different ones there are.
    pub(super) fn progress(&self) -> u32 {
        u32::try_from(self.shares.len()).unwrap_or(u32::MAX)
    }

    /// Takes a share; the same one twice counts once. Once there are `threshold`, gives what they are together and forgets
    /// them.
    ///
    /// # Errors
    /// 400 when they cannot belong together; they are forgotten then.
    pub(super) fn take(&mut self, share: Bytes, threshold: u8) -> Result<Option<Bytes>, Error> {
        if !self.shares.contains(&share) {
            self.shares.push(share);
        }
        if self.shares.len() < usize::from(threshold) {
            return Ok(None);
        }
        let mut shares = std::mem::take(&mut self.shares);
        if threshold <= 1 {
            return Ok(shares.pop());
        }
        let slices: Vec<&[u8]> = shares.iter().map(|share| share.as_slice()).collect();
        let together = shamir::combine(&slices);
        together.map(Some).map_err(|error| Error::bad_request(format!("the shares do not fit: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;
    use crate::engine::seal::shamir::Scheme;

    #[test]
    fn shares_come_in_hex_or_base64() {
        for text in ["00ff10", "AP8Q", " 00FF10\n"] {
            assert_eq!(**read(&text.into()).unwrap(), [0, 255, 16], "{text}");
        }
        for text in ["", "xyz", "äö"] {
            assert_eq!(read(&text.into()).unwrap_err().status(), 400, "{text}");
        }
        let (hex, base64) = show(&[0, 255, 16]);
        assert_eq!((hex.expose(), base64.expose()), ("00ff10", "AP8Q"));
    }

    #[test]
    fn enough_different_shares_give_the_key() {
        let random = SeededRandom::new(1);
        let shares = shamir::split(&[7; 32], Scheme::new(3, 2).unwrap(), &random);
        let mut collected = Collected::new(&random);
        assert!(collected.take(shares[0].clone(), 2).unwrap().is_none());
        assert!(collected.take(shares[0].clone(), 2).unwrap().is_none(), "the same share again");
        assert_eq!(collected.progress(), 1);
        assert_eq!(**collected.take(shares[2].clone(), 2).unwrap().unwrap(), [7; 32]);
        assert_eq!(collected.progress(), 0);
        assert!(collected.take(Zeroizing::new(vec![1, 2, 3]), 2).unwrap().is_none());
        assert!(collected.take(shares[1].clone(), 2).is_err(), "of another length");
    }
}
