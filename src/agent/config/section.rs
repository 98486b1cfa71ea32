//! One block of a configuration: every key is taken by its name and type, and what nobody took is an error.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ConfigError;
use super::places::Places;
use crate::base::duration;
use crate::base::nearest::nearest;
use crate::client::parse_bool;

/// A block with its place in the file, `auto_auth.method`. HCL gives blocks as lists of objects, JSON may give the object.
pub(super) struct Section {
    /// For people: `template[1]`.
    place: String,
    /// For [`Places`]: `/template/1`.
    pointer: String,
    places: Arc<Places>,
    fields: Map<String, Value>,
    /// What was asked for so far, to tell what an unknown key was meant to be.
    known: BTreeSet<String>,
}

impl Section {
    /// The whole configuration.
    pub fn root(fields: Map<String, Value>, places: Arc<Places>) -> Self {
        Self { place: String::new(), pointer: String::new(), places, fields, known: BTreeSet::new() }
    }

    fn inner(&self, place: String, pointer: String, fields: Map<String, Value>) -> Self {
        Self { place, pointer, places: Arc::clone(&self.places), fields, known: BTreeSet::new() }
    }

    /// A block of this name that is not there, with nothing in it.
    pub fn empty(&self, key: &str) -> Self {
        self.inner(self.at(key), format!("{}/{key}", self.pointer), Map::new())
    }

    fn at(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// An error about one key.
    pub fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> ConfigError {
        let place = self.places.of(&format!("{}/{key}", self.pointer));
        ConfigError(format!("{place}{}: {problem}", self.at(key)))
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.insert(key.to_owned());
        self.fields.remove(key).filter(|value| !value.is_null())
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

    /// A text that is not empty.
    pub fn filled(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.text(key)?.filter(|text| !text.is_empty()))
    }

    /// A text that must be there and not empty.
    pub fn required(&mut self, key: &str) -> Result<String, ConfigError> {
        self.filled(key)?.ok_or_else(|| self.wrong(key, "is required"))
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

    /// A whole number from `least` on.
    pub fn number(&mut self, key: &str, least: u64) -> Result<Option<u64>, ConfigError> {
        let Some(text) = self.filled(key)? else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(self.wrong(key, format_args!("must be a whole number from {least}"))),
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

    /// A list of texts, or one text.
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

    /// Names with texts: `headers = { a = "b" }`.
    pub fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(mut block) = self.section(key)? else { return Ok(Vec::new()) };
        let names: Vec<String> = block.fields.keys().cloned().collect();
        names.into_iter().map(|name| Ok((name.clone(), block.text(&name)?.unwrap_or_default()))).collect()
    }

    /// Every block of this name.
    pub fn sections(&mut self, key: &str) -> Result<Vec<Self>, ConfigError> {
        let pointer = format!("{}/{key}", self.pointer);
        let (blocks, listed) = match self.take(key) {
            None => (Vec::new(), true),
            Some(Value::Array(items)) => (items, true),
            Some(other) => (vec![other], false),
        };
        let several = blocks.len() > 1;
        blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| match block {
                Value::Object(fields) => {
                    let place = if several { format!("{}[{index}]", self.at(key)) } else { self.at(key) };
                    let pointer = if listed { format!("{pointer}/{index}") } else { pointer.clone() };
                    Ok(self.inner(place, pointer, fields))
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

    /// The block of this name, empty if it is not there.
    pub fn section_or_empty(&mut self, key: &str) -> Result<Self, ConfigError> {
        Ok(self.section(key)?.unwrap_or_else(|| self.empty(key)))
    }

    /// Blocks with a type, given as a label (`method "approle" { … }`) or as a key (`method { type = "approle" … }`).
    pub fn typed(&mut self, key: &str) -> Result<Vec<(String, Self)>, ConfigError> {
        self.sections(key)?.into_iter().map(|block| block.labelled("type")).collect()
    }

    /// Blocks with a name, given as a label or under the key `title`.
    pub fn titled(&mut self, key: &str, title: &str) -> Result<Vec<(String, Self)>, ConfigError> {
        self.sections(key)?.into_iter().map(|block| block.labelled(title)).collect()
    }

    fn labelled(mut self, title: &str) -> Result<(String, Self), ConfigError> {
        if let Some(kind) = self.text(title)? {
            return Ok((kind, self));
        }
        // `config` is the one block that every type has; alone it is no label.
        let label = self.fields.keys().next().filter(|label| *label != "config").cloned();
        match label {
            Some(label)
                if self.fields.len() == 1 && matches!(self.fields[&label], Value::Object(_) | Value::Array(_)) =>
            {
                match self.section(&label)? {
                    Some(mut inner) => {
                        inner.text(title)?;
                        Ok((label, inner))
                    }
                    None => Err(self.wrong(title, "is required")),
                }
            }
            _ => Err(self.wrong(title, "is required")),
        }
    }

    /// Drops keys that mean nothing here; each that was there becomes a warning with the reason.
    pub fn ignore(&mut self, keys: &[(&str, &str)], warnings: &mut Vec<String>) {
        for (key, reason) in keys {
            if self.take(key).is_some() {
                let place = self.places.of(&format!("{}/{key}", self.pointer));
                warnings.push(format!("{place}{} has no effect in lessor-agent: {reason}", self.at(key)));
            }
        }
    }

    /// Refuses keys whose absence would leave the user without what they stand for.
    pub fn refuse(&mut self, keys: &[(&str, &str)]) -> Result<(), ConfigError> {
        match keys.iter().find(|(key, _)| self.take(key).is_some()) {
            Some((key, reason)) => Err(self.wrong(key, format_args!("is not supported by lessor-agent: {reason}"))),
            None => Ok(()),
        }
    }

    /// Every key must have been taken by now.
    pub fn finish(self) -> Result<(), ConfigError> {
        let Some(key) = self.fields.keys().next() else { return Ok(()) };
        let meant = nearest(key, self.known.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        Err(self.wrong(key, format_args!("is not a known key{meant}")))
    }
}
