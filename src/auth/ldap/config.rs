//! Where the directory is, and how people and groups are found in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{filter, names};
use crate::auth::objects::Object;
use crate::auth::{TokenParams, cidr};
use crate::base::Secret;
use crate::base::tls::{self, ClientTls, Versions};
use crate::wire::{Error, Fields};

const TLS_VERSIONS: [&str; 4] = ["tls10", "tls11", "tls12", "tls13"];
const DEREFERENCE: [&str; 4] = ["never", "searching", "finding", "always"];

/// The mount's configuration. It has no `Debug`, since it holds a password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// Addresses with commas between them, tried in this order.
    pub url: String,
    pub binddn: String,
    pub bindpass: String,
    /// What the password is being changed to: until that is certain, either may be the right one. Empty otherwise.
    pub next_bindpass: String,
    pub userdn: String,
    pub userattr: String,
    pub userfilter: String,
    pub upndomain: String,
    pub groupdn: String,
    pub groupfilter: String,
    pub groupattr: String,
    pub certificate: String,
    pub client_tls_cert: String,
    pub client_tls_key: String,
    pub tls_min_version: String,
    pub tls_max_version: String,
    pub dereference_aliases: String,
    pub starttls: bool,
    pub insecure_tls: bool,
    pub discoverdn: bool,
    pub deny_null_bind: bool,
    pub case_sensitive_names: bool,
    pub username_as_alias: bool,
    pub anonymous_group_search: bool,
    pub use_token_groups: bool,
    /// Seconds.
    pub request_timeout: u64,
    pub connection_timeout: u64,
    /// 0: the server's answer comes in one piece.
    pub max_page_size: u64,
    pub token: TokenParams,
}

impl Default for Config {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            url: text("ldap://127.0.0.1"),
            binddn: String::new(),
            bindpass: String::new(),
            next_bindpass: String::new(),
            userdn: String::new(),
            userattr: text("cn"),
            userfilter: text("({{.UserAttr}}={{.Username}})"),
            upndomain: String::new(),
            groupdn: String::new(),
            groupfilter: text("(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))"),
            groupattr: text("cn"),
            certificate: String::new(),
            client_tls_cert: String::new(),
            client_tls_key: String::new(),
            tls_min_version: text("tls12"),
            tls_max_version: text("tls12"),
            dereference_aliases: text("never"),
            starttls: false,
            insecure_tls: false,
            discoverdn: false,
            deny_null_bind: true,
            case_sensitive_names: false,
            username_as_alias: false,
            anonymous_group_search: false,
            use_token_groups: false,
            request_timeout: 90,
            connection_timeout: 30,
            max_page_size: 0,
            token: TokenParams::default(),
        }
    }
}

impl Object for Config {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        for (name, slot) in [
            ("url", &mut self.url),
            ("binddn", &mut self.binddn),
            ("bindpass", &mut self.bindpass),
            ("userdn", &mut self.userdn),
            ("userattr", &mut self.userattr),
            ("userfilter", &mut self.userfilter),
            ("upndomain", &mut self.upndomain),
            ("groupdn", &mut self.groupdn),
            ("groupfilter", &mut self.groupfilter),
            ("groupattr", &mut self.groupattr),
            ("tls_min_version", &mut self.tls_min_version),
            ("tls_max_version", &mut self.tls_max_version),
            ("dereference_aliases", &mut self.dereference_aliases),
        ] {
            if let Some(text) = fields.string(name)? {
                *slot = text.trim().to_owned();
            }
        }
        for (name, slot) in [
            ("certificate", &mut self.certificate),
            ("client_tls_cert", &mut self.client_tls_cert),
            ("client_tls_key", &mut self.client_tls_key),
        ] {
            if let Some(pem) = fields.string(name)? {
                *slot = pem;
            }
        }
        for (name, slot) in [
            ("starttls", &mut self.starttls),
            ("insecure_tls", &mut self.insecure_tls),
            ("discoverdn", &mut self.discoverdn),
            ("deny_null_bind", &mut self.deny_null_bind),
            ("case_sensitive_names", &mut self.case_sensitive_names),
            ("username_as_alias", &mut self.username_as_alias),
            ("anonymous_group_search", &mut self.anonymous_group_search),
            ("use_token_groups", &mut self.use_token_groups),
        ] {
            if let Some(flag) = fields.bool(name)? {
                *slot = flag;
            }
        }
        for (name, slot) in
            [("request_timeout", &mut self.request_timeout), ("connection_timeout", &mut self.connection_timeout)]
        {
            if let Some(seconds) = fields.seconds(name)? {
                *slot = seconds.max(1);
            }
        }
        self.max_page_size = fields.count("max_page_size")?.unwrap_or(self.max_page_size);
        if fields.has("bindpass") {
            self.next_bindpass.clear();
        }
        self.token.merge(fields)?;
        cidr::check("token_bound_cidrs", &self.token.token_bound_cidrs)?;
        self.userattr = self.userattr.to_lowercase();
        self.check()
    }

    fn describe(&self) -> Map<String, Value> {
        let mut data = Map::from_iter(
            [
                ("url", json!(self.url)),
                ("binddn", json!(self.binddn)),
                ("userdn", json!(self.userdn)),
                ("userattr", json!(self.userattr)),
                ("userfilter", json!(self.userfilter)),
                ("upndomain", json!(self.upndomain)),
                ("groupdn", json!(self.groupdn)),
                ("groupfilter", json!(self.groupfilter)),
                ("groupattr", json!(self.groupattr)),
                ("certificate", json!(self.certificate)),
                ("client_tls_cert", json!(self.client_tls_cert)),
                ("tls_min_version", json!(self.tls_min_version)),
                ("tls_max_version", json!(self.tls_max_version)),
                ("dereference_aliases", json!(self.dereference_aliases)),
                ("starttls", json!(self.starttls)),
                ("insecure_tls", json!(self.insecure_tls)),
                ("discoverdn", json!(self.discoverdn)),
                ("deny_null_bind", json!(self.deny_null_bind)),
                ("case_sensitive_names", json!(self.case_sensitive_names)),
                ("username_as_alias", json!(self.username_as_alias)),
                ("anonymous_group_search", json!(self.anonymous_group_search)),
                ("use_token_groups", json!(self.use_token_groups)),
                ("request_timeout", json!(self.request_timeout)),
                ("connection_timeout", json!(self.connection_timeout)),
                ("max_page_size", json!(self.max_page_size)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        self.token.describe(&mut data);
        data
    }
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let wrong = |field: &str, why: &str| Error::bad_request(format!("{field:?}: {why}"));
        for url in self.urls() {
            let parsed: Option<http::Uri> = url.parse().ok();
            let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
            let host = parsed.as_ref().and_then(http::Uri::host);
            if !matches!(scheme, Some("ldap" | "ldaps")) || host.is_none_or(str::is_empty) {
                return Err(wrong("url", &format!("{url:?} is not ldap://HOST[:PORT] or ldaps://HOST[:PORT]")));
            }
        }
        if self.urls().next().is_none() {
            return Err(wrong("url", "missing: give ldap://HOST[:PORT] or ldaps://HOST[:PORT]"));
        }
        if self.use_token_groups && self.groupdn.is_empty() {
            return Err(wrong("use_token_groups", "needs \"groupdn\": groups are looked up below it by their SIDs"));
        }
        for (field, template) in [("userfilter", &self.userfilter), ("groupfilter", &self.groupfilter)] {
            if !template.is_empty() {
                filter::check(template).map_err(|why| wrong(field, &why))?;
            }
        }
        let version = |field: &str, name: &str| {
            let found = TLS_VERSIONS.iter().position(|known| *known == name);
            found.ok_or_else(|| Error::bad_request(format!("invalid '{field}': must be tls12 or tls13")))
        };
        if version("tls_min_version", &self.tls_min_version)? > version("tls_max_version", &self.tls_max_version)? {
            return Err(Error::bad_request("'tls_max_version' must be greater than or equal to 'tls_min_version'"));
        }
        if self.client_tls_cert.is_empty() != self.client_tls_key.is_empty() {
            return Err(Error::bad_request("both client_tls_cert and client_tls_key must be set in configuration"));
        }
        if !DEREFERENCE.contains(&self.dereference_aliases.as_str()) {
            return Err(wrong("dereference_aliases", "must be never, searching, finding or always"));
        }
        if self.speaks_tls() && !(self.insecure_tls && self.certificate.is_empty()) {
            tls::client_config(&self.tls())
                .map_err(|error| wrong("certificate", &error.to_string()).caused_by(error))?;
        }
        Ok(())
    }

    /// The servers, in order.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.url.split(',').map(str::trim).filter(|url| !url.is_empty())
    }

    /// What may be the password of `binddn`, the likelier first.
    pub fn account_passwords(&self) -> Vec<Secret> {
        let all = [&self.bindpass, &self.next_bindpass];
        all.into_iter().filter(|password| !password.is_empty()).map(|password| password.as_str().into()).collect()
    }

    fn speaks_tls(&self) -> bool {
        self.starttls || self.urls().any(|url| url.starts_with("ldaps"))
    }

    /// How servers are checked.
    pub fn tls(&self) -> ClientTls {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let versions = match (self.tls_min_version.as_str(), self.tls_max_version.as_str()) {
            ("tls13", _) => Versions::Only13,
            (_, "tls13") => Versions::All,
            _ => Versions::Only12,
        };
        ClientTls {
            ca_pem: some(&self.certificate),
            skip_verify: self.insecure_tls,
            client_cert_pem: some(&self.client_tls_cert),
            client_key_pem: some(&self.client_tls_key).map(Into::into),
            versions,
            ..ClientTls::default()
        }
    }

    /// For connecting, TLS included.
    pub fn connecting(&self) -> Duration {
        Duration::from_secs(self.connection_timeout)
    }

    /// For each question.
    pub fn asking(&self) -> Duration {
        Duration::from_secs(self.request_timeout)
    }

    /// A name in the form in which it is compared.
    pub fn normal(&self, name: &str) -> String {
        let name = names::spaced(name);
        if self.case_sensitive_names { name } else { name.to_lowercase() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(settings: Value) -> Result<Config, String> {
        let mut config = Config::default();
        let fields = settings.as_object().unwrap().clone().into();
        config.merge(&fields).map(|()| config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_password_is_not_read_back() {
        let config = merged(
            json!({ "binddn": "cn=admin", "bindpass": "canary", "client_tls_cert": "c", "client_tls_key": "canary" }),
        )
        .unwrap();
        let shown = Value::from(config.describe());
        assert!(!shown.to_string().contains("canary"), "{shown}");
        assert_eq!(
            (&shown["userattr"], &shown["deny_null_bind"], &shown["request_timeout"]),
            (&json!("cn"), &json!(true), &json!(90))
        );
    }

    #[test]
    fn names_are_compared_without_case_and_odd_spaces() {
        for name in ["Ann Lee", " ann  lee", "ANN LEE "] {
            assert_eq!(Config::default().normal(name), "ann lee", "{name:?}");
        }
        assert_eq!(merged(json!({ "case_sensitive_names": true })).unwrap().normal(" Ann"), "Ann");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (settings, text) in [
            (json!({ "url": "http://a" }), "\"url\""),
            (json!({ "url": "ldap:foo" }), "\"url\""),
            (json!({ "url": "ldapi://%2Frun" }), "\"url\""),
            (json!({ "url": "" }), "\"url\": missing"),
            (json!({ "userfilter": "(cn={{.Nobody}})" }), "\"userfilter\""),
            (json!({ "tls_min_version": "tls13", "tls_max_version": "tls12" }), "'tls_max_version' must be"),
            (json!({ "tls_min_version": "ssl3" }), "invalid 'tls_min_version'"),
            (json!({ "client_tls_key": "x" }), "both client_tls_cert and client_tls_key must be set"),
            (json!({ "dereference_aliases": "x" }), "\"dereference_aliases\""),
            (json!({ "use_token_groups": true }), "needs \"groupdn\""),
            (json!({ "url": "ldaps://a", "certificate": "x" }), "\"certificate\""),
        ] {
            let error = merged(settings).err().unwrap();
            assert!(error.contains(text), "{error}");
        }
        assert!(merged(json!({ "url": "ldaps://a:636, ldap://[::1]" })).is_ok());
    }
}
