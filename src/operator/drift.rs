//! Whether the engine still has what it was given.

use serde_json::Value;

/// Whether a field that both hold has another value in `found`. What the engine does not tell (passwords, switches that act
/// once) does not count.
pub fn differs(sent: &Value, found: &Value) -> bool {
    let (Some(sent), Some(found)) = (sent.as_object(), found.as_object()) else { return false };
    sent.iter().any(|(key, value)| found.get(key).is_some_and(|other| text(other) != text(value)))
}

/// `found`, with what it leaves out from `unsaid`.
pub fn filled(mut found: Value, unsaid: &Value) -> Value {
    if let (Some(found), Some(unsaid)) = (found.as_object_mut(), unsaid.as_object()) {
        for (key, value) in unsaid {
            found.entry(key.as_str()).or_insert_with(|| value.clone());
        }
    }
    found
}

/// Vault's API takes numbers, booleans and single texts in several forms, so they are compared by their text.
fn text(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(text).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_both_tell_is_compared() {
        let sent = json!({ "password": "p", "db_name": "a", "default_ttl": 60, "revocation_statements": [] });
        assert!(!differs(&sent, &json!({ "db_name": "a", "default_ttl": "60", "revocation_statements": null })));
        assert!(differs(&sent, &json!({ "db_name": "b" })));
        assert!(differs(&sent, &json!({ "revocation_statements": ["DROP"] })));
        assert!(!differs(&sent, &Value::Null));
        let filled = |found: Value| filled(found, &json!({ "spares": 0 }));
        assert!(differs(&json!({ "spares": 5 }), &filled(json!({}))), "a default that the engine does not show");
        assert!(!differs(&json!({ "spares": 5 }), &filled(json!({ "spares": 5 }))));
        let (two, one) = (json!({ "names": [], "accounts": ["a/b"] }), json!({ "names": ["a"], "accounts": [] }));
        assert!(differs(&two, &json!({ "names": ["a"] })) && differs(&one, &two), "a list that was given up");
    }
}
