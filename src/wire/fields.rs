//! Weakly typed request fields, read with Vault's coercions (vault-api.md 0.5).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Error;
use crate::base::{Secret, boolean, duration, scalar};

/// The fields of a request: absent and `null` are the same. Its `Debug` names the fields only, since any may be a secret.
#[derive(Clone, Default)]
pub struct Fields {
    map: Map<String, Value>,
    reads: Reads,
}

/// The names that were read of a request's fields: builds for tests compare them with what the route describes. Other builds
/// note none.
#[derive(Clone, Default)]
pub struct Reads(#[cfg(debug_assertions)] std::sync::Arc<std::sync::Mutex<std::collections::BTreeSet<String>>>);

#[cfg(debug_assertions)]
impl Reads {
    /// So far, sorted.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().cloned().collect()
    }

    fn note(&self, name: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.to_owned());
    }
}

#[cfg(not(debug_assertions))]
impl Reads {
    /// None.
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn note(&self, _: &str) {}
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.map.keys()).finish()
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        Self { map, reads: Reads::default() }
    }
}

fn cannot(name: &str, problem: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("error converting input for field {name:?}: {problem}"))
}

impl Fields {
    /// The value as it was sent; `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.reads.note(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field was sent with a value.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// All fields, for engines that store what they are given (KV, connection details).
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// The names that are read of these fields and their copies.
    pub fn reads(&self) -> Reads {
        self.reads.clone()
    }

    /// The same with names in lower case: Go's decoder, and so Vault where it answers without an envelope, takes any. Go's
    /// client sends `Backup`.
    #[must_use]
    pub fn in_any_case(&self) -> Self {
        Self::from(self.map.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect::<Map<_, _>>())
    }

    /// Sets a field; path captures use it, since they beat the body.
    pub fn set(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    /// A string; numbers and booleans become their text.
    ///
    /// # Errors
    /// 400 naming the field when it is a list or an object.
    pub fn string(&self, name: &str) -> Result<Option<String>, Error> {
        self.value(name).map(|value| scalar::text(value).ok_or_else(|| cannot(name, "expected a string"))).transpose()
    }

    /// A string that must be there and not be empty.
    ///
    /// # Errors
    /// 400 `missing NAME`, or as [`Fields::string`].
    pub fn required(&self, name: &str) -> Result<String, Error> {
        self.string(name)?.filter(|text| !text.is_empty()).ok_or_else(|| Error::bad_request(format!("missing {name}")))
    }

    /// A string that is a secret.
    ///
    /// # Errors
    /// As [`Fields::string`].
    pub fn secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        Ok(self.string(name)?.map(Secret::new))
    }

    /// A boolean: JSON's, 0 and 1, or the texts that Go's ParseBool takes.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match scalar::text(value).as_deref() {
            Some("") => Ok(Some(false)),
            text => text.and_then(boolean::parse).map(Some).ok_or_else(|| cannot(name, "expected a boolean")),
        }
    }

    /// An integer, or its decimal text.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn int(&self, name: &str) -> Result<Option<i64>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(value) => value
                .as_i64()
                .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
                .or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64))
                .map(Some)
                .ok_or_else(|| cannot(name, "expected an integer")),
        }
    }

    /// An integer that is not negative.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn count(&self, name: &str) -> Result<Option<u64>, Error> {
        self.int(name)?
            .map(|number| u64::try_from(number).map_err(|_| cannot(name, "must not be negative")))
            .transpose()
    }

    /// A duration in whole seconds: an integer, its text, or Go's notation. `""` is unset.
    ///
    /// # Errors
    /// 400 naming the field, in the words of Go's parser.
    pub fn seconds(&self, name: &str) -> Result<Option<u64>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => duration::parse_seconds(text).map(Some).map_err(|e| cannot(name, e)),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(seconds) if seconds >= 0.0 => Ok(Some(seconds as u64)),
                _ => Err(cannot(name, "cannot provide negative value")),
            },
            Some(_) => Err(cannot(name, "expected a duration")),
        }
    }

    /// A comma-string slice: a list, a text split on commas, or a text that is a JSON list. Items are trimmed.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn comma_list(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        if let Some(Value::String(text)) = self.value(name) {
            if text.trim_start().starts_with('[')
                && let Ok(items) = serde_json::from_str::<Vec<String>>(text)
            {
                return Ok(Some(items));
            }
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            return Ok(Some(items.map(str::to_owned).collect()));
        }
        self.string_list(name)
    }

    /// A string slice: a list, or a single text taken as ONE element.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn string_list(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| scalar::text(item).ok_or_else(|| cannot(name, "expected a list of strings")))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(value) => {
                let text = scalar::text(value).ok_or_else(|| cannot(name, "expected a list of strings"))?;
                Ok(Some(if text.is_empty() { Vec::new() } else { vec![text] }))
            }
        }
    }

    /// A key-value map: an object of scalars, or a list of `k=v` texts.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn string_map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        let wrong = || cannot(name, "expected an object of strings");
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(key, value)| Ok((key.clone(), scalar::text(value).ok_or_else(wrong)?)))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => self
                .comma_list(name)?
                .unwrap_or_default()
                .iter()
                .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(wrong))
                .collect::<Result<_, _>>()
                .map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone().into()
    }

    #[test]
    fn coerces_as_vault_does() {
        let f = fields(
            json!({"n": "7", "b": "t", "d": "1h", "i": 60, "null": null, "list": "a, b", "json": "[\"x\",\"y\"]",
            "one": "a,b", "map": ["k=v"], "f": 3600.0}),
        );
        assert_eq!(f.int("n").unwrap(), Some(7));
        assert_eq!(f.bool("b").unwrap(), Some(true));
        assert_eq!(f.seconds("d").unwrap(), Some(3600));
        assert_eq!(f.seconds("i").unwrap(), Some(60));
        assert_eq!(f.seconds("f").unwrap(), Some(3600));
        assert_eq!(f.int("null").unwrap(), None);
        assert_eq!(f.comma_list("list").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(f.comma_list("json").unwrap().unwrap(), ["x", "y"]);
        assert_eq!(f.string_list("one").unwrap().unwrap(), ["a,b"]);
        assert_eq!(f.string_map("map").unwrap().unwrap()["k"], "v");
        assert_eq!(f.string("i").unwrap().as_deref(), Some("60"));
    }

    #[test]
    fn an_error_names_the_field() {
        let f = fields(json!({"ttl": "1x", "neg": -1, "flag": "maybe", "s": {}}));
        let text = f.seconds("ttl").unwrap_err().to_string();
        assert_eq!(text, "error converting input for field \"ttl\": time: unknown unit \"x\" in duration \"1x\"");
        assert!(f.seconds("neg").is_err() && f.bool("flag").is_err() && f.string("s").is_err());
        assert_eq!(f.required("absent").unwrap_err().to_string(), "missing absent");
    }

    #[test]
    fn debug_shows_names_only() {
        assert_eq!(format!("{:?}", fields(json!({"password": "canary"}))), "{\"password\"}");
    }
}
