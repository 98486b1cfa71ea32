//! A PostgreSQL and an engine of a test's own, with the database engine mounted: what a test needs that breaks things.

use std::collections::{BTreeMap, BTreeSet};

use lessor::base::{Random as _, Secret, random::SystemRandom};
use serde_json::{Value, json};
use tokio_postgres::{Client, Error};

use crate::http::Http;
use crate::lessor::Lessor;
use crate::postgres_server::PostgresServer;

/// The connections' user: may make roles and grant `app_rw`, and is no superuser.
pub const ADMIN: &str = "lessor_admin";

/// The database that the connections lead to.
pub const DATABASE: &str = "app";

/// The statements of a role whose users log in by password and get their rights from a group.
pub const MEMBER: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                          GRANT app_rw TO \"{{name}}\";";

/// An engine and a database server. Both end with the value.
pub struct Site {
    /// The engine, initialised and unsealed.
    pub lessor: Lessor,
    /// A client with the root token.
    pub http: Http,
    /// The server, with [`DATABASE`], the group `app_rw`, the table `notes` that it may use, and [`ADMIN`].
    pub server: PostgresServer,
    admin_password: Secret,
}

impl Site {
    /// Starts both; `settings` are the server's, as in postgresql.conf.
    ///
    /// # Panics
    /// When one does not come up.
    pub async fn start(settings: &[&str]) -> Self {
        Self::with(Lessor::server().await, settings).await
    }

    /// The same with an engine that logs as little as in production, to be measured.
    ///
    /// # Panics
    /// When one does not come up.
    pub async fn quiet(settings: &[&str]) -> Self {
        Self::with(Lessor::quiet_server().await, settings).await
    }

    async fn with(lessor: Lessor, settings: &[&str]) -> Self {
        let server = PostgresServer::start(settings).await;
        let admin_password = Secret::new(SystemRandom.base62(20));
        let roles = format!(
            "CREATE ROLE app_rw NOLOGIN;
             CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{}';
             GRANT app_rw TO {ADMIN} WITH ADMIN OPTION;
             GRANT pg_signal_backend TO {ADMIN};",
            admin_password.expose()
        );
        server.run("postgres", &roles).await;
        server.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await;
        server.run(DATABASE, "CREATE TABLE notes (body text); GRANT SELECT, INSERT ON notes TO app_rw;").await;
        let root = lessor.initialise().await;
        lessor.unsealed().await;
        let http = lessor.http().with_token(&root);
        http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
        Self { lessor, http, server, admin_password }
    }

    /// Where the server listens, `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.server.port())
    }

    /// The password that [`ADMIN`] had at first.
    pub fn admin_password(&self) -> &Secret {
        &self.admin_password
    }

    /// The body of a `database/config` write for the server, reached at `address` (itself, or a proxy before it).
    pub fn connection(&self, address: &str) -> Value {
        json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@{address}/{DATABASE}?sslmode=disable"),
            "username": ADMIN,
            "password": self.admin_password.expose(),
        })
    }

    /// Writes a connection.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn connect(&self, name: &str, address: &str) {
        self.http.post(&format!("database/config/{name}"), self.connection(address)).await.expect_status(204);
    }

    /// Writes a role of [`MEMBER`] users with an hour to live; `fields` add to that or replace it.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn role(&self, name: &str, connection: &str, fields: Value) {
        let mut body =
            json!({ "db_name": connection, "creation_statements": MEMBER, "default_ttl": "1h", "max_ttl": "24h" });
        if let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) {
            body.extend(fields);
        }
        let answer = self.http.post(&format!("database/roles/{name}"), body).await;
        assert!(matches!(answer.status, 200 | 204), "{}: {}", answer.status, answer.body["errors"]);
    }

    /// Takes a credential.
    ///
    /// # Panics
    /// When there is none.
    pub async fn issue(&self, role: &str) -> Credential {
        Credential::of(&self.http.get(&format!("database/creds/{role}")).await.expect_status(200).body)
    }

    /// The leases below a prefix (`database/creds/app/`), found by walking the folders that LIST shows.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub async fn leases(&self, prefix: &str) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![prefix.to_owned()]);
        while let Some(folder) = open.pop() {
            let answer = self.http.list(&format!("sys/leases/lookup/{folder}")).await;
            assert!(matches!(answer.status, 200 | 404), "{}: {}", answer.status, answer.body["errors"]);
            for key in answer.body["data"]["keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let path = format!("{folder}{key}");
                if key.ends_with('/') { open.push(path) } else { found.extend([path]) }
            }
        }
        found
    }

    /// The server's users whose names match a `LIKE` pattern, and when they may no longer log in (Unix seconds), if ever.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn users(&self, pattern: &str) -> BTreeMap<String, Option<i64>> {
        let query =
            "SELECT rolname::text, extract(epoch FROM rolvaliduntil)::bigint FROM pg_roles WHERE rolname LIKE $1";
        let client = self.server.connect().await.expect("the superuser can log in");
        let rows = client.query(query, &[&pattern]).await.expect("roles can be read");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Logs in to [`DATABASE`], past every proxy.
    ///
    /// # Errors
    /// What the server says.
    pub async fn login(&self, user: &str, password: &Secret) -> Result<Client, Error> {
        self.server.login(DATABASE, user, password).await
    }
}

/// What a client was given.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The lease's id.
    pub lease: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl Credential {
    /// Reads it from the body of an answer.
    ///
    /// # Panics
    /// When it is not one.
    pub fn of(body: &Value) -> Self {
        let text =
            |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}"));
        let password = Secret::new(text("/data/password"));
        Self { lease: text("/lease_id").to_owned(), user: text("/data/username").to_owned(), password }
    }
}
