//! What SQL drivers share: statement blocks as Vault reads them, `{{name}}` substitution, and passwords inside URLs.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, Kind};

/// Splits statement blocks into statements by Vault's rules (vault-api.md 3.7): a block that decodes as base64 is decoded,
/// one that is a JSON list gives its items, anything else is split at every `;` and blanks are dropped. `whole` says which
/// blocks stay in one piece.
pub fn statements(blocks: &[String], whole: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for block in blocks {
        let block = decode(block.trim());
        if let Ok(items) = serde_json::from_str::<Vec<String>>(&block) {
            found.extend(items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()));
        } else if whole(&block) {
            found.push(block);
        } else {
            found.extend(block.split(';').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned));
        }
    }
    found
}

fn decode(block: &str) -> String {
    STANDARD.decode(block).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| block.to_owned())
}

/// Whether the word `END` stands outside quotes: PostgreSQL's rule for a block that must not be split.
pub fn has_end(block: &str) -> bool {
    let mut quote = None;
    let mut word = String::new();
    for c in block.chars().chain([' ']) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c.is_alphanumeric() || c == '_' => word.push(c),
            None => {
                if word.eq_ignore_ascii_case("end") {
                    return true;
                }
                word.clear();
                quote = matches!(c, '\'' | '"').then_some(c);
            }
        }
    }
    false
}

/// Replaces each `{{name}}` by its value, literally, as Vault does.
pub fn fill(statement: &str, values: &[(&str, &str)]) -> String {
    let mut text = statement.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    text
}

/// Refuses a generated value that could end the quotes around its placeholder.
///
/// # Errors
/// [`Kind::Config`] naming `what`.
pub fn check_value(what: &str, value: &str) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::new(Kind::Config, format!("the {what} is empty")));
    }
    match value.chars().find(|c| matches!(c, '\'' | '"' | '`' | '\\') || c.is_control()) {
        None => Ok(()),
        Some(c) => Err(Error::new(
            Kind::Config,
            format!(
                "the {what} contains {c:?}, which is not safe inside statements: change the template or policy that made it"
            ),
        )),
    }
}

/// A password written into a connection URL or a `key=value` string instead of `{{password}}`.
pub fn inline_password(url: &str) -> Option<&str> {
    password_range(url).map(|range| &url[range])
}

/// The URL as it may be read back: an inline password shows as `xxxxx`.
pub fn mask_password(url: &str) -> String {
    match password_range(url) {
        Some(range) => format!("{}xxxxx{}", &url[..range.start], mask_password(&url[range.end..])),
        None => url.to_owned(),
    }
}

fn password_range(url: &str) -> Option<Range<usize>> {
    let found = user_info(url).or_else(|| parameter(url, "password"))?;
    (!found.is_empty() && !url[found.clone()].contains("{{password}}")).then_some(found)
}

/// The part between `scheme://user:` and the last `@` before the query.
fn user_info(url: &str) -> Option<Range<usize>> {
    let start = url.find("://")? + 3;
    let end = start + url[start..].split('?').next()?.rfind('@')?;
    let colon = start + url[start..end].find(':')?;
    let range = colon + 1..end;
    (!url[range.clone()].is_empty() && &url[range.clone()] != "{{password}}").then_some(range)
}

/// The value of `name=` in a query or a `key=value` string.
fn parameter(url: &str, name: &str) -> Option<Range<usize>> {
    let bytes = url.as_bytes();
    for (at, _) in url.match_indices(name) {
        let boundary = at == 0 || matches!(bytes[at - 1], b' ' | b'?' | b'&');
        let rest = &url[at + name.len()..];
        let value = rest.trim_start();
        if !boundary || !value.starts_with('=') {
            continue;
        }
        let value = value[1..].trim_start();
        let start = url.len() - value.len();
        let length = match value.strip_prefix('\'') {
            Some(quoted) => end(quoted, &['\'']).map_or(value.len(), |end| end + 2),
            None => end(value, &[' ', '&']).unwrap_or(value.len()),
        };
        return Some(start..start + length);
    }
    None
}

/// Where the first of `stops` stands that no backslash precedes, which libpq takes for a part of the value.
fn end(text: &str, stops: &[char]) -> Option<usize> {
    let mut escaped = false;
    let stop = |(_, c): &(usize, char)| {
        let stops_here = !escaped && stops.contains(c);
        escaped = !escaped && *c == '\\';
        stops_here
    };
    text.char_indices().find(stop).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(block: &str) -> Vec<String> {
        statements(&[block.to_owned()], has_end)
    }

    #[test]
    fn blocks_are_split_as_vault_splits_them() {
        assert_eq!(split(" A; B;; "), ["A", "B"]);
        assert_eq!(split("[\"A;B\", \"C\"]"), ["A;B", "C"]);
        assert_eq!(split(&STANDARD.encode("A;B")), ["A", "B"]);
        assert_eq!(split(&STANDARD.encode("[\"A;B\"]")), ["A;B"]);
        assert_eq!(split("DO $$ BEGIN A; B; END $$;"), ["DO $$ BEGIN A; B; END $$;"]);
        assert_eq!(split("A 'END'; B"), ["A 'END'", "B"]);
        assert_eq!(split("GRANT weekend TO x; B"), ["GRANT weekend TO x", "B"]);
        assert_eq!(split(""), Vec::<String>::new());
    }

    #[test]
    fn placeholders_are_replaced_literally() {
        let values = [("name", "u"), ("username", "u"), ("password", "p")];
        assert_eq!(fill("\"{{name}}\" '{{password}}' {{ name }} {{other}}", &values), "\"u\" 'p' {{ name }} {{other}}");
    }

    #[test]
    fn values_that_could_break_out_are_refused() {
        for bad in ["a'b", "a\"b", "a\\b", "a\0b", "a\nb", ""] {
            assert!(check_value("username", bad).is_err(), "{bad:?}");
        }
        assert!(check_value("username", "v-kube-app-Aa1-17").is_ok());
    }

    #[test]
    fn inline_passwords_are_found_and_masked() {
        for (url, password, masked) in [
            ("postgresql://u:p@h/db", Some("p"), "postgresql://u:xxxxx@h/db"),
            ("postgresql://u:p@/ss@h:1/db?x=y", Some("p@/ss"), "postgresql://u:xxxxx@h:1/db?x=y"),
            ("postgresql://{{username}}:{{password}}@h/db", None, "postgresql://{{username}}:{{password}}@h/db"),
            ("postgresql://u@h:5432/db?password=p&x=y", Some("p"), "postgresql://u@h:5432/db?password=xxxxx&x=y"),
            ("host=h password='a b' user=u", Some("'a b'"), "host=h password=xxxxx user=u"),
            (r"host=h password='a\'b c' user=u", Some(r"'a\'b c'"), "host=h password=xxxxx user=u"),
            (r"host=h password=a\ b user=u", Some(r"a\ b"), "host=h password=xxxxx user=u"),
            ("host=h password={{password}}", None, "host=h password={{password}}"),
            ("postgresql://h:5432/db", None, "postgresql://h:5432/db"),
        ] {
            assert_eq!((inline_password(url), mask_password(url).as_str()), (password, masked), "{url}");
        }
    }
}
