//! How one device wants its entries: what is hashed, what is shortened, and the salt of its hashes.

use ring::hmac;
use serde_json::{Map, Value, json};

use super::Options;
use crate::base::Secret;
use crate::wire::Error;

/// Leads every hash, as in Vault.
const LEAD: &str = "hmac-sha256:";

/// The options that every device has, with the key of its hashes.
pub struct Form {
    key: hmac::Key,
    raw: bool,
    hmac_accessor: bool,
    elide_lists: bool,
    prefix: String,
}

impl Form {
    /// Reads `log_raw`, `hmac_accessor`, `elide_list_responses`, `prefix` and `format`.
    ///
    /// # Errors
    /// 400 naming the option.
    pub fn new(options: &Options, salt: &Secret) -> Result<Self, Error> {
        if let Some(format) = options.get("format").filter(|format| !matches!(format.as_str(), "" | "json")) {
            return Err(Error::bad_request(format!("format: {format:?} is not offered: leave it out or say \"json\"")));
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, salt.expose().as_bytes()),
            raw: flag(options, "log_raw", false)?,
            hmac_accessor: flag(options, "hmac_accessor", true)?,
            elide_lists: flag(options, "elide_list_responses", false)?,
            prefix: options.get("prefix").cloned().unwrap_or_default(),
        })
    }

    /// The hash of a text, whatever the options say: what `sys/audit-hash` answers.
    pub fn hash(&self, text: &str) -> String {
        let tag = hmac::sign(&self.key, text.as_bytes());
        tag.as_ref().iter().fold(LEAD.to_owned(), |mut hash, byte| {
            hash.push_str(&format!("{byte:02x}"));
            hash
        })
    }

    /// A text that may be secret; an empty one says that there is none.
    pub fn text(&self, text: &str) -> String {
        if self.raw || text.is_empty() { text.to_owned() } else { self.hash(text) }
    }

    /// A token's accessor.
    pub fn accessor(&self, accessor: &str) -> String {
        if self.hmac_accessor { self.text(accessor) } else { accessor.to_owned() }
    }

    /// An object whose texts may be secret, at whatever depth; those under the names in `clear` are left.
    pub fn object(&self, object: &Map<String, Value>, clear: &[String]) -> Value {
        if self.raw {
            return object.clone().into();
        }
        let kept = |name: &String| clear.iter().any(|clear| clear.eq_ignore_ascii_case(name));
        let row = |(name, value): (&String, &Value)| {
            (name.clone(), if kept(name) { value.clone() } else { self.value(value) })
        };
        object.iter().map(row).collect::<Map<_, _>>().into()
    }

    /// The data of an answer; of a list's only the numbers of entries, if the device wants it so.
    pub fn answer(&self, data: &Map<String, Value>, list: bool, clear: &[String]) -> Value {
        if !(list && self.elide_lists) {
            return self.object(data, clear);
        }
        let length = |value: &Value| match value {
            Value::Array(items) => Some(items.len()),
            Value::Object(items) => Some(items.len()),
            _ => None,
        };
        let mut short = data.clone();
        for name in ["keys", "key_info"] {
            if let Some(length) = data.get(name).and_then(length) {
                short.insert(name.to_owned(), json!(length));
            }
        }
        self.object(&short, clear)
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.hash(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(object) => self.object(object, &[]),
            other => other.clone(),
        }
    }

    /// The whole line of an entry.
    pub fn line(&self, entry: &Value) -> String {
        format!("{}{entry}\n", self.prefix)
    }
}

fn flag(options: &Options, name: &str, default: bool) -> Result<bool, Error> {
    match options.get(name).map(String::as_str) {
        None | Some("") => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Error::bad_request(format!("{name}: {other:?} is not a boolean"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(options: &[(&str, &str)]) -> Form {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Form::new(&options, &Secret::new("salt")).unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_text_is_hashed_at_whatever_depth() {
        let form = form(&[]);
        let data = object(json!({ "a": "canary", "b": [{ "c": "canary" }, 1, true, null], "open": "seen" }));
        let hashed = form.object(&data, &["Open".into()]);
        assert!(!hashed.to_string().contains("canary"));
        assert_eq!(hashed["a"], json!(form.hash("canary")));
        assert_eq!(hashed["b"], json!([{ "c": form.hash("canary") }, 1, true, null]));
        assert_eq!(hashed["open"], "seen");
        assert_eq!(form.hash("canary").len(), LEAD.len() + 64);
        assert_ne!(Form::new(&Options::new(), &"other".into()).unwrap().hash("canary"), form.hash("canary"));
    }

    #[test]
    fn options_open_what_they_name() {
        assert_eq!(form(&[("log_raw", "true")]).text("canary"), "canary");
        assert_eq!(form(&[("hmac_accessor", "false")]).accessor("a"), "a");
        assert_ne!(form(&[]).accessor("a"), "a");
        let list = object(json!({ "keys": ["a", "b"], "key_info": { "a": {} } }));
        let short = form(&[("elide_list_responses", "1")]);
        assert_eq!(short.answer(&list, true, &[]), json!({ "keys": 2, "key_info": 1 }));
        assert!(short.answer(&list, false, &[])["keys"].is_array());
        assert_eq!(form(&[("prefix", "@cee: ")]).line(&json!({})), "@cee: {}\n");
    }

    #[test]
    fn wrong_options_are_named() {
        for (name, value) in [("log_raw", "perhaps"), ("format", "jsonx")] {
            let options = Options::from([(name.to_owned(), value.to_owned())]);
            let error = Form::new(&options, &Secret::default()).err().unwrap();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
