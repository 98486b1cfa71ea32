//! Whole policies against a plain model of Vault's rules: which rule holds for a path, what several policies make together, and
//! what of a request it lets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Acl, Policy, Verb};
use crate::wire::Fields;

/// One `path` block as somebody wrote it.
#[derive(Debug, Clone)]
struct Block {
    path: String,
    capabilities: BTreeSet<&'static str>,
    allowed: BTreeMap<String, Vec<String>>,
    denied: BTreeMap<String, Vec<String>>,
    required: Vec<String>,
    min_wrapping: u64,
    max_wrapping: u64,
}

/// What is asked.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    verb: Verb,
    sent: BTreeMap<String, String>,
    wrapped: Option<u64>,
}

const CAPABILITIES: [&str; 8] = ["create", "read", "update", "patch", "delete", "list", "sudo", "deny"];

const VERBS: [(Verb, &str); 6] = [
    (Verb::Create, "create"),
    (Verb::Read, "read"),
    (Verb::Update, "update"),
    (Verb::Patch, "patch"),
    (Verb::Delete, "delete"),
    (Verb::List, "list"),
];

impl Block {
    fn as_map(&self) -> Map<String, Value> {
        let mut block = Map::from_iter([("capabilities".to_owned(), json!(self.capabilities))]);
        for (name, value, is_set) in [
            ("allowed_parameters", json!(self.allowed), !self.allowed.is_empty()),
            ("denied_parameters", json!(self.denied), !self.denied.is_empty()),
            ("required_parameters", json!(self.required), !self.required.is_empty()),
            ("min_wrapping_ttl", json!(self.min_wrapping), self.min_wrapping > 0),
            ("max_wrapping_ttl", json!(format!("{}s", self.max_wrapping)), self.max_wrapping > 0),
        ] {
            if is_set {
                block.insert(name.to_owned(), value);
            }
        }
        block
    }

    /// The same in HCL.
    fn as_hcl(&self) -> String {
        let mut text = format!("path {:?} {{\n", self.path);
        for (name, value) in self.as_map() {
            match value {
                Value::Object(parameters) => {
                    let rows: Vec<_> = parameters.iter().map(|(name, values)| format!("{name:?} = {values}")).collect();
                    text.push_str(&format!("  {name} = {{ {} }}\n", rows.join("\n    ")));
                }
                value => text.push_str(&format!("  {name} = {value}\n")),
            }
        }
        text + "}\n"
    }
}

fn text(blocks: &BTreeMap<String, Block>, in_hcl: bool) -> String {
    if in_hcl {
        return blocks.values().map(Block::as_hcl).collect();
    }
    let paths: Map<_, _> = blocks.iter().map(|(path, block)| (path.clone(), Value::from(block.as_map()))).collect();
    json!({ "path": paths }).to_string()
}

/// Whether a pattern means a path: `+` is any one segment, a final `*` whatever follows.
fn means(pattern: &str, path: &str) -> bool {
    let (body, open) = pattern.strip_suffix('*').map_or((pattern, false), |body| (body, true));
    let (wanted, have): (Vec<_>, Vec<_>) = (body.split('/').collect(), path.split('/').collect());
    let last = wanted.len() - 1;
    let fits = |at: usize| match (wanted[at], have.get(at)) {
        (_, None) => false,
        (start, Some(have)) if open && at == last => have.starts_with(start),
        (segment, Some(have)) => segment == "+" || segment == *have,
    };
    (open || wanted.len() == have.len()) && (0..wanted.len()).all(fits)
}

/// Vault's documentation, word for word: whether `a` has lower priority than `b`.
fn is_lower(a: &str, b: &str) -> bool {
    let first = |pattern: &str| pattern.find(['+', '*']).unwrap_or(usize::MAX);
    let wildcards = |pattern: &str| pattern.split('/').filter(|segment| *segment == "+").count();
    if first(a) != first(b) {
        return first(a) < first(b);
    }
    if a.ends_with('*') != b.ends_with('*') {
        return a.ends_with('*');
    }
    if wildcards(a) != wildcards(b) {
        return wildcards(a) > wildcards(b);
    }
    if a.len() != b.len() { a.len() < b.len() } else { a < b }
}

/// The pattern that holds for a path: the path itself, else that of the highest priority.
fn winner<'a>(patterns: &[&'a str], path: &str) -> Option<&'a str> {
    let exact = patterns.iter().find(|pattern| **pattern == path).copied();
    let fitting = patterns.iter().copied().filter(|pattern| pattern.contains(['+', '*']) && means(pattern, path));
    exact.or_else(|| fitting.reduce(|best, next| if is_lower(best, next) { next } else { best }))
}

/// All blocks of one pattern taken together.
fn together<'a>(blocks: impl Iterator<Item = &'a Block>) -> Block {
    let mut all = Block {
        path: String::new(),
        capabilities: BTreeSet::new(),
        allowed: BTreeMap::new(),
        denied: BTreeMap::new(),
        required: Vec::new(),
        min_wrapping: 0,
        max_wrapping: 0,
    };
    let join = |into: &mut BTreeMap<String, Vec<String>>, from: &BTreeMap<String, Vec<String>>| {
        for (name, values) in from {
            let name = name.to_lowercase();
            // An empty list is every value, whatever the others say.
            let any = values.is_empty() || into.get(&name).is_some_and(Vec::is_empty);
            let known = into.entry(name).or_default();
            known.extend(values.iter().cloned());
            if any {
                known.clear();
            }
        }
    };
    let lower = |a: u64, b: u64| if a == 0 || (b > 0 && b < a) { b } else { a };
    for block in blocks {
        all.capabilities.extend(&block.capabilities);
        join(&mut all.allowed, &block.allowed);
        join(&mut all.denied, &block.denied);
        all.required.extend(block.required.iter().map(|name| name.to_lowercase()));
        all.min_wrapping = lower(all.min_wrapping, block.min_wrapping);
        all.max_wrapping = lower(all.max_wrapping, block.max_wrapping);
    }
    if all.capabilities.contains("deny") {
        all.capabilities = BTreeSet::from(["deny"]);
    }
    all
}

fn is_among(value: &str, values: &[String]) -> bool {
    let fits = |item: &String| match item.as_str() {
        "*" => true,
        item if item.starts_with('*') && item.ends_with('*') => value.contains(item.trim_matches('*')),
        item if item.starts_with('*') => value.ends_with(&item[1..]),
        item if item.ends_with('*') => value.starts_with(&item[..item.len() - 1]),
        item => item == value,
    };
    values.is_empty() || values.iter().any(fits)
}

/// Whether the rule of a path lets a request pass.
fn passes(rule: &Block, asked: &Asked) -> bool {
    let capability = VERBS.iter().find(|(verb, _)| *verb == asked.verb).map_or("", |(_, name)| name);
    if !rule.capabilities.contains(capability) {
        return false;
    }
    if rule.max_wrapping > 0 && asked.wrapped.is_none_or(|ttl| ttl > rule.max_wrapping) {
        return false;
    }
    if rule.min_wrapping > 0 && asked.wrapped.is_none_or(|ttl| ttl < rule.min_wrapping) {
        return false;
    }
    // Vault looks at parameters only where they can change something, or choose what is read.
    if matches!(asked.verb, Verb::List | Verb::Delete) {
        return true;
    }
    if rule.required.iter().any(|name| !asked.sent.keys().any(|sent| sent.to_lowercase() == *name)) {
        return false;
    }
    asked.sent.iter().all(|(name, value)| {
        let name = name.to_lowercase();
        if rule.denied.contains_key("*") || rule.denied.get(&name).is_some_and(|values| is_among(value, values)) {
            return false;
        }
        match rule.allowed.get(&name) {
            Some(values) => is_among(value, values),
            None => rule.allowed.is_empty() || rule.allowed.contains_key("*"),
        }
    })
}

/// The rule of a path, by the model. A list is looked up as a folder; an exact rule without the slash counts, too.
fn rule_of(policies: &[BTreeMap<String, Block>], path: &str, lists: bool) -> Option<Block> {
    let patterns: BTreeSet<&str> = policies.iter().flat_map(|blocks| blocks.keys().map(String::as_str)).collect();
    let patterns: Vec<_> = patterns.into_iter().collect();
    let folder = format!("{path}/");
    let chosen = match lists {
        true if patterns.contains(&folder.as_str()) => winner(&patterns, &folder),
        true if patterns.contains(&path) => winner(&patterns, path),
        true => winner(&patterns, &folder),
        false => winner(&patterns, path),
    }?;
    Some(together(policies.iter().filter_map(|blocks| blocks.get(chosen))))
}

fn patterns() -> impl Strategy<Value = String> {
    "([ab]|\\+)(/([ab]|\\+|)){0,3}(/\\*|/a\\*|\\*)?|\\*".prop_filter("forbidden", |path| !path.contains("+*"))
}

fn parameters() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let value = prop_oneof!["[xy]{1,2}", "[xy]\\*", "\\*[xy]", "\\*[xy]\\*"];
    // Which of two spellings of a name counts is nowhere said, so a list has one of each.
    btree_map(prop_oneof![3 => "[pQ]", 1 => "\\*"], vec(value, 0..3), 0..3)
}

fn blocks() -> impl Strategy<Value = Block> {
    // Most rules are without limits, so that many requests pass.
    let limits = (prop_oneof![3 => Just(0), 1 => 1..60u64], prop_oneof![3 => Just(0), 1 => 60..120u64]);
    let few = || prop_oneof![2 => Just(BTreeMap::new()), 1 => parameters()];
    let required = prop_oneof![3 => Just(Vec::new()), 1 => vec("[pqPQ]", 1..3)];
    // `deny` is as rare as people write it.
    let capabilities = (btree_set(prop::sample::select(&CAPABILITIES[..7]), 0..7), prop::bool::weighted(0.1));
    (capabilities, few(), few(), required, limits).prop_map(
        |((mut capabilities, denies), allowed, denied, required, (min_wrapping, max_wrapping))| {
            if denies {
                capabilities.insert("deny");
            }
            Block { path: String::new(), capabilities, allowed, denied, required, min_wrapping, max_wrapping }
        },
    )
}

fn policies() -> impl Strategy<Value = Vec<BTreeMap<String, Block>>> {
    let named = |blocks: BTreeMap<String, Block>| {
        let name = |(path, block): (String, Block)| (path.clone(), Block { path, ..block });
        blocks.into_iter().map(name).collect()
    };
    vec(btree_map(patterns(), blocks(), 1..6).prop_map(named), 1..4)
}

fn requests() -> impl Strategy<Value = Asked> {
    let wrapped = prop_oneof![Just(None), (1..130u64).prop_map(Some)];
    let sent = prop_oneof![Just(BTreeMap::new()), btree_map("[pqr]|P", "[xy]{1,2}", 1..3)];
    ("[ab](/[ab]{0,2}){0,3}[ab]", prop::sample::select(&VERBS[..]), sent, wrapped)
        .prop_map(|(path, (verb, _), sent, wrapped)| Asked { path, verb, sent, wrapped })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn policies_allow_what_the_documented_rules_allow(
        policies in policies(),
        in_hcl in prop::bool::ANY,
        asked in vec(requests(), 8),
    ) {
        let texts: Vec<_> = policies.iter().map(|blocks| text(blocks, in_hcl)).collect();
        let parsed: Vec<_> = texts.iter().map(|text| Arc::new(Policy::parse("p", text).unwrap())).collect();
        let acl = Acl::new(&parsed);
        for asked in asked {
            let fields: Map<_, _> = asked.sent.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let fields = Fields::from(fields);
            let rule = rule_of(&policies, &asked.path, asked.verb == Verb::List);
            let expected = rule.as_ref().is_some_and(|rule| passes(rule, &asked));
            let found = match asked.wrapped {
                Some(ttl) => acl.allows_wrapped(&asked.path, asked.verb, &fields, ttl),
                None => acl.allows(&asked.path, asked.verb, &fields),
            };
            prop_assert_eq!(found, expected, "{:?} under {:?} of\n{}", asked, rule, texts.join("\n---\n"));

            let rule = rule_of(&policies, &asked.path, false);
            let known = rule.map(|rule| rule.capabilities).filter(|names| !names.is_empty());
            let known = known.unwrap_or_else(|| BTreeSet::from(["deny"]));
            prop_assert_eq!(acl.capabilities(&asked.path), Vec::from_iter(known), "{}", texts.join("\n---\n"));
            // A list may come without its slash, so a rule of the folder counts where there is none of the path.
            let folder = || rule_of(&policies, &format!("{}/", asked.path), false);
            let sudo = rule_of(&policies, &asked.path, false).or_else(folder);
            prop_assert_eq!(acl.has_sudo(&asked.path), sudo.is_some_and(|rule| rule.capabilities.contains("sudo")));
        }
    }
}
