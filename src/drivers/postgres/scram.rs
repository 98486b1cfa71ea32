//! SCRAM-SHA-256 verifiers (RFC 5802, in PostgreSQL's form): what the server stores, made here, so that the password itself
//! is in no statement and no log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::{Random, Secret};

/// What PostgreSQL uses itself. Fewer are refused by some clients.
const ROUNDS: u32 = 4096;

/// The verifier of a password of printable ASCII (which needs no SASLprep), with a random salt.
pub(super) fn verifier(password: &Secret, random: &dyn Random) -> Secret {
    let mut salt = [0; 16];
    random.fill(&mut salt);
    verifier_with(password, &salt)
}

fn verifier_with(password: &Secret, salt: &[u8]) -> Secret {
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.expose().as_bytes(), salt, ROUNDS, &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server = hmac::sign(&key, b"Server Key");
    let text = |bytes: &[u8]| STANDARD.encode(bytes);
    Secret::new(format!("SCRAM-SHA-256${ROUNDS}:{}${}:{}", text(salt), text(stored.as_ref()), text(server.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Salt and keys of the exchange in RFC 7677, section 3: user `user`, password `pencil`.
    #[test]
    fn the_verifier_is_that_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let made = verifier_with(&Secret::new("pencil"), &salt);
        let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(made.expose(), expected);
    }
}
