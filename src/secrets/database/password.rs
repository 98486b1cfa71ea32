//! Generated passwords: 20 characters that need no escaping in SQL, URLs and shells.

use zeroize::Zeroizing;

use crate::base::{Random, Secret};

/// About 119 random bits.
const LENGTH: usize = 20;

const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-";

/// A password with at least one lower-case and one upper-case letter, a digit and a `-`, and none at either end that a
/// database or a command line could take for an option.
pub(super) fn generate(random: &dyn Random) -> Secret {
    let alphabet = u32::try_from(ALPHABET.len()).unwrap_or(u32::MAX);
    loop {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        for _ in 0..LENGTH {
            text.push(char::from(ALPHABET[random.below(alphabet) as usize]));
        }
        // Drawing again keeps every password that passes equally likely.
        if is_varied(&text) {
            return Secret::new(std::mem::take(&mut *text));
        }
    }
}

fn is_varied(text: &str) -> bool {
    let has = |class: fn(&char) -> bool| text.chars().any(|c| class(&c));
    has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_digit)
        && text.trim_matches('-').contains('-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn every_class_is_there() {
        let random = SeededRandom::new(3);
        for _ in 0..200 {
            let password = generate(&random);
            assert_eq!(password.expose().len(), LENGTH);
            assert!(is_varied(password.expose()));
        }
        assert!(!is_varied("-aA1aA1aA1aA1aA1aA1-") && !is_varied("aA1aA1aA1aA1aA1aA1aA"));
    }
}
