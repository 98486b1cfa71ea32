//! Users of PostgreSQL that log in by a client certificate, from the API's answer to the server's `cert` authentication.

use lessor::base::Secret;
use lessor::drivers::Error;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres_server::{PostgresServer, SUPERUSER};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::postgres::OwnPostgres;
use super::suite::open_with;

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

/// Logs in with an answer's certificate, as the user that it names or as another.
async fn login(server: &PostgresServer, server_ca: &str, user: &str, credential: &Value) -> Result<(), Error> {
    let fields = json!({
        "connection_url": format!("postgresql://{user}@localhost:{}/postgres?sslmode=verify-full", server.port()),
        "tls_ca": server_ca,
        "tls_certificate": credential["client_certificate"],
        "private_key": credential["private_key"],
    });
    open_with::<OwnPostgres>(&fields).verify().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_from_the_api_logs_its_user_in() {
    let (params, key) = authority("servers");
    let server_ca = params.self_signed(&key).unwrap().pem();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(params, key)).unwrap().pem();
    let (params, key) = authority("clients");
    let clients_ca = params.self_signed(&key).unwrap().pem();
    let server = PostgresServer::start_with_client_certificates(&leaf, &leaf_key.serialize_pem(), &clients_ca).await;

    let lessor = Lessor::dev("root").await;
    let http = lessor.http().with_token("root");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{}/postgres", server.port());
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url, "tls_ca": server_ca,
        "username": SUPERUSER, "password": server.password().expose(),
    });
    http.post("database/config/pg", connection).await.expect_status(204);
    let private_key = key.serialize_pem();
    for (key_type, template) in [("rsa", ""), ("ec", "app-{{random 12}}"), ("ed25519", "")] {
        let config = json!({
            "ca_cert": clients_ca, "ca_private_key": private_key, "key_type": key_type, "common_name_template": template,
        });
        let role = json!({
            "db_name": "pg", "credential_type": "client_certificate", "credential_config": config, "default_ttl": "1h",
            "creation_statements": "CREATE ROLE \"{{name}}\" LOGIN VALID UNTIL '{{expiration}}'",
        });
        http.post("database/roles/app", role).await.expect_status(204);
        let read = http.get("database/roles/app").await.expect_status(200);
        assert!(!read.body.to_string().contains("PRIVATE KEY"), "the authority's key is never read back");
        assert_eq!(read.body["data"]["credential_config"]["ca_cert"], json!(clients_ca));

        let answer = http.get("database/creds/app").await.expect_status(200);
        let (user, data) = (answer.text("/data/username"), &answer.body["data"]);
        assert_eq!((&data["private_key_type"], &data["password"]), (&json!(key_type), &Value::Null));
        assert_eq!(user.starts_with("app-"), !template.is_empty(), "{user}");
        login(&server, &server_ca, user, data).await.unwrap_or_else(|error| panic!("{key_type}: {error}"));
        login(&server, &server_ca, SUPERUSER, data).await.expect_err("the superuser has a password");
        server.run("postgres", "CREATE ROLE other LOGIN").await;
        let error = login(&server, &server_ca, "other", data).await.unwrap_err();
        assert!(error.message().contains("certificate authentication failed"), "{error}");
        server.run("postgres", "DROP ROLE other").await;

        http.post("sys/leases/revoke", json!({ "lease_id": answer.text("/lease_id") })).await.expect_status(204);
        login(&server, &server_ca, user, data).await.expect_err("the user is gone");
    }
    // The same with a preset, whose statements then set no password.
    let preset = json!({ "preset": "owner-of-schema", "schema": "certified" });
    http.post("database/roles/app", preset).await.expect_status(204);
    let answer = http.get("database/creds/app").await.expect_status(200);
    login(&server, &server_ca, answer.text("/data/username"), &answer.body["data"]).await.unwrap();
    let without = format!(
        "SELECT count(*) FROM pg_authid WHERE rolname = '{}' AND rolpassword IS NULL",
        answer.text("/data/username")
    );
    assert_eq!(server.count(&without).await, 1);
    assert!(!lessor.log().contains(Secret::new(private_key).expose()), "nor logged");
}

/// A certificate for `name`, by the authority, with its key; both PEM.
fn certificate(issuer: &Issuer<'_, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_itself_logs_in_by_certificate_from_fields_and_from_files() {
    let (params, key) = authority("servers");
    let server_ca = params.self_signed(&key).unwrap().pem();
    let (leaf, leaf_key) = certificate(&Issuer::new(params, key), "localhost");
    let (params, key) = authority("clients");
    let clients_ca = params.self_signed(&key).unwrap().pem();
    let clients = Issuer::new(params, key);
    let server = PostgresServer::start_with_client_certificates(&leaf, &leaf_key, &clients_ca).await;
    server.run("postgres", "CREATE ROLE admin LOGIN CREATEROLE").await;

    let (own, own_key) = certificate(&clients, "admin");
    let (params, key) = authority("strangers");
    let (strange, strange_key) = certificate(&Issuer::new(params, key), "admin");
    let (others, others_key) = certificate(&clients, "somebody");
    let url = format!("postgresql://admin@localhost:{}/postgres?sslmode=verify-full", server.port());
    let fields = |certificate: &str, key: &str| json!({ "connection_url": url, "tls_ca": server_ca, "tls_certificate": certificate, "private_key": key });
    open_with::<OwnPostgres>(&fields(&own, &own_key)).verify().await.unwrap();
    let bare = json!({ "connection_url": url, "tls_ca": server_ca });
    for (whose, fields) in [
        ("another authority's", fields(&strange, &strange_key)),
        ("another user's", fields(&others, &others_key)),
        ("none", bare),
    ] {
        let error = open_with::<OwnPostgres>(&fields).verify().await.expect_err(whose);
        assert!(error.message().contains("certificate") || error.message().contains("alert"), "{whose}: {error}");
    }

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (ca, certificate, key) = (file("ca.crt", &server_ca), file("own.crt", &own), file("own.key", &own_key));
    let from_files = json!({ "connection_url": format!("{url}&sslrootcert={ca}&sslcert={certificate}&sslkey={key}") });
    open_with::<OwnPostgres>(&from_files).verify().await.unwrap();
    let stranger = file("stranger.crt", &clients_ca);
    let wrong_ca =
        json!({ "connection_url": format!("{url}&sslrootcert={stranger}&sslcert={certificate}&sslkey={key}") });
    let error = open_with::<OwnPostgres>(&wrong_ca).verify().await.unwrap_err();
    assert!(error.message().contains("certificate"), "{error}");
}
