//! Writes a text into another language so that it means itself there: URLs, `.pgpass`, `.env` files, libpq's strings.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::functions::{Functions, map_text};

/// Adds `urlEscape`, `pgpassEscape`, `envQuote` and `conninfoQuote`.
pub(super) fn register(set: &mut Functions) {
    map_text(set, "urlEscape", url);
    map_text(set, "pgpassEscape", pgpass);
    map_text(set, "envQuote", env);
    map_text(set, "conninfoQuote", conninfo);
}

/// For any part of a URL: everything but letters, digits, `-`, `.`, `_` and `~` percent-encoded (RFC 3986, 2.3). Unlike Go's
/// `urlquery` it makes no `+` of a space, which only a query would turn back.
pub fn url(text: &str) -> String {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &KEPT).to_string()
}

/// For one field of a line of `.pgpass`: `\` and `:` get a `\` before them (PostgreSQL, "The Password File").
pub fn pgpass(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:")
}

/// For the value of a line of a `.env` file, quoted only where it must be: what shells, `docker compose` and the libraries
/// that read such files agree upon. A single quote in the text needs the escapes of double quotes, which shells read.
pub fn env(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@%+=?".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    if !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if "\\\"$`".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// For a value of libpq's `key=value` strings: in single quotes, with `\` before `'` and `\`, where it must be.
pub fn conninfo(text: &str) -> String {
    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '\'' || c == '\\') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_nothing_that_means_something_in_it() {
        assert_eq!(url("v-app.1_2~3"), "v-app.1_2~3");
        assert_eq!(url("p@ss/w:rd?#[ ]%+&="), "p%40ss%2Fw%3Ard%3F%23%5B%20%5D%25%2B%26%3D");
        assert_eq!(url("ü"), "%C3%BC");
    }

    #[test]
    fn a_password_file_keeps_its_fields_apart() {
        assert_eq!(pgpass(r"a:b\c"), r"a\:b\\c");
    }

    #[test]
    fn a_value_of_an_env_file_is_quoted_where_it_must_be() {
        for (text, expected) in [
            ("postgresql://u:p%40@db/app?a=b", "postgresql://u:p%40@db/app?a=b"),
            ("", ""),
            ("a b", "'a b'"),
            ("a=b&c=d", "'a=b&c=d'"),
            ("a#b$c\"d", "'a#b$c\"d'"),
            ("it's $5 \\", r#""it's \$5 \\""#),
        ] {
            assert_eq!(env(text), expected);
        }
    }

    #[test]
    fn a_value_for_libpq_is_quoted_where_it_must_be() {
        assert_eq!(conninfo("p@ss=w"), "p@ss=w");
        assert_eq!(conninfo(""), "''");
        assert_eq!(conninfo(r"it's a\b"), r"'it\'s a\\b'");
    }
}
