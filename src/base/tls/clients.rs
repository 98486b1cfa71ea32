//! How a server treats the certificates of its clients: not at all, asks for them, or insists.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;

#[cfg(feature = "engine")]
use super::anyone::Anyone;
use super::{Error, certificates, provider};

/// What a server wants of its clients.
#[derive(Debug, Clone, Default)]
pub enum Clients {
    /// They are not asked.
    #[default]
    Ignored,
    /// They may show a certificate, whoever made it. That they hold its key is checked, nothing else: a login does the rest.
    #[cfg(feature = "engine")]
    Asked,
    /// They must show one that these authorities (PEM) made.
    Required(Vec<u8>),
}

impl Clients {
    pub(super) fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        match self {
            Self::Ignored => Ok(None),
            #[cfg(feature = "engine")]
            Self::Asked => Ok(Some(Arc::new(Anyone::new(provider().signature_verification_algorithms)))),
            Self::Required(pem) => {
                let certificates = certificates(pem, WHAT)?;
                client_verifier(&certificates).map(|verifier| Some(verifier as _))
            }
        }
    }
}

const WHAT: &str = "the certificate of the clients' authority";

/// Checks certificates of clients against authorities: chain, purpose and validity.
///
/// # Errors
/// When one of the authorities is unusable.
pub fn client_verifier(authorities: &[CertificateDer<'static>]) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|source| Error::Unusable { what: WHAT, source })?;
    }
    let unusable = |error: rustls::server::VerifierBuilderError| Error::Unusable {
        what: WHAT,
        source: rustls::Error::General(error.to_string()),
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier: Arc<dyn ClientCertVerifier> = verifier.map_err(unusable)?;
    Ok(verifier)
}
