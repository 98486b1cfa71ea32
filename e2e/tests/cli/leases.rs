//! A user of a real PostgreSQL, from its configuration to its end, by commands alone.

use lessor::base::Secret;
use lessor_e2e::postgres_server::{PostgresServer, SUPERUSER};

use super::shell::dev;

const STATEMENTS: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';";

#[tokio::test]
async fn a_credential_is_leased_renewed_and_taken_back() {
    let server = PostgresServer::start(&[]).await;
    let (shell, _engine) = dev(&[]).await;
    shell.vault("secrets enable database").await.done();
    let url = format!(
        "connection_url=postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
        server.port()
    );
    let username = format!("username={SUPERUSER}");
    let connection = [
        "write",
        "database/config/pg",
        "plugin_name=postgresql-database-plugin",
        "allowed_roles=app",
        &username,
        "password=-",
        &url,
    ];
    let written = shell.words(&connection, server.password().expose()).await.done();
    assert_eq!(written, "Success! Data written to: database/config/pg\n");
    let statements = shell.file("create.sql", STATEMENTS);
    let statements = format!("creation_statements=@{statements}");
    shell
        .words(&["write", "database/roles/app", "db_name=pg", "default_ttl=1h", "max_ttl=2h", &statements], "")
        .await
        .done();
    let role = shell.vault("read database/roles/app").await.done();
    assert!(role.contains("\ndefault_ttl              1h\n"), "{role}");

    let made = shell.vault("read -format=json database/creds/app").await.json();
    let (lease, user) = (made["lease_id"].as_str().unwrap(), made["data"]["username"].as_str().unwrap());
    let password = Secret::new(made["data"]["password"].as_str().unwrap());
    server.login("postgres", user, &password).await.unwrap();
    let listed = shell.vault("lease list database/creds/app").await.done();
    assert!(listed.starts_with("Keys\n----\n") && lease.ends_with(listed.lines().last().unwrap()), "{listed}");
    assert!(shell.vault(&format!("lease lookup {lease}")).await.done().contains("\nrenewable       true\n"));
    let renewed = shell.vault(&format!("lease renew -increment=30m {lease}")).await.done();
    assert_eq!(
        renewed,
        format!(
            "Key                Value\n---                -----\nlease_id           {lease}\nlease_duration     30m\nlease_renewable    true\n"
        )
    );
    let revoked = shell.vault(&format!("lease revoke -sync {lease}")).await.done();
    assert_eq!(revoked, format!("Success! Revoked lease: {lease}\n"));
    assert!(shell.vault(&format!("lease lookup {lease}")).await.failed(2).contains("invalid lease"));
    let gone = server.login("postgres", user, &password).await;
    assert!(gone.is_err(), "its user is gone");

    shell.vault("read database/creds/app").await.done();
    let queued = shell.vault("lease revoke -prefix database/creds/app").await.done();
    assert_eq!(queued, "All revocation operations queued successfully!\n");
}
