//! A certificate as a client showed it: the names and numbers in it that roles and audits look at.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::base::Timestamp;

/// What of the client's certificates matters.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// As they came, the client's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Issuer's name (DER) and serial number of each, for revocation lists.
    pub numbers: Vec<(Vec<u8>, String)>,
    pub common_name: String,
    pub dns: Vec<String>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    pub units: Vec<String>,
    /// Decimal.
    pub serial: String,
    /// `ab:cd:…`.
    pub key_id: String,
    pub authority_key_id: String,
    /// Unix seconds.
    not_before: i64,
    not_after: i64,
    /// By OID: the content in DER.
    extensions: Vec<(String, Vec<u8>)>,
}

impl Shown {
    /// Reads what a connection showed; none where it showed nothing, or no certificate.
    pub fn read(certificates: &[Vec<u8>]) -> Option<Self> {
        let (_, own) = X509Certificate::from_der(certificates.first()?).ok()?;
        let mut shown = Self {
            common_name: first(own.subject().iter_common_name()),
            units: own
                .subject()
                .iter_organizational_unit()
                .filter_map(|unit| Some(unit.as_str().ok()?.into()))
                .collect(),
            serial: own.serial.to_string(),
            not_before: own.validity().not_before.timestamp(),
            not_after: own.validity().not_after.timestamp(),
            ..Self::default()
        };
        for extension in own.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => shown.note_names(&names.general_names),
                ParsedExtension::SubjectKeyIdentifier(id) => shown.key_id = hex(id.0),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    shown.authority_key_id = id.key_identifier.as_ref().map(|id| hex(id.0)).unwrap_or_default();
                }
                _ => {}
            }
            shown.extensions.push((extension.oid.to_id_string(), extension.value.to_vec()));
        }
        for der in certificates {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            shown.numbers.push((certificate.issuer().as_raw().to_vec(), certificate.serial.to_string()));
            shown.chain.push(CertificateDer::from(der.clone()));
        }
        Some(shown)
    }

    fn note_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
                GeneralName::URI(name) => self.uris.push((*name).to_owned()),
                _ => {}
            }
        }
    }

    /// Whether it is valid now.
    pub fn is_current(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now.as_second())
    }

    /// The text that an extension holds; none for one that is not there or holds something else.
    pub fn extension(&self, oid: &str) -> Option<String> {
        text(self.raw_extension(oid)?)
    }

    /// An extension's content in hexadecimal.
    pub fn extension_hex(&self, oid: &str) -> Option<String> {
        self.raw_extension(oid).map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn raw_extension(&self, oid: &str) -> Option<&[u8]> {
        self.extensions.iter().find(|(own, _)| own == oid).map(|(_, value)| &value[..])
    }
}

/// Whether a certificate says that its key makes others (RFC 5280, 4.2.1.9), which a verifier never asks of its trust anchors.
pub(super) fn is_authority(certificate: &CertificateDer<'static>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| certificate.is_ca())
}

fn first<'a>(mut names: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> String {
    names.next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// The text of a DER string: UTF8String, PrintableString or IA5String.
fn text(der: &[u8]) -> Option<String> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(*short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    let known = matches!(tag, 0x0c | 0x13 | 0x16) && rest.len() == length;
    known.then(|| String::from_utf8(rest.to_vec()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_extensions_are_read() {
        assert_eq!(text(b"\x0c\x02hi").as_deref(), Some("hi"));
        assert_eq!(text(&[&[0x13, 0x81, 200][..], &[b'a'; 200]].concat()), Some("a".repeat(200)));
        for wrong in
            [&b""[..], b"\x0c", b"\x0c\x03hi", b"\x0c\x01hi", b"\x04\x02hi", b"\x0c\x82\x01", b"\x0c\x02\xff\xff"]
        {
            assert_eq!(text(wrong), None, "{wrong:?}");
        }
    }
}
