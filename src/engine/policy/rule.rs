//! What a rule grants: capabilities, and limits on parameters and on wrapping.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Verb;
use crate::wire::Fields;

/// Capabilities in alphabetical order, as `sys/capabilities` lists them; the place in this table is the bit of a [`Set`].
const NAMES: [&str; 9] = ["create", "delete", "deny", "list", "patch", "read", "scan", "sudo", "update"];
const DENY: Set = Set(1 << 2);
const SUDO: Set = Set(1 << 7);

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u16);

impl Set {
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|bit| Self(1 << bit))
    }

    pub fn of(verb: Verb) -> Self {
        Self(match verb {
            Verb::Create => 1,
            Verb::Delete => 1 << 1,
            Verb::List => 1 << 3,
            Verb::Patch => 1 << 4,
            Verb::Read => 1 << 5,
            Verb::Update => 1 << 8,
        })
    }

    /// Both together; `deny` leaves nothing else.
    pub fn and(self, other: Self) -> Self {
        let both = Self(self.0 | other.0);
        if both.has(DENY) { DENY } else { both }
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Parameter names, in lower case, and the values that are meant; an empty list means every value.
pub(super) type Parameters = BTreeMap<String, Vec<Value>>;

/// What holds for the paths of one pattern.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rule {
    pub capabilities: Set,
    pub allowed: Parameters,
    pub denied: Parameters,
    pub required: BTreeSet<String>,
    /// Whole seconds; 0 is unset.
    pub min_wrapping: u64,
    /// Whole seconds; 0 is unset.
    pub max_wrapping: u64,
}

impl Rule {
    /// Adds what another policy says about the same pattern.
    pub fn merge(&mut self, other: &Self) {
        self.capabilities = self.capabilities.and(other.capabilities);
        merge_parameters(&mut self.allowed, &other.allowed);
        merge_parameters(&mut self.denied, &other.denied);
        self.required.extend(other.required.iter().cloned());
        self.min_wrapping = shorter(self.min_wrapping, other.min_wrapping);
        self.max_wrapping = shorter(self.max_wrapping, other.max_wrapping);
    }

    /// Whether anything at all is granted.
    pub fn grants(&self) -> bool {
        self.capabilities != Set::default() && !self.capabilities.has(DENY)
    }

    pub fn has_sudo(&self) -> bool {
        self.capabilities.has(SUDO)
    }

    /// The names of the capabilities, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let bits = NAMES.iter().enumerate();
        bits.filter(|(bit, _)| self.capabilities.has(Set(1 << bit))).map(|(_, name)| *name).collect()
    }

    /// Whether a request may pass, given its parameters and, if its answer is to be wrapped, for how many seconds.
    pub fn allows(&self, verb: Verb, fields: &Fields, wrapped: Option<u64>) -> bool {
        self.capabilities.has(Set::of(verb)) && self.allows_wrapping(wrapped) && self.allows_parameters(verb, fields)
    }

    /// Either limit makes wrapping a duty, as in Vault.
    fn allows_wrapping(&self, wrapped: Option<u64>) -> bool {
        match wrapped {
            None => self.min_wrapping == 0 && self.max_wrapping == 0,
            Some(ttl) => ttl >= self.min_wrapping && (self.max_wrapping == 0 || ttl <= self.max_wrapping),
        }
    }

    fn allows_parameters(&self, verb: Verb, fields: &Fields) -> bool {
        if matches!(verb, Verb::List | Verb::Delete) {
            return true;
        }
        let sent: Vec<_> = fields.as_map().iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let complete = self.required.iter().all(|name| sent.iter().any(|(sent, _)| sent == name));
        complete && sent.iter().all(|(name, value)| !self.is_denied(name, value) && self.is_allowed(name, value))
    }

    fn is_denied(&self, name: &str, value: &Value) -> bool {
        self.denied.contains_key("*") || self.denied.get(name).is_some_and(|values| listed(value, values))
    }

    fn is_allowed(&self, name: &str, value: &Value) -> bool {
        match self.allowed.get(name) {
            Some(values) => listed(value, values),
            None => self.allowed.is_empty() || self.allowed.contains_key("*"),
        }
    }
}

/// The shorter of two durations of which 0 is unset.
fn shorter(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

fn merge_parameters(into: &mut Parameters, from: &Parameters) {
    for (name, values) in from {
        match into.get_mut(name) {
            Some(known) if known.is_empty() || values.is_empty() => known.clear(),
            Some(known) => known.extend(values.iter().cloned()),
            None => drop(into.insert(name.clone(), values.clone())),
        }
    }
}

/// Whether the value is in the list; texts in the list may begin or end in `*`. An empty list holds everything.
fn listed(value: &Value, list: &[Value]) -> bool {
    list.is_empty()
        || list.iter().any(|item| match (item, value) {
            (Value::String(item), Value::String(value)) => glob(item, value),
            _ => item == value,
        })
}

fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(inner), Some(_)) => text.contains(inner.trim_end_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}
