//! Logins with passwords of a real OpenLDAP server.

use std::time::{Duration, Instant};

use lessor_e2e::http::Http;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::slapd::{ADMIN, ADMIN_PASSWORD, BASE, LOOKUP, LOOKUP_PASSWORD, Slapd};
use serde_json::{Value, json};

async fn mounted(lessor: &Lessor, settings: Value) -> Http {
    let http = lessor.http().with_token("root");
    http.post("sys/auth/ldap", json!({ "type": "ldap" })).await.expect_status(204);
    let unset = http.get("auth/ldap/config").await.expect_status(200);
    assert_eq!(unset.text("/data/url"), "ldap://127.0.0.1", "the defaults, before it is written");
    let mut config = json!({ "userdn": format!("ou=people,{BASE}"), "userattr": "uid",
        "groupdn": format!("ou=groups,{BASE}"), "binddn": ADMIN, "bindpass": ADMIN_PASSWORD });
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    http.post("auth/ldap/config", config).await.expect_status(204);
    http
}

async fn login(lessor: &Lessor, name: &str, password: &str) -> lessor_e2e::http::Answer {
    lessor.http().post(&format!("auth/ldap/login/{name}"), json!({ "password": password })).await
}

#[tokio::test]
async fn people_log_in_and_their_groups_count() {
    let (lessor, slapd) = (Lessor::dev("root").await, Slapd::start().await);
    let http = mounted(&lessor, json!({ "url": slapd.url() })).await;
    http.post("auth/ldap/groups/devs", json!({ "policies": "of-devs" })).await.expect_status(204);
    http.post("auth/ldap/groups/ops", json!({ "policies": "of-ops" })).await.expect_status(204);
    http.post("auth/ldap/users/sam", json!({ "policies": "own", "groups": "local" })).await.expect_status(204);
    let accessor = http.get("sys/auth/ldap").await.expect_status(200).text("/data/accessor").to_owned();
    let group = json!({ "name": "developers", "type": "external", "policies": "by-identity" });
    let group = http.post("identity/group", group).await.expect_status(200).text("/data/id").to_owned();
    let alias = json!({ "name": "devs", "mount_accessor": accessor, "canonical_id": group });
    http.post("identity/group-alias", alias).await.expect_status(200);

    let sam = login(&lessor, "Sam", "sam-secret").await.expect_status(200);
    assert_eq!(sam.body["auth"]["metadata"], json!({ "username": "sam" }));
    assert_eq!(sam.body["auth"]["token_policies"], json!(["default", "of-devs", "own"]));
    assert_eq!(sam.body["auth"]["identity_policies"], json!(["by-identity"]));
    let shown = http.get(&format!("identity/group/id/{group}")).await.expect_status(200);
    assert_eq!(shown.body["data"]["member_entity_ids"], json!([sam.body["auth"]["entity_id"]]));
    let own = lessor.http().with_token(sam.text("/auth/client_token"));
    own.post("auth/token/renew-self", json!({})).await.expect_status(200);
    http.delete("auth/ldap/groups/devs").await.expect_status(204);
    let changed = own.post("auth/token/renew-self", json!({})).await.expect_status(400);
    assert_eq!(changed.error(), "policies have changed, not renewing");

    let config = http.get("auth/ldap/config").await.expect_status(200);
    assert!(!config.body.to_string().contains(ADMIN_PASSWORD));
    assert!(!lessor.log().contains(ADMIN_PASSWORD) && !lessor.log().contains("sam-secret"));
}

#[tokio::test]
async fn nobody_gets_in_by_a_clever_name_or_an_empty_password() {
    let (lessor, slapd) = (Lessor::dev("root").await, Slapd::start().await);
    let http = mounted(&lessor, json!({ "url": slapd.url() })).await;
    login(&lessor, "o(dd)*", "odd-secret").await.expect_status(200);
    let wrong = "ldap operation failed: failed to bind as user";
    for (name, password) in [
        ("sam", "wrong"),
        ("nobody", "sam-secret"),
        ("*", "sam-secret"),
        ("sam)(uid=*", "sam-secret"),
        ("sam,ou=people", "sam-secret"),
    ] {
        let refused = login(&lessor, name, password).await.expect_status(400);
        assert_eq!(refused.error(), wrong, "{name}");
    }
    let empty = login(&lessor, "sam", "").await.expect_status(400);
    assert!(empty.error().contains("zero length"), "{}", empty.error());
    http.post("auth/ldap/config", json!({ "userattr": "cn" })).await.expect_status(204);
    assert_eq!(login(&lessor, "Twin", "twin-secret").await.expect_status(400).error(), wrong, "of two, which?");
    // Without an account the name is made of its parts, in which nothing can be slipped.
    let made = json!({ "userattr": "uid", "binddn": "", "bindpass": "" });
    http.post("auth/ldap/config", made).await.expect_status(204);
    login(&lessor, "sam", "sam-secret").await.expect_status(200);
    assert_eq!(login(&lessor, "x,uid=sam", "sam-secret").await.expect_status(400).error(), wrong);
    for _ in 0..5 {
        login(&lessor, "sam", "wrong").await.expect_status(400);
    }
    login(&lessor, "SAM", "sam-secret").await.expect_status(403);
}

#[tokio::test]
async fn tls_is_checked_and_a_dead_server_is_told_apart() {
    let (lessor, mut slapd) = (Lessor::dev("root").await, Slapd::start().await);
    let http = mounted(&lessor, json!({ "url": slapd.tls_url(), "certificate": slapd.certificate })).await;
    login(&lessor, "sam", "sam-secret").await.expect_status(200);
    let starttls = json!({ "url": slapd.url(), "starttls": true });
    http.post("auth/ldap/config", starttls).await.expect_status(204);
    login(&lessor, "sam", "sam-secret").await.expect_status(200);
    let other = Slapd::start().await;
    http.post("auth/ldap/config", json!({ "certificate": other.certificate })).await.expect_status(204);
    let untrusted = login(&lessor, "sam", "sam-secret").await.expect_status(502);
    assert_eq!(untrusted.error(), "cannot connect to the LDAP server: try again");
    // The first of two is down: the second answers.
    let both = json!({ "certificate": slapd.certificate, "starttls": false,
        "url": format!("ldap://localhost:1,{}", slapd.url()) });
    http.post("auth/ldap/config", both).await.expect_status(204);
    login(&lessor, "sam", "sam-secret").await.expect_status(200);
    slapd.kill().await;
    for _ in 0..6 {
        login(&lessor, "sam", "sam-secret").await.expect_status(502);
    }
    slapd.start_again().await;
    login(&lessor, "sam", "sam-secret").await.expect_status(200);
    // One that takes connections and says nothing costs no more than it may.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldap://{}", silent.local_addr().unwrap());
    http.post("auth/ldap/config", json!({ "url": url, "request_timeout": "1s" })).await.expect_status(204);
    let begun = Instant::now();
    login(&lessor, "sam", "sam-secret").await.expect_status(502);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_accounts_password_is_the_engines_own_after_a_rotation() {
    let (lessor, slapd) = (Lessor::dev("root").await, Slapd::start().await);
    let account = json!({ "url": slapd.url(), "binddn": LOOKUP, "bindpass": LOOKUP_PASSWORD });
    let http = mounted(&lessor, account.clone()).await;
    login(&lessor, "sam", "sam-secret").await.expect_status(200);
    for _ in 0..2 {
        http.post("auth/ldap/config/rotate-root", json!({})).await.expect_status(204);
        login(&lessor, "sam", "sam-secret").await.expect_status(200);
    }
    // The password that people know is none any more.
    http.post("auth/ldap/config", account).await.expect_status(204);
    let refused = login(&lessor, "sam", "sam-secret").await.expect_status(502);
    assert!(refused.error().contains("refuses the configured binddn"), "{}", refused.error());
    let config = http.get("auth/ldap/config").await.expect_status(200);
    assert!(config.body["data"].get("next_bindpass").is_none());
    // One that may not change itself keeps what it has.
    let sam = json!({ "binddn": format!("uid=sam,ou=people,{BASE}"), "bindpass": "wrong" });
    http.post("auth/ldap/config", sam).await.expect_status(204);
    let refused = http.post("auth/ldap/config/rotate-root", json!({})).await.expect_status(400);
    assert_eq!(refused.error(), "the LDAP server refuses the configured binddn");
}

#[tokio::test]
async fn groups_of_groups_come_from_token_groups() {
    let (lessor, slapd) = (Lessor::dev("root").await, Slapd::start().await);
    let http = mounted(&lessor, json!({ "url": slapd.url(), "use_token_groups": true })).await;
    http.post("auth/ldap/groups/deep", json!({ "policies": "of-deep" })).await.expect_status(204);
    http.post("auth/ldap/groups/devs", json!({ "policies": "of-devs" })).await.expect_status(204);
    let sam = login(&lessor, "sam", "sam-secret").await.expect_status(200);
    assert_eq!(sam.body["auth"]["token_policies"], json!(["default", "of-deep"]));
}
