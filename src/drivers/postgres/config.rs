//! The fields of a connection: URL or `key=value` string, credentials beside it, TLS, and the pool's limits.

use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

use super::super::Error;
use crate::base::tls::{self, ClientTls};
use crate::wire::Fields;

/// How long connecting to one host may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Vault's default.
const OPEN_CONNECTIONS: usize = 4;

/// Stand in for `{{username}}` and `{{password}}` while the URL is parsed; the real values never become part of a URL.
const USER_MARK: &str = "lessor-user-mark";
const PASSWORD_MARK: &str = "lessor-password-mark";

/// How passwords go into statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passwords {
    /// As verifiers: the default, since it keeps passwords out of the server's logs.
    Scram,
    /// As they are, for statements that do something else with them.
    Clear,
}

/// A connection's configuration, checked as a whole.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) server: tokio_postgres::Config,
    /// None: no TLS at all.
    pub(super) tls: Option<rustls::ClientConfig>,
    pub(super) passwords: Passwords,
    pub(super) max_open: usize,
    pub(super) max_idle: usize,
    pub(super) lifetime: Option<Duration>,
}

impl Config {
    pub(super) fn read(fields: &Fields) -> Result<Self, Error> {
        let url = fields.string("connection_url")?.filter(|url| !url.trim().is_empty());
        let mut url = url.ok_or_else(|| Error::config("connection_url", "it is missing: postgresql://{{username}}:{{password}}@host:5432/database"))?;
        let mode = take_parameter(&mut url, "sslmode").unwrap_or_else(|| "prefer".into());
        let files = ["sslrootcert", "sslcert", "sslkey"].map(|name| take_parameter(&mut url, name));
        let marked = url.replace("{{username}}", USER_MARK).replace("{{password}}", PASSWORD_MARK);
        let mut server: tokio_postgres::Config = marked.parse().map_err(|error: tokio_postgres::Error| {
            // The parser's causes may quote the URL.
            let problem = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::config("connection_url", problem.replace(PASSWORD_MARK, "{{password}}").replace(USER_MARK, "{{username}}"))
        })?;
        credentials(&mut server, fields)?;
        if server.get_hosts().is_empty() {
            return Err(Error::config("connection_url", "it names no host"));
        }
        server.ssl_mode(ssl_mode(&mode)?);
        if server.get_connect_timeout().is_none() {
            server.connect_timeout(CONNECT_TIMEOUT);
        }
        if server.get_application_name().is_none() {
            server.application_name("lessor");
        }
        let limit = |name: &str, default: usize| -> Result<usize, Error> {
            let set = fields.count(name)?.filter(|count| *count > 0);
            set.map_or(Ok(default), |count| usize::try_from(count).map_err(|_| Error::config(name, "it is too large")))
        };
        let max_open = limit("max_open_connections", OPEN_CONNECTIONS)?;
        let lifetime = fields.seconds("max_connection_lifetime")?.filter(|seconds| *seconds > 0);
        Ok(Self {
            server,
            tls: client_tls(&mode, files, fields)?,
            passwords: passwords(fields)?,
            max_open,
            max_idle: limit("max_idle_connections", max_open)?.min(max_open),
            lifetime: lifetime.map(Duration::from_secs),
        })
    }

    /// The hosts for messages; never the credentials.
    pub(super) fn hosts(&self) -> String {
        let ports = self.server.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let host = |(at, host): (usize, &Host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(at)),
            Host::Unix(path) => path.display().to_string(),
        };
        self.server.get_hosts().iter().enumerate().map(host).collect::<Vec<_>>().join(",")
    }
}

/// Puts `username` and `password` in, where the URL asks for them or says nothing itself.
fn credentials(server: &mut tokio_postgres::Config, fields: &Fields) -> Result<(), Error> {
    let (user, password) = (fields.string("username")?, fields.secret("password")?);
    if matches!(server.get_user(), None | Some(USER_MARK)) {
        let user = user.filter(|user| !user.is_empty());
        server.user(user.ok_or_else(|| Error::config("username", "it is missing"))?);
    }
    let marked = server.get_password() == Some(PASSWORD_MARK.as_bytes());
    match password {
        Some(password) if marked || server.get_password().is_none() => {
            server.password(password.expose());
        }
        None if marked => return Err(Error::config("password", "it is missing")),
        _ => {}
    }
    Ok(())
}

fn passwords(fields: &Fields) -> Result<Passwords, Error> {
    match fields.string("password_authentication")?.as_deref() {
        None | Some("" | "scram-sha-256") => Ok(Passwords::Scram),
        Some("password") => Ok(Passwords::Clear),
        Some(other) => {
            let problem = format!("{other:?} is not known: use \"scram-sha-256\" or \"password\"");
            Err(Error::config("password_authentication", problem))
        }
    }
}

fn ssl_mode(mode: &str) -> Result<SslMode, Error> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        other => Err(Error::config("connection_url", format!("sslmode {other:?} is not known"))),
    }
}

fn client_tls(mode: &str, files: [Option<String>; 3], fields: &Fields) -> Result<Option<rustls::ClientConfig>, Error> {
    if mode == "disable" {
        return Ok(None);
    }
    let [root, cert, key] = files;
    let read = |path: Option<String>| {
        path.map(|path| {
            std::fs::read_to_string(&path).map_err(|error| Error::config("connection_url", format!("cannot read {path}")).caused_by(error))
        })
        .transpose()
    };
    let ca_pem = fields.string("tls_ca")?.or(read(root)?);
    let settings = ClientTls {
        // As libpq: without a CA, `prefer` and `require` encrypt and do not ask who is there.
        skip_verify: !mode.starts_with("verify") && ca_pem.is_none(),
        ca_pem,
        client_cert_pem: fields.string("tls_certificate")?.or(read(cert)?),
        client_key_pem: fields.secret("private_key")?.or(read(key)?.map(Into::into)),
        ..ClientTls::default()
    };
    let config = tls::client_config(&settings).map_err(|error| Error::config("tls", &error).caused_by(error))?;
    Ok(Some(config))
}

/// Removes `name=value` from a URL's query or a `key=value` string and returns the value.
fn take_parameter(text: &mut String, name: &str) -> Option<String> {
    let is_url = text.contains("://");
    let from = if is_url { text.find('?')? + 1 } else { 0 };
    let separator = if is_url { '&' } else { ' ' };
    let mut start = from;
    for part in text[from..].split(separator) {
        if let Some(value) = part.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            let value = percent_encoding::percent_decode_str(value.trim_matches('\'')).decode_utf8_lossy().into_owned();
            let mut range = start..start + part.len();
            if text[range.end..].starts_with(separator) {
                range.end += 1;
            }
            text.replace_range(range, "");
            while text.ends_with(['?', '&']) {
                text.pop();
            }
            return Some(value);
        }
        start += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Config, Error> {
        Config::read(&value.as_object().unwrap().clone().into())
    }

    #[test]
    fn any_password_works_since_it_never_becomes_part_of_a_url() {
        let password = "p@s/s:w?o&r%d '\"";
        for url in [
            "postgresql://{{username}}:{{password}}@db.example:5433/app?sslmode=disable",
            "host=db.example port=5433 dbname=app user={{username}} password={{password}} sslmode=disable",
        ] {
            let config = read(json!({"connection_url": url, "username": "ad min", "password": password})).unwrap();
            assert_eq!((config.server.get_user(), config.server.get_password()), (Some("ad min"), Some(password.as_bytes())));
            assert_eq!((config.hosts().as_str(), config.server.get_dbname()), ("db.example:5433", Some("app")), "{url}");
            assert!(config.tls.is_none() && config.passwords == Passwords::Scram);
        }
    }

    #[test]
    fn tls_is_preferred_and_verified_when_asked() {
        let with = |query: &str| {
            let url = format!("postgresql://u:p@h/db{query}");
            read(json!({ "connection_url": url }))
        };
        assert_eq!(with("").unwrap().server.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(with("?sslmode=require&application_name=x").unwrap().server.get_application_name(), Some("x"));
        let error = with("?sslmode=verify-full&sslrootcert=/nonexistent.pem").err().unwrap();
        assert!(error.message().contains("/nonexistent.pem"), "{error}");
    }

    #[test]
    fn wrong_fields_are_named_and_passwords_are_not() {
        for (body, expected) in [
            (json!({}), "connection_url: it is missing"),
            (json!({"connection_url": "postgresql://{{username}}:{{password}}@h/db"}), "username: it is missing"),
            (json!({"connection_url": "postgresql://{{username}}:{{password}}@h/db", "username": "u"}), "password: it is missing"),
            (json!({"connection_url": "postgresql://u:canary@h:port/db"}), "connection_url"),
            (json!({"connection_url": "postgresql://u:canary@h/db?sslmode=maybe"}), "sslmode \"maybe\""),
            (json!({"connection_url": "postgresql://u:p@h/db", "password_authentication": "md5"}), "password_authentication"),
        ] {
            let error = read(body).err().unwrap();
            assert!(error.message().contains(expected) && !error.message().contains("canary"), "{error}");
        }
    }
}
