//! Several policies taken together: which rule a path has, and what it lets pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Lookup, Pattern, Policy, Rule, Verb};
use crate::wire::Fields;

/// What a set of policies allows.
///
/// The rules of one pattern are merged over all policies (union of capabilities, `deny` beats everything). A path is
/// judged by one rule only: that of the most specific pattern, see [`Pattern`].
#[derive(Debug, Default)]
pub struct Acl {
    exact: HashMap<String, Rule>,
    /// Patterns with wildcards, the one with the highest priority first.
    patterns: Vec<(Pattern, Rule)>,
}

impl Acl {
    /// Merges policies as they are for a caller without an identity; without any, nothing is allowed.
    pub fn new(policies: &[Arc<Policy>]) -> Self {
        Self::for_caller(policies, &|_| None)
    }

    /// Merges policies as they are for the caller of whom `lookup` tells.
    pub fn for_caller(policies: &[Arc<Policy>], lookup: &Lookup<'_>) -> Self {
        let expanded: Vec<_> = policies.iter().flat_map(|policy| policy.expanded(lookup)).collect();
        let plain = policies.iter().flat_map(|policy| &policy.rules);
        Self::merged(plain.chain(&expanded).map(|(pattern, rule)| (Cow::Borrowed(pattern), rule)))
    }

    /// The same rules, from that segment of their paths on for names in any case: those that differ in nothing else are merged
    /// as if they were one path's. The paths that it is asked about are in lower case there.
    pub fn in_any_case(&self, from: usize) -> Self {
        let exact = self.exact.iter().map(|(path, rule)| (Pattern::of_path(path), rule));
        let patterns = self.patterns.iter().map(|(pattern, rule)| (pattern.clone(), rule));
        Self::merged(exact.chain(patterns).map(|(pattern, rule)| (Cow::Owned(pattern.in_any_case(from)), rule)))
    }

    fn merged<'a>(rules: impl Iterator<Item = (Cow<'a, Pattern>, &'a Rule)>) -> Self {
        let mut merged: BTreeMap<Cow<'_, Pattern>, Rule> = BTreeMap::new();
        for (pattern, rule) in rules {
            merged.entry(pattern).and_modify(|known| known.merge(rule)).or_insert_with(|| rule.clone());
        }
        let mut acl = Self::default();
        for (pattern, rule) in merged.into_iter().rev() {
            match pattern.exact() {
                Some(path) => drop(acl.exact.insert(path.to_owned(), rule)),
                None => acl.patterns.push((pattern.into_owned(), rule)),
            }
        }
        acl
    }

    /// Whether a request whose answer is not wrapped may pass. A list's path comes without its trailing slash.
    pub fn allows(&self, path: &str, verb: Verb, fields: &Fields) -> bool {
        self.rule_for(path, verb).is_some_and(|rule| rule.allows(verb, fields, None))
    }

    /// Whether a request whose answer is to be wrapped for `ttl` seconds may pass.
    pub fn allows_wrapped(&self, path: &str, verb: Verb, fields: &Fields, ttl: u64) -> bool {
        self.rule_for(path, verb).is_some_and(|rule| rule.allows(verb, fields, Some(ttl)))
    }

    /// Whether root-protected paths are open here. A list's path may come without its trailing slash.
    pub fn has_sudo(&self, path: &str) -> bool {
        let rule = self.rule(path).or_else(|| self.rule(&format!("{path}/")));
        rule.is_some_and(Rule::has_sudo)
    }

    /// Whether any rule is about a path, be it that it allows nothing.
    pub fn has_rule(&self, path: &str) -> bool {
        self.rule(path).is_some()
    }

    /// The capabilities of a path, sorted; `["deny"]` when there are none.
    pub fn capabilities(&self, path: &str) -> Vec<String> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let exact = || path.strip_suffix('/').and_then(|folder| self.exact.get(folder));
        let rule = self.exact.get(path).or_else(exact).or_else(|| self.pattern_rule(path));
        match rule.map(Rule::names) {
            Some(names) if !names.is_empty() => names.into_iter().map(str::to_owned).collect(),
            _ => vec!["deny".to_owned()],
        }
    }

    /// Every rule: its path, whether it holds wildcards, and its capabilities; the final `*` is left out.
    pub fn rules(&self) -> Vec<(String, bool, Vec<String>)> {
        let names = |rule: &Rule| rule.names().into_iter().map(str::to_owned).collect();
        let exact = self.exact.iter().map(|(path, rule)| (path.clone(), false, names(rule)));
        let patterns = self.patterns.iter().map(|(pattern, rule)| (pattern.text().to_owned(), true, names(rule)));
        exact.chain(patterns).collect()
    }

    /// Whether anything is granted at the mount (`database/`) or below it.
    pub fn reaches(&self, mount: &str) -> bool {
        let whole = self.rule(mount).or_else(|| self.exact.get(mount.trim_end_matches('/')));
        whole.is_some_and(Rule::grants)
            || self.exact.iter().any(|(path, rule)| path.starts_with(mount) && rule.grants())
            || self.patterns.iter().any(|(pattern, rule)| pattern.reaches_into(mount) && rule.grants())
    }

    /// Vault looks lists up with a trailing slash, but lets an exact rule without it count, too.
    fn rule_for(&self, path: &str, verb: Verb) -> Option<&Rule> {
        if verb != Verb::List {
            return self.rule(path);
        }
        let bare = path.strip_suffix('/').unwrap_or(path);
        let folder = format!("{bare}/");
        self.exact.get(&folder).or_else(|| self.exact.get(bare)).or_else(|| self.pattern_rule(&folder))
    }

    fn rule(&self, path: &str) -> Option<&Rule> {
        self.exact.get(path).or_else(|| self.pattern_rule(path))
    }

    fn pattern_rule(&self, path: &str) -> Option<&Rule> {
        self.patterns.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, rule)| rule)
    }
}
