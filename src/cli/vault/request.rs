//! One request to an engine, and what it looks like in curl, in a policy and in an error.

use std::fmt::Write as _;

use http::Method;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Failure;

/// What cannot stand in a path as it is; `/` separates segments and stays.
const ESCAPED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// Paths that take `sudo` besides the capability, by what they begin with.
const SUDO: &[&str] = &[
    "sys/audit",
    "sys/auth/",
    "sys/config/auditing/",
    "sys/leases/lookup/",
    "sys/leases/revoke-force/",
    "sys/leases/revoke-prefix/",
    "sys/plugins/catalog/",
    "sys/raw",
    "sys/remount",
    "sys/rotate",
    "sys/seal",
    "sys/step-down",
    "auth/token/accessors",
    "auth/token/create-orphan",
    "auth/token/revoke-orphan",
];

/// A request.
pub struct Ask {
    /// GET, PUT …
    pub method: Method,
    /// Without `/v1/`, not escaped.
    pub path: String,
    /// Parameters, not escaped.
    pub query: Vec<(String, String)>,
    /// Sent as JSON.
    pub body: Option<Value>,
}

/// A path without what people write around it: blanks, slashes at its ends, `v1/`.
pub fn clean(path: &str) -> String {
    path.trim().trim_matches('/').to_owned()
}

impl Ask {
    fn new(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), body }
    }

    /// A read.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// The keys below a path.
    pub fn list(path: impl Into<String>) -> Self {
        Self::get(path).with("list", "true")
    }

    /// A write.
    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PUT, path, Some(body))
    }

    /// A write where Vault's program sends POST.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path, Some(body))
    }

    /// A write of what is named only.
    pub fn patch(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PATCH, path, Some(body))
    }

    /// A deletion.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    /// The same with a parameter.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.query.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Whether a missing object is an answer to it, and no mistake.
    pub fn only_reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Path and parameters, escaped.
    pub fn escaped(&self) -> String {
        let mut text = utf8_percent_encode(&self.path, ESCAPED).to_string();
        for (at, (key, value)) in self.query.iter().enumerate() {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{key}={value}", if at == 0 { '?' } else { '&' });
        }
        text
    }

    /// As a command for a shell. `program` prints the token that it needs, so that the token itself is not in it.
    pub fn curl(&self, program: &str, address: &str, headers: &[(String, String)]) -> String {
        let mut text = "curl ".to_owned();
        if self.method != Method::GET {
            let _ = write!(text, "-X {} ", self.method);
        }
        for (name, value) in headers {
            let _ = write!(text, "-H {} ", quoted(&format!("{name}: {value}")));
        }
        let _ = write!(text, "-H \"X-Vault-Request: true\" -H \"X-Vault-Token: $({program} print token)\" ");
        if let Some(body) = &self.body {
            let _ = write!(text, "-d {} ", quoted(&body.to_string()));
        }
        let url = format!("{address}/v1/{}", self.escaped());
        text + &if self.query.is_empty() { url } else { quoted(&url) }
    }

    /// The policy that allows it.
    pub fn policy(&self) -> String {
        let mut capabilities = match self.method.as_str() {
            "GET" if self.query.iter().any(|(key, _)| key == "list") => vec!["list"],
            "GET" => vec!["read"],
            "DELETE" => vec!["delete"],
            "PATCH" => vec!["patch"],
            _ => vec!["create", "update"],
        };
        if SUDO.iter().any(|front| self.path.starts_with(front)) {
            capabilities.push("sudo");
        }
        format!("path {:?} {{\n  capabilities = {capabilities:?}\n}}", self.path)
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// An answer, whatever its status.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `null` where there was none, or no JSON.
    pub body: Value,
    /// The body where it is no JSON.
    pub text: String,
    /// `GET http://…`, without parameters.
    pub asked: String,
}

impl Reply {
    /// Whether it is one of the 200s.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the engine says against it.
    pub fn errors(&self) -> Vec<String> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned)).collect()
    }

    /// The error that users of Vault know, with what was being done before it.
    pub fn refusal(&self, doing: &str) -> Failure {
        let (title, words) = if self.body.is_null() && !self.text.is_empty() {
            ("Raw Message", self.text.clone())
        } else {
            ("Errors", self.errors().iter().map(|error| format!("* {error}")).collect::<Vec<_>>().join("\n"))
        };
        let text = format!(
            "{doing}: Error making API request.\n\nURL: {}\nCode: {}. {title}:\n\n{words}",
            self.asked, self.status
        );
        Failure::server(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_and_parameters_are_escaped() {
        assert_eq!(clean(" /secret/a/ "), "secret/a");
        assert_eq!(Ask::get("kv/a b?").with("version", "1&2").escaped(), "kv/a%20b%3F?version=1%262");
        assert_eq!(Ask::list("kv").escaped(), "kv?list=true");
    }

    #[test]
    fn curl_gets_everything_but_the_token() {
        let ask = Ask::put("secret/a", json!({ "k": "it's" }));
        assert_eq!(
            ask.curl("vault", "http://h", &[("X-Vault-Namespace".into(), "ns".into())]),
            "curl -X PUT -H 'X-Vault-Namespace: ns' -H \"X-Vault-Request: true\" -H \"X-Vault-Token: $(vault print token)\" \
             -d '{\"k\":\"it'\"'\"'s\"}' http://h/v1/secret/a"
        );
    }

    #[test]
    fn a_policy_names_the_capabilities() {
        assert_eq!(Ask::list("kv").policy(), "path \"kv\" {\n  capabilities = [\"list\"]\n}");
        let sudo = Ask::post("sys/auth/userpass", json!({})).policy();
        assert!(sudo.contains("[\"create\", \"update\", \"sudo\"]"), "{sudo}");
    }

    #[test]
    fn an_error_has_vaults_form() {
        let reply = Reply {
            status: 403,
            body: json!({ "errors": ["permission denied"] }),
            text: String::new(),
            asked: "GET http://h/v1/a".into(),
        };
        assert_eq!(
            reply.refusal("Error reading a").text,
            "Error reading a: Error making API request.\n\nURL: GET http://h/v1/a\nCode: 403. Errors:\n\n* permission denied"
        );
    }
}
