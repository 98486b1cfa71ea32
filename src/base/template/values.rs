//! Between JSON and the values of templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;
use serde_json::Value as Json;

/// JSON as a template sees it.
pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(integer)) => Value::Uint(integer),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(map) => map_of(map.iter().map(|(key, value)| (key.as_str(), from_json(value)))),
    }
}

/// A map of values.
pub(super) fn map_of<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (Arc::from(key), value));
    Value::Map(Arc::new(entries.collect::<BTreeMap<_, _>>()))
}

/// A template's value as JSON, for `toJSON`.
///
/// # Errors
/// Functions and infinite numbers have no form in JSON.
pub fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Nil => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::Uint(number) => Json::from(*number),
        Value::Float(number) => {
            Json::Number(serde_json::Number::from_f64(*number).ok_or("a number without a form in JSON")?)
        }
        Value::String(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Map(map) => Json::Object(
            map.iter().map(|(key, value)| Ok((key.to_string(), to_json(value)?))).collect::<Result<_, String>>()?,
        ),
        Value::Function(_) => return Err("a function has no form in JSON".to_owned()),
    })
}
