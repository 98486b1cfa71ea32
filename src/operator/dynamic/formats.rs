//! The ready-made forms of a credential, everything in them escaped.

use serde_json::{Map, Value, json};

use super::content::Credential;
use super::endpoint::Endpoint;
use crate::api::destination::Format;
use crate::base::template::escape;

/// Writes `credential` in a form.
///
/// # Errors
/// What is not known of the database, or cannot be said in that form; without a secret.
pub fn write(format: Format, credential: &Credential, endpoint: &Endpoint) -> Result<String, String> {
    let form = Form { user: &credential.username, password: credential.password.expose(), endpoint };
    match format {
        Format::Url => form.url(),
        Format::Jdbc => form.jdbc(),
        Format::Conninfo => form.conninfo(),
        Format::Pgpass => form.pgpass(),
        Format::Env => form.env(),
        Format::Json => form.json(),
    }
}

struct Form<'a> {
    user: &'a str,
    password: &'a str,
    endpoint: &'a Endpoint,
}

impl Form<'_> {
    fn scheme(&self) -> Result<&str, String> {
        let unknown = || "the kind of the database is not known: name it as endpoint.scheme".to_owned();
        self.endpoint.scheme.as_deref().ok_or_else(unknown)
    }

    fn address(&self) -> Result<String, String> {
        let unknown = || "the address of the database is not known: name it as endpoint.host".to_owned();
        self.endpoint.address().ok_or_else(unknown)
    }

    fn database(&self) -> &str {
        self.endpoint.database.as_deref().unwrap_or_default()
    }

    fn only_postgresql(&self, form: &str) -> Result<(), String> {
        match self.scheme()? {
            "postgresql" => Ok(()),
            scheme => Err(format!("{form} is a form of PostgreSQL, and this database is {scheme}")),
        }
    }

    fn url(&self) -> Result<String, String> {
        let (scheme, address) = (self.scheme()?, self.address()?);
        let (user, password) = (escape::url(self.user), escape::url(self.password));
        let database = escape::url(self.database());
        let query = query(&self.endpoint.parameters);
        Ok(format!("{scheme}://{user}:{password}@{address}/{database}{query}"))
    }

    fn jdbc(&self) -> Result<String, String> {
        let address = self.address()?;
        let scheme = self.scheme()?;
        if scheme == "sqlserver" {
            let quoted = |text: &str| format!("{{{}}}", text.replace('}', "}}"));
            let mut url = format!("jdbc:sqlserver://{address}");
            let own = [("databaseName", self.database()), ("user", self.user), ("password", self.password)];
            let own = own.into_iter().filter(|(_, value)| !value.is_empty());
            let rest = self.endpoint.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            own.chain(rest).for_each(|(name, value)| url.push_str(&format!(";{name}={}", quoted(value))));
            return Ok(url);
        }
        if !matches!(scheme, "postgresql" | "mysql" | "mariadb") {
            return Err(format!("there is no jdbc form for {scheme}: write the key with a template"));
        }
        let mut parameters =
            vec![("user".to_owned(), self.user.to_owned()), ("password".to_owned(), self.password.to_owned())];
        let rest = self.endpoint.parameters.iter().cloned();
        parameters.extend(rest.map(|pair| if scheme == "postgresql" { for_pgjdbc(pair) } else { pair }));
        Ok(format!("jdbc:{scheme}://{address}/{}{}", escape::url(self.database()), query(&parameters)))
    }

    fn conninfo(&self) -> Result<String, String> {
        self.only_postgresql("conninfo")?;
        self.address()?;
        let pairs = self.libpq().into_iter().map(|(name, _, value)| format!("{name}={}", escape::conninfo(&value)));
        Ok(pairs.collect::<Vec<_>>().join(" "))
    }

    fn pgpass(&self) -> Result<String, String> {
        self.only_postgresql("pgpass")?;
        self.address()?;
        let database = self.endpoint.database.as_deref().map_or_else(|| "*".to_owned(), escape::pgpass);
        let mut lines = String::new();
        for host in &self.endpoint.hosts {
            let port = host.port.as_deref().unwrap_or("*");
            let fields = [&escape::pgpass(&host.name), port, &database, &escape::pgpass(self.user)].join(":");
            lines.push_str(&format!("{fields}:{}\n", escape::pgpass(self.password)));
        }
        // One for each host, and no more.
        if lines.lines().count() != self.endpoint.hosts.len() {
            return Err("user or password holds a line break, which a password file cannot".to_owned());
        }
        Ok(lines)
    }

    fn env(&self) -> Result<String, String> {
        let mut pairs: Vec<(String, String)> = if self.scheme()? == "postgresql" {
            self.libpq().into_iter().filter_map(|(_, variable, value)| Some((variable?, value))).collect()
        } else {
            let parts = [
                ("DB_HOST", self.endpoint.host()),
                ("DB_PORT", self.endpoint.port()),
                ("DB_NAME", self.endpoint.database.clone()),
                ("DB_USER", Some(self.user.to_owned())),
                ("DB_PASSWORD", Some(self.password.to_owned())),
            ];
            parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        };
        pairs.push(("DATABASE_URL".to_owned(), self.url()?));
        Ok(pairs.into_iter().map(|(name, value)| format!("{name}={}\n", escape::env(&value))).collect())
    }

    fn json(&self) -> Result<String, String> {
        let mut object = Map::new();
        for (name, value) in &self.endpoint.parameters {
            object.insert(name.clone(), json!(value));
        }
        object.insert("username".into(), json!(self.user));
        object.insert("password".into(), json!(self.password));
        let port =
            self.endpoint.port().map(|port| port.parse::<u16>().map_or_else(|_| json!(port), |port| json!(port)));
        let database = self.endpoint.database.as_ref().map(|database| json!(database));
        let host = self.endpoint.host().map(|host| json!(host));
        for (name, value) in [("host", host), ("port", port), ("database", database)] {
            if let Some(value) = value {
                object.insert(name.into(), value);
            }
        }
        // What is not known of the address is no reason to refuse the rest.
        if let Ok(url) = self.url() {
            object.insert("url".into(), json!(url));
        }
        Ok(Value::Object(object).to_string())
    }

    /// libpq's names of what is known, in connection strings and, where there is one, as an environment variable.
    fn libpq(&self) -> Vec<(String, Option<String>, String)> {
        let own = [
            ("host", "PGHOST", self.endpoint.host()),
            ("port", "PGPORT", self.endpoint.port()),
            ("dbname", "PGDATABASE", self.endpoint.database.clone()),
            ("user", "PGUSER", Some(self.user.to_owned())),
            ("password", "PGPASSWORD", Some(self.password.to_owned())),
        ];
        let own = own
            .into_iter()
            .filter_map(|(name, variable, value)| Some((name.to_owned(), Some(variable.to_owned()), value?)));
        let parameters = self.endpoint.parameters.iter();
        own.chain(parameters.map(|(name, value)| (name.clone(), variable(name), value.clone()))).collect()
    }
}

/// The variable of a parameter of libpq (PostgreSQL, "Environment Variables").
fn variable(parameter: &str) -> Option<String> {
    let known = [
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslnegotiation",
        "options",
        "application_name",
        "service",
        "connect_timeout",
        "client_encoding",
        "target_session_attrs",
        "load_balance_hosts",
        "channel_binding",
        "require_auth",
        "gssencmode",
    ];
    let name = match parameter {
        "application_name" => "APPNAME".to_owned(),
        name => name.replace('_', "").to_uppercase(),
    };
    known.contains(&parameter).then(|| format!("PG{name}"))
}

/// libpq's parameters as PostgreSQL's JDBC driver calls them.
fn for_pgjdbc((name, value): (String, String)) -> (String, String) {
    let (name, value) = match (name.as_str(), value.as_str()) {
        ("target_session_attrs", "read-write" | "primary") => ("targetServerType", "primary"),
        ("target_session_attrs", "read-only" | "standby") => ("targetServerType", "secondary"),
        ("target_session_attrs", "prefer-standby") => ("targetServerType", "preferSecondary"),
        ("target_session_attrs", _) => ("targetServerType", "any"),
        ("load_balance_hosts", value) => ("loadBalanceHosts", if value == "random" { "true" } else { "false" }),
        ("channel_binding", value) => ("channelBinding", value),
        ("application_name", value) => ("ApplicationName", value),
        ("connect_timeout", value) => ("connectTimeout", value),
        other => other,
    };
    (name.to_owned(), value.to_owned())
}

fn query(parameters: &[(String, String)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", escape::url(name), escape::url(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { query } else { format!("?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    fn written(format: Format, url: &str) -> Result<String, String> {
        let credential = Credential { username: "v:app".into(), password: Secret::new("p@s's/w\\d 1") };
        write(format, &credential, &Endpoint::parse(url))
    }

    const DB: &str = "postgresql://{{username}}:{{password}}@db:5433/my%20app?sslmode=require&sslrootcert=/ca.pem";

    #[test]
    fn every_form_of_postgresql_escapes_in_its_own_way() {
        for (format, expected) in [
            (Format::Url, "postgresql://v%3Aapp:p%40s%27s%2Fw%5Cd%201@db:5433/my%20app?sslmode=require"),
            (
                Format::Jdbc,
                "jdbc:postgresql://db:5433/my%20app?user=v%3Aapp&password=p%40s%27s%2Fw%5Cd%201&sslmode=require",
            ),
            (
                Format::Conninfo,
                r"host=db port=5433 dbname='my app' user=v:app password='p@s\'s/w\\d 1' sslmode=require",
            ),
            (Format::Pgpass, "db:5433:my app:v\\:app:p@s's/w\\\\d 1\n"),
            (
                Format::Env,
                "PGHOST=db\nPGPORT=5433\nPGDATABASE='my app'\nPGUSER=v:app\nPGPASSWORD=\"p@s's/w\\\\d 1\"\nPGSSLMODE=require\n\
                 DATABASE_URL=postgresql://v%3Aapp:p%40s%27s%2Fw%5Cd%201@db:5433/my%20app?sslmode=require\n",
            ),
        ] {
            assert_eq!(written(format, DB).unwrap(), expected, "{format:?}");
        }
        let json: Value = serde_json::from_str(&written(Format::Json, DB).unwrap()).unwrap();
        assert_eq!((&json["password"], &json["port"]), (&json!("p@s's/w\\d 1"), &json!(5433)));
        assert_eq!((&json["database"], &json["sslmode"]), (&json!("my app"), &json!("require")));
    }

    #[test]
    fn several_hosts_stand_as_each_form_takes_them() {
        let hosts = "postgres://u@[fd00::1],b:2/app?target_session_attrs=primary";
        let url = written(Format::Url, hosts).unwrap();
        assert!(url.ends_with("@[fd00::1]:5432,b:2/app?target_session_attrs=primary"), "{url}");
        assert!(written(Format::Jdbc, hosts).unwrap().ends_with("&targetServerType=primary"));
        assert!(written(Format::Env, hosts).unwrap().starts_with("PGHOST=fd00::1,b\nPGPORT=5432,2\n"));
        let lines = written(Format::Pgpass, hosts).unwrap();
        assert!(lines.starts_with("fd00\\:\\:1:5432:app:") && lines.contains("\nb:2:app:"), "{lines}");
    }

    #[test]
    fn other_databases_have_the_forms_that_they_have() {
        let mysql = "{{username}}:{{password}}@tcp(db)/shop";
        assert!(written(Format::Jdbc, mysql).unwrap().starts_with("jdbc:mysql://db:3306/shop?user=v%3Aapp&password="));
        assert!(written(Format::Env, mysql).unwrap().starts_with("DB_HOST=db\nDB_PORT=3306\nDB_NAME=shop\n"));
        assert!(written(Format::Pgpass, mysql).unwrap_err().contains("this database is mysql"));
        assert_eq!(
            written(Format::Jdbc, "sqlserver://db/").unwrap(),
            "jdbc:sqlserver://db:1433;user={v:app};password={p@s's/w\\d 1}"
        );
        assert!(written(Format::Jdbc, "mongodb://db/app").unwrap_err().contains("template"));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for format in [Format::Url, Format::Jdbc, Format::Conninfo, Format::Pgpass, Format::Env] {
            assert!(written(format, "nonsense").unwrap_err().contains("endpoint."), "{format:?}");
        }
        assert!(written(Format::Json, "nonsense").unwrap().contains("username"));
    }
}
