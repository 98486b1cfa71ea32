//! AES-256-GCM with random nonces: the one cipher of the barrier and of the seals.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use zeroize::Zeroizing;

use crate::base::Random;

/// A 256-bit key, zeroed on drop.
///
/// Ring's expanded form is not zeroed; so it is made for each use, which costs less than a microsecond, and never kept.
pub type Key = Zeroizing<[u8; 32]>;

/// A new random key.
pub fn new_key(random: &dyn Random) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    random.fill(&mut *key);
    key
}

/// Why bytes could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was changed, moved, or encrypted with another key")]
pub struct Unreadable;

/// Encrypts `plain` for the place `name`: nonce, ciphertext, tag.
pub fn encrypt(key: &[u8; 32], name: &str, plain: &[u8], random: &dyn Random) -> Vec<u8> {
    encrypt_after(&[], key, name, plain, random)
}

/// As [`encrypt`], with `header` in clear before it.
pub(super) fn encrypt_after(header: &[u8], key: &[u8; 32], name: &str, plain: &[u8], random: &dyn Random) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);
    let mut out = Vec::with_capacity(header.len() + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    out.extend_from_slice(header);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = seal_in_place(key, nonce, name, &mut out[start..]);
    out.extend_from_slice(tag.as_ref());
    out
}

/// Opens what [`encrypt`] made for the same place.
///
/// # Errors
/// [`Unreadable`], which does not say why: an attacker must not learn it either.
pub fn decrypt(key: &[u8; 32], name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(Unreadable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable)?;
    let mut body = Zeroizing::new(body.to_vec());
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Unreadable)?;
    let length = LessSafeKey::new(key).open_in_place(nonce, Aad::from(name), &mut body).map_err(|_| Unreadable)?.len();
    body.truncate(length);
    Ok(body)
}

#[expect(clippy::expect_used, reason = "AES-256 takes every key of 32 bytes, and every text shorter than 64 GiB")]
fn seal_in_place(key: &[u8; 32], nonce: [u8; NONCE_LEN], name: &str, text: &mut [u8]) -> Tag {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("a 32-byte key was refused");
    let nonce = Nonce::assume_unique_for_key(nonce);
    LessSafeKey::new(key).seal_in_place_separate_tag(nonce, Aad::from(name), text).expect("a text of 64 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;

    #[test]
    fn only_the_same_key_and_name_open_it() {
        let key = new_key(&SystemRandom);
        let sealed = encrypt(&key, "a", b"text", &SystemRandom);
        assert_eq!(&**decrypt(&key, "a", &sealed).unwrap(), b"text");
        assert_eq!(decrypt(&key, "b", &sealed), Err(Unreadable));
        assert_eq!(decrypt(&new_key(&SystemRandom), "a", &sealed), Err(Unreadable));
        assert_ne!(encrypt(&key, "a", b"text", &SystemRandom), sealed, "the same nonce twice");
    }
}
