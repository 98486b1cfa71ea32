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

/// The passwords written into a connection URL or a `key=value` string instead of `{{password}}`, as they are spelled there.
pub fn inline_passwords(url: &str) -> Vec<&str> {
    passwords(url).into_iter().map(|range| &url[range]).collect()
}

/// The URL as it may be read back: inline passwords show as `xxxxx`.
pub fn mask_passwords(url: &str) -> String {
    let mut masked = String::new();
    let mut done = 0;
    for Range { start, end } in passwords(url) {
        masked.push_str(&url[done..start]);
        masked.push_str("xxxxx");
        done = end;
    }
    masked + &url[done..]
}

/// Where the passwords stand, in order.
fn passwords(url: &str) -> Vec<Range<usize>> {
    let mut found = match url.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
            user_info(url, scheme.len() + 3).into_iter().chain(in_query(url)).collect()
        }
        _ => in_pairs(url),
    };
    found.retain(|range| !range.is_empty() && !url[range.clone()].contains("{{password}}"));
    found
}

/// The part between the first `:` of the authority and the last `@` before the query.
fn user_info(url: &str, start: usize) -> Option<Range<usize>> {
    let end = start + url[start..].split('?').next()?.rfind('@')?;
    Some(start + url[start..end].find(':')? + 1..end)
}

/// The values of `password=` in the query of a URL.
fn in_query(url: &str) -> Vec<Range<usize>> {
    let Some(mut at) = url.find('?') else { return Vec::new() };
    let mut found = Vec::new();
    for pair in url[at + 1..].split('&') {
        let start = at + 1;
        at = start + pair.len();
        if let Some((name, _)) = pair.split_once('=')
            && is_password(name)
        {
            found.push(start + name.len() + 1..at);
        }
    }
    found
}

/// The values of `password=` in a string of pairs, as libpq reads it (PostgreSQL manual, 32.1.1.1), without their quotes.
fn in_pairs(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let name = &rest[..rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len())];
        rest = rest[name.len()..].trim_start();
        let Some(after) = rest.strip_prefix('=') else { continue };
        let after = after.trim_start();
        let (value, quote) = match after.strip_prefix('\'') {
            Some(quoted) => (&quoted[..end(quoted, |c| c == '\'')], 1),
            None => (&after[..end(after, char::is_whitespace)], 0),
        };
        let start = text.len() - after.len() + quote;
        if is_password(name) {
            found.push(start..start + value.len());
        }
        rest = text[start + value.len()..].get(quote..).unwrap_or_default().trim_start();
    }
    found
}

fn is_password(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("password")
}

/// Where the first character stands that stops a value and that no backslash precedes, which libpq takes for a part of it.
fn end(text: &str, stops: impl Fn(char) -> bool) -> usize {
    let mut escaped = false;
    let stop = |(_, c): &(usize, char)| {
        let stops_here = !escaped && stops(*c);
        escaped = !escaped && *c == '\\';
        stops_here
    };
    text.char_indices().find(stop).map_or(text.len(), |(at, _)| at)
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
        for (url, passwords, masked) in [
            ("postgresql://u:p@h/db", &["p"][..], "postgresql://u:xxxxx@h/db"),
            ("postgresql://u:p@/ss@h:1/db?x=y", &["p@/ss"], "postgresql://u:xxxxx@h:1/db?x=y"),
            ("postgresql://{{username}}:{{password}}@h/db", &[], "postgresql://{{username}}:{{password}}@h/db"),
            ("postgresql://u@h:5432/db?password=p&x=y", &["p"], "postgresql://u@h:5432/db?password=xxxxx&x=y"),
            (
                "postgresql://u:p@h/db?Password=q r&password=",
                &["p", "q r"],
                "postgresql://u:xxxxx@h/db?Password=xxxxx&password=",
            ),
            ("host=h password='a b' user=u", &["a b"], "host=h password='xxxxx' user=u"),
            (r"host=h password='a\'b c' user=u", &[r"a\'b c"], "host=h password='xxxxx' user=u"),
            (r"host=h password=a\ b user=u", &[r"a\ b"], "host=h password=xxxxx user=u"),
            ("host=h password = p\tPASSWORD='q", &["p", "q"], "host=h password = xxxxx\tPASSWORD='xxxxx"),
            ("x password='p'password=q", &["p", "q"], "x password='xxxxx'password=xxxxx"),
            ("host=a://u:p@h password=q", &["q"], "host=a://u:p@h password=xxxxx"),
            ("host=h password={{password}}", &[], "host=h password={{password}}"),
            ("password=", &[], "password="),
            ("postgresql://h:5432/db", &[], "postgresql://h:5432/db"),
        ] {
            assert_eq!((inline_passwords(url).as_slice(), mask_passwords(url).as_str()), (passwords, masked), "{url}");
        }
    }
}
