//! What a PostgreSQL that logs every statement gets to see: verifiers, never a password.

use lessor::base::{Gate, Secret};
use lessor::drivers::{Change, Credential};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::site::{ADMIN, Site};
use serde_json::json;

use super::postgres::Postgres;
use super::postgres_releases::Release;
use super::recipe::Recipe as _;
use super::suite::{User, change, create, delete, new_user, open};

/// Everything that makes a server log statements.
const TALKATIVE: [&str; 5] = [
    "log_statement=all",
    "log_min_duration_statement=0",
    "log_min_error_statement=error",
    "log_error_verbosity=verbose",
    "log_min_messages=debug1",
];

/// The texts that stand for a password in statements: what follows `PASSWORD '`.
fn stated(log: &str) -> Vec<&str> {
    log.split("PASSWORD '").skip(1).filter_map(|rest| rest.split('\'').next()).collect()
}

/// Whether every one of them is a SCRAM verifier; the texts may be passwords, so only their number is told.
fn assert_only_verifiers(log: &str, at_least: usize) {
    let stated = stated(log);
    let others = stated.iter().filter(|text| !text.starts_with("SCRAM-SHA-256$4096:")).count();
    assert!(others == 0 && stated.len() >= at_least, "{others} of {} are no verifiers", stated.len());
}

async fn no_log_of_the_server_holds_a_password<R: Release>() {
    let recipe = Postgres::<R>::start_with(&TALKATIVE).await;
    let driver = open(&recipe);
    let before = recipe.0.log().len();
    let user = User::new("v-quiet");
    create(&recipe, &*driver, &user).await.unwrap();
    let passwords = [Secret::new("Bb2-second"), Secret::new("Cc3-by-statements"), Secret::new("Dd4-administrator")];
    let [second, third, own] = &passwords;
    let statements = ["ALTER USER \"{{username}}\" WITH PASSWORD '{{password}}'".to_owned()];
    for (username, password, statements) in
        [(user.name.as_str(), second, &[][..]), (&user.name, third, &statements), ("admin", own, &statements)]
    {
        let rotation = Change { credential: Some(Credential::password(password)), statements, ..change(username) };
        driver.update(rotation, &Gate::opened()).await.unwrap();
    }
    recipe.login(&user.name, third).await.unwrap();
    let refused = User::new("v-refused");
    let wrong = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'; SELECT 1/0".to_owned()];
    driver.create(new_user(&refused, &wrong), &Gate::opened()).await.unwrap_err();
    let wrong = ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' NONSENSE".to_owned()];
    driver.create(new_user(&refused, &wrong), &Gate::opened()).await.unwrap_err();
    delete(&*driver, &user.name).await.unwrap();

    let log = recipe.0.log();
    let log = &log[before..];
    assert!(log.contains("CREATE ROLE \"v-quiet\"") && log.contains("NONSENSE"));
    assert_only_verifiers(log, 6);
    let made = [&user.password, &refused.password];
    for password in passwords.iter().chain(made) {
        assert!(!log.contains(password.expose()), "a password is in the log");
    }
}

/// The engine's own ways to change passwords, of which nobody ever sees the administrator's.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_brings_a_password_into_the_servers_log() {
    let site = Site::start(&TALKATIVE).await;
    site.server.run("postgres", &format!("CREATE ROLE app LOGIN; GRANT app TO {ADMIN} WITH ADMIN OPTION")).await;
    let before = site.server.log().len();
    site.connect("pg", &site.address()).await;
    site.role("app", "pg", json!({})).await;
    site.role("spared", "pg", json!({ "spares": 2 })).await;
    let account = json!({ "db_name": "pg", "username": "app", "rotation_period": "24h" });
    site.http.post("database/static-roles/account", account).await.expect_status(204);
    let mut passwords = vec![site.http.get("database/static-creds/account").await.text("/data/password").to_owned()];
    site.http.post("database/rotate-role/account", json!({})).await.expect_status(204);
    passwords.push(site.http.get("database/static-creds/account").await.text("/data/password").to_owned());
    site.http.post("database/rotate-root/pg", json!({})).await.expect_status(204);
    let given = site.issue("app").await;
    site.login(&given.user, &given.password).await.unwrap();
    site.http.post("sys/leases/renew", json!({ "lease_id": given.lease })).await.expect_status(200);
    site.http.post("sys/leases/revoke", json!({ "lease_id": given.lease })).await.expect_status(204);
    eventually("spares are made", std::time::Duration::from_secs(30), || async {
        let ready = site.http.get("sys/lessor/spares/database/spared").await;
        equals(ready.body["data"]["ready"].as_u64(), Some(2))
    })
    .await;
    passwords.push(site.issue("spared").await.password.expose().to_owned());
    passwords.push(given.password.expose().to_owned());
    passwords.push(site.admin_password().expose().to_owned());

    let log = site.server.log();
    let log = &log[before..];
    assert_only_verifiers(log, 6);
    assert!(passwords.iter().all(|password| !log.contains(password)), "a password is in the log");
}

on_each_release! { release_15: Fifteen, release_18: Eighteen; [no_log_of_the_server_holds_a_password] }
