//! OCSP (RFC 6960): the question whether one certificate is still good, and what an answer to it is worth.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::BitString;
use x509_parser::prelude::{AlgorithmIdentifier, FromDer as _, X509Certificate};
use x509_parser::verify::verify_signature;

use super::der::{Element, Reader, element};
use crate::base::clock::{Timestamp, add_seconds};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const TIME: u8 = 0x18;

/// How far the clocks of responders may be off, in seconds.
const SKEW: u64 = 5 * 60;

/// SHA-1 and its empty parameters: it only names certificates here, and every responder knows it.
const SHA1: &[u8] = &[SEQUENCE, 9, OID, 5, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 5, 0];

/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// Why an answer is worth nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it is no answer of an OCSP responder")]
    Unreadable,
    #[error("the responder refuses (status {0})")]
    Refused(u8),
    #[error("nobody who may has signed it")]
    Signature,
    #[error("it is about another certificate")]
    Other,
    #[error("it is too old, or of the future")]
    Stale,
}

/// What a responder knows. Of what several say the greatest counts: that one does not know says nothing against what another
/// knows, and one that says no outweighs all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Unknown,
    Good,
    Revoked,
}

/// A certificate that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
    serial: Vec<u8>,
}

/// What counts as an answer.
pub(super) struct Rules<'a> {
    pub issuer: &'a X509Certificate<'a>,
    /// Others that responders' certificates may be of.
    pub others: &'a [CertificateDer<'static>],
    pub now: Timestamp,
    /// Seconds that an answer may be old, whatever it says of itself; 0 is any.
    pub max_age: u64,
}

/// An answer that counts, and until when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: Status,
    pub until: Option<Timestamp>,
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

impl Question {
    /// About a certificate of that issuer.
    pub fn about(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Self {
        Self {
            issuer_name: sha1(certificate.issuer().as_raw()),
            issuer_key: sha1(&issuer.public_key().subject_public_key.data),
            serial: certificate.raw_serial().to_vec(),
        }
    }

    /// The request in DER.
    pub fn request(&self) -> Vec<u8> {
        let (name, key) = (element(OCTETS, &[&self.issuer_name]), element(OCTETS, &[&self.issuer_key]));
        let id = element(SEQUENCE, &[SHA1, &name, &key, &element(INTEGER, &[&self.serial])]);
        let list = element(SEQUENCE, &[&element(SEQUENCE, &[&id])]);
        element(SEQUENCE, &[&element(SEQUENCE, &[&list])])
    }

    /// Whether a CertID names this certificate.
    fn is(&self, id: Element<'_>) -> Option<bool> {
        let mut id = id.inside();
        id.next(SEQUENCE)?;
        let (name, key, serial) = (id.next(OCTETS)?, id.next(OCTETS)?, id.next(INTEGER)?);
        Some(name.content == self.issuer_name && key.content == self.issuer_key && serial.content == self.serial)
    }

    /// What an answer says of this certificate.
    ///
    /// # Errors
    /// Says why it is worth nothing.
    pub fn judge(&self, bytes: &[u8], rules: &Rules<'_>) -> Result<Answer, Problem> {
        let mut whole = Reader(bytes).next(SEQUENCE).ok_or(Problem::Unreadable)?.inside();
        match whole.next(ENUMERATED).map(|status| status.content) {
            Some([0]) => {}
            Some([status]) => return Err(Problem::Refused(*status)),
            _ => return Err(Problem::Unreadable),
        }
        let basic = basic(whole).ok_or(Problem::Unreadable)?;
        if !basic.is_signed(rules) {
            return Err(Problem::Signature);
        }
        let rows = basic.rows().ok_or(Problem::Unreadable)?;
        let row = rows.into_iter().find(|row| self.is(row.id) == Some(true)).ok_or(Problem::Other)?;
        let (now, begun) = (rules.now, row.this_update);
        let old = row.next_update.is_some_and(|next| add_seconds(next, SKEW) < now)
            || (rules.max_age > 0 && add_seconds(begun, rules.max_age) < now);
        if old || begun > add_seconds(now, SKEW) {
            return Err(Problem::Stale);
        }
        Ok(Answer { status: row.status, until: row.next_update })
    }
}

/// The parts of a BasicOCSPResponse.
struct Basic<'a> {
    data: Element<'a>,
    algorithm: Element<'a>,
    signature: Element<'a>,
    certificates: Vec<&'a [u8]>,
}

/// One line of an answer.
struct Row<'a> {
    id: Element<'a>,
    status: Status,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
}

fn basic(mut whole: Reader<'_>) -> Option<Basic<'_>> {
    let mut bytes = whole.next(0xa0)?.inside().next(SEQUENCE)?.inside();
    if bytes.next(OID)?.content != BASIC {
        return None;
    }
    let mut parts = bytes.next(OCTETS)?.inside().next(SEQUENCE)?.inside();
    let (data, algorithm, signature) = (parts.next(SEQUENCE)?, parts.next(SEQUENCE)?, parts.next(BITS)?);
    let mut certificates = Vec::new();
    if let Some(list) = parts.next(0xa0) {
        let mut list = list.inside().next(SEQUENCE)?.inside();
        while let Some(certificate) = list.next(SEQUENCE) {
            certificates.push(certificate.whole);
        }
    }
    Some(Basic { data, algorithm, signature, certificates })
}

impl<'a> Basic<'a> {
    /// Whether the issuer signed it, or somebody whom the issuer lets sign.
    fn is_signed(&self, rules: &Rules<'_>) -> bool {
        let parsed = |der: &'a [u8]| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
        let others: Vec<_> = rules.others.iter().filter_map(|der| X509Certificate::from_der(der).ok()).collect();
        let authorities: Vec<_> = others.iter().map(|(_, other)| other).chain([rules.issuer]).collect();
        if authorities.iter().any(|authority| self.is_signed_by(authority)) {
            return true;
        }
        let seconds = rules.now.as_second();
        self.certificates.iter().copied().filter_map(parsed).any(|responder| {
            let valid = responder.validity();
            let current = (valid.not_before.timestamp()..=valid.not_after.timestamp()).contains(&seconds);
            let may = responder.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
            let made = |authority: &&X509Certificate<'_>| {
                authority.subject().as_raw() == responder.issuer().as_raw()
                    && responder.verify_signature(Some(authority.public_key())).is_ok()
            };
            current && may && authorities.iter().any(made) && self.is_signed_by(&responder)
        })
    }

    fn is_signed_by(&self, signer: &X509Certificate<'_>) -> bool {
        let Ok((_, algorithm)) = AlgorithmIdentifier::from_der(self.algorithm.whole) else { return false };
        let Some((0, bits)) = self.signature.content.split_first() else { return false };
        verify_signature(signer.public_key(), &algorithm, &BitString::new(0, bits), self.data.whole).is_ok()
    }

    fn rows(&self) -> Option<Vec<Row<'a>>> {
        let mut data = self.data.inside();
        // The version, where it is not the only one there is.
        data.next(0xa0);
        // Who answers: by name or by key.
        data.next(0xa1).or_else(|| data.next(0xa2))?;
        data.next(TIME)?;
        let mut list = data.next(SEQUENCE)?.inside();
        let mut rows = Vec::new();
        while let Some(row) = list.next(SEQUENCE) {
            let mut row = row.inside();
            let (id, status) = (row.next(SEQUENCE)?, row.any()?);
            let status = match status.tag {
                0x80 => Status::Good,
                0xa1 => Status::Revoked,
                _ => Status::Unknown,
            };
            let this_update = time(row.next(TIME)?)?;
            let next_update = match row.next(0xa0) {
                Some(next) => Some(time(next.inside().next(TIME)?)?),
                None => None,
            };
            rows.push(Row { id, status, this_update, next_update });
        }
        Some(rows)
    }
}

/// `20261121200000Z`.
fn time(element: Element<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
    let moment = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(moment).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SigningKey as _};

    use super::*;

    const NOW: &str = "2026-11-21T20:00:00Z";

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// An answer about `question`, signed with ECDSA and SHA-256.
    fn answer(question: &Question, status: u8, times: (&str, &str), signer: &KeyPair) -> Vec<u8> {
        let request = question.request();
        let id =
            Reader(&request).next(SEQUENCE).unwrap().inside().next(SEQUENCE).unwrap().inside().next(SEQUENCE).unwrap();
        let id = id.inside().next(SEQUENCE).unwrap().inside().next(SEQUENCE).unwrap().whole.to_vec();
        let time = |text: &str| element(TIME, &[text.as_bytes()]);
        let row = element(SEQUENCE, &[&id, &[status, 0], &time(times.0), &element(0xa0, &[&time(times.1)])]);
        let by = element(0xa2, &[&element(OCTETS, &[&[1; 20]])]);
        let data = element(SEQUENCE, &[&by, &time(times.0), &element(SEQUENCE, &[&row])]);
        let algorithm = [SEQUENCE, 10, OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let signature = element(BITS, &[&[0], &signer.sign(&data).unwrap()]);
        let basic = element(SEQUENCE, &[&data, &algorithm, &signature]);
        let bytes = element(SEQUENCE, &[&element(OID, &[BASIC]), &element(OCTETS, &[&basic])]);
        element(SEQUENCE, &[&[ENUMERATED, 1, 0], &element(0xa0, &[&bytes])])
    }

    #[test]
    fn an_answer_counts_when_it_is_signed_about_this_and_of_today() {
        let (authority, stranger) = (authority(), authority());
        let client = |name: &str| {
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap()
        };
        let (own, other) = (client("a"), client("b"));
        let parsed = |der| X509Certificate::from_der(der).unwrap().1;
        let issuer = parsed(authority.der());
        let question = Question::about(&parsed(own.der()), &issuer);
        let rules = |max_age| Rules { issuer: &issuer, others: &[], now: NOW.parse().unwrap(), max_age };
        let (fresh, key) = (("20261121190000Z", "20261121210000Z"), authority.key());
        let good = answer(&question, 0x80, fresh, key);
        let until = "2026-11-21T21:00:00Z".parse().ok();
        assert_eq!(question.judge(&good, &rules(0)), Ok(Answer { status: Status::Good, until }));
        let revoked = answer(&question, 0xa1, fresh, key);
        assert_eq!(question.judge(&revoked, &rules(0)).unwrap().status, Status::Revoked);
        assert_eq!(question.judge(&good, &rules(60)), Err(Problem::Stale), "older than it may be");
        for times in [("20261121100000Z", "20261121110000Z"), ("20261121210000Z", "20261121220000Z")] {
            let stale = answer(&question, 0x80, times, key);
            assert_eq!(question.judge(&stale, &rules(0)), Err(Problem::Stale));
        }
        let forged = answer(&question, 0x80, fresh, stranger.key());
        assert_eq!(question.judge(&forged, &rules(0)), Err(Problem::Signature));
        let another = Question::about(&parsed(other.der()), &issuer);
        assert_eq!(another.judge(&good, &rules(0)), Err(Problem::Other));
        assert_eq!(question.judge(&[SEQUENCE, 3, ENUMERATED, 1, 6], &rules(0)), Err(Problem::Refused(6)));
        for cut in 0..good.len() {
            assert!(question.judge(&good[..cut], &rules(0)).is_err());
        }
    }
}
