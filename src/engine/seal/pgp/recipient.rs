//! One person's OpenPGP key: which of its parts messages go to, and the encryption. The only user of the library.

use std::cmp::Reverse;

use ::pgp::composed::{MessageBuilder, PublicOrSecret, SignedPublicKey, SignedPublicSubKey};
use ::pgp::crypto::sym::SymmetricKeyAlgorithm;
use ::pgp::errors::Error as PgpError;
use ::pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData};
use ::pgp::types::{KeyDetails, KeyVersion, Tag};
use base64::Engine as _;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::base::rand_core::RandCore;
use crate::base::{Random, Secret, Timestamp};
use crate::wire::Error;

/// Bytes of a key: many times what one has without signatures of others. Whoever may ask without a token sends keys, too.
const LONGEST: usize = 128 * 1024;

/// The program of most people with such keys, and what they have to ask it for.
const HOW: &str = "send what `gpg --export ID | base64 -w0` writes";

/// Somebody to encrypt to.
pub struct Recipient {
    fingerprint: String,
    target: Target,
}

/// The part of a key that messages go to.
enum Target {
    Primary(Box<PublicKey>),
    Subkey(Box<PublicSubkey>),
}

impl Recipient {
    /// Reads a public key: base64 of its binary form, or of its text form, or that text itself. It must be able to receive
    /// messages at `now`, which is tried with one.
    ///
    /// # Errors
    /// 400 that says what is wrong with the key, behind `label`, which names the field and the key's place in it.
    pub fn parse(label: &str, text: &str, now: Timestamp, random: &dyn Random) -> Result<Self, Error> {
        let refused = |problem: String| Error::bad_request(format!("{label}: {problem}"));
        let bytes = decoded(text).map_err(refused)?;
        let key = read(&bytes).map_err(|(problem, source)| match source {
            Some(source) => refused(problem).caused_by(source),
            None => refused(problem),
        })?;
        let fingerprint = hex(key.fingerprint().as_bytes());
        let about = |problem: &str| refused(format!("the key {fingerprint} {problem}"));
        let target = target(&key, now.as_second()).map_err(|problem| about(&problem))?;
        let recipient = Self { target, fingerprint: fingerprint.clone() };
        recipient.encrypted(&Secret::new("probe"), random).map_err(|error| {
            about(&format!("is of a kind that messages cannot be encrypted to here: {error}")).caused_by(error)
        })?;
        Ok(recipient)
    }

    /// The fingerprint of the primary key, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A message with this text, in its binary form, that only the key's owner reads.
    ///
    /// # Errors
    /// What the library says; not to be expected, since [`Recipient::parse`] tried it.
    pub(in crate::engine) fn encrypt(&self, plain: &Secret, random: &dyn Random) -> Result<Vec<u8>, Error> {
        self.encrypted(plain, random).map_err(|error| {
            Error::internal(format!("nothing can be encrypted to the PGP key {}", self.fingerprint)).caused_by(error)
        })
    }

    /// In the form that every OpenPGP program since 2001 reads, GnuPG 2.2 and Keybase's included.
    fn encrypted(&self, plain: &Secret, random: &dyn Random) -> Result<Vec<u8>, PgpError> {
        let plain = Bytes::from_owner(Zeroizing::new(plain.expose().as_bytes().to_vec()));
        let cipher = SymmetricKeyAlgorithm::AES256;
        let mut message = MessageBuilder::from_bytes("", plain).seipd_v1(RandCore(random), cipher);
        match &self.target {
            Target::Primary(key) => message.encrypt_to_key(RandCore(random), &**key)?,
            Target::Subkey(key) => message.encrypt_to_key(RandCore(random), &**key)?,
        };
        message.to_vec(RandCore(random))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    if text.len() > 2 * LONGEST {
        return Err(too_long());
    }
    if text.trim_start().starts_with("-----BEGIN") {
        return Ok(text.as_bytes().to_vec());
    }
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if text.is_empty() {
        return Err(format!("is empty: {HOW}"));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| format!("is not base64: {HOW}"))?;
    if bytes.len() > LONGEST { Err(too_long()) } else { Ok(bytes) }
}

fn too_long() -> String {
    format!("is longer than {} KiB: export it with `gpg --export-options export-minimal --export ID`", LONGEST / 1024)
}

/// The one public key in there; or what is there instead, with the library's reason if it has one.
fn read(bytes: &[u8]) -> Result<SignedPublicKey, (String, Option<PgpError>)> {
    let none = |error| (format!("is not an OpenPGP public key: {HOW}"), error);
    let (keys, _) = PublicOrSecret::from_reader_many(bytes).map_err(|error| none(Some(error)))?;
    let keys = keys.take(2).collect::<Result<Vec<_>, _>>().map_err(|error| none(Some(error)))?;
    match <[PublicOrSecret; 1]>::try_from(keys) {
        Ok([PublicOrSecret::Public(key)]) => Ok(key),
        Ok([PublicOrSecret::Secret(_)]) => {
            Err((format!("is a private key, which nobody else must have: {HOW} of the public one"), None))
        }
        Err(keys) if keys.is_empty() => Err(none(None)),
        Err(_) => Err((format!("has more than one key: {HOW}, with the ID of one"), None)),
    }
}

/// The part to encrypt to: the newest subkey that is meant for it and may be used at `now`, else the primary key if that is
/// meant for it. Only what the primary key itself has signed counts.
fn target(key: &SignedPublicKey, now: i64) -> Result<Target, String> {
    let primary = &key.primary_key;
    if matches!(primary.version(), KeyVersion::V2 | KeyVersion::V3) {
        return Err("is of a version that OpenPGP gave up in 2007: make a new one".to_owned());
    }
    if key.details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok()) {
        return Err("is revoked".to_owned());
    }
    let own = self_signature(key, now).ok_or("has no valid signature of its own on a name of its owner")?;
    if let Some(end) = end(primary, own).filter(|end| *end <= now) {
        return Err(format!("expired on {}: its owner has to prolong it, or make a new one", date(end)));
    }
    let mut passed = None;
    let meant = key.public_subkeys.iter().filter_map(|subkey| Some((subkey, binding(key, subkey, now)?)));
    let usable = meant.filter(|(subkey, binding)| {
        let over = end(&subkey.key, binding).filter(|end| *end <= now);
        passed = passed.max(over);
        over.is_none()
    });
    if let Some((subkey, _)) = usable.max_by_key(|(subkey, _)| subkey.key.created_at().as_secs()) {
        return Ok(Target::Subkey(Box::new(subkey.key.clone())));
    }
    if primary.algorithm().can_encrypt() && is_for_messages(own) {
        return Ok(Target::Primary(Box::new(primary.clone())));
    }
    Err(match passed {
        Some(end) => format!("has no valid subkey for encryption any more, the last one expired on {}", date(end)),
        None => "is for signatures only: it needs a valid subkey for encryption".to_owned(),
    })
}

/// What the key says of itself: the newest valid signature on one of its names, or on the key as such.
fn self_signature(key: &SignedPublicKey, now: i64) -> Option<&Signature> {
    let primary = &key.primary_key;
    let names = key.details.users.iter().filter_map(|user| {
        let proves = |signature: &Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        let newest = newest(user.signatures.iter().filter(|signature| is_by(signature, primary)), now, proves)?;
        (newest.typ() != Some(SignatureType::CertRevocation)).then_some(newest)
    });
    let direct = newest(&key.details.direct_signatures, now, |signature| signature.verify_key(primary).is_ok());
    names.chain(direct).max_by_key(|signature| signature.created().map(|created| created.as_secs()))
}

/// What binds a subkey that is meant for messages to its key; none when it is revoked.
fn binding<'a>(key: &SignedPublicKey, subkey: &'a SignedPublicSubKey, now: i64) -> Option<&'a Signature> {
    if !subkey.key.algorithm().can_encrypt() {
        return None;
    }
    let of = |kind| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind));
    let proves = |signature: &Signature| signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok();
    if of(SignatureType::SubkeyRevocation).any(proves) {
        return None;
    }
    newest(of(SignatureType::SubkeyBinding), now, proves).filter(|signature| is_for_messages(signature))
}

/// The newest signature that has not expired and passes `proves`, which is costly.
fn newest<'a>(
    signatures: impl IntoIterator<Item = &'a Signature>,
    now: i64,
    proves: impl Fn(&Signature) -> bool,
) -> Option<&'a Signature> {
    let made = |signature: &Signature| signature.created().map(|created| i64::from(created.as_secs()));
    let counts = |signature: &Signature| {
        let lasts = signature.signature_expiration_time().map_or(0, |lasts| i64::from(lasts.as_secs()));
        made(signature).is_some_and(|made| lasts == 0 || made + lasts > now)
    };
    let mut signatures: Vec<_> = signatures.into_iter().filter(|signature| counts(signature)).collect();
    signatures.sort_by_key(|signature| Reverse(made(signature)));
    signatures.into_iter().find(|signature| proves(signature))
}

/// Whether a signature says that it is the key's own, and so is worth being checked.
fn is_by(signature: &Signature, key: &PublicKey) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

/// Whether the signature lets messages be encrypted to what it is on; keys of old say nothing of it.
fn is_for_messages(signature: &Signature) -> bool {
    let flags = signature.key_flags();
    let says = signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    });
    !says || flags.encrypt_comms() || flags.encrypt_storage()
}

/// When a key ends, in seconds since 1970.
fn end(key: &impl KeyDetails, signature: &Signature) -> Option<i64> {
    let lasts = signature.key_expiration_time().map(|lasts| i64::from(lasts.as_secs())).filter(|lasts| *lasts > 0)?;
    Some(i64::from(key.created_at().as_secs()) + lasts)
}

fn date(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests;
