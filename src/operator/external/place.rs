//! What is asked of another engine: which one it is, and which path of which mount with which parameters.

use std::collections::BTreeMap;
use std::fmt;

use kube::ResourceExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::CredentialEngine;
use crate::api::engine::{EngineRef, RequestMethod};
use crate::operator::dynamic::record::sha256;
use crate::operator::kind::namespace_of;

/// Where the database engine is mounted unless something else is said.
const MOUNT: &str = "database";

/// A CredentialEngine by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EngineName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl EngineName {
    /// The name of that object.
    pub fn of(engine: &CredentialEngine) -> Self {
        Self { namespace: namespace_of(engine), name: engine.name_any() }
    }

    /// What an object of the namespace `own` refers to.
    pub fn referred(reference: &EngineRef, own: &str) -> Self {
        let namespace = reference.namespace.clone().unwrap_or_else(|| own.to_owned());
        Self { namespace, name: reference.name.clone() }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A path of another engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The engine.
    pub engine: EngineName,
    /// Mount and path, without slashes at the ends.
    path: String,
    params: BTreeMap<String, String>,
    method: RequestMethod,
}

impl Place {
    /// What is read from `path` below `mount` (`None`: `database`).
    pub fn new(engine: EngineName, mount: Option<&str>, path: &str) -> Self {
        let path = format!("{}/{path}", mount.unwrap_or(MOUNT));
        Self { engine, path, params: BTreeMap::new(), method: RequestMethod::Get }
    }

    /// The same with parameters, and with the method that they want unless one is given.
    #[must_use]
    pub fn with(self, params: BTreeMap<String, String>, method: Option<RequestMethod>) -> Self {
        let usual = if params.is_empty() { RequestMethod::Get } else { RequestMethod::Post };
        Self { params, method: method.unwrap_or(usual), ..self }
    }

    /// The path to read with its parameters, or the path to write to with the body.
    pub fn request(&self) -> (String, Option<Value>) {
        if self.method == RequestMethod::Post {
            return (self.path.clone(), Some(json!(self.params)));
        }
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = self.params.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        (if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }, None)
    }

    /// Tells it apart from every other place, and from the name of a role in the installed engine, which holds no slash.
    pub fn identity(&self) -> String {
        let mut text = self.to_string();
        if !self.params.is_empty() || self.method == RequestMethod::Post {
            let mut hash = sha256(&[json!([self.params, self.method]).to_string().as_bytes()]);
            hash.truncate(12);
            text.push_str(&format!("?{hash}"));
        }
        text
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.engine, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(params: &[(&str, &str)], method: Option<RequestMethod>) -> Place {
        let engine = EngineName { namespace: "platform".into(), name: "vault".into() };
        let params = params.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Place::new(engine, None, "creds/app").with(params, method)
    }

    #[test]
    fn parameters_are_written_unless_reading_was_asked_for() {
        let path = || "database/creds/app".to_owned();
        assert_eq!(place(&[], None).request(), (path(), None));
        assert_eq!(place(&[("ttl", "1h")], None).request(), (path(), Some(json!({ "ttl": "1h" }))));
        let (read, body) = place(&[("a b", "1&2")], Some(RequestMethod::Get)).request();
        assert_eq!((read.as_str(), body), ("database/creds/app?a%20b=1%262", None));
        assert_eq!(place(&[], Some(RequestMethod::Post)).request(), (path(), Some(json!({}))));
    }

    #[test]
    fn another_parameter_is_another_place() {
        let plain = place(&[], None);
        assert_eq!(plain.identity(), "platform/vault:database/creds/app");
        let (one, two) = (place(&[("a", "1")], None), place(&[("a", "2")], None));
        assert_ne!(one.identity(), two.identity());
        assert_ne!(one.identity(), plain.identity());
        assert!(!one.identity().contains("\"1\""));
    }
}
