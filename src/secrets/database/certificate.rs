//! Client certificates: an authority that a role brings along, and the certificates that it signs for users.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA384, PKCS_RSA_SHA512,
    SignatureAlgorithm,
};
use rsa::pkcs8::der::{Decode as _, Encode as _};
use rsa::pkcs8::{PrivateKeyInfo, SubjectPublicKeyInfoRef};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::rsa_key;
use crate::base::{Random, Secret, Timestamp};
use crate::wire::{Error, Fields};

/// The fields of `credential_config`.
pub(super) const FIELDS: &[&str] =
    &["ca_cert", "ca_private_key", "common_name_template", "key_type", "key_bits", "signature_bits"];

/// How far the database's clock may be behind ours.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);

/// The keys that users get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Rsa(usize),
    Ec(&'static SignatureAlgorithm),
    Ed25519,
}

/// Everything about a role's certificates but the user.
pub(super) struct Template {
    authority: Issuer<'static, KeyPair>,
    /// Nothing that the authority signs is valid longer than itself.
    authority_ends: i64,
    key: KeyType,
    /// Names the user, and so the certificate; empty: the connection's template does.
    pub(super) common_name: String,
}

/// A certificate for one user.
pub(super) struct Issued {
    /// PEM.
    pub(super) certificate: String,
    /// PKCS #8, PEM.
    pub(super) private_key: Secret,
    /// `rsa`, `ec` or `ed25519`.
    pub(super) key_type: &'static str,
    /// The distinguished name in RFC 4514's form.
    pub(super) subject: String,
}

impl Template {
    /// Reads and checks `credential_config`.
    ///
    /// # Errors
    /// Names the field, and what to do.
    pub(super) fn read(fields: &Fields) -> Result<Self, String> {
        let text = |name: &str| fields.string(name).map_err(|error| error.to_string());
        let needed = |name: &str| {
            let found = text(name)?.filter(|text| !text.trim().is_empty());
            found.ok_or_else(|| format!("{name}: missing: it is needed, PEM, to sign the users' certificates"))
        };
        let (certificate, private_key) = (needed("ca_cert")?, Secret::new(needed("ca_private_key")?));
        let bits = fields.count("signature_bits").map_err(|error| error.to_string())?.unwrap_or(0);
        let (authority, authority_ends) = authority(&certificate, &private_key, bits)?;
        let common_name = text("common_name_template")?.unwrap_or_default();
        Ok(Self { authority, authority_ends, key: key_type(fields)?, common_name })
    }
}

fn key_type(fields: &Fields) -> Result<KeyType, String> {
    let name = fields.string("key_type").map_err(|error| error.to_string())?.filter(|name| !name.is_empty());
    let bits = fields.count("key_bits").map_err(|error| error.to_string())?.unwrap_or(0);
    match (name.as_deref(), bits) {
        (None | Some("rsa"), _) => Ok(KeyType::Rsa(rsa_key::bits(fields)?)),
        (Some("ec"), 0 | 256) => Ok(KeyType::Ec(&PKCS_ECDSA_P256_SHA256)),
        (Some("ec"), 384) => Ok(KeyType::Ec(&PKCS_ECDSA_P384_SHA384)),
        (Some("ec"), bits) => Err(format!("key_bits: {bits} is not possible for ec: use 256 or 384")),
        (Some("ed25519"), _) => Ok(KeyType::Ed25519),
        (Some(other), _) => Err(format!("key_type: {other:?} is not known: use rsa, ec or ed25519")),
    }
}

/// What signs, and the Unix second at which its certificate ends.
fn authority(pem: &str, key: &Secret, signature_bits: u64) -> Result<(Issuer<'static, KeyPair>, i64), String> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("ca_cert: this is no certificate in PEM: {error}"))?;
    let unreadable = |problem: String| format!("ca_cert: the certificate cannot be read: {problem}");
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| unreadable(error.to_string()))?;
    if !parsed.is_ca() {
        return Err("ca_cert: this certificate is not one of an authority (basic constraint CA)".into());
    }
    let public = SubjectPublicKeyInfoRef::from_der(parsed.tbs_certificate.subject_pki.raw)
        .map_err(|error| unreadable(error.to_string()))?;
    let key = signing_key(key, &public, signature_bits)?;
    if Some(key.public_key_raw()) != public.subject_public_key.as_bytes() {
        return Err("ca_private_key: this is not the key of ca_cert".into());
    }
    let ends = parsed.validity().not_after.timestamp();
    let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| unreadable(error.to_string()))?;
    Ok((issuer, ends))
}

fn signing_key(pem: &Secret, public: &SubjectPublicKeyInfoRef<'_>, signature_bits: u64) -> Result<KeyPair, String> {
    let unusable = || "ca_private_key: use a key of RSA (2048 to 4096 bits), P-256, P-384 or Ed25519".to_owned();
    let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
        .map_err(|_| "ca_private_key: this is no private key in PEM without a passphrase".to_owned())?;
    let pkcs8 = match &der {
        PrivateKeyDer::Pkcs8(key) => PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec()),
        // The older forms say less of their algorithm than the certificate does.
        older => {
            let wrapped = PrivateKeyInfo::new(public.algorithm, older.secret_der()).to_der();
            PrivatePkcs8KeyDer::from(wrapped.map_err(|_| unusable())?)
        }
    };
    let key = KeyPair::try_from(&pkcs8).map_err(|_| unusable())?;
    let own = key.algorithm();
    let wanted = match signature_bits {
        0 => own,
        256 if own == &PKCS_RSA_SHA256 || own == &PKCS_ECDSA_P256_SHA256 => own,
        384 if own == &PKCS_RSA_SHA256 => &PKCS_RSA_SHA384,
        384 if own == &PKCS_ECDSA_P384_SHA384 => own,
        512 if own == &PKCS_RSA_SHA256 => &PKCS_RSA_SHA512,
        _ => {
            return Err(format!(
                "signature_bits: {signature_bits} is not possible: use 256, 384 or 512 with an authority of RSA, and leave it \
                 out with others, where the key decides"
            ));
        }
    };
    if wanted == own {
        return Ok(key);
    }
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, wanted).map_err(|_| unusable())
}

/// A certificate whose common name is the user's, valid until `expires`.
///
/// # Errors
/// 400 when the authority has expired; 500 when a key cannot be made.
pub(super) async fn issue(
    template: Arc<Template>,
    username: String,
    now: Timestamp,
    expires: Timestamp,
    random: Arc<dyn Random>,
) -> Result<Issued, Error> {
    if template.authority_ends <= now.as_second() {
        return Err(Error::bad_request("credential_config: ca_cert has expired: write the role with a new one"));
    }
    let failed = |error: rcgen::Error| Error::internal("a client certificate cannot be made").caused_by(error);
    let (key_type, key) = match template.key {
        KeyType::Rsa(bits) => {
            let pair = rsa_key::generate(bits, random).await?;
            ("rsa", KeyPair::from_pem(pair.private.expose()).map_err(failed)?)
        }
        KeyType::Ec(algorithm) => ("ec", KeyPair::generate_for(algorithm).map_err(failed)?),
        KeyType::Ed25519 => ("ed25519", KeyPair::generate_for(&PKCS_ED25519).map_err(failed)?),
    };
    // A signature by RSA takes milliseconds.
    let signed = tokio::task::spawn_blocking(move || {
        let params = params(&username, now, expires.as_second().min(template.authority_ends), key_type);
        let certificate = params.signed_by(&key, &template.authority).map_err(failed)?;
        let private_key = Secret::new(key.serialize_pem());
        let subject = format!("CN={}", escaped(&username));
        Ok(Issued { certificate: certificate.pem(), private_key, key_type, subject })
    });
    signed.await.map_err(|error| Error::internal("signing a certificate was interrupted").caused_by(error))?
}

fn params(username: &str, now: Timestamp, ends: i64, key_type: &str) -> CertificateParams {
    let date = |second| OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut params = CertificateParams::default();
    params.not_before = date(now.saturating_sub(CLOCK_DIFFERENCE).unwrap_or(now).as_second());
    params.not_after = date(ends);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, username);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if key_type == "rsa" {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A value in a distinguished name, by RFC 4514.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let edge = at == 0 || at + c.len_utf8() == value.len();
        if matches!(c, ',' | '+' | ';' | '<' | '>' | '=' | '"' | '\\') || (edge && c == ' ') || (at == 0 && c == '#') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::BasicConstraints;
    use serde_json::{Value, json};

    use super::*;
    use crate::base::random::SystemRandom;

    fn authority_of(key: &KeyPair, is_ca: bool) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.not_after = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.self_signed(key).unwrap().pem()
    }

    fn read(config: Value) -> Result<Template, String> {
        Template::read(&config.as_object().unwrap().clone().into())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn a_certificate_names_its_user_and_ends_with_the_lease() {
        let ca_key = KeyPair::generate().unwrap();
        let ca = authority_of(&ca_key, true);
        for (key_type, bits) in [("rsa", 2048), ("ec", 384), ("ec", 0), ("ed25519", 0)] {
            let config = json!({"ca_cert": ca, "ca_private_key": ca_key.serialize_pem(), "key_type": key_type, "key_bits": bits});
            let template = Arc::new(read(config).unwrap());
            let random = Arc::new(SystemRandom);
            let issued =
                issue(template, "v-app, x".into(), at(1_900_000_000), at(1_900_003_600), random).await.unwrap();
            assert_eq!((issued.key_type, issued.subject.as_str()), (key_type, "CN=v-app\\, x"));
            let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
            let (_, parsed) = X509Certificate::from_der(&der).unwrap();
            assert_eq!(parsed.validity().not_after.timestamp(), 1_900_003_600);
            assert_eq!(parsed.subject().iter_common_name().next().unwrap().as_str().unwrap(), "v-app, x");
            let issuer = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
            let (_, issuer) = X509Certificate::from_der(&issuer).unwrap();
            parsed.verify_signature(Some(issuer.public_key())).unwrap();
            assert_eq!(parsed.issuer().as_raw(), issuer.subject().as_raw());
            let key = KeyPair::from_pem(issued.private_key.expose()).unwrap();
            assert_eq!(&*parsed.public_key().subject_public_key.data, key.public_key_raw());
        }
    }

    #[tokio::test]
    async fn nothing_outlives_its_authority() {
        let ca_key = KeyPair::generate().unwrap();
        let config =
            json!({"ca_cert": authority_of(&ca_key, true), "ca_private_key": ca_key.serialize_pem(), "key_type": "ec"});
        let template = Arc::new(read(config).unwrap());
        let random = Arc::new(SystemRandom);
        let late =
            issue(template.clone(), "u".into(), at(3_999_999_000), at(4_000_009_000), random.clone()).await.unwrap();
        let der = CertificateDer::from_pem_slice(late.certificate.as_bytes()).unwrap();
        assert_eq!(X509Certificate::from_der(&der).unwrap().1.validity().not_after.timestamp(), 4_000_000_000);
        let error = issue(template, "u".into(), at(4_000_000_000), at(4_000_009_000), random).await.err().unwrap();
        assert!(error.to_string().contains("ca_cert has expired"), "{error}");
    }

    #[tokio::test]
    async fn an_authority_may_come_in_the_older_forms_and_sign_with_other_hashes() {
        let pair = rsa_key::generate(2048, Arc::new(SystemRandom)).await.unwrap();
        let ca_key = KeyPair::from_pem(pair.private.expose()).unwrap();
        let ca = authority_of(&ca_key, true);
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(pair.private.expose().as_bytes()).unwrap();
        let inner = PrivateKeyInfo::try_from(pkcs8.secret_pkcs8_der()).unwrap().private_key.to_vec();
        let older = rsa::pkcs8::der::pem::encode_string("RSA PRIVATE KEY", rsa::pkcs8::LineEnding::LF, &inner).unwrap();
        for bits in [0, 256, 384, 512] {
            read(json!({"ca_cert": ca, "ca_private_key": older, "signature_bits": bits})).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_key_is_not_shown() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (ca, pem) = (authority_of(&key, true), key.serialize_pem());
        for (config, expected) in [
            (json!({}), "ca_cert: missing"),
            (json!({"ca_cert": ca}), "ca_private_key: missing"),
            (json!({"ca_cert": "x", "ca_private_key": pem}), "ca_cert: this is no certificate"),
            (
                json!({"ca_cert": authority_of(&key, false), "ca_private_key": pem}),
                "ca_cert: this certificate is not one of",
            ),
            (json!({"ca_cert": ca, "ca_private_key": other.serialize_pem()}), "ca_private_key: this is not the key"),
            (json!({"ca_cert": ca, "ca_private_key": "canary"}), "ca_private_key: this is no private key"),
            (json!({"ca_cert": ca, "ca_private_key": pem, "key_type": "dsa"}), "key_type: \"dsa\""),
            (json!({"ca_cert": ca, "ca_private_key": pem, "key_type": "ec", "key_bits": 521}), "key_bits: 521"),
            (json!({"ca_cert": ca, "ca_private_key": pem, "key_bits": 1024}), "key_bits: 1024"),
            (json!({"ca_cert": ca, "ca_private_key": pem, "signature_bits": 512}), "signature_bits: 512"),
        ] {
            let problem = read(config).err().unwrap();
            assert!(problem.starts_with(expected) && !problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn names_are_escaped_in_subjects() {
        assert_eq!(escaped("#a=b, c "), "\\#a\\=b\\, c\\ ");
    }
}
