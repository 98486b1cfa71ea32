//! Handshakes between our client and our server, over real connections.

#![expect(clippy::unwrap_used, reason = "a failed expectation is a test's result")]

use std::time::Duration;

use http::{HeaderMap, Method};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::ResolvesServerCert;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::renewed::RenewedCertificate;
use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest};
use crate::base::shutdown;

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A server with this certificate; the answer is its URL.
async fn serve(chain_pem: &str, key_pem: &str) -> String {
    let key = certified_key(chain_pem.as_bytes(), key_pem.as_bytes()).unwrap();
    serve_by(Arc::new(Always(Arc::new(key)))).await
}

async fn serve_by(resolver: Arc<dyn ResolvesServerCert>) -> String {
    let config = server_config(resolver).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

async fn get(url: &str, tls: ClientTls) -> Result<u16, HttpError> {
    let request = HttpRequest {
        method: Method::GET,
        url: url.to_owned(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        timeout: Duration::from_secs(10),
    };
    Ok(HttpClient::new(&tls)?.send(request).await?.status.as_u16())
}

fn trusting(pem: &str) -> ClientTls {
    ClientTls { ca_pem: Some(pem.to_owned()), ..ClientTls::default() }
}

#[tokio::test]
async fn a_server_is_trusted_through_its_ca_and_nobody_elses() {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let ca = ca_params().self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca_params(), ca_key);
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let url = serve(&leaf.pem(), &key.serialize_pem()).await;
    assert_eq!(get(&url, trusting(&ca.pem())).await.unwrap(), 204);
    let stranger = ca_params().self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(get(&url, trusting(&stranger.pem())).await.unwrap_err().kind(), HttpErrorKind::Connect);
    let careless = ClientTls { skip_verify: true, ..trusting(&stranger.pem()) };
    assert_eq!(get(&url, careless).await.unwrap(), 204);
    let other_name = ClientTls { server_name: Some("elsewhere".into()), ..trusting(&ca.pem()) };
    assert_eq!(get(&url, other_name.clone()).await.unwrap_err().kind(), HttpErrorKind::Connect);
    assert_eq!(get(&url, ClientTls { any_name: true, ..other_name }).await.unwrap(), 204);
    let strangers = ClientTls { any_name: true, ..trusting(&stranger.pem()) };
    assert_eq!(get(&url, strangers).await.unwrap_err().kind(), HttpErrorKind::Connect);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_by_itself_under_its_own_name_only() {
    let key = KeyPair::generate().unwrap();
    let own = ca_params().self_signed(&key).unwrap();
    let url = serve(&own.pem(), &key.serialize_pem()).await;
    assert_eq!(get(&url, trusting(&own.pem())).await.unwrap(), 204);
    let by_address = url.replace("localhost", "127.0.0.1");
    assert_eq!(get(&by_address, trusting(&own.pem())).await.unwrap_err().kind(), HttpErrorKind::Connect);
}

#[test]
fn a_key_must_fit_its_certificate() {
    let own = ca_params().self_signed(&KeyPair::generate().unwrap()).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(certified_key(own.pem().as_bytes(), other.as_bytes()).is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_a_half_written_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let fresh = || {
        let key = KeyPair::generate().unwrap();
        (ca_params().self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (first, second) = (fresh(), fresh());
    std::fs::write(&certificate, &first.0).unwrap();
    std::fs::write(&key, &first.1).unwrap();
    let served = RenewedCertificate::open(certificate.clone(), key.clone()).unwrap();
    let url = serve_by(served.clone()).await;
    assert_eq!(get(&url, trusting(&first.0)).await.unwrap(), 204);

    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let (stop, shutdown) = shutdown::channel();
    let following = tokio::spawn(served.clone().follow(clock.clone(), shutdown));
    std::fs::write(&certificate, &second.0).unwrap();
    assert!(served.refresh().is_err(), "the key is still the other's");
    assert_eq!(get(&url, trusting(&first.0)).await.unwrap(), 204);
    std::fs::write(&key, &second.1).unwrap();
    let mut answer = get(&url, trusting(&second.0)).await;
    for _ in 0..1000 {
        if answer.is_ok() {
            break;
        }
        clock.advance(Duration::from_secs(10));
        answer = get(&url, trusting(&second.0)).await;
    }
    assert_eq!(answer.unwrap(), 204);
    assert!(get(&url, trusting(&first.0)).await.is_err(), "the certificate of before is gone");
    assert!(!served.refresh().unwrap());
    stop.stop();
    following.await.unwrap();
}
