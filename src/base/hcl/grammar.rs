//! The grammar of HCL 1 by recursive descent: arguments, blocks with labels, lists and objects.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::scan::Scanner;
use super::{Document, Error, MAX_DEPTH, Position};

/// Reads a text that is HCL and not JSON.
pub(super) fn parse(text: &str) -> Result<Document, Error> {
    let mut parser = Parser { scan: Scanner::new(text), positions: HashMap::new(), depth: 0 };
    let mut map = Map::new();
    loop {
        parser.scan.skip_blanks()?;
        if parser.scan.peek().is_none() {
            return Ok(Document { map, positions: parser.positions });
        }
        parser.item(&mut map, "")?;
    }
}

struct Parser<'a> {
    scan: Scanner<'a>,
    positions: HashMap<String, Position>,
    depth: usize,
}

/// A key or label and its place.
struct Key {
    name: String,
    at: Position,
}

impl Parser<'_> {
    /// Runs `read` one level deeper.
    fn deeper<T>(&mut self, levels: usize, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += levels;
        if self.depth > MAX_DEPTH {
            return Err(self.scan.position().error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let result = read(self);
        self.depth -= levels;
        result
    }

    /// One argument or block of the object `map`, whose JSON pointer is `path`.
    fn item(&mut self, map: &mut Map<String, Value>, path: &str) -> Result<(), Error> {
        let key = self.key()?.ok_or_else(|| self.scan.unexpected("a key"))?;
        let mut labels = Vec::new();
        loop {
            self.scan.skip_blanks()?;
            match self.scan.peek() {
                Some('=') if labels.is_empty() => return self.argument(map, path, key),
                Some('{') => return self.block(map, path, key, labels),
                _ => {}
            }
            let label = self.key()?.ok_or_else(|| {
                self.scan.unexpected(&format!(
                    "{} after {:?}",
                    if labels.is_empty() { "= or {" } else { "{" },
                    key.name
                ))
            })?;
            labels.push(label);
        }
    }

    fn key(&mut self) -> Result<Option<Key>, Error> {
        let at = self.scan.position();
        let name = match self.scan.peek() {
            Some('"') => Some(self.scan.string()?),
            _ => self.scan.identifier().map(str::to_owned),
        };
        Ok(name.map(|name| Key { name, at }))
    }

    fn argument(&mut self, map: &mut Map<String, Value>, path: &str, key: Key) -> Result<(), Error> {
        self.scan.take("=");
        self.scan.skip_blanks()?;
        let path = pointer(path, &key.name);
        match (map.get_mut(&key.name), self.scan.peek()) {
            (None, _) => {
                let value = self.value(&path)?;
                self.positions.insert(path, key.at);
                map.insert(key.name, value);
            }
            (Some(earlier @ (Value::Object(_) | Value::Array(_))), Some('{')) if all_objects(earlier) => {
                let value = self.value(&format!("{path}/{}", count(earlier)))?;
                append(earlier, value);
            }
            (Some(_), _) => {
                let line = self.positions.get(&path).map_or(0, |first| first.line);
                return Err(key.at.error(format!("{:?} was set on line {line} already", key.name)));
            }
        }
        Ok(())
    }

    fn block(&mut self, map: &mut Map<String, Value>, path: &str, key: Key, labels: Vec<Key>) -> Result<(), Error> {
        let path = pointer(path, &key.name);
        if map.get(&key.name).is_some_and(|earlier| !all_objects(earlier)) {
            let line = self.positions.get(&path).map_or(0, |first| first.line);
            return Err(key.at.error(format!("{:?} was set on line {line} already, and not as a block", key.name)));
        }
        let index = map.get(&key.name).map_or(0, count);
        self.positions.entry(path.clone()).or_insert(key.at);
        let mut inner = format!("{path}/{index}");
        self.positions.insert(inner.clone(), key.at);
        for label in &labels {
            inner = format!("{}/0", pointer(&inner, &label.name));
            self.positions.insert(inner.clone(), label.at);
        }
        let mut value = self.deeper(labels.len(), |parser| parser.object(&inner))?;
        for label in labels.into_iter().rev() {
            value = Value::Object(Map::from_iter([(label.name, Value::Array(vec![value]))]));
        }
        append(map.entry(key.name).or_insert_with(|| Value::Array(Vec::new())), value);
        Ok(())
    }

    fn value(&mut self, path: &str) -> Result<Value, Error> {
        match self.scan.peek() {
            Some('{') => self.object(path),
            Some('[') => self.deeper(1, |parser| parser.list(path)),
            Some('"') => self.scan.string().map(Value::String),
            Some('<') => self.scan.heredoc().map(Value::String),
            Some('-' | '.' | '0'..='9') => self.scan.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value, Error> {
        let at = self.scan.position();
        match self.scan.identifier() {
            Some("true") => Ok(Value::Bool(true)),
            Some("false") => Ok(Value::Bool(false)),
            Some(word) => Err(at.error(format!("{word} is not a value; write \"{word}\" for a text"))),
            None => Err(self.scan.unexpected("a value")),
        }
    }

    fn list(&mut self, path: &str) -> Result<Value, Error> {
        self.scan.take("[");
        let mut items = Vec::new();
        loop {
            self.scan.skip_blanks()?;
            if self.scan.take("]") {
                return Ok(Value::Array(items));
            }
            items.push(self.value(&format!("{path}/{}", items.len()))?);
            self.scan.skip_blanks()?;
            if !self.scan.take(",") && self.scan.peek() != Some(']') {
                return Err(self.scan.unexpected(", or ] in a list"));
            }
        }
    }

    fn object(&mut self, path: &str) -> Result<Value, Error> {
        self.deeper(1, |parser| {
            parser.scan.take("{");
            let mut map = Map::new();
            loop {
                parser.scan.skip_blanks()?;
                if parser.scan.take("}") {
                    return Ok(Value::Object(map));
                }
                parser.item(&mut map, path)?;
                parser.scan.skip_blanks()?;
                parser.scan.take(",");
            }
        })
    }
}

/// The JSON pointer of `key` in the object at `path`. Keys are not escaped: only this module makes and reads them.
pub(super) fn pointer(path: &str, key: &str) -> String {
    format!("{path}/{key}")
}

fn all_objects(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_object),
        _ => false,
    }
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}

/// Makes `slot` an array, if it is a single object, and adds the value.
fn append(slot: &mut Value, value: Value) {
    match slot {
        Value::Array(items) => items.push(value),
        single => *single = Value::Array(vec![single.take(), value]),
    }
}
