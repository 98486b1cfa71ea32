//! Namespaces with a real database: whose leases end with what, and that nothing is left of a namespace that was deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lessor::base::clock::SystemClock;
use lessor::base::random::SystemRandom;
use lessor::client::{Client, ClientConfig};
use lessor_e2e::agent::Login;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::http::Http;
use lessor_e2e::proxy::{Mode, Proxy};
use lessor_e2e::site::{Credential, MEMBER, Site};
use serde_json::{Value, json};

/// For what goes on by itself, back-offs included.
const SETTLED: Duration = Duration::from_secs(90);

/// A site with the namespaces `team` and `other`, each with a connection `pg` and a role `app`; `team`'s leads through a proxy.
async fn site() -> (Site, Proxy) {
    let site = Site::start(&[]).await;
    let proxy = Proxy::start(site.address()).await;
    for (namespace, address) in [("team", proxy.address().to_string()), ("other", site.address())] {
        site.http.post(&format!("sys/namespaces/{namespace}"), json!({})).await.expect_status(200);
        site.http
            .post(&format!("{namespace}/sys/mounts/database"), json!({ "type": "database" }))
            .await
            .expect_status(204);
        let connection = site.connection(&address);
        site.http.post(&format!("{namespace}/database/config/pg"), connection).await.expect_status(204);
        let role = json!({ "db_name": "pg", "creation_statements": MEMBER, "default_ttl": "1h", "max_ttl": "24h" });
        site.http.post(&format!("{namespace}/database/roles/app"), role).await.expect_status(204);
        let everything =
            "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }";
        let policy = json!({ "policy": everything });
        site.http.post(&format!("{namespace}/sys/policies/acl/everything"), policy).await.expect_status(204);
    }
    (site, proxy)
}

async fn tenant(site: &Site, namespace: &str) -> Http {
    let body = json!({ "policies": "everything", "no_parent": true });
    let made = site.http.post(&format!("{namespace}/auth/token/create"), body).await.expect_status(200);
    site.http.with_token(made.text("/auth/client_token"))
}

async fn issue(http: &Http, namespace: &str) -> (Credential, String) {
    let answer = http.get(&format!("{namespace}/database/creds/app")).await.expect_status(200);
    (Credential::of(&answer.body), answer.text("/lease_id").to_owned())
}

async fn users(site: &Site) -> BTreeSet<String> {
    site.users("v-%").await.into_keys().collect()
}

#[tokio::test]
async fn leases_belong_to_their_namespace() {
    let (mut site, _proxy) = site().await;
    let (team, other) = (tenant(&site, "team").await, tenant(&site, "other").await);
    let (ours, lease) = issue(&team, "team").await;
    let (theirs, _) = issue(&other, "other").await;
    let id = site.http.get("sys/namespaces/team").await.text("/data/id").to_owned();
    assert!(lease.starts_with("database/creds/app/") && lease.ends_with(&format!(".{id}")), "{lease}");

    for (path, body, status) in [
        ("other/sys/leases/lookup", json!({ "lease_id": lease }), 400),
        ("other/sys/leases/renew", json!({ "lease_id": lease }), 400),
        ("other/sys/leases/revoke", json!({ "lease_id": lease }), 204),
        ("other/sys/revoke-prefix/database/creds/app/x", Value::Null, 204),
    ] {
        assert_eq!(other.post(path, body).await.status, status, "{path}");
    }
    for path in ["team/sys/leases/lookup/database/creds/app", "sys/leases/lookup/database/creds/app"] {
        assert_eq!(other.list(path).await.status, 403, "{path}");
    }
    assert_eq!(site.http.list("sys/leases/lookup/database/creds/app").await.status, 404, "root has none of its own");
    let renewed = team.post("team/sys/leases/renew", json!({ "lease_id": lease })).await.expect_status(200);
    assert_eq!(renewed.body["lease_duration"], 3600);
    assert_eq!(users(&site).await, BTreeSet::from([ours.user.clone(), theirs.user.clone()]));

    // A token of root asks below: its lease ends with it, and survives a restart until then.
    let made = site.http.post("auth/token/create", json!({ "ttl": "1h" })).await.expect_status(200);
    let above = site.http.with_token(made.text("/auth/client_token"));
    let (lent, _) = issue(&above, "team").await;
    site.lessor.kill().await;
    site.lessor.start_again().await;
    assert_eq!(users(&site).await.len(), 3);
    above.post("auth/token/revoke-self", json!({})).await.expect_status(204);
    let left = BTreeSet::from([ours.user.clone(), theirs.user.clone()]);
    eventually("the user of root's token is gone", SETTLED, || async { equals(users(&site).await, left.clone()) })
        .await;
    assert!(!left.contains(&lent.user));

    team.post("team/sys/leases/revoke-prefix/database", json!({})).await.expect_status(204);
    assert_eq!(users(&site).await, BTreeSet::from([theirs.user]));
}

#[tokio::test]
async fn a_deleted_namespace_leaves_no_user_even_if_its_database_was_down() {
    let (site, proxy) = site().await;
    let (team, other) = (tenant(&site, "team").await, tenant(&site, "other").await);
    for _ in 0..3 {
        issue(&team, "team").await;
    }
    let (theirs, _) = issue(&other, "other").await;
    proxy.set(Mode::Refuse);
    let answer = site.http.delete("sys/namespaces/team").await.expect_status(200);
    assert_eq!(answer.body["data"]["status"], "in-progress");
    assert_eq!(team.get("team/database/creds/app").await.status, 404);
    assert_eq!(site.http.get("sys/namespaces/team").await.body["data"]["tainted"], true);
    proxy.set(Mode::Pass);
    let left = BTreeSet::from([theirs.user]);
    eventually("the namespace is gone with its users", SETTLED, || async {
        let status = site.http.get("sys/namespaces/team").await.status;
        equals((status, users(&site).await), (404, left.clone()))
    })
    .await;
    site.http.delete("sys/namespaces/other").await.expect_status(204);
    assert_eq!(users(&site).await, BTreeSet::new());
}

/// What the operator's CredentialEngine and the agent's annotation send: a `namespace` beside the address.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_and_the_agent_work_in_a_namespace() {
    let (site, _proxy) = site().await;
    let login = Login::within(&site, "team", "1h").await;
    let template = "template { destination = \"FOLDER/user\" contents = \"{{ with secret `database/creds/app` }}{{ .Data.username }}{{ end }}\" }";
    let mut agent = login.agent(&[], template);
    agent.until_ready().await;
    assert_eq!(users(&site).await, BTreeSet::from([login.file("user")]), "{}", agent.log());
    assert_eq!(agent.stop().await, 0);
    eventually("the agent gave its lease back", SETTLED, || async { equals(users(&site).await, BTreeSet::new()) })
        .await;

    let mut config = ClientConfig::new(site.http.address());
    config.namespace = Some("team".to_owned());
    let client = Client::new(config, Arc::new(SystemClock), Arc::new(SystemRandom)).unwrap();
    let parameters = json!({ "role_id": login.file("role-id"), "secret_id": login.file("secret-id") });
    let auth = client.login("approle", &parameters).await.unwrap();
    let client = client.with_token(auth.client_token.as_str().into());
    let lease = client.read("database/creds/app").await.unwrap().unwrap();
    assert_eq!(client.renew_lease(&lease.lease_id, None).await.unwrap().lease_duration, 3600);
    client.renew_self(None).await.unwrap();
    client.revoke_self().await.unwrap();
    eventually("its user is gone", SETTLED, || async { equals(users(&site).await, BTreeSet::new()) }).await;
}
