//! Keys as old and new programs make them, and those that nothing must be encrypted to.

use ::pgp::composed::{ArmorOptions, KeyType};
use ::pgp::crypto::ecc_curve::ECCCurve;
use ::pgp::ser::Serialize as _;

use super::super::testing::{decrypted, made, modern};
use super::*;
use crate::base::random::SystemRandom;

/// Made by GnuPG 2.2 on 2025-01-01; this one ends on 2026-01-01.
const EXPIRING: &str = include_str!("../keys/expiring.asc");
const REVOKED: &str = include_str!("../keys/revoked.asc");
const SIGN_ONLY: &str = include_str!("../keys/sign-only.asc");
/// Its subkey for encryption ends on 2025-06-01, and a second one, of 2025-02-01, on 2026-06-01.
const RENEWED: &str = include_str!("../keys/renewed.asc");

fn day(text: &str) -> Timestamp {
    format!("{text}T12:00:00Z").parse().unwrap()
}

fn parse(text: &str, now: &str) -> Result<Recipient, String> {
    Recipient::parse("pgp_keys: key 2 of 3", text, day(now), &SystemRandom).map_err(|error| {
        assert_eq!(error.status(), 400);
        error.to_string()
    })
}

fn problem(text: &str, now: &str) -> String {
    parse(text, now).err().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn only_the_owner_of_the_key_reads_the_message() {
    let kinds = [
        (KeyType::Rsa(2048), Some(KeyType::Rsa(2048))),
        (KeyType::Rsa(2048), None),
        (KeyType::Ed25519Legacy, Some(KeyType::ECDH(ECCCurve::Curve25519Legacy))),
        (KeyType::ECDSA(ECCCurve::P256), Some(KeyType::ECDH(ECCCurve::P256))),
    ];
    for (primary, subkey) in kinds {
        let name = format!("{primary:?} {subkey:?}");
        let secret = made(primary, subkey);
        let public = secret.to_public_key();
        let binary = public.to_bytes().unwrap();
        let armored = public.to_armored_string(ArmorOptions::default()).unwrap();
        for text in [base64(&binary), base64(armored.as_bytes()), armored] {
            let recipient = Recipient::parse("pgp_key", &text, day("2026-01-01"), &SystemRandom).unwrap();
            assert_eq!(recipient.fingerprint(), hex(secret.fingerprint().as_bytes()), "{name}");
            let message = recipient.encrypt(&Secret::new("6ecb46"), &SystemRandom).unwrap();
            assert!(!message.windows(6).any(|part| part == b"6ecb46"));
            assert_eq!(decrypted(&message, &secret), "6ecb46", "{name}");
        }
        let private = problem(&base64(&secret.to_bytes().unwrap()), "2026-01-01");
        assert!(private.starts_with("pgp_keys: key 2 of 3: is a private key"), "{private}");
    }
}

#[test]
fn a_key_ends_as_its_owner_said() {
    assert_eq!(parse(EXPIRING, "2025-12-31").unwrap().fingerprint(), "2d6bb7d4889427201e53e7a0eb5f7441306b8b33");
    let expired = problem(EXPIRING, "2026-01-02");
    let begins = "pgp_keys: key 2 of 3: the key 2d6bb7d4889427201e53e7a0eb5f7441306b8b33 expired on 2026-01-01";
    assert!(expired.starts_with(begins), "{expired}");

    let subkey = |now: &str| match parse(RENEWED, now).unwrap().target {
        Target::Subkey(key) => hex(key.fingerprint().as_bytes()),
        Target::Primary(_) => "primary".to_owned(),
    };
    for now in ["2025-03-01", "2025-07-01"] {
        assert_eq!(subkey(now), "8f0647cd5791aa15ad8f01e13a706257390628c4", "the newest that is valid, on {now}");
    }
    let over = problem(RENEWED, "2026-07-01");
    assert!(over.contains("no valid subkey for encryption any more, the last one expired on 2026-06-01"), "{over}");
}

#[test]
fn keys_that_must_not_be_encrypted_to_are_refused_with_their_reason() {
    let now = "2025-06-15";
    assert!(problem(REVOKED, now).ends_with("41d3f4fa36dbaa78de08c4516200c13bd27bc852 is revoked"));
    assert!(problem(SIGN_ONLY, now).contains("is for signatures only"), "{}", problem(SIGN_ONLY, now));
    assert!(problem("", now).starts_with("pgp_keys: key 2 of 3: is empty"));
    assert!(problem("!", now).contains("is not base64"));
    for nothing in ["aGVsbG8=", "keys", "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----BEGIN CERTIFICATE-----\n"] {
        assert!(problem(nothing, now).contains("is not an OpenPGP public key"), "{nothing}: {}", problem(nothing, now));
    }
    assert!(problem(&"A".repeat(4 * LONGEST), now).contains("is longer than 128 KiB"));
    let two = [modern(), modern()].map(|key| key.to_public_key().to_bytes().unwrap()).concat();
    assert!(problem(&base64(&two), now).contains("has more than one key"), "{}", problem(&base64(&two), now));
}

#[test]
fn what_a_key_says_counts_only_if_it_signed_it() {
    let own = modern().to_public_key();
    let other = modern().to_public_key();
    let foreign_subkey = SignedPublicKey { public_subkeys: other.public_subkeys, ..own.clone() };
    let text = base64(&foreign_subkey.to_bytes().unwrap());
    assert!(problem(&text, "2026-01-01").contains("is for signatures only"), "somebody else's subkey");
    let foreign_name = SignedPublicKey { details: other.details, ..own };
    let text = base64(&foreign_name.to_bytes().unwrap());
    assert!(problem(&text, "2026-01-01").contains("no valid signature of its own"));
}

#[test]
fn no_damaged_key_brings_anything_down() {
    let key = modern().to_public_key();
    let whole = key.to_bytes().unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        for bytes in [&damaged[..], &whole[..at]] {
            // Some damage is where nothing looks; none may panic.
            let _ = Recipient::parse("pgp_key", &base64(bytes), day("2026-01-01"), &SystemRandom);
        }
    }
}
