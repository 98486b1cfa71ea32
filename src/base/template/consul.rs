//! Further functions of consul-template: sets, maps, digests, YAML and TOML.

use gotmpl::Value;

use super::functions::{Functions, hex, holds, list, map_text, string};
use super::structured;
use super::values::{map_of, to_json};

/// Adds them all.
pub(super) fn register(set: &mut Functions) {
    // The list stands first or comes through the pipe: `{{ if containsAll $wanted .Tags }}`.
    membership(set, "containsAll", |hits, wanted| hits == wanted);
    membership(set, "containsAny", |hits, _| hits > 0);
    membership(set, "containsNone", |hits, _| hits == 0);
    membership(set, "containsNotAll", |hits, wanted| hits < wanted);
    set.add("mergeMap", 2..=2, |args| merged(&args[1], &args[0]));
    set.add("mergeMapWithOverride", 2..=2, |args| merged(&args[0], &args[1]));
    set.add("explodeMap", 1..=1, |args| exploded(&args[0]));
    set.add("splitToMap", 3..=3, |args| {
        let (pairs, key_value, text) = (string(args, 0)?, string(args, 1)?, string(args, 2)?);
        let parts = text.split(pairs.as_str()).filter_map(|pair| pair.split_once(key_value.as_str()));
        Ok(map_of(parts.map(|(key, value)| (key.trim(), Value::from(value.trim())))))
    });
    set.add("hmacSHA256Hex", 2..=2, |args| {
        let (message, key) = (string(args, 0)?, string(args, 1)?);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
        Ok(hex(ring::hmac::sign(&key, message.as_bytes()).as_ref()).into())
    });
    map_text(set, "trimLeft", |text| text.trim_start().to_owned());
    map_text(set, "trimRight", |text| text.trim_end().to_owned());
    set.add("toYAML", 1..=1, |args| Ok(structured::yaml(&to_json(&args[0])?).into()));
    set.add("toTOML", 1..=1, |args| Ok(structured::toml(&to_json(&args[0])?)?.into()));
}

fn membership(set: &mut Functions, name: &str, holds_when: fn(usize, usize) -> bool) {
    set.add(name, 2..=2, move |args| {
        let wanted = list(args, 0)?;
        let hits = wanted.iter().filter(|item| holds(&args[1], item)).count();
        Ok(Value::Bool(holds_when(hits, wanted.len())))
    });
}

/// Both maps in one, those inside of them too; what stands in both is taken from `over`.
fn merged(under: &Value, over: &Value) -> Result<Value, String> {
    let (Value::Map(below), Value::Map(above)) = (under, over) else {
        return Err("both arguments must be maps".to_owned());
    };
    let both = above.iter().map(|(key, value)| match below.get(key) {
        Some(lower) => (&**key, merged(lower, value).unwrap_or_else(|_| value.clone())),
        None => (&**key, value.clone()),
    });
    Ok(map_of(below.iter().map(|(key, value)| (&**key, value.clone())).chain(both)))
}

/// `{"a/b": 1}` as `{"a": {"b": 1}}`.
fn exploded(value: &Value) -> Result<Value, String> {
    let Value::Map(map) = value else { return Err("the argument must be a map".to_owned()) };
    let mut root = serde_json::Map::new();
    for (path, value) in map.iter() {
        let mut parts: Vec<&str> = path.split('/').collect();
        let last = parts.pop().unwrap_or_default();
        let mut inside = &mut root;
        for part in parts {
            let entry = inside.entry(part).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
            inside = entry.as_object_mut().ok_or_else(|| format!("{path} lies inside of another value"))?;
        }
        inside.insert(last.to_owned(), to_json(value)?);
    }
    Ok(super::values::from_json(&serde_json::Value::Object(root)))
}
