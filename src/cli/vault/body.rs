//! Bodies of writes as arguments: `key=value`, `key=@file`, `key=-`, `@file.json`, `-`.

use serde_json::{Map, Value};

use super::Failure;
use super::surroundings::Surroundings;

/// Reads arguments into an object. A key that comes again makes a list of its values.
///
/// # Errors
/// Names the argument by its place, since it may be a secret that somebody wrote without its key.
pub fn parse(around: &Surroundings, arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    let mut input_taken = false;
    for (at, argument) in arguments.iter().enumerate() {
        let wrong =
            |problem: String| Failure::local(format!("Failed to parse K=V data: argument {}: {problem}", at + 1));
        let input = |taken: &mut bool| {
            if std::mem::replace(taken, true) {
                return Err(wrong("standard input was read already".to_owned()));
            }
            around.read_input().map_err(wrong)
        };
        if argument == "-" {
            merge(&mut body, &input(&mut input_taken)?).map_err(wrong)?;
            continue;
        }
        if let Some(path) = argument.strip_prefix('@') {
            merge(&mut body, &file(path).map_err(wrong)?).map_err(wrong)?;
            continue;
        }
        let (key, value) = argument.split_once('=').ok_or_else(|| wrong("format must be key=value".to_owned()))?;
        let value = match value.strip_prefix('@') {
            _ if value == "-" => input(&mut input_taken)?,
            Some(path) => file(path).map_err(wrong)?,
            None => value.strip_prefix('\\').filter(|rest| rest.starts_with('@')).unwrap_or(value).to_owned(),
        };
        add(&mut body, key, value.into());
    }
    Ok(body)
}

fn add(body: &mut Map<String, Value>, key: &str, value: Value) {
    match body.get_mut(key) {
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => drop(body.insert(key.to_owned(), value)),
    }
}

fn file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

/// Takes over the keys of a JSON object. serde_json's own words may quote the text, so only its place is told.
fn merge(body: &mut Map<String, Value>, text: &str) -> Result<(), String> {
    let parsed: Value = serde_json::from_str(text)
        .map_err(|error| format!("not JSON: line {} column {}", error.line(), error.column()))?;
    let Value::Object(object) = parsed else { return Err("the JSON must be an object".to_owned()) };
    body.extend(object);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::around;
    use super::*;

    fn read(arguments: &[&str], input: &str) -> Result<Value, String> {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        parse(&around(&[], input).0, &arguments).map(Value::Object).map_err(|failure| failure.text)
    }

    #[test]
    fn values_come_from_arguments_files_and_standard_input() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "line\n").unwrap();
        let at = format!("b=@{}", file.path().display());
        let body = read(&["a=1=2", &at, "c=-", r"d=\@x", "e=", "f=x", "f=y"], "piped").unwrap();
        assert_eq!(body, json!({ "a": "1=2", "b": "line\n", "c": "piped", "d": "@x", "e": "", "f": ["x", "y"] }));
    }

    #[test]
    fn json_comes_whole() {
        assert_eq!(read(&["-"], r#"{"a": {"b": 1}}"#).unwrap(), json!({ "a": { "b": 1 } }));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"n": 7}"#).unwrap();
        let at = format!("@{}", file.path().display());
        assert_eq!(read(&[&at, "m=8"], "").unwrap(), json!({ "n": 7, "m": "8" }));
    }

    #[test]
    fn mistakes_quote_nothing() {
        let text = read(&["a=1", "hunter2"], "").unwrap_err();
        assert_eq!(text, "Failed to parse K=V data: argument 2: format must be key=value");
        let text = read(&["-"], r#"{"password": hunter2"#).unwrap_err();
        assert!(text.contains("not JSON: line 1") && !text.contains("hunter2"), "{text}");
        assert!(read(&["a=-", "b=-"], "x").unwrap_err().contains("read already"));
        assert!(read(&["a=@/nowhere"], "").unwrap_err().contains("cannot read /nowhere"));
    }
}
