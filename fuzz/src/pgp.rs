//! OpenPGP keys, which may come from people without a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lessor::base::Timestamp;
use lessor::base::random::SeededRandom;
use lessor::engine::seal::Recipient;

/// A key, as text or in its binary form.
pub(crate) fn key(data: &[u8]) {
    let text = match std::str::from_utf8(data) {
        Ok(text) => text.to_owned(),
        Err(_) => STANDARD.encode(data),
    };
    // Before a key is taken, something is encrypted to it.
    if let Ok(recipient) = Recipient::parse("key", &text, Timestamp::UNIX_EPOCH, &SeededRandom::new(1)) {
        assert!(recipient.fingerprint().len() >= 32, "{}", recipient.fingerprint());
    }
}
