//! JSON values that stand for one text, since people and clients write numbers and booleans with and without quotes.

use serde_json::Value;

/// A text as it is, a number or boolean as it is written; lists, objects and null are none.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
