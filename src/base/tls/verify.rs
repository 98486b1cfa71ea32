//! How a client checks a server's certificate: against trusted ones, or not at all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Error;

/// Chains to a trusted certificate, or is one of them itself.
///
/// The second is for self-signed certificates as `openssl req -x509` makes them: they call themselves a CA, which rustls
/// refuses in a server, while Go's clients accept what they were told to trust.
#[derive(Debug)]
pub(super) struct Trusted {
    chains: Arc<WebPkiServerVerifier>,
    itself: Vec<CertificateDer<'static>>,
    any_name: bool,
}

impl Trusted {
    /// Trusts these, with `any_name` whatever name the server's certificate is for. Single broken ones are common in the
    /// system's store and no reason to trust nothing.
    pub fn new(certificates: Vec<CertificateDer<'static>>, any_name: bool) -> Result<Self, Error> {
        let unusable = "the CA certificate";
        let mut store = RootCertStore::empty();
        let (_, broken) = store.add_parsable_certificates(certificates.iter().cloned());
        if store.is_empty() && broken > 0 {
            let source = rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
            return Err(Error::Unusable { what: unusable, source });
        }
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(store), super::provider()).build();
        let source = |error: rustls::client::VerifierBuilderError| rustls::Error::General(error.to_string());
        let chains = chains.map_err(|error| Error::Unusable { what: unusable, source: source(error) })?;
        // A store of the system holds no server's own certificate and would only cost memory here.
        let itself = if certificates.len() <= 16 { certificates } else { Vec::new() };
        Ok(Self { chains, itself, any_name })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.chains.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is compared last: everything else about the certificate is right by then.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if self.any_name =>
            {
                Ok(ServerCertVerified::assertion())
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.itself.iter().any(|trusted| trusted.as_ref() == certificate.as_ref()) =>
            {
                if !self.any_name {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Accepts every certificate, but still checks that the server holds the key of the one it shows.
#[derive(Debug)]
pub(super) struct Anyone(WebPkiSupportedAlgorithms);

impl Default for Anyone {
    fn default() -> Self {
        Self(ring::default_provider().signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
