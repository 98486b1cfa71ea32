//! Makes a CA and the one certificate that it ever signs.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::{Error, Identity};
use crate::base::clock::add;
use crate::base::{Secret, Timestamp};

/// How far the API server's clock may be behind ours.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(3600);

/// A certificate for `names`, valid from `now` on, with a CA of its own.
///
/// # Errors
/// When a name is no DNS name.
pub fn issue(names: &[String], now: Timestamp, validity: Duration) -> Result<Identity, Error> {
    let not_after = add(now, validity);
    let dated = |mut params: CertificateParams, name: &str| {
        params.not_before = date(now.saturating_sub(CLOCK_DIFFERENCE).unwrap_or(now));
        params.not_after = date(not_after);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    // The dates make each CA's name its own, so that two in one bundle are told apart by their names already.
    let mut ca = dated(CertificateParams::new([])?, &format!("lessor-webhook-ca-{}", now.as_millisecond()));
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let mut leaf = dated(CertificateParams::new(names.to_vec())?, "lessor-webhook");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &ca)?;
    Ok(Identity {
        certificate: certificate.pem(),
        key: Secret::new(key.serialize_pem()),
        ca: ca.pem(),
        not_before: now,
        not_after,
    })
}

fn date(moment: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(moment.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
