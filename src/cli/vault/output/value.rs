//! JSON values as Go prints them with `%v`, and durations as people read them.

use serde_json::Value;

/// A value in one line: `<nil>`, `[a b]`, `map[key:value]`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// The value of a field of this name: numbers of seconds are written as durations, as the name says that they are.
pub fn field(name: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(seconds) if is_duration(name) => duration(seconds),
        _ => plain(value),
    }
}

/// Names under which Vault's engines answer seconds.
fn is_duration(name: &str) -> bool {
    ["period", "ttl", "duration", "lease_max", "ttl_max"]
        .iter()
        .any(|kind| name.strip_suffix(kind).is_some_and(|front| front.is_empty() || front.ends_with('_')))
}

/// Seconds as Go writes them, without the zeros at the end: `768h`, `1h30m`, `1h0m5s`, `0s`.
pub fn duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, rest) {
        (0, 0, _) => format!("{rest}s"),
        (0, _, 0) => format!("{minutes}m"),
        (0, ..) => format!("{minutes}m{rest}s"),
        (_, 0, 0) => format!("{hours}h"),
        (_, _, 0) => format!("{hours}h{minutes}m"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// Texts in quotation marks between brackets, as Go's `%q` writes a list of them.
pub fn quoted(value: &Value) -> String {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    format!("[{}]", items.iter().map(|item| format!("{:?}", plain(item))).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_go_prints_them() {
        assert_eq!(plain(&json!(["a", 1, true, null])), "[a 1 true <nil>]");
        assert_eq!(plain(&json!({ "b": { "c": 2 }, "a": "x" })), "map[a:x b:map[c:2]]");
        assert_eq!(quoted(&json!(["default", "app"])), "[\"default\" \"app\"]");
        assert_eq!(quoted(&Value::Null), "[]");
    }

    #[test]
    fn seconds_are_written_as_durations_where_the_name_says_so() {
        for (name, value, text) in [
            ("ttl", 2_764_800, "768h"),
            ("default_ttl", 5400, "1h30m"),
            ("token_explicit_max_ttl", 0, "0s"),
            ("rotation_period", 3605, "1h0m5s"),
            ("lease_duration", 90, "1m30s"),
            ("creation_time", 90, "90"),
            ("battle", 90, "90"),
            ("secret_id_num_uses", 60, "60"),
        ] {
            assert_eq!(field(name, &json!(value)), text, "{name}");
        }
        assert_eq!(field("ttl", &json!("1h")), "1h");
    }
}
