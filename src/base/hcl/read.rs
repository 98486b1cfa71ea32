//! Typed reading of parsed HCL: blocks with their labels, and arguments with errors that name key and line.

use serde_json::{Map, Value};

use super::grammar::pointer;
use super::{Document, Error, Position};
use crate::base::{duration, scalar};

/// A block: its labels, its arguments and its place in the text.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    document: &'a Document,
    labels: Vec<&'a str>,
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Block<'a> {
    pub(super) fn root(document: &'a Document) -> Self {
        Self { document, labels: Vec::new(), map: &document.map, path: String::new() }
    }

    /// The labels between the block's name and its `{`.
    pub fn labels(&self) -> &[&'a str] {
        &self.labels
    }

    /// The first label; empty without one.
    pub fn label(&self) -> &'a str {
        self.labels.first().copied().unwrap_or_default()
    }

    /// The arguments as parsed.
    pub fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// An error about this block as a whole.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.document.positions.get(&self.path).copied().unwrap_or_default().error(message)
    }

    /// An error about one key of this block, at the key's place.
    pub fn error_at(&self, key: &str, message: impl Into<String>) -> Error {
        self.position(key).error(message)
    }

    /// The line of a key, from 1, if it is known (it is not in JSON).
    pub fn line(&self, key: &str) -> Option<usize> {
        Some(self.position(key).line).filter(|line| *line > 0)
    }

    fn position(&self, key: &str) -> Position {
        let own = self.document.positions.get(&pointer(&self.path, key));
        own.or_else(|| self.document.positions.get(&self.path)).copied().unwrap_or_default()
    }

    /// The keys that are not among `known`, in alphabetical order.
    pub fn unknown(&self, known: &[&str]) -> Vec<&'a str> {
        self.map.keys().map(String::as_str).filter(|key| !known.contains(key)).collect()
    }

    /// All blocks of this name, each with as many labels as asked for: `path "a" {}` has one, `bootstrap {}` none. It makes
    /// no difference whether they were written as blocks, as `name = { label = {} }`, or in JSON with or without arrays.
    ///
    /// # Errors
    /// When something of this name is not a block with that many labels.
    pub fn blocks(&self, name: &str, labels: usize) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        let Some(value) = self.map.get(name) else { return Ok(found) };
        let start = Self { labels: Vec::new(), path: pointer(&self.path, name), ..self.clone() };
        start.collect(value, labels, &mut found).map_err(|error| {
            let form = " \"label\"".repeat(labels);
            Error { message: format!("{name:?} must be a block: {name}{form} {{ … }}"), ..error }
        })?;
        Ok(found)
    }

    fn collect(&self, value: &'a Value, labels: usize, found: &mut Vec<Self>) -> Result<(), Error> {
        match value {
            Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                let here = Self { path: format!("{}/{index}", self.path), ..self.clone() };
                if item.is_object() { here.collect(item, labels, found) } else { Err(here.error("")) }
            }),
            Value::Object(map) if labels == 0 => {
                found.push(Self { map, ..self.clone() });
                Ok(())
            }
            Value::Object(map) => map.iter().try_for_each(|(label, inner)| {
                let mut here = Self { path: pointer(&self.path, label), ..self.clone() };
                here.labels.push(label);
                here.collect(inner, labels - 1, found)
            }),
            _ => Err(self.error("")),
        }
    }

    /// A text; numbers and booleans become theirs.
    ///
    /// # Errors
    /// Names key and line when it is a list or an object.
    pub fn string(&self, key: &str) -> Result<Option<String>, Error> {
        self.read(key, "a text", scalar::text)
    }

    /// A boolean: true, false, 1, 0, or one of these as a text.
    ///
    /// # Errors
    /// Names key and line.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.read(key, "true or false", |value| match scalar::text(value)?.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Some(true),
            "false" | "f" | "0" | "" => Some(false),
            _ => None,
        })
    }

    /// A whole number that is not negative, or its text.
    ///
    /// # Errors
    /// Names key and line.
    pub fn count(&self, key: &str) -> Result<Option<u64>, Error> {
        self.read(key, "a whole number", |value| scalar::text(value)?.trim().parse().ok())
    }

    /// A duration in whole seconds: a number, or a text such as `"1h30m"`.
    ///
    /// # Errors
    /// Names key and line.
    pub fn seconds(&self, key: &str) -> Result<Option<u64>, Error> {
        self.read(key, "a duration such as \"1h30m\" or a number of seconds", |value| {
            duration::parse_seconds(&scalar::text(value)?).ok()
        })
    }

    /// A list of texts; a single text is a list of one.
    ///
    /// # Errors
    /// Names key and line.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        self.read(key, "a list of texts", |value| match value {
            Value::Array(items) => items.iter().map(scalar::text).collect(),
            single => scalar::text(single).map(|text| vec![text]),
        })
    }

    fn read<T>(&self, key: &str, kind: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(value) = self.map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error_at(key, format!("{key:?} must be {kind}")))
    }
}
