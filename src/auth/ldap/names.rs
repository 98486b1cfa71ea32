//! The spellings that directories take for one name (RFC 4518, which Active Directory goes beyond).

use unicode_normalization::UnicodeNormalization as _;

/// With single spaces, and none at the ends: how many there are means nothing to a directory.
pub(super) fn spaced(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One form for all spellings that some directory may take for the same name: without case, width, accents, and characters
/// that nobody sees. Names of two people may come to the same, so this is for counting failed logins only.
pub(super) fn folded(name: &str) -> String {
    let seen = |c: &char| c.is_alphanumeric() || c.is_ascii_graphic() || c.is_whitespace();
    spaced(&name.nfkd().filter(seen).collect::<String>()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_counts_as_one() {
        for name in ["Zo\u{eb} Lee", " zoe  LEE ", "\u{ff3a}oe Lee", "zo\u{ad}e lee", "zo\u{200b}e\u{301} lee"] {
            assert_eq!(folded(name), "zoe lee", "{name:?}");
        }
        assert_eq!(folded("zoe@example.com"), "zoe@example.com");
        assert_ne!(folded("zoe-lee"), folded("zoe lee"));
    }
}
