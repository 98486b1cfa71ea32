//! TLS on both sides: a local API with a certificate, and a login that is one.

use std::sync::Mutex;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::base::http::{HttpClient, HttpRequest};
use crate::base::tls::{self, ClientTls};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a name or address, and its key, both PEM.
fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

async fn status(url: String, tls: &ClientTls) -> Result<u16, String> {
    let request = HttpRequest {
        method: http::Method::GET,
        url,
        headers: http::HeaderMap::new(),
        body: Vec::new(),
        timeout: Duration::from_secs(10),
    };
    let answer = HttpClient::new(tls).unwrap().send(request).await;
    answer.map(|answer| answer.status.as_u16()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_listener_with_a_certificate_speaks_tls_only() {
    tls::install_provider();
    let (engine, folder) = (engine(3600, |_| renewed(3600)).await, tempfile::tempdir().unwrap());
    let authority = authority();
    let (cert, key) = certificate(&authority, "127.0.0.1");
    let files = ["cert", "key"].map(|name| folder.path().join(name));
    std::fs::write(&files[0], cert).unwrap();
    std::fs::write(&files[1], key).unwrap();
    let listener =
        json!({"type": "tcp", "address": "127.0.0.1:0", "tls_cert_file": files[0], "tls_key_file": files[1]});
    let extra = json!({"listener": [listener], "api_proxy": {"use_auto_auth_token": true}});
    let mut stage = Stage::start(&engine, &[USER], extra).await;
    stage.until_ready().await;
    let address = stage.addresses[0];
    let trusting = ClientTls { ca_pem: Some(authority.pem()), ..ClientTls::default() };
    assert_eq!(status(format!("https://{address}/ready"), &trusting).await, Ok(200));
    status(format!("http://{address}/ready"), &trusting).await.unwrap_err();
    let stranger = ClientTls { ca_pem: Some(self::authority().pem()), ..ClientTls::default() };
    status(format!("https://{address}/ready"), &stranger).await.unwrap_err();
}

/// The certificates that clients showed, by connection.
type Shown = Arc<Mutex<Vec<Option<CertificateDer<'static>>>>>;

/// TLS in front of the engine, which asks for certificates of `authority`: its URL, and what it was shown.
async fn front(engine: &FakeEngine, authority: &Authority) -> (String, Shown) {
    let (cert, key) = certificate(authority, "127.0.0.1");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build().unwrap();
    let chain = tls::certificates(cert.as_bytes(), "the certificate").unwrap();
    let key = tls::private_key(key.as_bytes(), "the key").unwrap();
    let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, shown) = (format!("https://{}", listener.local_addr().unwrap()), Shown::default());
    let (behind, seen) = (engine.address.trim_start_matches("http://").to_owned(), Arc::clone(&shown));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut client = acceptor.accept(stream).await.unwrap();
            let certificate = client.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
            seen.lock().unwrap().push(certificate.map(CertificateDer::into_owned));
            let mut engine = TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut engine).await });
        }
    });
    (url, shown)
}

#[tokio::test]
async fn a_certificate_is_shown_to_log_in_and_read_anew_each_time() {
    tls::install_provider();
    let logins = AtomicU32::new(0);
    let engine = FakeEngine::start(move |seen| match seen.line().as_str() {
        // The first login ends soon and cannot be renewed.
        "PUT auth/cert/login" if logins.fetch_add(1, Ordering::SeqCst) == 0 => {
            (200, json!({"auth": {"client_token": "s.first", "lease_duration": 600, "renewable": false}}))
        }
        "PUT auth/cert/login" => login(86_400),
        "GET database/creds/app" => credential(1, 86_400),
        _ => (204, Value::Null),
    })
    .await;
    let (folder, authority) = (tempfile::tempdir().unwrap(), authority());
    let (url, shown) = front(&engine, &authority).await;
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("ca"), authority.pem()).unwrap();
    let place = |(cert, key): (String, String)| {
        std::fs::write(file("cert"), &cert).unwrap();
        std::fs::write(file("key"), key).unwrap();
        tls::certificates(cert.as_bytes(), "it").unwrap().remove(0)
    };
    let first = place(certificate(&authority, "app"));
    let extra = json!({
        "vault": {"address": url, "ca_cert": file("ca")},
        "auto_auth": {"method": {"type": "cert", "config": {
            "name": "app", "client_cert": file("cert"), "client_key": file("key"),
        }}},
    });
    let mut stage = Stage::start(&engine, &[USER], extra).await;
    stage.until_ready().await;
    assert_eq!(stage.file("0"), "user-1");
    let asked = engine.seen();
    assert_eq!((asked[0].line().as_str(), &asked[0].body), ("PUT auth/cert/login", &json!({"name": "app"})));
    assert_eq!(asked[1].token, "s.first");
    let second = place(certificate(&authority, "app"));
    stage.advance_until(60, "another login", || count(&engine, "PUT auth/cert/login") == 2).await;
    stage.finish().await.unwrap();
    let shown: Vec<_> = shown.lock().unwrap().iter().flatten().cloned().collect();
    assert_eq!(shown, [first, second], "for the logins, and for nothing else");
}
