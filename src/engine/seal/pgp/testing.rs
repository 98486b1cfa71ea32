//! Private keys, which only tests have: made, and used to read what was encrypted to them.

use std::io::Read as _;

use ::pgp::composed::{EncryptionCaps, KeyType, Message, SecretKeyParamsBuilder, SignedSecretKey, SubkeyParamsBuilder};
use ::pgp::crypto::ecc_curve::ECCCurve;
use ::pgp::ser::Serialize as _;
use ::pgp::types::Password;
use base64::Engine as _;

use crate::base::rand_core::RandCore;
use crate::base::random::SystemRandom;

/// A key with a subkey for encryption, or with a primary key for everything.
pub fn made(primary: KeyType, subkey: Option<KeyType>) -> SignedSecretKey {
    let mut params = SecretKeyParamsBuilder::default();
    params.key_type(primary).can_certify(true).can_sign(true).primary_user_id("A <a@example.com>".into());
    match subkey {
        Some(kind) => {
            let subkey = SubkeyParamsBuilder::default().key_type(kind).can_encrypt(EncryptionCaps::All).build();
            params.subkey(subkey.unwrap());
        }
        None => {
            params.can_encrypt(EncryptionCaps::All);
        }
    }
    params.build().unwrap().generate(RandCore(&SystemRandom)).unwrap()
}

/// What a message says to the owner of the key.
pub fn decrypted(message: &[u8], key: &SignedSecretKey) -> String {
    let mut message = Message::from_bytes(message).unwrap().decrypt(&Password::empty(), key).unwrap();
    let mut text = String::new();
    message.read_to_string(&mut text).unwrap();
    text
}

/// A key as GnuPG 2.3 and later make them.
pub fn modern() -> SignedSecretKey {
    made(KeyType::Ed25519Legacy, Some(KeyType::ECDH(ECCCurve::Curve25519Legacy)))
}

/// What is sent of a key.
pub fn sent(key: &SignedSecretKey) -> String {
    base64::engine::general_purpose::STANDARD.encode(key.to_public_key().to_bytes().unwrap())
}
