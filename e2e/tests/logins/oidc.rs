//! Logins by way of a real OpenID provider, with a browser and with the tokens that it got.

use std::process::Stdio;
use std::time::Duration;

use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use lessor_e2e::http::{Answer, Http};
use lessor_e2e::lessor::{Lessor, free_port};
use lessor_e2e::oidc::{Browser, Provider, REDIRECT_URI, form_in};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

async fn mounted(lessor: &Lessor, provider: &Provider) -> Http {
    let http = lessor.http().with_token("root");
    http.post("sys/auth/oidc", json!({ "type": "oidc" })).await.expect_status(204);
    let config = json!({ "oidc_discovery_url": provider.url(), "oidc_client_id": "lessor",
        "oidc_client_secret": "client-secret", "default_role": "people" });
    http.post("auth/oidc/config", config).await.expect_status(204);
    let role = json!({ "user_claim": "sub", "allowed_redirect_uris": REDIRECT_URI, "oidc_scopes": "profile",
        "groups_claim": "groups", "claim_mappings": { "name": "full_name" }, "bound_claims": { "groups": "devs" },
        "token_policies": "p" });
    http.post("auth/oidc/role/people", role).await.expect_status(204);
    http
}

/// Sends a browser to the provider and ends the login with what it brings back.
async fn login(http: &Http) -> Answer {
    let asked = json!({ "redirect_uri": REDIRECT_URI, "client_nonce": "nonce" });
    let page = http.post("auth/oidc/oidc/auth_url", asked).await.expect_status(200).text("/data/auth_url").to_owned();
    let back = Browser::default().follow(&page).await;
    let query = back.split_once('?').unwrap().1;
    http.get(&format!("auth/oidc/oidc/callback?{query}&client_nonce=nonce")).await
}

#[tokio::test]
async fn a_browser_logs_in() {
    let (lessor, mut provider) = (Lessor::dev("root").await, Provider::start().await);
    let root = mounted(&lessor, &provider).await;
    let http = lessor.http();
    let accessor = root.get("sys/auth/oidc").await.expect_status(200).text("/data/accessor").to_owned();
    let group = json!({ "name": "developers", "type": "external", "policies": "of-devs" });
    let group = root.post("identity/group", group).await.expect_status(200).text("/data/id").to_owned();
    let alias = json!({ "name": "devs", "mount_accessor": accessor, "canonical_id": group });
    root.post("identity/group-alias", alias).await.expect_status(200);

    let sam = login(&http).await.expect_status(200);
    assert_eq!(sam.body["auth"]["metadata"], json!({ "role": "people", "full_name": "Sam Ple" }));
    assert_eq!(sam.body["auth"]["policies"], json!(["default", "of-devs", "p"]), "userinfo tells of groups");
    let shown = root.get("auth/oidc/config").await.expect_status(200);
    assert!(!shown.body.to_string().contains("client-secret") && !lessor.log().contains("client-secret"));

    // The provider comes back with another key, as after a rotation.
    provider.start_again().await;
    eventually("the new key is believed", Duration::from_secs(30), || async {
        let answer = login(&http).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.error().to_owned()) }
    })
    .await;

    root.post("auth/oidc/role/people", json!({ "bound_claims": { "groups": "others" } })).await.expect_status(204);
    let refused = login(&http).await.expect_status(400);
    assert!(refused.error().starts_with("error validating claims"), "{}", refused.error());
    let wrong = json!({ "redirect_uri": "https://evil.example/", "client_nonce": "nonce" });
    let nowhere = http.post("auth/oidc/oidc/auth_url", wrong).await.expect_status(200);
    assert_eq!(nowhere.text("/data/auth_url"), "");
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_somebody_else() {
    let (lessor, provider) = (Lessor::dev("root").await, Provider::start().await);
    mounted(&lessor, &provider).await;
    let http = lessor.http();
    let asked = json!({ "redirect_uri": REDIRECT_URI, "client_nonce": "nonce" });
    let page = http.post("auth/oidc/oidc/auth_url", asked).await.expect_status(200).text("/data/auth_url").to_owned();
    let back = Browser::default().follow(&page).await;
    let query = back.split_once('?').unwrap().1;
    let callback = format!("auth/oidc/oidc/callback?{query}");
    assert_eq!(http.get(&callback).await.expect_status(400).error(), "invalid client_nonce");
    let late = http.get(&format!("{callback}&client_nonce=nonce")).await.expect_status(400);
    assert!(late.error().contains("Expired or missing OAuth state"), "{}", late.error());
    let code = query.split('&').find(|pair| pair.starts_with("code=")).unwrap();
    assert!(!lessor.log().contains(code.trim_start_matches("code=")), "no code is logged");
}

#[tokio::test]
async fn a_form_brings_the_code_by_way_of_its_program() {
    let (lessor, provider) = (Lessor::dev("root").await, Provider::start().await);
    let root = mounted(&lessor, &provider).await;
    let http = lessor.http();
    let config = json!({ "oidc_discovery_url": provider.url(), "oidc_client_id": "lessor",
        "oidc_client_secret": "client-secret", "default_role": "people", "oidc_response_mode": "form_post" });
    root.post("auth/oidc/config", config).await.expect_status(204);
    let asked = json!({ "redirect_uri": REDIRECT_URI, "client_nonce": "nonce" });
    let page = http.post("auth/oidc/oidc/auth_url", asked).await.expect_status(200).text("/data/auth_url").to_owned();
    let form = Browser::default().visit(&page, REDIRECT_URI).await.fields;
    // As the command line does it: the form first, then the question for the token.
    let taken = http.post("auth/oidc/oidc/callback", json!(form)).await.expect_status(200);
    assert_eq!(taken.headers["content-type"], "text/html; charset=utf-8");
    assert!(taken.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let callback = format!("auth/oidc/oidc/callback?state={}&client_nonce=nonce", form["state"]);
    let sam = http.get(&callback).await.expect_status(200);
    assert_eq!(sam.body["auth"]["metadata"]["full_name"], "Sam Ple");
    http.get(&callback).await.expect_status(400);
    let stale = http.post("auth/oidc/oidc/callback", json!(form)).await.expect_status(400);
    assert_eq!(stale.headers["content-type"], "text/html; charset=utf-8");
}

async fn role(root: &Http, settings: Value) {
    root.post("auth/oidc/role/people", settings).await.expect_status(204);
}

#[tokio::test]
async fn a_program_without_a_listener_waits_for_its_browser() {
    let lessor = Lessor::dev("root").await;
    let http = lessor.http();
    let redirect = format!("{}/v1/auth/oidc/oidc/callback", http.address());
    let provider = Provider::start_with(&[&redirect]).await;
    let root = mounted(&lessor, &provider).await;
    role(&root, json!({ "callback_mode": "direct", "allowed_redirect_uris": redirect })).await;
    let asked = json!({ "redirect_uri": redirect, "client_nonce": "nonce" });
    let begun = http.post("auth/oidc/oidc/auth_url", asked.clone()).await.expect_status(200);
    let (state, page) = (begun.text("/data/state").to_owned(), begun.text("/data/auth_url").to_owned());
    assert_eq!(begun.text("/data/poll_interval"), "5");
    let mine = json!({ "state": state, "client_nonce": "nonce" });
    let early = http.post("auth/oidc/oidc/poll", mine.clone()).await.expect_status(400);
    assert_eq!(early.error(), "authorization_pending");

    let back = Browser::default().visit(&page, &redirect).await.url;
    let path = back.strip_prefix(&format!("{}/v1/", http.address())).unwrap().to_owned();
    let question = http.get(&path).await.expect_status(200);
    let (_, mut form) = form_in(question.body.as_str().unwrap()).expect("somebody is asked first");
    assert!(question.body.as_str().unwrap().contains("127.0.0.1"), "who began it is named");
    assert_eq!(
        http.post("auth/oidc/oidc/poll", mine.clone()).await.expect_status(400).error(),
        "authorization_pending"
    );
    form.insert("confirmation".to_owned(), "true".to_owned());
    http.post("auth/oidc/oidc/callback", json!(form)).await.expect_status(200);
    let sam = http.post("auth/oidc/oidc/poll", mine.clone()).await.expect_status(200);
    assert_eq!(sam.body["auth"]["metadata"]["full_name"], "Sam Ple");
    http.post("auth/oidc/oidc/poll", mine).await.expect_status(400);

    let begun = http.post("auth/oidc/oidc/auth_url", asked).await.expect_status(200);
    let others = json!({ "state": begun.text("/data/state"), "client_nonce": "guessed" });
    assert_eq!(http.post("auth/oidc/oidc/poll", others).await.expect_status(400).error(), "invalid client_nonce");
}

#[tokio::test]
async fn a_device_is_let_in_from_another_one() {
    let (lessor, provider) = (Lessor::dev("root").await, Provider::start().await);
    let root = mounted(&lessor, &provider).await;
    let http = lessor.http();
    role(&root, json!({ "callback_mode": "device" })).await;
    let begun = http.post("auth/oidc/oidc/auth_url", json!({ "client_nonce": "nonce" })).await.expect_status(200);
    let mine = json!({ "state": begun.text("/data/state"), "client_nonce": "nonce" });
    let early = http.post("auth/oidc/oidc/poll", mine.clone()).await.expect_status(400);
    assert_eq!(early.error(), "authorization_pending");
    Browser::default().visit(begun.text("/data/auth_url"), "nowhere").await;
    let sam = http.post("auth/oidc/oidc/poll", mine.clone()).await.expect_status(200);
    assert_eq!(sam.body["auth"]["metadata"]["role"], "people");
    http.post("auth/oidc/oidc/poll", mine).await.expect_status(400);
}

/// Lines that a command says to its user, until one is an address.
async fn told(child: &mut tokio::process::Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.trim().starts_with("http") {
            // What else it says must have somewhere to go.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return line.trim().to_owned();
        }
    }
    panic!("the command names no address");
}

fn command(lessor: &Lessor, arguments: &[&str]) -> tokio::process::Child {
    tokio::process::Command::new(variable("LESSOR_BINARY"))
        .args(["login", "-no-store", "-format=json", "-method=oidc"])
        .args(arguments)
        .env("VAULT_ADDR", lessor.http().address())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn logged_in(child: tokio::process::Child) -> Value {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["auth"]["metadata"].clone()
}

#[tokio::test]
async fn the_command_line_takes_forms_and_waits_for_devices() {
    let port = free_port();
    let redirect = format!("http://localhost:{port}/oidc/callback");
    let (lessor, provider) = (Lessor::dev("root").await, Provider::start_with(&[&redirect]).await);
    let root = mounted(&lessor, &provider).await;
    role(&root, json!({ "allowed_redirect_uris": redirect })).await;
    let config = json!({ "oidc_discovery_url": provider.url(), "oidc_client_id": "lessor",
        "oidc_client_secret": "client-secret", "default_role": "people", "oidc_response_mode": "form_post" });
    root.post("auth/oidc/config", config).await.expect_status(204);
    let mut child = command(&lessor, &["skip_browser=true", &format!("port={port}")]);
    let page = told(&mut child).await;
    let shown = Browser::default().visit(&page, "nowhere").await;
    assert!(shown.text.contains("You are logged in"), "{}", shown.text);
    assert_eq!(logged_in(child).await["full_name"], "Sam Ple");

    role(&root, json!({ "callback_mode": "device", "poll_interval": "1s" })).await;
    let mut child = command(&lessor, &["callbackmode=device"]);
    let page = told(&mut child).await;
    Browser::default().visit(&page, "nowhere").await;
    assert_eq!(logged_in(child).await["full_name"], "Sam Ple");
}
