//! PostgreSQL's recipe, and what only PostgreSQL must show.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lessor::base::{Gate, Secret};
use lessor::drivers::{Change, Driver, DropUser, Kind, NewUser};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::postgres_server::PostgresServer;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::postgres_releases::{Installed, Release};
use super::recipe::{Recipe, Session};
use super::suite::{User, change, create, create_all, delete, delete_all, in_an_hour, new_user, open, open_with};

/// The administrator's: every character that has a meaning in a URL, in SQL or in a `key=value` string.
const ADMIN_PASSWORD: &str = "p@:/?#[]%25&=+ \"\\$ä";

/// A server with the table `notes`, the group `app_rw` that may use it, and an administrator with CREATEROLE alone.
pub struct Postgres<R>(pub PostgresServer, PhantomData<R>);

/// Of the release that is installed.
pub type OwnPostgres = Postgres<Installed>;

impl<R: Release> Postgres<R> {
    /// With settings as in postgresql.conf.
    pub async fn start_with(settings: &[&str]) -> Self {
        let settings = [settings, &["max_connections=60"]].concat();
        let server = PostgresServer::start_release(R::programs(), &settings).await;
        server
            .run(
                "postgres",
                &format!(
                    "CREATE ROLE app_rw NOLOGIN;
                     CREATE ROLE admin LOGIN CREATEROLE PASSWORD '{ADMIN_PASSWORD}';
                     GRANT app_rw TO admin WITH ADMIN OPTION;"
                ),
            )
            .await;
        server.run("postgres", "CREATE DATABASE app OWNER postgres").await;
        server
            .run(
                "app",
                "CREATE TABLE notes (text text); CREATE TABLE secrets (text text);
                 GRANT SELECT, INSERT ON notes TO app_rw; GRANT USAGE, CREATE ON SCHEMA public TO app_rw;",
            )
            .await;
        Self(server, PhantomData)
    }

    /// The password of `admin`.
    pub fn admin_password(&self) -> Secret {
        Secret::new(ADMIN_PASSWORD)
    }
}

#[async_trait]
impl<R: Release> Recipe for Postgres<R> {
    const PLUGIN: &'static str = "postgresql-database-plugin";

    async fn start() -> Self {
        Self::start_with(&["log_statement=all"]).await
    }

    fn fields(&self) -> Value {
        json!({
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/app?sslmode=disable", self.0.port()),
            "username": "admin",
            "password": ADMIN_PASSWORD,
        })
    }

    fn creation(&self) -> Vec<String> {
        vec!["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT app_rw TO \"{{name}}\";".into()]
    }

    async fn login(&self, user: &str, password: &Secret) -> Result<Box<dyn Session>, String> {
        let client = self.0.login("app", user, password).await.map_err(|error| format!("{error:?}"))?;
        Ok(Box::new(OwnSession(client)))
    }

    async fn users(&self, prefix: &str) -> usize {
        let query = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE '{prefix}%'");
        usize::try_from(self.0.count(&query).await).unwrap()
    }

    async fn expiry(&self, user: &str) -> Option<i64> {
        let query = format!("SELECT extract(epoch FROM rolvaliduntil)::bigint FROM pg_roles WHERE rolname = '{user}'");
        Some(self.0.count(&query).await)
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    async fn start_again(&mut self) {
        self.0.start_again().await;
    }
}

struct OwnSession(Client);

impl OwnSession {
    async fn run(&self, statements: &str) -> Result<(), String> {
        self.0.batch_execute(statements).await.map_err(|error| format!("{error:?}"))
    }
}

#[async_trait]
impl Session for OwnSession {
    async fn allowed(&self) -> Result<(), String> {
        self.run("INSERT INTO notes VALUES ('hello'); SELECT * FROM notes").await
    }

    async fn alive(&self) -> Result<(), String> {
        self.run("SELECT 1").await
    }

    async fn denied(&self) -> Result<(), String> {
        self.run("SELECT * FROM secrets").await
    }

    async fn own_something(&self) -> Result<(), String> {
        self.run(
            "CREATE TABLE own (id serial PRIMARY KEY); CREATE FUNCTION own_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
             GRANT SELECT ON own TO app_rw; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_rw;",
        )
        .await
    }
}

/// The superuser as administrator, who may grant in the name of others.
fn as_superuser<R: Release>(recipe: &Postgres<R>) -> Arc<dyn Driver> {
    let mut fields = recipe.fields();
    fields["username"] = json!("postgres");
    fields["password"] = json!(recipe.0.password().expose());
    fields["max_open_connections"] = json!(16);
    open_with::<Postgres<R>>(&fields)
}

async fn objects_and_grants_in_other_databases_hold_no_role<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    recipe.0.run("postgres", "CREATE DATABASE \"other one\"").await;
    recipe.0.run("other one", "GRANT CREATE, USAGE ON SCHEMA public TO app_rw").await;
    let driver = open(&recipe);
    let user = User::new("v-wide");
    create(&recipe, &*driver, &user).await.unwrap();
    for database in ["app", "other one"] {
        let client = recipe.0.login(database, &user.name, &user.password).await.unwrap();
        client.batch_execute("CREATE TABLE own (id int)").await.unwrap();
    }
    delete(&*driver, &user.name).await.unwrap();
    assert_eq!(recipe.users("v-wide").await, 0);
    recipe.0.run("other one", "SELECT * FROM own").await;
}

async fn grants_by_others_hold_no_role<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = as_superuser(&recipe);
    let user = User::new("v-foreign");
    create(&recipe, &*driver, &user).await.unwrap();
    // `lender` owns none of this: it may pass on what it was granted, and DROP OWNED does not see what it passed on.
    recipe
        .0
        .run(
            "app",
            "CREATE ROLE lender NOLOGIN; CREATE SCHEMA lent; CREATE SEQUENCE numbers;
             CREATE FUNCTION lent.work(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
             GRANT USAGE ON SCHEMA lent TO lender WITH GRANT OPTION; GRANT SELECT ON notes TO lender WITH GRANT OPTION;
             GRANT USAGE ON SEQUENCE numbers TO lender WITH GRANT OPTION; GRANT CONNECT ON DATABASE app TO lender WITH GRANT OPTION;
             GRANT EXECUTE ON FUNCTION lent.work(int) TO lender WITH GRANT OPTION; GRANT SELECT (text) ON secrets TO lender WITH GRANT OPTION;
             SET ROLE lender;
             GRANT USAGE ON SCHEMA lent TO \"v-foreign\"; GRANT SELECT ON notes TO \"v-foreign\";
             GRANT USAGE ON SEQUENCE numbers TO \"v-foreign\"; GRANT CONNECT ON DATABASE app TO \"v-foreign\";
             GRANT EXECUTE ON FUNCTION lent.work(int) TO \"v-foreign\"; GRANT SELECT (text) ON secrets TO \"v-foreign\";",
        )
        .await;
    delete(&*driver, &user.name).await.unwrap();
    assert_eq!(recipe.users("v-foreign").await, 0);
}

async fn a_role_that_cannot_be_dropped_can_no_longer_log_in_and_the_error_says_why<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = open(&recipe);
    let user = User::new("v-held");
    create(&recipe, &*driver, &user).await.unwrap();
    // Only the owner of `secrets` can take this back, and the administrator is not allowed to act as that.
    recipe.0.run("app", "GRANT SELECT ON secrets TO \"v-held\"").await;
    let error = delete(&*driver, &user.name).await.unwrap_err();
    assert!(error.message().contains("privileges for table secrets"), "{error}");
    recipe.login(&user.name, &user.password).await.err().expect("login was disabled first");
    recipe.0.run("app", "REVOKE SELECT ON secrets FROM \"v-held\"").await;
    delete(&*driver, &user.name).await.unwrap();
}

async fn conflicting_grants_on_one_table_all_succeed<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = as_superuser(&recipe);
    let statements =
        ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'; GRANT SELECT ON notes TO \"{{name}}\";".to_owned()];
    let names: Vec<_> = (0..100).map(|number| format!("v-grant-{number}")).collect();
    create_all(&driver, &names, &statements).await;
    delete_all(&driver, &names).await;
    assert_eq!(recipe.users("v-grant-").await, 0);
}

async fn a_creation_that_nobody_waits_for_does_not_outlive_its_revocation<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = open(&recipe);
    let user = User::new("v-late");
    let statements = ["SELECT pg_sleep(2); CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'".to_owned()];
    tokio::time::timeout(Duration::from_millis(300), driver.create(new_user(&user, &statements), &Gate::opened()))
        .await
        .expect_err("it takes two seconds");
    // Another driver, as after a restart of the engine: it knows nothing of the first.
    delete(&*open(&recipe), &user.name).await.unwrap();
    eventually("the abandoned statement has ended", Duration::from_secs(10), || async {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'admin' AND query LIKE '%pg_sleep%' AND state = 'active'";
        equals(recipe.0.count(query).await, 0)
    })
    .await;
    assert_eq!(recipe.users("v-late").await, 0);
}

async fn statements_of_the_role_are_honoured<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = open(&recipe);
    let user = User::new("v-own");
    let statements = [
        "BEGIN; DO $$ BEGIN CREATE ROLE \"{{name}}\" LOGIN; END $$; ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'; COMMIT;".to_owned(),
        "[\"COMMENT ON ROLE \\\"{{username}}\\\" IS 'made; by us' -- a comment\", \"GRANT app_rw TO \\\"{{name}}\\\"\"]".to_owned(),
    ];
    driver.create(new_user(&user, &statements), &Gate::opened()).await.unwrap();
    recipe.login(&user.name, &user.password).await.unwrap().allowed().await.unwrap();
    let renewal = ["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}' CONNECTION LIMIT 7".to_owned()];
    let renewal = Change { expires: Some(in_an_hour()), statements: &renewal, ..change(&user.name) };
    driver.update(renewal, &Gate::opened()).await.unwrap();
    assert_eq!(recipe.0.count("SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = 'v-own'").await, 7);
    let own = ["DROP ROLE \"{{name}}\"".to_owned()];
    driver.delete(DropUser { username: &user.name, statements: &own, end_sessions: true }).await.unwrap();
    driver
        .delete(DropUser { username: &user.name, statements: &own, end_sessions: true })
        .await
        .expect("an absent role is success");
    assert_eq!(recipe.users("v-own").await, 0);
}

async fn what_committed_by_itself_is_rolled_back_by_statements<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = open(&recipe);
    let user = User::new("v-half");
    let statements = ["CREATE ROLE \"{{name}}-side\"; COMMIT; SELECT 1/0".to_owned()];
    let rollback = ["DROP ROLE IF EXISTS \"{{name}}-side\"".to_owned()];
    let new = NewUser { rollback: &rollback, ..new_user(&user, &statements) };
    assert_eq!(driver.create(new, &Gate::opened()).await.unwrap_err().kind(), Kind::Statement);
    assert_eq!(recipe.users("v-half").await, 0);
}

async fn a_failed_statement_leaves_nothing_behind_and_no_open_transaction<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let driver = open(&recipe);
    for statements in ["CREATE ROLE \"{{name}}\"; NONSENSE", "BEGIN; CREATE ROLE \"{{name}}\"; SELECT 1/0; COMMIT"] {
        let user = User::new("v-failed");
        let statements = [statements.to_owned()];
        assert_eq!(
            driver.create(new_user(&user, &statements), &Gate::opened()).await.unwrap_err().kind(),
            Kind::Statement
        );
        assert_eq!(recipe.users("v-failed").await, 0);
    }
    for number in 0..8 {
        create(&recipe, &*driver, &User::new(&format!("v-next-{number}"))).await.unwrap();
    }
    assert_eq!(recipe.users("v-next-").await, 8);
}

async fn every_form_of_connection_url_reaches_the_server<R: Release>() {
    let recipe = Postgres::<R>::start().await;
    let port = recipe.0.port();
    for url in [
        format!(
            "postgres://{{{{username}}}}:{{{{password}}}}@localhost:{port}/app?timezone=UTC&search_path=public&connect_timeout=3"
        ),
        format!("host=127.0.0.1 port={port} dbname=app user={{{{username}}}} password={{{{password}}}} sslmode=prefer"),
        format!("postgresql://127.0.0.1:1,127.0.0.1:{port}/app?sslmode=disable"),
    ] {
        let mut fields = recipe.fields();
        fields["connection_url"] = json!(url);
        open_with::<Postgres<R>>(&fields).verify().await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    let mut fields = recipe.fields();
    fields["password"] = json!("not-the-password");
    let error = open_with::<Postgres<R>>(&fields).verify().await.unwrap_err();
    assert!(error.kind() == Kind::Refused && !error.message().contains("not-the-password"), "{error}");
}

on_each_release! {
    release_15: Fifteen, release_18: Eighteen;
    [
        objects_and_grants_in_other_databases_hold_no_role,
        grants_by_others_hold_no_role,
        a_role_that_cannot_be_dropped_can_no_longer_log_in_and_the_error_says_why,
        conflicting_grants_on_one_table_all_succeed,
        a_creation_that_nobody_waits_for_does_not_outlive_its_revocation,
        statements_of_the_role_are_honoured,
        a_failed_statement_leaves_nothing_behind_and_no_open_transaction,
        what_committed_by_itself_is_rolled_back_by_statements,
        every_form_of_connection_url_reaches_the_server,
    ]
}
