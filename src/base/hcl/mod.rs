//! HCL 1, the language of Vault's configuration files and policies, read into JSON values.
//!
//! How a text maps to JSON:
//!
//! | HCL | JSON |
//! |---|---|
//! | `key = value`, `"key" = value` | `{"key": value}` |
//! | `key = { a = 1 }` | `{"key": {"a": 1}}` |
//! | `key { a = 1 }` | `{"key": [{"a": 1}]}` |
//! | `key "label" { a = 1 }` | `{"key": [{"label": [{"a": 1}]}]}` |
//! | a block (or `key = {…}`) once more | the array grows by one |
//! | any other argument once more | an error, as in Vault since 1.21: one of the two would be lost |
//!
//! JSON texts (first character `{`) are taken as they are. [`Block::blocks`] reads all these shapes alike, so that users of
//! this module need not know how a block was written.

mod grammar;
mod read;
mod scan;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub use read::Block;

/// Deepest nesting of objects, lists and labels that is read.
const MAX_DEPTH: usize = 64;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// From 1; 0 when it is not known.
    pub line: usize,
    /// In characters, from 1; 0 when it is not known.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    fn error(self, message: impl Into<String>) -> Error {
        Error { line: self.line, column: self.column, message: message.into() }
    }
}

/// A parsed text that remembers where its keys stand, for errors about their values.
#[derive(Debug, Clone, Default)]
pub struct Document {
    map: Map<String, Value>,
    /// By JSON pointer; empty for JSON texts.
    positions: HashMap<String, Position>,
}

impl Document {
    /// Reads HCL 1 or JSON.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !text.trim_start().starts_with('{') {
            return grammar::parse(text);
        }
        let map = serde_json::from_str(text).map_err(|error| {
            let at = Position { line: error.line(), column: error.column() };
            let message = error.to_string();
            at.error(message.split(" at line ").next().unwrap_or_default())
        })?;
        Ok(Self { map, positions: HashMap::new() })
    }

    /// Takes over what another text says: its keys take the place of ours, but for those in `added`, whose blocks follow ours.
    /// Places are forgotten, as they would not say in which text.
    pub fn merge(&mut self, other: Self, added: &[&str]) {
        self.positions.clear();
        for (key, value) in other.map {
            let both = added.contains(&key.as_str()).then(|| self.map.remove(&key)).flatten();
            let value = match both {
                Some(ours) => Value::Array([ours, value].into_iter().flat_map(items).collect()),
                None => value,
            };
            self.map.insert(key, value);
        }
    }

    /// The whole text as one block without labels.
    pub fn root(&self) -> Block<'_> {
        Block::root(self)
    }

    /// Where each key stands, by its JSON pointer (without escapes): line and column from 1. Nothing for JSON texts.
    pub fn places(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.positions.iter().map(|(pointer, at)| (pointer.as_str(), at.line, at.column))
    }

    /// The value, in the mapping that the module's table shows.
    pub fn into_value(self) -> Value {
        Value::Object(self.map)
    }
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        single => vec![single],
    }
}

/// Reads HCL 1 or JSON into a JSON object.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse(text: &str) -> Result<Value, Error> {
    Document::parse(text).map(Document::into_value)
}

#[cfg(test)]
mod tests;
