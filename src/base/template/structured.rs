//! Values as YAML and TOML, in block form.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// YAML in blocks, with texts in quotes wherever they could be taken for something else.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    yaml_block(value, 0, &mut text);
    text.trim().to_owned()
}

fn yaml_block(value: &Value, depth: usize, text: &mut String) {
    let margin = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(text, "{margin}{}:", yaml_text(key));
                // Lists stand below their key without a margin of their own, as Go's library writes them.
                let deeper = if value.is_array() { depth } else { depth + 1 };
                yaml_rest(value, deeper, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                yaml_block(item, depth + 1, &mut inner);
                let _ = writeln!(text, "{margin}- {}", inner.trim());
            }
        }
        scalar => {
            let _ = writeln!(text, "{margin}{}", yaml_scalar(scalar));
        }
    }
}

fn yaml_rest(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            yaml_block(value, depth, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            yaml_block(value, depth, text);
        }
        scalar => {
            let _ = writeln!(text, " {}", yaml_scalar(scalar));
        }
    }
}

fn yaml_scalar(value: &Value) -> String {
    match value {
        Value::String(text) => yaml_text(text),
        // JSON's forms of the others, empty lists and maps included, are YAML's.
        other => other.to_string(),
    }
}

fn yaml_text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | ".nan" | ".inf"
    );
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/');
    if !word && begins && text.chars().all(plain) && text.trim() == text {
        return text.to_owned();
    }
    // A text of JSON is one of YAML.
    Value::from(text).to_string()
}

/// TOML with a table for each map.
///
/// # Errors
/// What TOML has no form for: anything but a map at the top, nulls in lists.
pub(super) fn toml(value: &Value) -> Result<String, String> {
    let Value::Object(map) = value else { return Err("TOML begins with a map".to_owned()) };
    let mut text = String::new();
    toml_table(map, &mut Vec::new(), &mut text)?;
    Ok(text.trim().to_owned())
}

fn toml_table(map: &Map<String, Value>, path: &mut Vec<String>, text: &mut String) -> Result<(), String> {
    for (key, value) in map {
        // A key without a value is left out, as TOML has no null.
        if !value.is_object() && !value.is_null() && !is_list_of_tables(value) {
            let _ = writeln!(text, "{} = {}", toml_key(key), toml_value(value)?);
        }
    }
    for (key, value) in map {
        path.push(toml_key(key));
        let name = path.join(".");
        match value {
            Value::Object(inner) => {
                let _ = writeln!(text, "\n[{name}]");
                toml_table(inner, path, text)?;
            }
            Value::Array(items) if is_list_of_tables(value) => {
                for inner in items.iter().filter_map(Value::as_object) {
                    let _ = writeln!(text, "\n[[{name}]]");
                    toml_table(inner, path, text)?;
                }
            }
            _ => {}
        }
        path.pop();
    }
    Ok(())
}

fn is_list_of_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
}

fn toml_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { Value::from(key).to_string() }
}

fn toml_value(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Err("TOML has no null".to_owned()),
        Value::Array(items) => {
            let items = items.iter().map(toml_value).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("[{}]", items.join(", ")))
        }
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| Ok(format!("{} = {}", toml_key(key), toml_value(value)?));
            let pairs = map.iter().map(pair).collect::<Result<Vec<_>, String>>()?;
            Ok(format!("{{ {} }}", pairs.join(", ")))
        }
        // TOML's basic strings escape as JSON does, but for DEL.
        scalar => Ok(scalar.to_string().replace('\u{7f}', "\\u007f")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_quoted_where_it_must_be() {
        let value = json!({"a": "x", "b": ["1", 2, {"k": "v", "l": []}], "c": {"d": "yes", "e f": "p: q"}, "n": null});
        let text = "a: x\nb:\n- \"1\"\n- 2\n- k: v\n  l: []\nc:\n  d: \"yes\"\n  e f: \"p: q\"\n\"n\": null";
        assert_eq!(yaml(&value), text);
        assert_eq!(yaml(&json!("plain text")), "plain text");
        assert_eq!(yaml(&json!("two\nlines")), "\"two\\nlines\"");
        for ambiguous in ["", "1e3", "0x1", "null", "-a", "#x", "a: b", " x", "on", "=", "2026-01-01"] {
            assert!(yaml(&json!([ambiguous])).starts_with("- \""), "{ambiguous}");
        }
    }

    #[test]
    fn toml_has_values_before_tables() {
        let value =
            json!({"z": 1, "t": {"a b": true, "in": {"x": [1, 2]}}, "l": [{"n": "a"}, {"n": "b"}], "none": null});
        let text = "z = 1\n\n[[l]]\nn = \"a\"\n\n[[l]]\nn = \"b\"\n\n[t]\n\"a b\" = true\n\n[t.in]\nx = [1, 2]";
        assert_eq!(toml(&value).unwrap(), text);
        assert!(toml(&json!([1])).unwrap_err().contains("map"));
        assert!(toml(&json!({"a": [null]})).is_err());
    }
}
