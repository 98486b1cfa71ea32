//! The fields of a connection: its URL, the credentials beside it, TLS, and the pool's limits.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::{Connector, Limits};
use super::url::{self, Target, Verify};
use crate::base::Secret;
use crate::base::tls::{self, ClientTls};
use crate::drivers::Error;
use crate::wire::Fields;

/// Vault's default for `max_open_connections`.
const OPEN_CONNECTIONS: i64 = 4;

/// How passwords go into statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passwords {
    /// As verifiers: the default, since it keeps passwords out of the server's logs.
    Scram,
    /// As they are, for statements that do something else with them.
    Clear,
}

/// A connection's configuration, checked as a whole.
pub(super) struct Config {
    pub(super) connector: Connector,
    pub(super) limits: Limits,
    pub(super) passwords: Passwords,
}

impl Config {
    pub(super) fn read(fields: &Fields) -> Result<Self, Error> {
        let url = text(fields, "connection_url")?.ok_or_else(|| {
            Error::config("connection_url", "it is missing: postgresql://{{username}}:{{password}}@host:5432/database")
        })?;
        let (username, password) = (text(fields, "username")?, text(fields, "password")?.map(Secret::new));
        for (field, value) in [("username", username.as_deref()), ("password", password.as_ref().map(Secret::expose))] {
            if value.is_some_and(|value| value.contains("{{username}}") || value.contains("{{password}}")) {
                return Err(Error::config(field, "must not contain {{username}} or {{password}}"));
            }
        }
        let mut target = url::parse(&url, username.as_deref(), password.as_ref())?;
        let tls = client_tls(&mut target, fields)?;
        let connector = Connector {
            configs: target.configs,
            next: AtomicUsize::new(0),
            tls,
            place: target.place,
            own_statement_timeout: target.own_statement_timeout,
        };
        Ok(Self { connector, limits: limits(fields)?, passwords: passwords(fields)? })
    }
}

fn text(fields: &Fields, name: &str) -> Result<Option<String>, Error> {
    Ok(fields.string(name)?.filter(|text| !text.trim().is_empty()))
}

fn passwords(fields: &Fields) -> Result<Passwords, Error> {
    match text(fields, "password_authentication")?.as_deref() {
        None | Some("scram-sha-256") => Ok(Passwords::Scram),
        Some("password") => Ok(Passwords::Clear),
        Some(other) => {
            let problem = format!("{other:?} is not known: use \"scram-sha-256\" or \"password\"");
            Err(Error::config("password_authentication", problem))
        }
    }
}

/// TLS by libpq's rules: an authority that is named is used, and with one named and no `sslmode` the strictest applies.
fn client_tls(target: &mut Target, fields: &Fields) -> Result<MakeRustlsConnect, Error> {
    let ca_pem = pem(fields, "tls_ca", target.root_file.as_deref().filter(|path| *path != "system"))?;
    let verify = match target.verify {
        Some(Verify::Nothing) if ca_pem.is_some() => Verify::Chain,
        Some(verify) => verify,
        None if ca_pem.is_some() => {
            for config in &mut target.configs {
                config.ssl_mode(SslMode::Require);
            }
            Verify::ChainAndHost
        }
        None => Verify::Nothing,
    };
    let settings = ClientTls {
        skip_verify: verify == Verify::Nothing,
        any_name: verify == Verify::Chain,
        ca_pem,
        client_cert_pem: pem(fields, "tls_certificate", target.certificate_file.as_deref())?,
        client_key_pem: pem(fields, "private_key", target.key_file.as_deref())?.map(Secret::new),
        ..ClientTls::default()
    };
    let config = tls::client_config(&settings)
        .map_err(|error| Error::config("tls_ca, tls_certificate, private_key", &error).caused_by(error))?;
    Ok(MakeRustlsConnect::new(config))
}

/// A PEM text of a field, or of the file that the URL names.
fn pem(fields: &Fields, field: &str, path: Option<&str>) -> Result<Option<String>, Error> {
    if let Some(inline) = text(fields, field)? {
        return Ok(Some(inline));
    }
    let read = |path| {
        std::fs::read_to_string(path)
            .map_err(|error| Error::config("connection_url", format!("cannot read {path}: {error}")).caused_by(error))
    };
    path.map(read).transpose()
}

/// Vault's pool fields: 0 is the default; below 0 is "no limit" for open connections and "none" for idle ones.
fn limits(fields: &Fields) -> Result<Limits, Error> {
    let open = fields.int("max_open_connections")?.filter(|count| *count != 0).unwrap_or(OPEN_CONNECTIONS);
    let open = usize::try_from(open).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
    let idle = match fields.int("max_idle_connections")? {
        None | Some(0) => open,
        Some(count) => usize::try_from(count).unwrap_or(0).min(open),
    };
    let lifetime = fields.seconds("max_connection_lifetime")?.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    Ok(Limits { open, idle, lifetime })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Config, Error> {
        Config::read(&value.as_object().unwrap().clone().into())
    }

    #[test]
    fn wrong_fields_are_named_and_passwords_are_not() {
        let url = "postgresql://{{username}}:{{password}}@h/db";
        for (body, expected) in [
            (json!({}), "connection_url: it is missing"),
            (json!({ "connection_url": url }), "username: "),
            (json!({"connection_url": url, "username": "u"}), "password: "),
            (json!({"connection_url": url, "username": "{{password}}", "password": "p"}), "username: "),
            (json!({"connection_url": "postgresql://u:canary@h:port/db"}), "connection_url: port"),
            (json!({"connection_url": "postgresql://u:canary@h/db?sslmode=maybe"}), "sslmode \"maybe\""),
            (json!({"connection_url": "postgresql://u@h/db?sslrootcert=/none.pem"}), "/none.pem"),
            (json!({"connection_url": "postgresql://u@h/db", "tls_certificate": "x"}), "tls_certificate"),
            (json!({"connection_url": "postgresql://u@h/db", "max_open_connections": "x"}), "max_open_connections"),
            (
                json!({"connection_url": "postgresql://u:p@h/db", "password_authentication": "md5"}),
                "password_authentication",
            ),
        ] {
            let error = read(body).err().unwrap();
            assert!(error.message().contains(expected) && !error.message().contains("canary"), "{error}");
        }
    }

    #[test]
    fn limits_are_vaults() {
        let read = |fields: Value| limits(&fields.as_object().unwrap().clone().into()).unwrap();
        assert_eq!(read(json!({})), Limits { open: 4, idle: 4, lifetime: None });
        let set =
            read(json!({"max_open_connections": 9, "max_idle_connections": "2", "max_connection_lifetime": "1m"}));
        assert_eq!(set, Limits { open: 9, idle: 2, lifetime: Some(Duration::from_secs(60)) });
        assert_eq!(read(json!({"max_idle_connections": -1})).idle, 0);
        assert!(read(json!({"max_open_connections": -1})).open > 1000);
    }

    #[test]
    fn passwords_are_verifiers_unless_asked_for() {
        let with = |mode: &str| {
            read(json!({"connection_url": "postgresql://u:p@h/db", "password_authentication": mode})).unwrap().passwords
        };
        assert_eq!(
            (with(""), with("scram-sha-256"), with("password")),
            (Passwords::Scram, Passwords::Scram, Passwords::Clear)
        );
    }
}
