//! Presets on a real PostgreSQL, with an administrator that has no more rights than it needs.

use std::sync::Arc;

use lessor::base::Gate;
use lessor::drivers::{self, Driver, Error, Preset};
use lessor_e2e::postgres_server::{PostgresServer, SUPERUSER};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::postgres::OwnPostgres;
use super::recipe::Recipe as _;
use super::suite::{User, delete, new_user, open_with};

/// A server with the databases `app` and `other`, each with a schema `shop` of the administrator's and a table in it.
async fn start() -> PostgresServer {
    let server = PostgresServer::start(&[]).await;
    server.run("postgres", "CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'admin-pw'").await;
    for database in ["app", "other"] {
        server.run("postgres", &format!("CREATE DATABASE {database} OWNER admin")).await;
        server
            .run(
                database,
                "SET ROLE admin; CREATE SCHEMA shop; CREATE TABLE shop.notes (id serial PRIMARY KEY, body text);
                 INSERT INTO shop.notes (body) VALUES ('first')",
            )
            .await;
    }
    server
}

fn driver(server: &PostgresServer, database: &str, superuser: bool) -> Arc<dyn Driver> {
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{database}?sslmode=disable",
        server.port()
    );
    let (username, password) = if superuser { (SUPERUSER, server.password().expose()) } else { ("admin", "admin-pw") };
    open_with::<OwnPostgres>(&json!({ "connection_url": url, "username": username, "password": password }))
}

async fn make(driver: &dyn Driver, preset: &str, schema: &str, name: &str) -> Result<User, Error> {
    let preset = Preset::new(preset, schema, true)?;
    let statements = (drivers::find(OwnPostgres::PLUGIN).unwrap().preset)(&preset).unwrap();
    let user = User::new(name);
    driver.create(new_user(&user, &statements), &Gate::opened()).await?;
    Ok(user)
}

async fn login(server: &PostgresServer, user: &User) -> Client {
    server.login("app", &user.name, &user.password).await.unwrap()
}

async fn does(client: &Client, sql: &str) -> bool {
    match client.batch_execute(sql).await {
        Ok(()) => true,
        Err(error) => {
            let code = error.code().map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error:?}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_its_preset_says() {
    let server = start().await;
    for superuser in [false, true] {
        let driver = driver(&server, "app", superuser);
        let prefix = if superuser { "s" } else { "a" };
        let user = async |preset: &str| {
            make(&*driver, preset, "shop", &format!("{prefix}-{preset}"))
                .await
                .unwrap_or_else(|error| panic!("{error}"))
        };
        let (reader, writer, owner) = (user("readonly").await, user("readwrite").await, user("owner-of-schema").await);
        let (reading, writing, owning) =
            (login(&server, &reader).await, login(&server, &writer).await, login(&server, &owner).await);
        for (client, read, write, own) in
            [(&reading, true, false, false), (&writing, true, true, false), (&owning, true, true, true)]
        {
            assert_eq!(does(client, "SELECT * FROM shop.notes").await, read);
            assert_eq!(
                does(client, "INSERT INTO shop.notes (body) VALUES ('x'); DELETE FROM shop.notes WHERE body = 'x'")
                    .await,
                write
            );
            assert_eq!(does(client, "CREATE TABLE shop.tried (id int); DROP TABLE shop.tried").await, own);
        }
        // What the owner and the administrator make later is there for those who are logged in already, or come later.
        owning.batch_execute("CREATE TABLE shop.later (id serial)").await.unwrap();
        server.run("app", "SET ROLE admin; CREATE TABLE shop.latest (id serial)").await;
        let late = make(&*driver, "readonly", "shop", "late").await.unwrap();
        assert!(does(&login(&server, &late).await, "SELECT * FROM shop.later, shop.latest").await);
        assert!(does(&reading, "SELECT * FROM shop.later, shop.latest").await);
        assert!(does(&writing, "INSERT INTO shop.latest DEFAULT VALUES").await);
        // What one owner makes the next one has.
        for user in [&late, &reader, &writer, &owner] {
            delete(&*driver, &user.name).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let next = make(&*driver, "owner-of-schema", "shop", "next").await.unwrap();
        let client = login(&server, &next).await;
        assert!(does(&client, "ALTER TABLE shop.later ADD COLUMN more int; DROP TABLE shop.later").await);
        delete(&*driver, "next").await.unwrap();
        server.run("app", "DROP TABLE shop.latest").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_one_database_cannot_read_another() {
    let server = start().await;
    for (database, name) in [("app", "reader"), ("other", "stranger")] {
        make(&*driver(&server, database, false), "readonly", "shop", name).await.unwrap();
    }
    let stranger = server.login("app", "stranger", &User::new("stranger").password).await.unwrap();
    assert!(!does(&stranger, "SELECT * FROM shop.notes").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_one_group_and_leave_the_catalogue_as_it_is() {
    let server = start().await;
    let driver = driver(&server, "app", false);
    for round in 0..3 {
        let mut calls = JoinSet::new();
        for number in 0..30 {
            let driver = driver.clone();
            let preset = ["readonly", "readwrite", "owner-of-schema"][number % 3];
            calls.spawn(async move { make(&*driver, preset, "shop", &format!("m-{number}")).await });
        }
        for user in calls.join_all().await {
            let user = user.unwrap_or_else(|error| panic!("{error}"));
            delete(&*driver, &user.name).await.unwrap();
        }
        let client = server.login("app", SUPERUSER, server.password()).await.unwrap();
        let query = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'lessor\\_%'),
            (SELECT count(*) FROM pg_class c, aclexplode(relacl) WHERE c.oid = 'shop.notes'::regclass),
            (SELECT count(*) FROM pg_namespace n, aclexplode(nspacl) WHERE nspname = 'shop'),
            (SELECT count(*) FROM pg_auth_members WHERE member NOT IN (SELECT oid FROM pg_roles WHERE rolname IN ('admin', 'pg_monitor'))),
            (SELECT count(*) FROM pg_db_role_setting)";
        let row = client.query_one(query, &[]).await.unwrap();
        let counts: Vec<i64> = (0..5).map(|at| row.get(at)).collect();
        // Three groups; the owner's own entries and 1 + 4 + 7 on the table; one or two each on the schema; nobody is left.
        let of_owner = if server.version().await >= 17 { 8 } else { 7 };
        assert_eq!(counts, [3, of_owner + 12, 2 + 1 + 1 + 2, 0, 0], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_needs_the_right_to_grant_and_is_told_so() {
    let server = start().await;
    server
        .run("app", "CREATE ROLE landlord; CREATE SCHEMA rented AUTHORIZATION landlord; SET ROLE landlord; CREATE TABLE rented.rooms (id int)")
        .await;
    let driver = driver(&server, "app", false);
    let refusal = async |preset| make(&*driver, preset, "rented", "u").await.err().unwrap().message().to_owned();
    for (preset, grant) in [
        ("readonly", "GRANT USAGE ON SCHEMA rented TO admin WITH GRANT OPTION"),
        ("owner-of-schema", "GRANT CREATE ON SCHEMA rented TO admin WITH GRANT OPTION"),
    ] {
        let message = refusal(preset).await;
        assert!(message.contains("WITH GRANT OPTION") && message.contains("schema rented"), "{message}");
        server.run("app", &format!("SET ROLE landlord; {grant}")).await;
    }
    let message = refusal("readonly").await;
    assert!(message.contains("may not grant SELECT on any table of schema rented"), "{message}");
    server.run("app", "SET ROLE landlord; GRANT SELECT ON rented.rooms TO admin WITH GRANT OPTION").await;
    let user = make(&*driver, "readonly", "rented", "u").await.unwrap();
    assert!(does(&login(&server, &user).await, "SELECT * FROM rented.rooms").await);
    delete(&*driver, "u").await.unwrap();

    let message = make(&*driver, "readonly", "nosuch", "u").await.err().unwrap().message().to_owned();
    assert!(message.contains("there is no schema nosuch in the database app"), "{message}");
    // The owner's preset makes its schema; names of every kind stay apart, and short enough.
    for schema in ["new one", "a.b", &"ü".repeat(31)] {
        let user =
            make(&*driver, "owner-of-schema", schema, "u").await.unwrap_or_else(|error| panic!("{schema}: {error}"));
        assert!(does(&login(&server, &user).await, &format!("CREATE TABLE \"{schema}\".t (id int)")).await);
        delete(&*driver, "u").await.unwrap();
        let reader = make(&*driver, "readonly", schema, "r").await.unwrap_or_else(|error| panic!("{schema}: {error}"));
        assert!(does(&login(&server, &reader).await, &format!("SELECT * FROM \"{schema}\".t")).await);
        delete(&*driver, "r").await.unwrap();
    }
}
