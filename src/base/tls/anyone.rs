//! Clients with or without a certificate, whoever made it and whatever it says: only that they hold its key is checked.
//!
//! As in Vault, whose TLS looks at nothing else either. Certificates of X.509's first version, which `openssl x509 -req` makes when it
//! is told nothing of extensions, are no reason to hang up on somebody who may log in in another way; TLS libraries in Rust
//! take none, so their key is read here.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use x509_parser::x509::SubjectPublicKeyInfo;

/// Lets every client in.
#[derive(Debug)]
pub(super) struct Anyone(WebPkiSupportedAlgorithms);

impl Anyone {
    /// With the signatures that are understood.
    pub fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self(algorithms)
    }

    /// Whether `key` made the signature by one of the algorithms that TLS 1.2 has under that name.
    fn signed(&self, message: &[u8], key: &SubjectPublicKeyInfo<'_>, signature: &DigitallySignedStruct) -> bool {
        let named = self.0.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        named.flat_map(|(_, algorithms)| algorithms.iter()).any(|algorithm| {
            is_of(key, algorithm.public_key_alg_id().as_ref())
                && algorithm.verify_signature(&key.subject_public_key.data, message, signature.signature()).is_ok()
        })
    }
}

/// Whether a key's kind is the one of this identifier, which is the content of its DER sequence.
fn is_of(key: &SubjectPublicKeyInfo<'_>, identifier: &[u8]) -> bool {
    use x509_parser::prelude::FromDer as _;
    let outer = x509_parser::asn1_rs::Any::from_der(key.raw).ok().map(|(_, outer)| outer.data);
    let inner = outer.and_then(|data| x509_parser::asn1_rs::Any::from_der(data).ok());
    inner.is_some_and(|(_, algorithm)| algorithm.data == identifier)
}

fn key_of<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfo<'a>, Error> {
    let parsed = x509_parser::parse_x509_certificate(certificate).ok();
    let key = parsed.map(|(_, parsed)| parsed.tbs_certificate.subject_pki);
    key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

impl ClientCertVerifier for Anyone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.signed(message, &key_of(certificate)?, signature) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key_of(certificate)?.raw);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
