//! Finds the configuration: files and folders in the order given, or the variable that the webhook sets.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::places::Places;
use super::{Config, ConfigError};
use crate::base::hcl::Document;

/// Holds a whole configuration, plain or in base64.
const VARIABLE: &str = "LESSOR_AGENT_CONFIG";
/// Blocks of which every file adds its own.
const ADDED_UP: [&str; 3] = ["template", "env_template", "listener"];

/// Reads the variable, and then the files. Of a folder, every file counts whose name ends in `.hcl` or `.json`, in
/// alphabetical order. Later ones go before earlier ones, and their templates and listeners add up.
///
/// # Errors
/// When there is neither, a file cannot be read, or the configuration cannot work.
pub fn load(files: &[String], variable: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let mut merged = Merged::default();
    match variable(VARIABLE).filter(|text| !text.trim().is_empty()) {
        Some(text) => merged.add(VARIABLE, &plain(text))?,
        None if files.is_empty() => {
            return Err(ConfigError(format!("none given: use --config FILE or the variable {VARIABLE}")));
        }
        None => {}
    }
    for file in files {
        for file in expanded(file)? {
            let text =
                std::fs::read_to_string(&file).map_err(|error| ConfigError(format!("cannot read {file}: {error}")))?;
            merged.add(&file, &text)?;
        }
    }
    Config::new(merged.fields, merged.places, variable)
}

/// A folder as its files.
fn expanded(path: &str) -> Result<Vec<String>, ConfigError> {
    if !Path::new(path).is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error: std::io::Error| ConfigError(format!("cannot read {path}: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        // Names that begin with a dot are a ConfigMap volume's own.
        let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && file.is_file() && file.extension().is_some_and(|end| end == "hcl" || end == "json") {
            files.push(file.to_string_lossy().into_owned());
        }
    }
    files.sort_unstable();
    match files.is_empty() {
        true => Err(ConfigError(format!("{path} holds no file that ends in .hcl or .json"))),
        false => Ok(files),
    }
}

/// Base64 never looks like HCL or JSON, as it has neither a brace nor a line with a key.
fn plain(text: String) -> String {
    let joined: String = text.split_whitespace().collect();
    STANDARD.decode(joined).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

#[derive(Default)]
struct Merged {
    fields: Map<String, Value>,
    places: Places,
}

impl Merged {
    fn add(&mut self, origin: &str, text: &str) -> Result<(), ConfigError> {
        let parsed = Document::parse(text).map_err(|error| ConfigError(format!("{origin}: {error}")))?;
        let present = |key: &str| match self.fields.get(key) {
            Some(Value::Array(items)) if ADDED_UP.contains(&key) => items.len(),
            Some(_) if ADDED_UP.contains(&key) => 1,
            _ => 0,
        };
        self.places.add(origin, text, &parsed, present);
        let Value::Object(fields) = parsed.into_value() else {
            return Err(ConfigError(format!("{origin}: must be an object")));
        };
        for (key, value) in fields {
            match self.fields.get_mut(&key) {
                Some(before) if ADDED_UP.contains(&key.as_str()) => {
                    let mut all = listed(before.take());
                    all.extend(listed(value));
                    *before = Value::Array(all);
                }
                _ => drop(self.fields.insert(key, value)),
            }
        }
        Ok(())
    }
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}
