//! Templates in VSO's terms, where `.Secrets` holds what Vault answered, in the terms of a destination's templates.

use std::sync::Arc;

use super::vso::{Template, Texts};
use crate::base::Clock;
use crate::base::template::{Functions, Missing, Template as Parsed, from_json};

/// What stands between a definition and the text that uses it: nothing, and no line break either.
const JOINT: &str = "{{- \"\" }}";

/// What the templates of an object may refer to.
pub struct Surroundings<'a> {
    /// The labels of the object.
    pub labels: &'a Texts,
    /// The annotations of the object.
    pub annotations: &'a Texts,
    /// Templates that others call by name.
    pub named: Vec<Template>,
    /// What `timestamp` asks.
    pub clock: &'a Arc<dyn Clock>,
}

impl Surroundings<'_> {
    /// The same text in our terms, tried with an invented credential.
    ///
    /// # Errors
    /// What it uses that is not there, in words.
    pub fn translate(&self, key: &str, text: &str) -> Result<String, String> {
        let text = self.with_definitions(key, text);
        let mut translated = String::new();
        for part in parts(&text) {
            match part {
                Part::Text(text) => translated.push_str(text),
                Part::Action(tokens) => {
                    for token in self.action(tokens)? {
                        translated.push_str(&token);
                    }
                }
            }
        }
        let failed = |error: crate::base::template::TemplateError| error.to_string();
        let parsed = Parsed::parse(key, &translated, None, &Functions::plain(self.clock)).map_err(failed)?;
        let dot = from_json(&serde_json::json!({ "username": "username", "password": "password" }));
        parsed.render(&dot, Missing::Error).map_err(failed)?;
        Ok(translated)
    }

    /// Puts what a text calls by name before it, and what that calls in turn.
    fn with_definitions(&self, key: &str, text: &str) -> String {
        let (mut before, mut waiting, mut done) = (String::new(), called(text), Vec::new());
        // A source may hold definitions under names of their own, so all that do come along.
        let definers = self.named.iter().filter(|template| has_word(&template.text, "define"));
        if !waiting.is_empty() {
            for template in definers {
                before.push_str(template.text.trim_start());
                before.push_str(JOINT);
                waiting.extend(called(&template.text));
            }
        }
        while let Some(name) = waiting.pop() {
            let found = self.named.iter().find(|template| template.name.as_deref() == Some(&name) && name != key);
            let Some(template) = found.filter(|template| !has_word(&template.text, "define")) else { continue };
            if !done.contains(&name) {
                before.push_str(&format!("{{{{ define {} }}}}{}{{{{ end }}}}", quoted(&name), template.text));
                waiting.extend(called(&template.text));
                done.push(name);
            }
        }
        before + text
    }

    fn action(&self, tokens: Vec<&str>) -> Result<Vec<String>, String> {
        let mut out: Vec<String> = Vec::new();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let Some((root, holder, tail)) = split(token) else {
                out.push((*token).to_owned());
                continue;
            };
            let looked_up = out.iter().rev().find(|token| !token.trim().is_empty());
            let by_name = tail.is_empty() && looked_up.is_some_and(|word| word == "get" || word == "index");
            let literal = tokens[at..].iter().position(|token| !token.trim().is_empty()).map(|skip| at + skip);
            let name = literal.and_then(|at| unquoted(tokens[at])).filter(|_| by_name);
            if let (Some(name), Some(literal)) = (name, literal) {
                while out.pop().is_some_and(|token| token.trim().is_empty()) {}
                out.push(self.value(root, holder, &name)?);
                at = literal + 1;
            } else if let Some(name) = tail.strip_prefix('.') {
                out.push(self.value(root, holder, name)?);
            } else {
                out.push(self.whole(root, holder)?);
            }
        }
        Ok(out)
    }

    /// One value of `.Secrets`, `.Labels` or `.Annotations`.
    fn value(&self, root: &str, holder: &str, name: &str) -> Result<String, String> {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        Ok(match holder {
            "Secrets" if plain => format!("{root}.{name}"),
            "Secrets" => format!("(index {} {})", if root.is_empty() { "." } else { root }, quoted(name)),
            _ => quoted(self.texts(holder)?.get(name).map_or("", String::as_str)),
        })
    }

    /// All of `.Secrets`, `.Labels` or `.Annotations`.
    fn whole(&self, root: &str, holder: &str) -> Result<String, String> {
        if holder == "Secrets" {
            return Ok(format!("(dict \"username\" {root}.username \"password\" {root}.password)"));
        }
        let pairs = self.texts(holder)?.iter().map(|(key, value)| format!(" {} {}", quoted(key), quoted(value)));
        Ok(format!("(dict{})", pairs.collect::<String>()))
    }

    fn texts(&self, holder: &str) -> Result<&Texts, String> {
        match holder {
            "Labels" => Ok(self.labels),
            "Annotations" => Ok(self.annotations),
            _ => Err(format!("it uses .{holder}, which templates here do not have")),
        }
    }
}

/// A piece of a template.
enum Part<'a> {
    Text(&'a str),
    /// What stands between `{{` and `}}`, both included.
    Action(Vec<&'a str>),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(begin) = rest.find("{{") {
        let (before, action) = rest.split_at(begin);
        let tokens = tokens(action);
        let length: usize = tokens.iter().map(|token| token.len()).sum();
        found.extend([Part::Text(before), Part::Action(tokens)]);
        rest = &action[length..];
    }
    found.push(Part::Text(rest));
    found
}

/// The tokens of an action up to its end, white space and quotes included: put together, they are the action.
fn tokens(action: &str) -> Vec<&str> {
    let (mut found, mut rest) = (vec![&action[..2]], &action[2..]);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => quote_end(rest, first),
            '`' => rest[1..].find('`').map_or(rest.len(), |end| end + 2),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '}' if rest.starts_with("}}") => 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c if c.is_whitespace() => rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        found.push(token);
        rest = after;
        if token == "}}" {
            break;
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$')
}

fn quote_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `$` or nothing, what it is a field of, and the rest: `$.Secrets.username` is `$`, `Secrets`, `.username`.
fn split(token: &str) -> Option<(&str, &str, &str)> {
    let at = token.find('.')?;
    let (root, chain) = token.split_at(at);
    if !(root.is_empty() || root == "$") {
        return None;
    }
    let end = chain[1..].find('.').map_or(chain.len(), |end| end + 1);
    let (holder, tail) = chain.split_at(end);
    ["Secrets", "Labels", "Annotations", "Metadata"]
        .into_iter()
        .find(|known| holder[1..] == **known)
        .map(|known| (root, known, tail))
}

/// The text of a Go string literal.
fn unquoted(token: &str) -> Option<String> {
    match token.strip_prefix('`') {
        Some(raw) => raw.strip_suffix('`').map(str::to_owned),
        None => serde_json::from_str(token).ok(),
    }
}

/// A Go string literal. JSON's escapes are Go's, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn actions(text: &str) -> impl Iterator<Item = Vec<&str>> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Action(tokens) => Some(tokens),
        Part::Text(_) => None,
    })
}

fn has_word(text: &str, word: &str) -> bool {
    actions(text).any(|tokens| tokens.contains(&word))
}

/// The names after `template` in a text.
fn called(text: &str) -> Vec<String> {
    let name = |tokens: Vec<&str>| {
        let at = tokens.iter().position(|token| *token == "template")?;
        tokens[at + 1..].iter().find(|token| !token.trim().is_empty()).and_then(|token| unquoted(token))
    };
    actions(text).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    fn translate(text: &str, named: &[(&str, &str)]) -> Result<String, String> {
        let labels = Texts::from([("app".into(), "shop".into())]);
        let annotations = Texts::from([("example.com/db".into(), "say \"hi\"".into())]);
        let template = |(name, text): &(&str, &str)| Template { name: Some((*name).into()), text: (*text).into() };
        let named = named.iter().map(template).collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Surroundings { labels: &labels, annotations: &annotations, named, clock: &clock }.translate("key", text)
    }

    #[test]
    fn every_way_to_name_a_secret_becomes_ours() {
        for (theirs, ours) in [
            ("{{ .Secrets.username }}", "{{ .username }}"),
            ("{{- get .Secrets \"password\" -}}", "{{- .password -}}"),
            ("{{ index .Secrets `password` | urlquery }}", "{{ .password | urlquery }}"),
            (
                "{{ printf \"%s:%s\" (get .Secrets \"username\") $.Secrets.password }}",
                "{{ printf \"%s:%s\" (.username) $.password }}",
            ),
            ("{{ .Labels.app }} {{ get .Annotations \"example.com/db\" }}", "{{ \"shop\" }} {{ \"say \\\"hi\\\"\" }}"),
            ("{{ get .Labels \"none\" }}", "{{ \"\" }}"),
            ("{{ \"{{ .Secrets.x }}\" }}{{/* .Secrets.y */}}", "{{ \"{{ .Secrets.x }}\" }}{{/* .Secrets.y */}}"),
            ("{{ .Secrets | toJSON }}", "{{ (dict \"username\" .username \"password\" .password) | toJSON }}"),
            (
                "{{ range $k, $v := .Secrets }}{{ $k }}={{ $v }};{{ end }}",
                "{{ range $k, $v := (dict \"username\" .username \"password\" .password) }}{{ $k }}={{ $v }};{{ end }}",
            ),
            ("plain", "plain"),
        ] {
            assert_eq!(translate(theirs, &[]).as_deref(), Ok(ours), "{theirs}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        for (text, said) in [
            ("{{ .Metadata.version }}", ".Metadata"),
            ("{{ .Secrets.ttl }}", "ttl"),
            ("{{ derivePassword 1 \"long\" .Secrets.password }}", "derivePassword"),
            ("{{ .Secrets.username ", "key:1"),
        ] {
            let error = translate(text, &[]).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn texts_that_others_call_come_along() {
        let url = "{{- define \"url\" -}}postgresql://{{ .Secrets.username }}@db{{- end -}}\n";
        let translated = translate("{{- template \"url\" . -}}", &[("source", url)]).unwrap();
        assert_eq!(
            translated,
            "{{- define \"url\" -}}postgresql://{{ .username }}@db{{- end -}}\n{{- \"\" }}{{- template \"url\" . -}}"
        );
        let named = [("host", "db:{{ template \"port\" }}"), ("port", "5432"), ("other", "x")];
        let translated = translate("{{ template \"host\" . }}", &named).unwrap();
        assert_eq!(
            translated,
            "{{ define \"host\" }}db:{{ template \"port\" }}{{ end }}{{ define \"port\" }}5432{{ end }}{{ template \"host\" . }}"
        );
        assert!(translate("{{ template \"none\" . }}", &[]).unwrap_err().contains("none"));
    }
}
