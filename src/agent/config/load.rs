//! Finds the configuration: files in the order given, or the variable that the webhook sets.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Config, ConfigError};

/// Holds a whole configuration, plain or in base64.
const VARIABLE: &str = "LESSOR_AGENT_CONFIG";

/// Reads the files, or without any the variable; later files go before earlier ones, and their templates add up.
///
/// # Errors
/// When there is neither, a file cannot be read, or the configuration cannot work.
pub fn load(files: &[String], variable: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let mut merged = Map::new();
    if files.is_empty() {
        let text = variable(VARIABLE)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| ConfigError(format!("none given: use --config FILE or the variable {VARIABLE}")))?;
        merged = parse(VARIABLE, &plain(text))?;
    }
    for file in files {
        let text = std::fs::read_to_string(Path::new(file))
            .map_err(|error| ConfigError(format!("cannot read {file}: {error}")))?;
        merge(&mut merged, parse(file, &text)?);
    }
    Config::new(merged, variable)
}

/// Base64 never looks like HCL or JSON, as it has neither a brace nor a line with a key.
fn plain(text: String) -> String {
    let joined: String = text.split_whitespace().collect();
    STANDARD.decode(joined).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

fn parse(origin: &str, text: &str) -> Result<Map<String, Value>, ConfigError> {
    let parsed = crate::base::hcl::parse(text).map_err(|error| ConfigError(format!("{origin}: {error}")))?;
    match parsed {
        Value::Object(fields) => Ok(fields),
        _ => Err(ConfigError(format!("{origin}: must be an object"))),
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(present), value) if key == "template" => {
                let mut all = listed(present.take());
                all.extend(listed(value));
                *present = Value::Array(all);
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}
