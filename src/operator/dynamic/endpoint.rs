//! Where a database is, out of its connection URL, for templates.

use serde_json::{Value, json};

/// Host, port and database of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// A host, or several with ports, separated by commas, as libpq takes them.
    pub host: Option<String>,
    /// The port, where there is one host and it is given.
    pub port: Option<String>,
    /// The database.
    pub database: Option<String>,
}

impl Endpoint {
    /// Reads `scheme://user:password@host:port/database?…` or `host=… port=… dbname=…`. What is not there stays empty.
    pub fn parse(url: &str) -> Self {
        let Some((_, rest)) = url.split_once("://") else { return Self::from_pairs(url) };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        // Only a colon behind an IPv6 address' bracket begins a port.
        let port_at = hosts.rfind(':').filter(|at| !hosts.contains(',') && !hosts[*at..].contains(']'));
        let (host, port) = port_at.map_or((hosts, ""), |at| (&hosts[..at], &hosts[at + 1..]));
        Self { host: filled(host), port: filled(port), database: filled(database) }
    }

    fn from_pairs(text: &str) -> Self {
        let value = |key: &str| {
            let mut pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).and_then(|(_, value)| filled(value.trim_matches('\'')))
        };
        Self { host: value("host"), port: value("port"), database: value("dbname") }
    }

    /// Adds what is known to a template's data; what is not known stays absent, so that using it is an error.
    pub fn describe(&self, data: &mut serde_json::Map<String, Value>) {
        for (name, value) in [("host", &self.host), ("port", &self.port), ("database", &self.database)] {
            if let Some(value) = value {
                data.insert(name.to_owned(), json!(value));
            }
        }
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> [Option<String>; 3] {
        let found = Endpoint::parse(url);
        [found.host, found.port, found.database]
    }

    fn of(host: &str, port: &str, database: &str) -> [Option<String>; 3] {
        [filled(host), filled(port), filled(database)]
    }

    #[test]
    fn reads_the_forms_that_drivers_take() {
        assert_eq!(
            parts("postgresql://{{username}}:{{password}}@db.shop:5433/app?sslmode=require"),
            of("db.shop", "5433", "app")
        );
        assert_eq!(parts("postgres://{{username}}:{{password}}@db"), of("db", "", ""));
        assert_eq!(parts("postgres://u@[fd00::1]:5432/app"), of("[fd00::1]", "5432", "app"));
        assert_eq!(parts("postgres://u@[fd00::1]/app"), of("[fd00::1]", "", "app"));
        assert_eq!(parts("postgres://u@a:1,b:2/app"), of("a:1,b:2", "", "app"));
        assert_eq!(parts("host=db port=5432 dbname='app' user={{username}}"), of("db", "5432", "app"));
        assert_eq!(parts("nonsense"), of("", "", ""));
    }
}
