//! Reads a PostgreSQL connection URL or `key=value` string with its `{{username}}` and `{{password}}`.
//!
//! The template is taken apart before user and password are put in, so no character of theirs can change its meaning.

use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs};

use crate::base::Secret;
use crate::drivers::Error;

/// How far the server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// `disable`, `prefer`, `require`: encrypted at most.
    Nothing,
    /// `verify-ca`: signed by a trusted authority, for whatever host.
    Chain,
    /// `verify-full`: signed, and for the host that we connect to.
    ChainAndHost,
}

/// How long one address may take to answer, unless `connect_timeout` says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same where there is another host to try: a primary that is gone must not cost the time of a switch.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);

/// How long sent data may stay unacknowledged before the connection counts as dead.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// libpq's and pgx's parameters that mean nothing here and are harmless.
const IGNORED: &[&str] = &[
    "client_encoding",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "sslcompression",
    "sslsni",
    "fallback_application_name",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "description_cache_capacity",
    "binary_parameters",
    "pool_max_conns",
    "pool_min_conns",
    "pool_max_conn_lifetime",
    "pool_max_conn_idle_time",
    "pool_health_check_period",
];

/// Everything that a connection URL says.
pub(super) struct Target {
    /// Ready to connect with, one for each host in their order: each has its own time to answer.
    pub configs: Vec<Config>,
    /// What `sslmode` asks to be verified; `None` when it does not say.
    pub verify: Option<Verify>,
    /// `sslrootcert`: a path, or `system`.
    pub root_file: Option<String>,
    /// `sslcert`: a path.
    pub certificate_file: Option<String>,
    /// `sslkey`: a path.
    pub key_file: Option<String>,
    /// Hosts and ports, for error messages.
    pub place: String,
    /// Whether the URL sets its own `statement_timeout`.
    pub own_statement_timeout: bool,
}

/// Reads `url`, whose placeholders stand for `username` and `password`; both are also used where the URL names none.
///
/// # Errors
/// Names `connection_url` and the part of it that is wrong, never its text.
pub(super) fn parse(url: &str, username: Option<&str>, password: Option<&Secret>) -> Result<Target, Error> {
    let parameters = match url.split_once("://") {
        Some(("postgres" | "postgresql", rest)) => from_url(rest)?,
        Some((scheme, _)) if !scheme.contains('=') => {
            return Err(wrong(format!("the scheme {scheme:?} is not postgresql")));
        }
        _ => from_pairs(url)?,
    };
    let fill = |value: &str| {
        let value = username.map_or_else(|| value.to_owned(), |name| value.replace("{{username}}", name));
        password.map_or_else(|| value.clone(), |password| value.replace("{{password}}", password.expose()))
    };
    let mut reader = Reader::default();
    for (key, value) in &parameters {
        reader.take(key, &fill(value))?;
    }
    reader.finish(username, password)
}

/// The same connection to each of its hosts alone, whether or not that one is writable.
///
/// # Errors
/// As [`parse`].
pub(super) fn single_hosts(url: &str) -> Result<Vec<String>, Error> {
    match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('=') => Ok(single_host_urls(scheme, rest)),
        _ => single_host_pairs(url),
    }
}

fn single_host_urls(scheme: &str, rest: &str) -> Vec<String> {
    let (front, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, place) = front.rsplit_once('@').map_or(("", front), |(user, place)| (user, place));
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    let mut query: Vec<_> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("target_session_attrs=")).collect();
    query.push("target_session_attrs=any");
    let (query, at) = (query.join("&"), if user.is_empty() { "" } else { "@" });
    hosts.split(',').map(|host| format!("{scheme}://{user}{at}{host}/{database}?{query}")).collect()
}

fn single_host_pairs(text: &str) -> Result<Vec<String>, Error> {
    let pairs = from_pairs(text)?;
    let value = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    let (hosts, ports) = (value("host").unwrap_or_default(), value("port").unwrap_or("5432"));
    let ports: Vec<_> = ports.split(',').collect();
    let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    let others: Vec<_> = pairs
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "host" | "port" | "target_session_attrs"))
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    let of_host = |(at, host): (usize, &str)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or("5432");
        format!("host={} port={} {} target_session_attrs=any", quoted(host), quoted(port), others.join(" "))
    };
    Ok(hosts.split(',').enumerate().map(of_host).collect())
}

fn wrong(problem: impl std::fmt::Display) -> Error {
    Error::config("connection_url", problem)
}

type Parameters = Vec<(String, String)>;

/// `[user[:password]@][host[:port],…][/dbname][?key=value&…]`, percent-decoded part by part.
fn from_url(rest: &str) -> Result<Parameters, Error> {
    let mut found = Parameters::new();
    let mut add = |key: &str, value: &str| found.push((key.to_owned(), percent_decode(value)));
    let (front, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user_info, place) = front.rsplit_once('@').unwrap_or(("", front));
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    for (key, value) in [("user", user), ("password", password), ("dbname", database)] {
        if !value.is_empty() {
            add(key, value);
        }
    }
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = split_port(host)?;
        add("host", name);
        add("port", port);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| wrong("a query parameter has no value"))?;
        add(key, value);
    }
    Ok(found)
}

fn percent_decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |decoded| decoded.into_owned())
}

fn split_port(host: &str) -> Result<(&str, &str), Error> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or_else(|| wrong("an IPv6 address lacks its ]"))?;
            (name, port.strip_prefix(':').unwrap_or(port))
        }
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    Ok((name, if port.is_empty() { "5432" } else { port }))
}

/// `key=value` pairs with optional single quotes and backslash escapes, as libpq reads them.
fn from_pairs(text: &str) -> Result<Parameters, Error> {
    let mut found = Parameters::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once('=').ok_or_else(|| wrong("neither a postgresql:// URL nor key=value pairs"))?;
        let (value, tail) = pair_value(after.trim_start())?;
        found.push((key.trim().to_owned(), value));
        rest = tail.trim_start();
    }
    Ok(found)
}

fn pair_value(text: &str) -> Result<(String, &str), Error> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err(wrong("a quote is not closed")) } else { Ok((value, "")) }
}

/// Collects parameters; hosts and ports come in pairs from a URL and as comma lists from `key=value`.
#[derive(Default)]
struct Reader {
    config: Config,
    ssl_mode: Option<SslMode>,
    verify: Option<Verify>,
    root_file: Option<String>,
    certificate_file: Option<String>,
    key_file: Option<String>,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
    options: Vec<String>,
    has_attributes: bool,
}

impl Reader {
    fn take(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "user" => drop(self.config.user(value)),
            "password" => drop(self.config.password(value)),
            "dbname" => drop(self.config.dbname(value)),
            "application_name" => drop(self.config.application_name(value)),
            "host" => self.hosts.extend(value.split(',').map(str::to_owned)),
            "hostaddr" => self.addresses(value)?,
            "port" => self.ports(value)?,
            "options" => self.options.push(value.to_owned()),
            "sslmode" => self.ssl_mode(value)?,
            "sslrootcert" => self.root_file = Some(value.to_owned()),
            "sslcert" => self.certificate_file = Some(value.to_owned()),
            "sslkey" => self.key_file = Some(value.to_owned()),
            "connect_timeout" => drop(self.config.connect_timeout(seconds(key, value)?)),
            "keepalives_idle" => drop(self.config.keepalives_idle(seconds(key, value)?)),
            _ => return self.take_choice(key, value),
        }
        Ok(())
    }

    /// Parameters with a fixed set of values, and everything else: settings of the session, as pgx takes them.
    fn take_choice(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match (key, value) {
            ("sslnegotiation", "postgres") => drop(self.config.ssl_negotiation(SslNegotiation::Postgres)),
            ("sslnegotiation", "direct") => drop(self.config.ssl_negotiation(SslNegotiation::Direct)),
            ("channel_binding", "disable") => drop(self.config.channel_binding(ChannelBinding::Disable)),
            ("channel_binding", "prefer") => drop(self.config.channel_binding(ChannelBinding::Prefer)),
            ("channel_binding", "require") => drop(self.config.channel_binding(ChannelBinding::Require)),
            ("load_balance_hosts", "disable") => drop(self.config.load_balance_hosts(LoadBalanceHosts::Disable)),
            ("load_balance_hosts", "random") => drop(self.config.load_balance_hosts(LoadBalanceHosts::Random)),
            ("target_session_attrs", "any") => self.attributes(TargetSessionAttrs::Any),
            ("target_session_attrs", "read-write" | "primary") => self.attributes(TargetSessionAttrs::ReadWrite),
            ("sslnegotiation" | "channel_binding" | "load_balance_hosts" | "target_session_attrs", _) => {
                return Err(wrong(format!("{key} cannot be {value:?} here")));
            }
            ("sslcrl" | "sslcrldir" | "sslpassword" | "require_auth" | "service" | "passfile", _) => {
                return Err(wrong(format!("{key} is not supported")));
            }
            _ if IGNORED.contains(&key) => {}
            _ if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') => {
                let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
                self.options.push(format!("-c {key}={value}"));
            }
            _ => return Err(wrong(format!("{key:?} is not a parameter"))),
        }
        Ok(())
    }

    fn attributes(&mut self, wanted: TargetSessionAttrs) {
        self.has_attributes = true;
        self.config.target_session_attrs(wanted);
    }

    fn ssl_mode(&mut self, value: &str) -> Result<(), Error> {
        let (mode, verify) = match value {
            "disable" => (SslMode::Disable, Verify::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Verify::Nothing),
            "require" => (SslMode::Require, Verify::Nothing),
            "verify-ca" => (SslMode::Require, Verify::Chain),
            "verify-full" => (SslMode::Require, Verify::ChainAndHost),
            _ => {
                let modes = "disable, prefer, require, verify-ca or verify-full";
                return Err(wrong(format!("sslmode {value:?} is not known: use {modes}")));
            }
        };
        (self.ssl_mode, self.verify) = (Some(mode), Some(verify));
        Ok(())
    }

    fn addresses(&mut self, value: &str) -> Result<(), Error> {
        for address in value.split(',') {
            let address: IpAddr =
                address.parse().map_err(|_| wrong(format!("hostaddr {address:?} is not an IP address")))?;
            self.addresses.push(address);
        }
        Ok(())
    }

    fn ports(&mut self, value: &str) -> Result<(), Error> {
        for port in value.split(',') {
            let port = if port.is_empty() { "5432" } else { port };
            self.ports.push(port.parse().map_err(|_| wrong(format!("port {port:?} is not a port number")))?);
        }
        Ok(())
    }

    fn finish(mut self, username: Option<&str>, password: Option<&Secret>) -> Result<Target, Error> {
        if self.hosts.is_empty() && self.addresses.is_empty() {
            return Err(wrong("it names no host"));
        }
        if self.ports.len() > 1 && self.ports.len() != self.hosts.len().max(self.addresses.len()) {
            return Err(wrong("as many ports as hosts are needed, or one"));
        }
        if let (None, Some(name)) = (self.config.get_user(), username) {
            self.config.user(name);
        }
        if let (None, Some(password)) = (self.config.get_password(), password) {
            self.config.password(password.expose());
        }
        let Some(user) = self.config.get_user().map(str::to_owned) else {
            return Err(wrong("it names no user, and the field username is empty"));
        };
        if user.contains("{{") {
            return Err(Error::config("username", "is needed: connection_url contains {{username}}"));
        }
        if self.config.get_password().is_some_and(|password| password == b"{{password}}") {
            return Err(Error::config("password", "is needed: connection_url contains {{password}}"));
        }
        let place = self.place();
        self.defaults();
        Ok(Target {
            own_statement_timeout: self.options.iter().any(|option| option.contains("statement_timeout")),
            configs: self.configs(),
            verify: self.verify,
            root_file: self.root_file,
            certificate_file: self.certificate_file,
            key_file: self.key_file,
            place,
        })
    }

    fn configs(&self) -> Vec<Config> {
        let count = self.hosts.len().max(self.addresses.len());
        let one = |at: usize| {
            let mut config = self.config.clone();
            if let Some(host) = self.hosts.get(at) {
                config.host(host);
            }
            if let Some(address) = self.addresses.get(at) {
                config.hostaddr(*address);
            }
            config.port(self.ports.get(at).or(self.ports.first()).copied().unwrap_or(5432));
            config
        };
        (0..count).map(one).collect()
    }

    fn defaults(&mut self) {
        if self.config.get_connect_timeout().is_none() {
            let several = self.hosts.len().max(self.addresses.len()) > 1;
            self.config.connect_timeout(if several { CONNECT_TIMEOUT_OF_SEVERAL } else { CONNECT_TIMEOUT });
        }
        if self.config.get_application_name().is_none() {
            self.config.application_name("lessor");
        }
        if self.hosts.len().max(self.addresses.len()) > 1 && !self.has_attributes {
            self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if !self.options.is_empty() {
            self.config.options(self.options.join(" "));
        }
        self.config.ssl_mode(self.ssl_mode.unwrap_or(SslMode::Prefer)).tcp_user_timeout(UNACKNOWLEDGED);
    }

    fn place(&self) -> String {
        let port = |at: usize| self.ports.get(at).or(self.ports.first()).copied().unwrap_or(5432);
        let names: Vec<_> = self.hosts.iter().enumerate().map(|(at, host)| format!("{host}:{}", port(at))).collect();
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { addresses.join(",") } else { names.join(",") };
        format!("{names}/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

fn seconds(key: &str, value: &str) -> Result<Duration, Error> {
    let seconds: u64 = value.parse().map_err(|_| wrong(format!("{key} is not a number of seconds")))?;
    Ok(if seconds == 0 { CONNECT_TIMEOUT } else { Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn read(url: &str) -> Target {
        parse(url, Some("admin"), Some(&Secret::new("p@:/?#%25 '\\ä"))).unwrap()
    }

    #[test]
    fn any_password_survives_a_template() {
        for url in [
            "postgresql://{{username}}:{{password}}@db.example:6543/app?sslmode=verify-full",
            "postgres://db.example:6543/app?sslmode=verify-full&user={{username}}&password={{password}}",
            "host=db.example port=6543 dbname=app user='{{username}}' password={{password}} sslmode=verify-full",
            "host=db.example port=6543 dbname = app sslmode=verify-full",
        ] {
            let target = read(url);
            assert_eq!(target.configs[0].get_user(), Some("admin"), "{url}");
            assert_eq!(target.configs[0].get_password(), Some("p@:/?#%25 '\\ä".as_bytes()), "{url}");
            assert_eq!(target.configs[0].get_hosts(), [Host::Tcp("db.example".to_owned())], "{url}");
            assert_eq!(
                (target.configs[0].get_ports(), target.configs[0].get_dbname()),
                (&[6543][..], Some("app")),
                "{url}"
            );
            assert!(target.verify == Some(Verify::ChainAndHost) && target.place == "db.example:6543/app");
        }
    }

    #[test]
    fn inline_credentials_are_percent_decoded() {
        let target = parse("postgresql://u%40x:p%2Fw@h/d%20b", None, None).unwrap();
        assert_eq!(target.configs[0].get_user(), Some("u@x"));
        assert_eq!(target.configs[0].get_password(), Some(&b"p/w"[..]));
        assert_eq!(target.configs[0].get_dbname(), Some("d b"));
    }

    #[test]
    fn several_hosts_ask_for_the_writable_one() {
        let target = read("postgresql://{{username}}@a:1,b,[::1]:3/app");
        let ports: Vec<_> = target.configs.iter().flat_map(Config::get_ports).collect();
        assert_eq!(ports, [&1, &5432, &3]);
        let writable = |config: &Config| config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite;
        assert!(target.configs.iter().all(writable));
        assert_eq!(target.place, "a:1,b:5432,::1:3/app");
    }

    #[test]
    fn other_parameters_become_settings_of_the_session() {
        let target = read("postgresql://h/app?timezone=UTC&search_path=a%20b&options=-c%20lock_timeout%3D1s");
        assert_eq!(target.configs[0].get_options(), Some("-c timezone=UTC -c search_path=a\\ b -c lock_timeout=1s"));
        assert!(!target.own_statement_timeout);
        assert_eq!(target.configs[0].get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn each_host_can_be_reached_alone() {
        let url = "postgresql://{{username}}:p@a:1,b:2/db?sslmode=disable&target_session_attrs=read-write";
        assert_eq!(
            single_hosts(url).unwrap(),
            [
                "postgresql://{{username}}:p@a:1/db?sslmode=disable&target_session_attrs=any",
                "postgresql://{{username}}:p@b:2/db?sslmode=disable&target_session_attrs=any"
            ]
        );
        for alone in single_hosts("host=a,b port=1,2 dbname='d b' user=u password='it\\'s'").unwrap() {
            let target = parse(&alone, None, None).unwrap();
            let [config] = &target.configs[..] else { panic!("{alone}") };
            assert_eq!((config.get_dbname(), config.get_password()), (Some("d b"), Some(&b"it's"[..])));
            assert!(["a:1", "b:2"].iter().any(|place| target.place.contains(place)), "{}", target.place);
        }
    }

    #[test]
    fn an_error_names_the_part_that_is_wrong() {
        for (url, part) in [
            ("mysql://h/x", "scheme"),
            ("postgresql://u@h:x/d", "port"),
            ("postgresql://u@h/d?sslmode=full", "sslmode"),
            ("postgresql://u@/d", "host"),
            ("nonsense", "key=value"),
            ("host='h", "quote"),
            ("postgresql://u@h/d?sslcrl=x", "sslcrl"),
        ] {
            let error = parse(url, None, None).err().unwrap();
            assert!(
                error.message().starts_with("connection_url: ") && error.message().contains(part),
                "{url}: {error}"
            );
        }
        let error = parse("postgresql://{{username}}:{{password}}@h/d", None, None).err().unwrap();
        assert!(error.message().starts_with("username: "), "{error}");
        let error = parse("postgresql://u:{{password}}@h/d", None, None).err().unwrap();
        assert!(error.message().starts_with("password: "), "{error}");
    }
}
