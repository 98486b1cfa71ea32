//! TLS towards a real PostgreSQL, in each of libpq's modes.

use lessor::drivers::{Error, Kind};
use lessor_e2e::postgres_server::{PostgresServer, SUPERUSER};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::postgres::OwnPostgres;
use super::suite::open_with;

fn authority() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Connects to `host` with a mode and, perhaps, an authority.
async fn verify(server: &PostgresServer, host: &str, query: &str, ca: Option<&str>) -> Result<(), Error> {
    let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{}/postgres{query}", server.port());
    let mut fields = json!({ "connection_url": url, "username": SUPERUSER, "password": server.password().expose() });
    if let Some(ca) = ca {
        fields["tls_ca"] = json!(ca);
    }
    open_with::<OwnPostgres>(&fields).verify().await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified_as_far_as_the_mode_says() {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let ca = authority().self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(authority(), ca_key);
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let stranger = authority().self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let server = PostgresServer::start_with_tls(&leaf.pem(), &key.serialize_pem()).await;
    server.run("postgres", "SELECT 1").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &ca).unwrap();
    let from_file = format!("?sslmode=verify-full&sslrootcert={}", file.path().display());

    for (host, query, ca) in [
        ("127.0.0.1", "", None),
        ("127.0.0.1", "?sslmode=disable", None),
        ("127.0.0.1", "?sslmode=require", None),
        ("127.0.0.1", "?sslmode=verify-ca", Some(&ca)),
        ("127.0.0.1", "?sslmode=require", Some(&ca)),
        ("localhost", "?sslmode=verify-full", Some(&ca)),
        ("localhost", "", Some(&ca)),
        ("localhost", &from_file, None),
    ] {
        verify(&server, host, query, ca.map(String::as_str))
            .await
            .unwrap_or_else(|error| panic!("{host}{query}: {error}"));
    }
    for (host, query, ca) in [
        ("127.0.0.1", "?sslmode=verify-full", &ca),
        ("127.0.0.1", "", &ca),
        ("localhost", "?sslmode=verify-full", &stranger),
        ("localhost", "?sslmode=verify-ca", &stranger),
        ("localhost", "?sslmode=require", &stranger),
    ] {
        let error = verify(&server, host, query, Some(ca)).await.unwrap_err();
        assert!(error.kind() == Kind::Connect && error.message().contains("certificate"), "{host}{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = PostgresServer::start(&[]).await;
    verify(&server, "127.0.0.1", "?sslmode=prefer", None).await.unwrap();
    verify(&server, "127.0.0.1", "?sslmode=require", None).await.unwrap_err();
}
