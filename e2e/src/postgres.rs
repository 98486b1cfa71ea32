//! The PostgreSQL of the tests, looked at as its superuser.

use lessor::base::Secret;
use serde_json::{Value, json};
use tokio_postgres::{Client, Error, NoTls};

use crate::environment::variable;

/// What a test's role is made with: a login that may work on the table `notes` until its lease ends.
pub const CREATION: &str = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                            GRANT app_rw TO \"{{name}}\";";

/// A superuser's connection.
pub struct Postgres {
    client: Client,
}

impl Postgres {
    /// Connects as the superuser.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn connect() -> Self {
        let password = Secret::new(variable("LESSOR_PG_PASSWORD"));
        let client = login(&variable("LESSOR_PG_USER"), &password).await;
        Self { client: client.unwrap_or_else(|error| panic!("cannot reach PostgreSQL: {error}")) }
    }

    /// The roles whose names match a `LIKE` pattern, sorted.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn roles(&self, pattern: &str) -> Vec<String> {
        let query = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE $1 ORDER BY 1";
        let rows = self.client.query(query, &[&pattern]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Whether there is a role of this name.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn has_role(&self, name: &str) -> bool {
        let row = self.client.query_one("SELECT count(*) FROM pg_roles WHERE rolname = $1", &[&name]).await.unwrap();
        row.get::<_, i64>(0) == 1
    }

    /// How many rows of `notes` an author has written.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn notes_by(&self, author: &str) -> i64 {
        let query = "SELECT count(*) FROM notes WHERE author = $1";
        self.client.query_one(query, &[&author]).await.unwrap().get(0)
    }

    /// Who has written a note with this body, if anybody has.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn author_of(&self, body: &str) -> Option<String> {
        let query = "SELECT author FROM notes WHERE body = $1 ORDER BY id DESC LIMIT 1";
        self.client.query_opt(query, &[&body]).await.unwrap().map(|row| row.get(0))
    }

    /// How many sessions of a user are at work or in a transaction.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn busy_sessions(&self, user: &str) -> i64 {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'";
        self.client.query_one(query, &[&user]).await.unwrap().get(0)
    }

    /// The one text that a query gives.
    ///
    /// # Panics
    /// When the query fails or gives something else.
    pub async fn text(&self, query: &str) -> String {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Runs statements as the superuser.
    ///
    /// # Panics
    /// When they fail.
    pub async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }
}

/// Where the server is, `HOST:PORT`.
pub fn address() -> String {
    format!("{}:{}", variable("LESSOR_PG_HOST"), variable("LESSOR_PG_PORT"))
}

/// Logs in over TCP without TLS.
///
/// # Errors
/// What the server says.
pub async fn login(user: &str, password: &Secret) -> Result<Client, Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(variable("LESSOR_PG_HOST")).port(variable("LESSOR_PG_PORT").parse().expect("LESSOR_PG_PORT is a port"));
    config.dbname(variable("LESSOR_PG_DATABASE")).user(user).password(password.expose());
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with the client; what it says then nobody needs.
    tokio::spawn(connection);
    Ok(client)
}

/// The body of a `database/config` write for this server, reached at `address` (itself, or a proxy before it).
pub fn connection(address: &str) -> Value {
    json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url":
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@{address}/{}?sslmode=disable", variable("LESSOR_PG_DATABASE")),
        "username": variable("LESSOR_PG_ADMIN_USER"),
        "password": variable("LESSOR_PG_ADMIN_PASSWORD"),
    })
}
