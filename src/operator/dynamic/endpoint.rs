//! Where a database is, for those who log in: out of its connection URL and what the object says to differ.

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::destination::ClientEndpoint;
use crate::base::template::escape;

/// Parameters of a connection that every client needs, not only the one that they were written for (whose files, names and
/// timeouts are its own).
const SHARED: &[&str] = &[
    "sslmode",
    "target_session_attrs",
    "load_balance_hosts",
    "channel_binding",
    "tls",
    "ssl",
    "encrypt",
    "authSource",
    "replicaSet",
    "directConnection",
    "loadBalanced",
    "readPreference",
];

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its name or address, IPv6 without brackets.
    pub name: String,
    /// Its port, if it is known.
    pub port: Option<String>,
}

/// Scheme, hosts, database and parameters of a connection. What is not known stays empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Endpoint {
    /// `postgresql`, `mysql` …
    pub scheme: Option<String>,
    /// One, or several that stand in for each other.
    pub hosts: Vec<Host>,
    /// The database.
    pub database: Option<String>,
    /// Parameters by the names that they have in URLs, in their order.
    pub parameters: Vec<(String, String)>,
}

impl Endpoint {
    /// Reads `scheme://user:password@host:port/database?…`, `host=… port=… dbname=…` (libpq) and `user:password@tcp(host)/…`
    /// (MySQL).
    pub fn parse(url: &str) -> Self {
        let mut found = match url.split_once("://") {
            Some((scheme, rest)) => Self::from_url(scheme, rest),
            None if url.contains("@tcp(") => {
                Self::from_url("mysql", &url.replacen("@tcp(", "@", 1).replacen(')', "", 1))
            }
            None => Self::from_pairs(url),
        };
        found.parameters.retain(|(name, _)| SHARED.contains(&name.as_str()));
        found.fill_ports();
        found
    }

    fn from_url(scheme: &str, rest: &str) -> Self {
        let scheme = if scheme == "postgres" { "postgresql" } else { scheme };
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The account is two placeholders or a name, so a slash ends the authority.
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            scheme: filled(scheme),
            hosts: hosts.split(',').filter(|host| !host.is_empty()).map(host).collect(),
            database: filled(&decoded(database)),
            parameters: parameters.map(|(name, value)| (decoded(name), decoded(value))).collect(),
        }
    }

    fn from_pairs(text: &str) -> Self {
        let pairs = || text.split_whitespace().filter_map(|pair| pair.split_once('='));
        let value = |key: &str| pairs().find(|(name, _)| *name == key).map(|(_, value)| value.trim_matches('\''));
        let ports: Vec<&str> = value("port").unwrap_or_default().split(',').collect();
        let names = value("host").unwrap_or_default().split(',').filter(|name| !name.is_empty()).enumerate();
        // libpq: one port is every host's.
        let port = |at: usize| ports.get(if ports.len() == 1 { 0 } else { at }).copied().and_then(filled);
        Self {
            scheme: text.contains('=').then(|| "postgresql".to_owned()),
            hosts: names.map(|(at, name)| Host { name: name.to_owned(), port: port(at) }).collect(),
            database: value("dbname").and_then(filled),
            parameters: pairs()
                .filter(|(name, _)| !matches!(*name, "host" | "port" | "dbname"))
                .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
                .collect(),
        }
    }

    /// What `client` says takes the place of what was found.
    #[must_use]
    pub fn seen_from(mut self, client: Option<&ClientEndpoint>) -> Self {
        let Some(client) = client else { return self };
        if let Some(scheme) = &client.scheme {
            self.scheme = Some(scheme.clone());
        }
        if let Some(name) = &client.host {
            self.hosts = vec![Host { name: name.clone(), port: None }];
        }
        if let Some(port) = client.port {
            self.hosts.iter_mut().for_each(|host| host.port = Some(port.to_string()));
        }
        if let Some(database) = &client.database {
            self.database = Some(database.clone());
        }
        for (name, value) in &client.parameters {
            self.parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.parameters.push((name.clone(), value.clone()));
            }
        }
        self.fill_ports();
        self
    }

    fn fill_ports(&mut self) {
        let port = match self.scheme.as_deref() {
            Some("postgresql") => "5432",
            Some("mysql" | "mariadb") => "3306",
            Some("sqlserver") => "1433",
            Some("mongodb") => "27017",
            Some("redis" | "rediss") => "6379",
            _ => return,
        };
        for host in &mut self.hosts {
            host.port.get_or_insert_with(|| port.to_owned());
        }
    }

    /// Hosts and ports as a URL has them: `db:5432`, `[fd00::1]:5432`, `a:1,b:2`.
    pub fn address(&self) -> Option<String> {
        let one = |host: &Host| {
            let name = match host.name.as_str() {
                name if name.contains(':') => format!("[{name}]"),
                // The directory of a Unix socket.
                name => {
                    if name.starts_with('/') {
                        escape::url(name)
                    } else {
                        name.to_owned()
                    }
                }
            };
            host.port.as_ref().map_or(name.clone(), |port| format!("{name}:{port}"))
        };
        filled(&self.hosts.iter().map(one).collect::<Vec<_>>().join(","))
    }

    /// Host names, separated by commas, as libpq's PGHOST takes them.
    pub fn host(&self) -> Option<String> {
        filled(&self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(","))
    }

    /// Ports, separated by commas, in the order of [`Endpoint::host`]; `None` where one is not known.
    pub fn port(&self) -> Option<String> {
        let ports: Option<Vec<&str>> = self.hosts.iter().map(|host| host.port.as_deref()).collect();
        filled(&ports?.join(","))
    }

    /// Adds what is known to a template's data; what is not known stays absent, so that using it is an error.
    pub fn describe(&self, data: &mut Map<String, Value>) {
        let parts = [
            ("scheme", self.scheme.clone()),
            ("host", self.host()),
            ("port", self.port()),
            ("address", self.address()),
            ("database", self.database.clone()),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                data.insert(name.to_owned(), json!(value));
            }
        }
        let parameters = self.parameters.iter().map(|(name, value)| (name.clone(), json!(value)));
        data.insert("parameters".to_owned(), Value::Object(parameters.collect()));
    }
}

fn host(text: &str) -> Host {
    // Only a colon behind an IPv6 address' bracket begins a port.
    let (name, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    Host { name: decoded(name), port: filled(port) }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |decoded| decoded.into_owned())
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> [Option<String>; 4] {
        let found = Endpoint::parse(url);
        [found.host(), found.port(), found.address(), found.database]
    }

    fn of(host: &str, port: &str, address: &str, database: &str) -> [Option<String>; 4] {
        [filled(host), filled(port), filled(address), filled(database)]
    }

    #[test]
    fn reads_the_forms_that_drivers_take() {
        for (url, expected) in [
            ("postgresql://{{username}}:{{password}}@db.shop:5433/app", of("db.shop", "5433", "db.shop:5433", "app")),
            ("postgres://{{username}}:{{password}}@db", of("db", "5432", "db:5432", "")),
            ("postgres://u@[fd00::1]/my%20app", of("fd00::1", "5432", "[fd00::1]:5432", "my app")),
            ("postgres://u@a:1,b:2/app", of("a,b", "1,2", "a:1,b:2", "app")),
            ("host=db port=5432 dbname='app' user={{username}}", of("db", "5432", "db:5432", "app")),
            ("host=a,b port=7 dbname=app", of("a,b", "7,7", "a:7,b:7", "app")),
            ("{{username}}:{{password}}@tcp(db:3307)/shop?tls=true", of("db", "3307", "db:3307", "shop")),
            (
                "mongodb+srv://{{username}}:{{password}}@cluster.example/",
                of("cluster.example", "", "cluster.example", ""),
            ),
            ("nonsense", of("", "", "", "")),
        ] {
            assert_eq!(parts(url), expected, "{url}");
        }
        assert_eq!(Endpoint::parse("{{username}}:{{password}}@tcp(db)/x").scheme.as_deref(), Some("mysql"));
    }

    #[test]
    fn parameters_of_the_engine_alone_are_not_passed_on() {
        let found = Endpoint::parse("postgresql://u@db/app?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=5");
        assert_eq!(found.parameters, [("sslmode".to_owned(), "verify-full".to_owned())]);
    }

    #[test]
    fn consumers_may_go_another_way() {
        let client = serde_json::from_value(json!({
            "host": "pooler", "port": 6432, "parameters": { "sslmode": "", "application_name": "web" },
        }));
        let seen = Endpoint::parse("postgres://u@a:1,b:2/app?sslmode=require").seen_from(client.ok().as_ref());
        assert_eq!(seen.address().as_deref(), Some("pooler:6432"));
        assert_eq!(seen.parameters, [("application_name".to_owned(), "web".to_owned())]);
        let host_only = ClientEndpoint { host: Some("::1".into()), ..ClientEndpoint::default() };
        let seen = Endpoint::parse("postgres://u@a:1/app").seen_from(Some(&host_only));
        assert_eq!(seen.address().as_deref(), Some("[::1]:5432"));
    }
}
