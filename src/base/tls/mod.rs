//! TLS from PEM texts: what a client trusts and shows, what a server shows, and the one crypto provider of the process.

#[cfg(feature = "engine")]
mod anyone;
mod clients;
pub mod renewed;
#[cfg(all(test, feature = "operator"))]
mod tests;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use self::clients::{Clients, client_verifier};
use super::Secret;

/// Why a TLS configuration cannot be made. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file that was configured.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A text that should be PEM is not.
    #[error("{what} is not PEM")]
    Pem {
        /// What the text was meant to be: `the CA certificate`.
        what: &'static str,
        /// Where the reader stopped.
        source: rustls_pki_types::pem::Error,
    },
    /// A PEM text holds no certificate at all.
    #[error("{what} holds no certificate")]
    Empty {
        /// What the text was meant to be.
        what: &'static str,
    },
    /// A client certificate came without its key, or the other way round.
    #[error("a client certificate needs its key, and a key its certificate")]
    HalfIdentity,
    /// The certificates are PEM but unusable: a key that does not fit, a broken certificate.
    #[error("cannot use {what}")]
    Unusable {
        /// What was refused.
        what: &'static str,
        /// rustls' reason.
        source: rustls::Error,
    },
    /// No CA was configured and the system has none; a `FROM scratch` image, say.
    #[error("no CA certificates: configure one, as this system has none of its own")]
    NoRoots,
}

/// How a client checks the server and who it says it is.
#[derive(Debug, Clone, Default)]
pub struct ClientTls {
    /// CA certificates as PEM. With neither this nor `ca_file` the system's are trusted.
    pub ca_pem: Option<String>,
    /// A file of CA certificates as PEM; used in addition to `ca_pem`.
    pub ca_file: Option<PathBuf>,
    /// Accepts any certificate. For tests and emergencies: an attacker in between sees every secret.
    pub skip_verify: bool,
    /// Accepts a trusted certificate for whatever name: PostgreSQL's `verify-ca`.
    pub any_name: bool,
    /// The name in the server's certificate and in SNI, where it differs from the address.
    pub server_name: Option<String>,
    /// The client's certificate chain as PEM.
    pub client_cert_pem: Option<String>,
    /// The key of the client's certificate as PEM.
    pub client_key_pem: Option<Secret>,
    /// Which versions of the protocol it speaks.
    pub versions: Versions,
}

/// The versions of TLS that are spoken: those before 1.2 are broken, and nobody offers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    All,
    /// 1.2 only.
    Only12,
    /// 1.3 only.
    Only13,
}

impl Versions {
    fn list(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static TLS12: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
        static TLS13: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::All => rustls::DEFAULT_VERSIONS,
            Self::Only12 => &TLS12,
            Self::Only13 => &TLS13,
        }
    }
}

impl ClientTls {
    /// Whether anything was configured, so that an error in it should be found before the first connection.
    pub fn is_customised(&self) -> bool {
        self.ca_pem.is_some()
            || self.ca_file.is_some()
            || self.client_cert_pem.is_some()
            || self.client_key_pem.is_some()
    }
}

/// Makes ring the process-wide provider of rustls; programs call it first.
///
/// Cargo may link aws-lc-rs as well through another crate, and rustls panics when it has to choose between two.
pub fn install_provider() {
    // An error means that a provider is installed already, which is all that this wants.
    let _ = ring::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of a PEM text, in its order. `what` names the text in errors.
///
/// # Errors
/// When the text is not PEM or holds no certificate.
pub fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| Error::Pem { what, source })?;
    if found.is_empty() { Err(Error::Empty { what }) } else { Ok(found) }
}

/// The first private key of a PEM text (PKCS#8, PKCS#1 or SEC1). `what` names the text in errors.
///
/// # Errors
/// When the text holds none.
pub fn private_key(pem: &[u8], what: &'static str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| Error::Pem { what, source })
}

/// A server's certificate chain (leaf first) with its key, checked to belong together.
///
/// # Errors
/// When either is not PEM or they do not fit.
pub fn certified_key(chain_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, Error> {
    let chain = certificates(chain_pem, "the server certificate")?;
    let key = private_key(key_pem, "the server's key")?;
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|source| Error::Unusable { what: "the server certificate with its key", source })
}

/// A server that shows whatever certificate `resolver` holds at the moment, so that certificates may change while it runs.
///
/// # Errors
/// When the provider has no usable protocol version, which a build of rustls with TLS 1.2 or 1.3 always has.
pub fn server_config(resolver: Arc<dyn rustls::server::ResolvesServerCert>) -> Result<ServerConfig, Error> {
    server_config_for(resolver, &Clients::Ignored, Versions::All)
}

/// The same for clients that may, or must, show certificates themselves, and for some versions of the protocol.
///
/// # Errors
/// As [`server_config`]; when the authority of the clients is unusable.
pub fn server_config_for(
    resolver: Arc<dyn rustls::server::ResolvesServerCert>,
    clients: &Clients,
    versions: Versions,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions.list())
        .map_err(|source| Error::Unusable { what: "the TLS versions", source })?;
    let builder = match clients.verifier()? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What a client needs; the system's certificates are read when no CA is given.
///
/// # Errors
/// When a certificate cannot be read or used, or there is nothing to trust.
pub fn client_config(tls: &ClientTls) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(tls.versions.list())
        .map_err(|source| Error::Unusable { what: "the TLS versions", source })?;
    let verifier: Arc<dyn ServerCertVerifier> = if tls.skip_verify {
        Arc::new(verify::Anyone::default())
    } else {
        Arc::new(verify::Trusted::new(trusted(tls)?, tls.any_name)?)
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (&tls.client_cert_pem, &tls.client_key_pem) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(chain), Some(key)) => {
            let chain = certificates(chain.as_bytes(), "the client certificate")?;
            let key = private_key(key.expose().as_bytes(), "the client's key")?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| Error::Unusable { what: "the client certificate with its key", source })
        }
        _ => Err(Error::HalfIdentity),
    }
}

/// The certificates that were configured, or else the system's.
fn trusted(tls: &ClientTls) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut found = Vec::new();
    if let Some(pem) = &tls.ca_pem {
        found.extend(certificates(pem.as_bytes(), "the CA certificate")?);
    }
    if let Some(path) = &tls.ca_file {
        found.extend(certificates(&read(path)?, "the CA certificate file")?);
    }
    if found.is_empty() {
        found = rustls_native_certs::load_native_certs().certs;
    }
    if found.is_empty() { Err(Error::NoRoots) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod error_tests {
    use super::*;

    #[test]
    fn errors_name_what_is_wrong() {
        let tls = |change: fn(&mut ClientTls)| {
            let mut tls = ClientTls::default();
            change(&mut tls);
            client_config(&tls).unwrap_err().to_string()
        };
        assert_eq!(tls(|tls| tls.ca_pem = Some("nonsense".into())), "the CA certificate holds no certificate");
        assert_eq!(tls(|tls| tls.ca_file = Some("/nowhere/ca.pem".into())), "cannot read /nowhere/ca.pem");
        let half = tls(|tls| {
            tls.skip_verify = true;
            tls.client_cert_pem = Some(String::new());
        });
        assert!(half.contains("needs its key"), "{half}");
    }

    #[test]
    fn the_key_stays_out_of_debug_output() {
        let tls = ClientTls { client_key_pem: Some("canary".into()), ..ClientTls::default() };
        assert!(!format!("{tls:?}").contains("canary"));
    }
}
