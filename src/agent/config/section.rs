//! One block of a configuration: every key is taken by its name and type, and what nobody took is an error.

use std::time::Duration;

use serde_json::{Map, Value};

use super::ConfigError;
use crate::base::duration;
use crate::client::parse_bool;

/// A block with its place in the file, `auto_auth.method`. HCL gives blocks as lists of objects, JSON may give the object.
pub(super) struct Section {
    place: String,
    fields: Map<String, Value>,
}

impl Section {
    /// The whole file.
    pub fn root(fields: Map<String, Value>) -> Self {
        Self { place: String::new(), fields }
    }

    fn at(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// An error about one key.
    pub fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> ConfigError {
        ConfigError(format!("{}: {problem}", self.at(key)))
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.remove(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// A text; numbers and booleans as they print.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(self.wrong(key, "must be text")),
        }
    }

    /// A text that must be there and not empty.
    pub fn required(&mut self, key: &str) -> Result<String, ConfigError> {
        self.text(key)?.filter(|text| !text.is_empty()).ok_or_else(|| self.wrong(key, "is required"))
    }

    /// A boolean, also as text.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse_bool(&text).map(Some).ok_or_else(|| self.wrong(key, "must be true or false"))
    }

    /// A duration in seconds or Go's notation. Parts of a second count here, unlike in Vault's API.
    pub fn duration(&mut self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        if let Some(millis) = text.strip_suffix("ms").and_then(|millis| millis.parse().ok()) {
            return Ok(Some(Duration::from_millis(millis)));
        }
        let seconds = duration::parse_seconds(&text).map_err(|problem| self.wrong(key, problem))?;
        Ok(Some(Duration::from_secs(seconds)))
    }

    /// A number between 0 and 1, without either.
    pub fn fraction(&mut self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(fraction) if fraction > 0.0 && fraction < 1.0 => Ok(Some(fraction)),
            _ => Err(self.wrong(key, "must be a number between 0 and 1")),
        }
    }

    /// A file mode: octal digits as text, or the mode itself as a number (`0600` in HCL).
    pub fn mode(&mut self, key: &str) -> Result<Option<u32>, ConfigError> {
        let mode = match self.take(key) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => u32::from_str_radix(&text, 8).ok(),
            Some(Value::Number(number)) => number.as_u64().and_then(|mode| u32::try_from(mode).ok()),
            Some(_) => None,
        };
        match mode {
            Some(mode) if mode <= 0o777 => Ok(Some(mode)),
            _ => Err(self.wrong(key, "must be a file mode in octal digits, such as \"0640\"")),
        }
    }

    /// A command: a list of words, or one text.
    pub fn words(&mut self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(self.wrong(key, "must be a list of texts")),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(self.wrong(key, "must be text or a list of texts")),
        }
    }

    /// Every block of this name.
    pub fn sections(&mut self, key: &str) -> Result<Vec<Self>, ConfigError> {
        let blocks = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => vec![other],
        };
        let several = blocks.len() > 1;
        blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| match block {
                Value::Object(fields) => {
                    let place = if several { format!("{}[{index}]", self.at(key)) } else { self.at(key) };
                    Ok(Self { place, fields })
                }
                _ => Err(self.wrong(key, "must be a block")),
            })
            .collect()
    }

    /// The only block of this name.
    pub fn section(&mut self, key: &str) -> Result<Option<Self>, ConfigError> {
        let mut blocks = self.sections(key)?;
        if blocks.len() > 1 {
            return Err(self.wrong(key, "may stand only once"));
        }
        Ok(blocks.pop())
    }

    /// Blocks with a type, given as a label (`method "approle" { … }`) or as a key (`method { type = "approle" … }`).
    pub fn typed(&mut self, key: &str) -> Result<Vec<(String, Self)>, ConfigError> {
        self.sections(key)?.into_iter().map(Self::with_type).collect()
    }

    fn with_type(mut self) -> Result<(String, Self), ConfigError> {
        if let Some(kind) = self.text("type")? {
            return Ok((kind, self));
        }
        // `config` is the one block that every type has; alone it is no label.
        let label = self.fields.keys().next().filter(|label| *label != "config").cloned();
        match label {
            Some(label) if self.fields.len() == 1 => match self.section(&label)? {
                Some(mut inner) => {
                    inner.text("type")?;
                    Ok((label, inner))
                }
                None => Err(self.wrong("type", "is required")),
            },
            _ => Err(self.wrong("type", "is required")),
        }
    }

    /// Drops keys that mean nothing here; each that was there becomes a warning.
    pub fn ignore(&mut self, keys: &[&str], warnings: &mut Vec<String>) {
        for key in keys {
            if self.take(key).is_some() {
                warnings.push(format!("{} has no effect in lessor-agent", self.at(key)));
            }
        }
    }

    /// Refuses keys whose absence would leave the user without what they stand for.
    pub fn refuse(&self, keys: &[&str]) -> Result<(), ConfigError> {
        match keys.iter().find(|key| self.has(key)) {
            Some(key) => Err(self.wrong(key, "is not supported by lessor-agent")),
            None => Ok(()),
        }
    }

    /// Every key must have been taken by now.
    pub fn finish(self) -> Result<(), ConfigError> {
        match self.fields.keys().next() {
            Some(key) => Err(self.wrong(key, "is not a known key")),
            None => Ok(()),
        }
    }
}
