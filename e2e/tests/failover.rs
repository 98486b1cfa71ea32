//! A real primary with a real streaming standby: issuing follows the primary, and nobody gets a user that a replica lacks.

use std::time::{Duration, Instant};

use lessor::base::Secret;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::postgres_server::PostgresServer;
use lessor_e2e::proxy::{Mode, Proxy};
use lessor_e2e::site::{ADMIN, Credential, DATABASE, Site};
use serde_json::json;

/// Within that long after the primary is lost credentials are issued again, its standby's promotion included.
const SWITCH: Duration = Duration::from_secs(10);

const SOON: Duration = Duration::from_secs(30);

/// The database of `site` by several hosts, in that order.
fn several(site: &Site, hosts: &[String]) -> serde_json::Value {
    let mut body = site.connection(&site.address());
    let hosts = hosts.join(",");
    body["connection_url"] =
        json!(format!("postgresql://{{{{username}}}}:{{{{password}}}}@{hosts}/{DATABASE}?sslmode=disable"));
    body
}

fn address(server: &PostgresServer) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// Tries until a credential comes; how long that took since the trouble had `begun`.
async fn issues_again(site: &Site, begun: Instant) -> (Credential, Duration) {
    let (credential, _) = eventually("credentials are issued again", SOON, || async {
        let answer = site.http.get("database/creds/app").await;
        if answer.status == 200 { Ok(Credential::of(&answer.body)) } else { Err(answer.body["errors"].clone()) }
    })
    .await;
    (credential, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_is_replaced_by_its_standby() {
    let mut site = Site::start(&[]).await;
    let standby = site.server.standby().await;
    let body = several(&site, &[site.address(), address(&standby)]);
    site.http.post("database/config/pg", body).await.expect_status(204);
    site.role("app", "pg", json!({})).await;
    site.issue("app").await;
    let begun = Instant::now();
    site.server.kill();
    standby.promote().await;
    let (credential, took) = issues_again(&site, begun).await;
    eprintln!("after kill -9 of the primary: issued again after {took:?}");
    assert!(took < SWITCH, "{took:?}");
    standby.login(DATABASE, &credential.user, &credential.password).await.expect("the new primary has the user");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_what_was_the_primary_are_given_up() {
    let site = Site::start(&[]).await;
    let standby = site.server.standby().await;
    let body = several(&site, &[site.address(), address(&standby)]);
    site.http.post("database/config/pg", body).await.expect_status(204);
    site.role("app", "pg", json!({})).await;
    // Several connections lie in the pool.
    futures_util::future::join_all((0..8).map(|_| site.issue("app"))).await;
    let begun = Instant::now();
    // A planned switch: what was the primary stays up and takes no writes any more, also on connections that are open.
    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    site.server.run("postgres", read_only).await;
    site.server.run("postgres", "SELECT pg_reload_conf()").await;
    standby.promote().await;
    let (credential, took) = issues_again(&site, begun).await;
    eprintln!("after a planned switch: issued again after {took:?}");
    assert!(took < SWITCH, "{took:?}");
    standby.login(DATABASE, &credential.user, &credential.password).await.expect("the new primary has the user");
    for credential in futures_util::future::join_all((0..8).map(|_| site.issue("app"))).await {
        standby.login(DATABASE, &credential.user, &credential.password).await.expect("so it has the others");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_is_passed_over() {
    let site = Site::start(&[]).await;
    let proxy = Proxy::start(site.address()).await;
    let body = several(&site, &[proxy.address().to_string(), site.address()]);
    site.http.post("database/config/pg", body).await.expect_status(204);
    site.role("app", "pg", json!({})).await;
    site.issue("app").await;
    let begun = Instant::now();
    proxy.set(Mode::Swallow);
    let (credential, took) = issues_again(&site, begun).await;
    eprintln!("after the first host fell silent: issued again after {took:?}");
    assert!(took < SWITCH, "{took:?}");
    site.login(&credential.user, &credential.password).await.expect("it logs in");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_user_that_a_replica_does_not_have_yet() {
    let site = Site::start(&[]).await;
    let standby = site.server.standby().await;
    let mut body = site.connection(&site.address());
    let replica =
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}/{DATABASE}?sslmode=disable", address(&standby));
    body["login_probe"] = json!(true);
    body["login_probe_timeout"] = json!("2s");
    body["login_probe_urls"] = json!([replica]);
    site.http.post("database/config/pg", body).await.expect_status(204);
    for (role, spares) in [("app", 0), ("spared", 2)] {
        site.role(role, "pg", json!({ "spares": spares })).await;
    }
    eventually("the spares are ready", SOON, || async {
        let answer = site.http.get("sys/lessor/spares/database/spared").await.expect_status(200);
        equals(answer.body["data"]["ready"].as_u64(), Some(2))
    })
    .await;
    let credential = site.issue("app").await;
    standby.login(DATABASE, &credential.user, &credential.password).await.expect("the replica has it");

    standby.run("postgres", "SELECT pg_wal_replay_pause()").await;
    for role in ["app", "spared"] {
        let refused = site.http.get(&format!("database/creds/{role}")).await;
        assert_eq!(refused.status, 502, "{}", refused.body);
        assert!(refused.error().contains("the user cannot log in everywhere within 2 s"), "{}", refused.body);
    }
    eventually("no user stays behind", SOON, || async {
        equals(site.users("v-root-app-%").await.into_keys().collect::<Vec<_>>(), vec![credential.user.clone()])
    })
    .await;
    standby.run("postgres", "SELECT pg_wal_replay_resume()").await;
    for role in ["app", "spared"] {
        let (credential, _) = eventually("it is handed out again", SOON, || async {
            let answer = site.http.get(&format!("database/creds/{role}")).await;
            if answer.status == 200 { Ok(Credential::of(&answer.body)) } else { Err(answer.body["errors"].clone()) }
        })
        .await;
        standby.login(DATABASE, &credential.user, &credential.password).await.expect("the replica has it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_is_handed_out_only_where_every_replica_takes_it() {
    let site = Site::start(&[]).await;
    site.server
        .run("postgres", &format!("CREATE ROLE account LOGIN; GRANT account TO {ADMIN} WITH ADMIN OPTION"))
        .await;
    let standby = site.server.standby().await;
    let mut body = several(&site, &[site.address(), address(&standby)]);
    body["login_probe"] = json!(true);
    body["login_probe_timeout"] = json!("2s");
    site.http.post("database/config/pg", body).await.expect_status(204);
    let account = json!({ "db_name": "pg", "username": "account", "rotation_period": "24h" });
    site.http.post("database/static-roles/account", account).await.expect_status(204);

    standby.run("postgres", "SELECT pg_wal_replay_pause()").await;
    let refused = site.http.post("database/rotate-role/account", json!({})).await;
    assert_eq!(refused.status, 502, "{}", refused.body);
    assert!(refused.error().contains(&address(&standby)), "it names the server: {}", refused.error());
    let undecided = site.http.get("database/static-creds/account").await;
    assert_eq!(undecided.status, 503, "no password that logs in everywhere: {}", undecided.body["errors"]);
    standby.run("postgres", "SELECT pg_wal_replay_resume()").await;
    let (password, _) = eventually("the password is handed out", SOON, || async {
        let answer = site.http.get("database/static-creds/account").await;
        if answer.status == 200 {
            Ok(Secret::new(answer.text("/data/password")))
        } else {
            Err(answer.body["errors"].clone())
        }
    })
    .await;
    for server in [&site.server, &standby] {
        server.login(DATABASE, "account", &password).await.expect("it logs in everywhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_everything_and_never_answers_holds_no_revocation_for_ever() {
    let site = Site::start(&[]).await;
    let proxy = Proxy::start(site.address()).await;
    let body = several(&site, &[proxy.address().to_string(), site.address()]);
    site.http.post("database/config/pg", body).await.expect_status(204);
    site.role("app", "pg", json!({})).await;
    futures_util::future::join_all((0..8).map(|_| site.issue("app"))).await;
    proxy.set(Mode::Swallow);
    let later = json!({ "sync": false });
    site.http.post("sys/leases/revoke-prefix/database/creds/app", later).await.expect_status(202);
    let (_, took) = eventually("the users are dropped over the other host", Duration::from_secs(90), || async {
        equals(site.users("v-%").await.len(), 0)
    })
    .await;
    eprintln!("after a server fell silent: 8 users dropped after {took:?}");
}
