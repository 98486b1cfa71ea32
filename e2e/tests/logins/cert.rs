//! Logins with the client certificate of a real TLS connection.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use lessor::base::http::{HttpClient, HttpRequest};
use lessor::base::tls::ClientTls;
use lessor_e2e::lessor::{Lessor, free_port};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

struct Client {
    http: HttpClient,
    url: String,
}

impl Client {
    /// A client that trusts the server, and shows a certificate if it has one.
    fn new(port: u16, server: &str, own: Option<(&str, &str)>) -> Self {
        let tls = ClientTls {
            ca_pem: Some(server.to_owned()),
            client_cert_pem: own.map(|(certificate, _)| certificate.to_owned()),
            client_key_pem: own.map(|(_, key)| key.into()),
            ..ClientTls::default()
        };
        Self { http: HttpClient::new(&tls).unwrap(), url: format!("https://localhost:{port}/v1") }
    }

    async fn post(&self, path: &str, token: &str) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        if !token.is_empty() {
            headers.insert("x-vault-token", HeaderValue::from_str(token).unwrap());
        }
        let (url, timeout) = (format!("{}/{path}", self.url), Duration::from_secs(30));
        let request = HttpRequest { method: Method::POST, url, headers, body: Vec::new(), timeout };
        let answer = self.http.send(request).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "clients");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of that name, and its key.
fn certificate(name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// An engine with TLS, its port, and the authority that its certificate is of.
async fn server() -> (Lessor, u16, String) {
    let folder = tempfile::tempdir().unwrap();
    let (crt, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let authority = authority();
    let (server, server_key) = certificate("localhost", &authority);
    std::fs::write(&crt, server).unwrap();
    std::fs::write(&key, server_key).unwrap();
    let port = free_port();
    let stanza =
        format!("listener \"tcp\" {{ address = \"127.0.0.1:{port}\" tls_cert_file = {crt:?} tls_key_file = {key:?} }}");
    let lessor = Lessor::server_with(&stanza).await;
    // They are read at the start, and looked at again later.
    std::mem::forget(folder);
    (lessor, port, authority.pem())
}

/// OpenSSL's responder, which knows the certificate 7 of an authority as good or revoked. It ends with the value.
struct Responder {
    _child: tokio::process::Child,
    _folder: tempfile::TempDir,
    url: String,
}

impl Responder {
    async fn start(authority: &CertifiedIssuer<'static, KeyPair>, revoked: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let row = match revoked {
            true => "R\t491231235959Z\t200101000000Z\t07\tunknown\t/CN=web-1\n",
            false => "V\t491231235959Z\t\t07\tunknown\t/CN=web-1\n",
        };
        std::fs::write(path("index.txt"), row).unwrap();
        std::fs::write(path("ca.crt"), authority.pem()).unwrap();
        std::fs::write(path("ca.key"), authority.key().serialize_pem()).unwrap();
        let port = free_port();
        let mut child = tokio::process::Command::new("openssl")
            .args(["ocsp", "-port", &port.to_string(), "-nmin", "5", "-index"])
            .arg(path("index.txt"))
            .arg("-CA")
            .arg(path("ca.crt"))
            .arg("-rsigner")
            .arg(path("ca.crt"))
            .arg("-rkey")
            .arg(path("ca.key"))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl can be started");
        // A connection that asks nothing, to see whether it listens, would keep it busy for ever.
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains("waiting for") {
                break;
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Self { _child: child, _folder: folder, url: format!("http://localhost:{port}") }
    }
}

#[tokio::test]
async fn a_responder_decides_about_a_certificate() {
    let (lessor, port, trust) = server().await;
    let root = lessor.initialise().await;
    let http = lessor.http().with_token(&root);
    let clients = authority();
    let (good, revoked) = (Responder::start(&clients, false).await, Responder::start(&clients, true).await);
    let stranger = Responder::start(&authority(), false).await;
    let mut params = CertificateParams::new(vec!["web-1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "web-1");
    params.serial_number = Some(SerialNumber::from(7_u64));
    let key = KeyPair::generate().unwrap();
    let (web, key) = (params.signed_by(&key, &clients).unwrap().pem(), key.serialize_pem());
    let web = Client::new(port, &trust, Some((&web, &key)));
    for (mount, settings, status) in [
        ("good", json!({ "ocsp_servers_override": good.url }), 200),
        ("revoked", json!({ "ocsp_servers_override": revoked.url }), 400),
        ("open", json!({ "ocsp_servers_override": revoked.url, "ocsp_fail_open": true }), 400),
        ("both", json!({ "ocsp_servers_override": [good.url, revoked.url], "ocsp_query_all_servers": true }), 400),
        ("away", json!({ "ocsp_servers_override": ["http://localhost:1", good.url] }), 200),
        ("forged", json!({ "ocsp_servers_override": stranger.url }), 400),
        ("nobody", json!({}), 400),
        ("nobody-open", json!({ "ocsp_fail_open": true }), 200),
    ] {
        http.post(&format!("sys/auth/{mount}"), json!({ "type": "cert" })).await.expect_status(204);
        let mut role = json!({ "certificate": clients.pem(), "ocsp_enabled": true });
        role.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        http.post(&format!("auth/{mount}/certs/web"), role).await.expect_status(204);
        let (found, body) = web.post(&format!("auth/{mount}/login"), "").await;
        let log: Vec<_> = lessor.log().lines().filter(|line| line.contains("OCSP")).map(str::to_owned).collect();
        assert_eq!(found, status, "{mount}: {} {log:?}", body["errors"]);
    }
}

#[tokio::test]
async fn a_certificate_logs_in_and_renews_what_it_got() {
    let (lessor, port, trust) = server().await;
    let root = lessor.initialise().await;
    let http = lessor.http().with_token(&root);
    let clients = authority();
    http.post("sys/auth/cert", json!({ "type": "cert" })).await.expect_status(204);
    let role = json!({ "certificate": clients.pem(), "allowed_common_names": "web-*", "token_policies": "p" });
    http.post("auth/cert/certs/web", role).await.expect_status(204);
    assert_eq!(http.get("auth/cert/certs/web").await.expect_status(200).text("/data/display_name"), "web");

    let (web, web_key) = certificate("web-1", &clients);
    let (other, other_key) = certificate("web-2", &clients);
    let (stranger, stranger_key) = certificate("web-1", &authority());
    let web = Client::new(port, &trust, Some((&web, &web_key)));
    let (status, body) = web.post("auth/cert/login", "").await;
    assert_eq!((status, &body["auth"]["metadata"]["common_name"]), (200, &json!("web-1")), "{}", body["errors"]);
    assert_eq!(body["auth"]["policies"], json!(["default", "p"]));
    let token = body["auth"]["client_token"].as_str().unwrap();
    assert_eq!(web.post("auth/token/renew-self", token).await.0, 200);
    let other = Client::new(port, &trust, Some((&other, &other_key)));
    assert_eq!(other.post("auth/cert/login", "").await.0, 200);
    assert_eq!(other.post("auth/token/renew-self", token).await.0, 400, "a stolen token cannot be renewed");
    assert_eq!(http.with_token(token).post("auth/token/renew-self", json!({})).await.status, 400, "nor without TLS");

    let refused = json!(["invalid certificate or no client certificate supplied"]);
    for client in [Client::new(port, &trust, None), Client::new(port, &trust, Some((&stranger, &stranger_key)))] {
        let (status, body) = client.post("auth/cert/login", "").await;
        assert_eq!((status, &body["errors"]), (400, &refused), "they are let in, and not logged in");
    }
    lessor.http().post("auth/cert/login", json!({})).await.expect_status(400);
}

/// Runs a program of the system; what it printed.
async fn run(program: &str, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(program).args(arguments).output().await;
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// OpenSSL makes such a certificate when it is told nothing of extensions; TLS libraries in Rust read none.
#[tokio::test]
async fn a_certificate_of_the_first_version_is_one_too() {
    let (lessor, port, trust) = server().await;
    let root = lessor.initialise().await;
    let http = lessor.http().with_token(&root);
    http.post("sys/auth/cert", json!({ "type": "cert" })).await.expect_status(204);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("ca.pem"), trust).unwrap();
    let (key, request, own) = (path("key"), path("request"), path("own"));
    for (kind, option) in [("rsa", "rsa_keygen_bits:2048"), ("ec", "ec_paramgen_curve:P-256")] {
        run("openssl", &["genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", &key]).await;
        run("openssl", &["req", "-new", "-key", &key, "-subj", "/CN=old", "-out", &request]).await;
        run("openssl", &["x509", "-req", "-in", &request, "-signkey", &key, "-out", &own]).await;
        let shown = run("openssl", &["x509", "-in", &own, "-noout", "-text"]).await;
        assert!(shown.contains("Version: 1 "), "{shown}");
        let role = json!({ "certificate": std::fs::read_to_string(&own).unwrap() });
        http.post(&format!("auth/cert/certs/{kind}"), role).await.expect_status(204);
        let url = format!("https://localhost:{port}/v1/auth/cert/login");
        let body = format!("{{\"name\":\"{kind}\"}}");
        for version in ["1.2", "1.3"] {
            let (tls, ca) = (format!("--tlsv{version}"), path("ca.pem"));
            let ask = ["-s", "--max-time", "30", &tls, "--tls-max", version, "--cacert", &ca, "--cert", &own];
            let answer = run("curl", &[&ask[..], &["--key", &key, "--data", &body, &url]].concat()).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["auth"]["metadata"]["common_name"], "old", "TLS {version}, {kind}: {answer}");
        }
    }
}
