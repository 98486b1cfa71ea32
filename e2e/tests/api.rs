//! The API over real HTTP, against `lessor dev`: envelope, headers, numbers and error bodies as Vault's clients read them.

use http::header;
use lessor_e2e::environment::unique;
use lessor_e2e::http::{Answer, Http};
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres;
use serde_json::{Value, json};

const ROOT: &str = "the-root-token";

async fn dev() -> (Lessor, Http) {
    let lessor = Lessor::dev(ROOT).await;
    let http = lessor.http().with_token(ROOT);
    (lessor, http)
}

/// Mounts the database engine and makes a connection and a role; returns the role's name.
async fn with_database(http: &Http, address: &str) -> String {
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", postgres::connection(address)).await.expect_status(204);
    let role = unique("api");
    let body =
        json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h", "max_ttl": "24h" });
    http.post(&format!("database/roles/{role}"), body).await.expect_status(204);
    role
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn assert_headers(answer: &Answer) {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json", "hvac compares it as a whole");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::STRICT_TRANSPORT_SECURITY], "max-age=31536000; includeSubDomains");
}

#[tokio::test]
async fn every_answer_is_the_whole_envelope_with_vaults_headers() {
    let (_lessor, http) = dev().await;
    let answer = http.get("auth/token/lookup-self").await.expect_status(200);
    assert_headers(&answer);
    let expected = ["auth", "data", "lease_duration", "lease_id", "renewable", "request_id", "warnings", "wrap_info"];
    let mut found = keys(&answer.body);
    found.retain(|key| *key != "mount_type");
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(answer.text("/request_id").len(), 36);
    assert_eq!(answer.body["lease_duration"], json!(0));
    assert_eq!(answer.body["auth"], Value::Null);
    assert_eq!(answer.body["data"]["ttl"], json!(0), "root's token does not expire");
    assert_eq!(answer.body["data"]["expire_time"], Value::Null);
}

#[tokio::test]
async fn errors_have_vaults_status_and_body() {
    let (lessor, http) = dev().await;
    let none = lessor.http();
    let bad = none.with_token("nobody's");
    let role = with_database(&http, &postgres::address()).await;
    let unsupported_path = "1 error occurred:\n\t* unsupported path\n\n";
    let unsupported = "1 error occurred:\n\t* unsupported operation\n\n";
    let cases: Vec<(&str, Answer, u16, Vec<&str>)> = vec![
        ("no token", none.get("auth/token/lookup-self").await, 403, vec!["permission denied"]),
        ("unknown token", bad.get("sys/mounts").await, 403, vec!["permission denied"]),
        (
            "unknown mount",
            http.get("nothing/here").await,
            404,
            vec!["no handler for route \"nothing/here\". route entry not found."],
        ),
        ("unknown path", http.get("sys/nothing").await, 404, vec![unsupported_path]),
        ("absent object", http.get("database/roles/absent").await, 404, vec![]),
        ("empty list", http.list("sys/leases/lookup/database/creds/absent").await, 404, vec![]),
        ("wrong operation", http.post(&format!("database/creds/{role}"), json!({})).await, 405, vec![unsupported]),
        ("no lease id", http.post("sys/leases/renew", json!({})).await, 400, vec!["lease_id must be specified"]),
        (
            "unknown lease",
            http.post("sys/leases/lookup", json!({ "lease_id": "a/b" })).await,
            400,
            vec!["invalid lease"],
        ),
        (
            "renewing none",
            http.post("sys/leases/renew", json!({ "lease_id": "a/b" })).await,
            400,
            vec!["lease not found"],
        ),
    ];
    for (case, answer, status, errors) in cases {
        assert_eq!(answer.status, status, "{case}: {}", answer.body);
        assert_eq!(answer.body, json!({ "errors": errors }), "{case}");
        assert_headers(&answer);
    }
}

#[tokio::test]
async fn bad_input_is_answered_with_the_name_of_what_is_wrong() {
    let (_lessor, http) = dev().await;
    let role = with_database(&http, &postgres::address()).await;
    let unknown = http.get("database/creds/nobodys").await.expect_status(400);
    assert!(unknown.error().contains("nobodys"), "{}", unknown.error());

    let plugin = json!({ "plugin_name": "fox-database-plugin", "connection_url": "fox://" });
    let plugin = http.post("database/config/fox", plugin).await.expect_status(400);
    assert!(plugin.error().contains("fox-database-plugin"), "{}", plugin.error());

    let mut url = postgres::connection("127.0.0.1:1");
    url["password"] = json!("hunter2");
    let url = http.post("database/config/down", url).await.expect_status(400);
    assert!(url.error().contains("error verifying connection"), "{}", url.error());
    assert!(!url.body.to_string().contains("hunter2"));

    let ttl = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1x" });
    let ttl = http.post(&format!("database/roles/{role}"), ttl).await.expect_status(400);
    assert!(ttl.error().contains("default_ttl"), "{}", ttl.error());

    let policy = http.post("sys/policies/acl/p", json!({ "policy": "path \"a\" { capabilities = [\"fly\"] }" })).await;
    assert!(policy.expect_status(400).error().contains("fly"));

    let broken = http.send("POST", "sys/policies/acl/p", &[], "{not json").await.unwrap().expect_status(400);
    assert!(broken.error().starts_with("failed to decode JSON input: "), "{}", broken.error());
}

#[tokio::test]
async fn a_credential_is_leased_renewed_and_revoked() {
    let (_lessor, http) = dev().await;
    let role = with_database(&http, &postgres::address()).await;
    let database = postgres::Postgres::connect().await;

    let answer = http.get(&format!("database/creds/{role}")).await.expect_status(200);
    let (lease, user) = (answer.text("/lease_id").to_owned(), answer.text("/data/username").to_owned());
    assert!(lease.starts_with(&format!("database/creds/{role}/")) && lease.len() == 16 + role.len() + 24, "its form");
    assert_eq!(answer.body["lease_duration"], json!(3600));
    assert_eq!(answer.body["renewable"], json!(true));
    let password = lessor::base::Secret::new(answer.text("/data/password"));
    let session = postgres::login(&user, &password).await.expect("the credential works");
    session.execute("INSERT INTO notes (body) VALUES ('by a leased user')", &[]).await.expect("the grant works");
    drop(session);

    let looked = http.post("sys/leases/lookup", json!({ "lease_id": lease })).await.expect_status(200);
    assert!((3590..=3600).contains(&looked.body["data"]["ttl"].as_u64().unwrap()));
    assert_eq!(looked.body["data"]["last_renewal"], Value::Null);

    let renewed = http.post("sys/leases/renew", json!({ "lease_id": lease, "increment": "7200" })).await;
    let renewed = renewed.expect_status(200);
    assert_eq!(renewed.body["lease_duration"], json!(7200), "the full number, never a second less");
    assert_eq!(renewed.body["data"], Value::Null);

    http.post("sys/leases/revoke", json!({ "lease_id": lease })).await.expect_status(204);
    assert!(!database.has_role(&user).await, "revoked synchronously");
    http.post("sys/leases/revoke", json!({ "lease_id": lease })).await.expect_status(204);
    assert!(postgres::login(&user, &password).await.is_err());
}

#[tokio::test]
async fn a_token_takes_its_leases_with_it() {
    let (lessor, http) = dev().await;
    let role = with_database(&http, &postgres::address()).await;
    let database = postgres::Postgres::connect().await;
    let policy = format!("path \"database/creds/{role}\" {{ capabilities = [\"read\"] }}");
    http.post("sys/policies/acl/reader", json!({ "policy": policy })).await.expect_status(204);
    let made = http.post("auth/token/create", json!({ "policies": ["reader"], "ttl": "1h" })).await.expect_status(200);
    let reader = lessor.http().with_token(made.text("/auth/client_token"));

    let user = reader.get(&format!("database/creds/{role}")).await.expect_status(200);
    let user = user.text("/data/username").to_owned();
    let denied = reader.get("database/config/pg").await.expect_status(403);
    assert_eq!(denied.error(), "1 error occurred:\n\t* permission denied\n\n");
    assert!(database.has_role(&user).await);

    reader.post("auth/token/revoke-self", json!({})).await.expect_status(204);
    lessor_e2e::eventually::eventually("the token's user is gone", std::time::Duration::from_secs(5), || async {
        lessor_e2e::eventually::equals(database.has_role(&user).await, false)
    })
    .await;
    reader.get("auth/token/lookup-self").await.expect_status(403);
}

#[tokio::test]
async fn a_body_needs_no_content_type_and_put_is_post() {
    let (_lessor, http) = dev().await;
    let body = r#"{"policy":"path \"a\" { capabilities = [\"read\"] }"}"#;
    http.send("PUT", "sys/policies/acl/p", &[], body).await.unwrap().expect_status(204);
    let read = http.get("sys/policies/acl/p").await.expect_status(200);
    assert_eq!(keys(&read.body["data"]), ["name", "policy"], "hvac compares the whole object");
    let listed = http.get("sys/policies/acl?list=true").await.expect_status(200);
    assert!(listed.body["data"]["keys"].as_array().unwrap().contains(&json!("p")));
}

#[tokio::test]
async fn agents_are_told_which_mount_owns_a_path() {
    let (_lessor, http) = dev().await;
    let role = with_database(&http, &postgres::address()).await;
    let owner = http.get(&format!("sys/internal/ui/mounts/database/creds/{role}")).await.expect_status(200);
    assert_eq!(owner.text("/data/path"), "database/");
    assert_eq!(owner.text("/data/type"), "database");
}

#[tokio::test]
async fn health_and_seal_status_answer_without_a_token() {
    let (lessor, _) = dev().await;
    let health = lessor.http().get("sys/health").await.expect_status(200);
    assert_eq!((&health.body["sealed"], &health.body["initialized"]), (&json!(false), &json!(true)));
    assert_headers(&health);
    let status = lessor.http().get("sys/seal-status").await.expect_status(200);
    let version = status.text("/version");
    let numbers: Vec<_> = version.split(['-', '+']).next().unwrap().split('.').map(str::parse::<u64>).collect();
    assert!(numbers.len() == 3 && numbers.iter().all(Result::is_ok), "clients parse {version} as SemVer");
}

#[tokio::test]
async fn an_asked_stop_ends_the_process_well() {
    let (mut lessor, _) = dev().await;
    assert!(lessor.stop().await, "{}", lessor.log());
}
