//! Policy texts (HCL, JSON, or either in base64) into rules.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::Value;

use super::rule::{Parameters, Set};
use super::template::is_template;
use super::{Pattern, Policy, Rule};
use crate::base::hcl::{self, Block, Document};
use crate::wire::Error;

const TOP_KEYS: &[&str] = &["name", "path"];
const PATH_KEYS: &[&str] = &[
    "allowed_parameters",
    "capabilities",
    "comment",
    "denied_parameters",
    "max_wrapping_ttl",
    "min_wrapping_ttl",
    "policy",
    "required_parameters",
];

/// What the words of the old form `policy = "…"` stand for.
const OLD_FORM: &[(&str, &[&str])] = &[
    ("deny", &["deny"]),
    ("read", &["read", "list"]),
    ("write", &["create", "read", "update", "delete", "list"]),
    ("sudo", &["create", "read", "update", "delete", "list", "sudo"]),
];

/// The text of a policy that may have been sent in base64.
pub fn plain_text(text: &str) -> Cow<'_, str> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
    decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()).map_or(Cow::Borrowed(text), Cow::Owned)
}

impl Policy {
    /// Reads a policy in HCL or JSON, or in base64 of either.
    ///
    /// # Errors
    /// 400 `failed to parse policy: …`, naming the path and, in HCL, the line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let text = plain_text(text);
        let rules = Document::parse(&text).map_err(|error| error.to_string()).and_then(|document| rules(&document));
        match rules {
            Ok(rules) => {
                let (templates, rules): (Vec<_>, _) = rules.into_iter().partition(|(path, ..)| is_template(path));
                Ok(Self {
                    name: name.to_owned(),
                    rules: rules.into_iter().map(|(_, pattern, rule)| (pattern, rule)).collect(),
                    templates: templates.into_iter().map(|(path, _, rule)| (path, rule)).collect(),
                })
            }
            Err(problem) => Err(Error::bad_request(format!("failed to parse policy: {problem}"))),
        }
    }
}

fn rules(document: &Document) -> Result<Vec<(String, Pattern, Rule)>, String> {
    let root = document.root();
    // A misspelt key would silently drop a rule, a `deny` perhaps.
    refuse_unknown(&root, TOP_KEYS)?;
    let blocks = root.blocks("path", 1).map_err(|error| error.to_string())?;
    blocks
        .iter()
        .map(|block| rule(block).map(|rule| (block.label(), rule)))
        .map(|read| {
            let (path, rule) = read?;
            Pattern::parse(path).map(|pattern| (path.to_owned(), pattern, rule))
        })
        .collect()
}

fn rule(block: &Block<'_>) -> Result<Rule, String> {
    let named = |problem: String| format!("path {:?}: {problem}", block.label());
    let placed = |error: hcl::Error| named(error.to_string());
    refuse_unknown(block, PATH_KEYS).map_err(named)?;
    let rule = Rule {
        capabilities: capabilities(block)?,
        allowed: parameters(block, "allowed_parameters").map_err(placed)?,
        denied: parameters(block, "denied_parameters").map_err(placed)?,
        required: block
            .strings("required_parameters")
            .map_err(placed)?
            .unwrap_or_default()
            .iter()
            .map(|name| name.to_lowercase())
            .collect(),
        min_wrapping: block.seconds("min_wrapping_ttl").map_err(placed)?.unwrap_or(0),
        max_wrapping: block.seconds("max_wrapping_ttl").map_err(placed)?.unwrap_or(0),
    };
    if rule.max_wrapping > 0 && rule.max_wrapping < rule.min_wrapping {
        return Err(named("max_wrapping_ttl cannot be less than min_wrapping_ttl".to_owned()));
    }
    Ok(rule)
}

fn refuse_unknown(block: &Block<'_>, known: &[&str]) -> Result<(), String> {
    match block.unknown(known).first() {
        None => Ok(()),
        Some(key) => {
            let place = block.line(key).map(|line| format!(" on line {line}")).unwrap_or_default();
            Err(format!("invalid key {key:?}{place}"))
        }
    }
}

fn capabilities(block: &Block<'_>) -> Result<Set, String> {
    let path = block.label();
    let placed = |error: hcl::Error| format!("path {path:?}: {error}");
    let mut set = Set::default();
    if let Some(word) = block.string("policy").map_err(placed)?.filter(|word| !word.is_empty()) {
        let (_, names) = OLD_FORM
            .iter()
            .find(|(known, _)| *known == word)
            .ok_or_else(|| format!("path {path:?}: invalid policy {word:?}"))?;
        set = names.iter().filter_map(|name| Set::named(name)).fold(set, Set::and);
    }
    for name in block.strings("capabilities").map_err(placed)?.unwrap_or_default() {
        set = set.and(Set::named(&name).ok_or_else(|| format!("path {path:?}: invalid capability {name:?}"))?);
    }
    Ok(set)
}

fn parameters(block: &Block<'_>, key: &str) -> Result<Parameters, hcl::Error> {
    let blocks = block.blocks(key, 0)?;
    let entries = blocks.iter().flat_map(|block| block.map());
    Ok(entries
        .map(|(name, values)| {
            let values = match values {
                Value::Array(values) => values.clone(),
                single => vec![single.clone()],
            };
            (name.to_lowercase(), values)
        })
        .collect())
}
