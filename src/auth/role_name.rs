//! The names of roles, as login methods take them from paths.

use crate::wire::Error;

/// The name in the form in which it is stored: lower case.
///
/// # Errors
/// 404 `unsupported path` for a name that Vault's routes do not match: letters, digits, `_`, `-` and `.` are allowed, the last
/// two only inside.
pub fn normal(name: &str) -> Result<String, Error> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid =
        name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || matches!(c, '-' | '.'));
    if valid { Ok(name.to_ascii_lowercase()) } else { Err(Error::unsupported_path()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_dots_and_dashes_inside() {
        assert_eq!(normal("My-App.v2").unwrap(), "my-app.v2");
        assert_eq!(normal("a").unwrap(), "a");
        for wrong in ["", "-a", "a.", "a b", "ä", "a/b"] {
            assert_eq!(normal(wrong).unwrap_err().status(), 404, "{wrong}");
        }
    }
}
