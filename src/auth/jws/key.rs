//! Public keys that tokens are signed with: out of PEM texts and out of JWKs, and what each may verify.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::ecdsa::signature::Verifier as _;
use ring::signature as ring;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::base::tls;

/// The algorithms of `jwt_supported_algs`: signatures of a public key only, so that no key can be taken for a shared secret.
pub const ALGORITHMS: &[&str] = &["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512", "EdDSA"];

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
const ED25519: &str = "1.3.101.112";

/// Why a text is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is neither a public key nor a certificate in PEM")]
    NotPem,
    #[error("the key is of a kind that is not offered: use RSA, the curves P-256, P-384 or P-521, or Ed25519")]
    Kind,
    #[error("the key has {0} bits: use an RSA key of 2048 to 8192")]
    Size(usize),
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// A JWK's `kid`.
    pub id: Option<String>,
    /// A JWK's `alg`: the only one that it may be used with.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent, big endian.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Material {
    /// Finds a key that no signature is taken of.
    fn check_size(&self) -> Result<(), Error> {
        let Self::Rsa { n, .. } = self else { return Ok(()) };
        let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
        let bits = n.len() * 8 - unused;
        if (2048..=8192).contains(&bits) { Ok(()) } else { Err(Error::Size(bits)) }
    }
}

/// A JWK as it is published; whatever else it says is not needed to verify.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Key {
    /// The key of a PEM text: a public key, or the certificate of one.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let info = match SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()) {
            Ok(info) => info.to_vec(),
            Err(_) => {
                let chain = tls::certificates(pem.as_bytes(), "the certificate").map_err(|_| Error::NotPem)?;
                let (_, certificate) = X509Certificate::from_der(&chain[0]).map_err(|_| Error::NotPem)?;
                certificate.public_key().raw.to_vec()
            }
        };
        let (_, info) = SubjectPublicKeyInfo::from_der(&info).map_err(|_| Error::NotPem)?;
        let bits = info.subject_public_key.data.to_vec();
        let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let material = match (info.parsed(), curve.map(|curve| curve.to_id_string()).as_deref()) {
            (Ok(PublicKey::RSA(rsa)), _) => Material::Rsa { n: trimmed(rsa.modulus), e: trimmed(rsa.exponent) },
            (Ok(PublicKey::EC(_)), Some(P256)) => Material::P256(bits),
            (Ok(PublicKey::EC(_)), Some(P384)) => Material::P384(bits),
            (Ok(PublicKey::EC(_)), Some(P521)) => Material::P521(bits),
            _ if info.algorithm.algorithm.to_id_string() == ED25519 => Material::Ed25519(bits),
            _ => return Err(Error::Kind),
        };
        material.check_size()?;
        Ok(Self { id: None, algorithm: None, material })
    }

    /// The keys of a JWKS that can verify tokens; others (for encryption, of unknown kinds) are passed over.
    pub fn from_jwks(body: &[u8]) -> Result<Vec<Self>, serde_json::Error> {
        let set: KeySet = serde_json::from_slice(body)?;
        Ok(set.keys.into_iter().filter_map(|key| Self::from_jwk(serde_json::from_value(key).ok()?)).collect())
    }

    fn from_jwk(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
        let point = |length: usize| {
            let (x, y) = (bytes(jwk.x.clone())?, bytes(jwk.y.clone())?);
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: trimmed(&bytes(jwk.n)?), e: trimmed(&bytes(jwk.e)?) },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("EC", Some("P-521")) => Material::P521(point(66)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(jwk.x)?),
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm: jwk.alg, material })
    }

    /// Whether the signature of `message` is of this key by that algorithm.
    pub fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|only| only != algorithm) {
            return false;
        }
        let of = |scheme: &'static dyn ring::VerificationAlgorithm, key: &[u8]| {
            ring::UnparsedPublicKey::new(scheme, key).verify(message, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, _) => rsa_scheme(algorithm)
                .is_some_and(|scheme| ring::RsaPublicKeyComponents { n, e }.verify(scheme, message, signature).is_ok()),
            (Material::P256(point), "ES256") => of(&ring::ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), "ES384") => of(&ring::ECDSA_P384_SHA384_FIXED, point),
            (Material::P521(point), "ES512") => verifies_p521(point, message, signature),
            (Material::Ed25519(key), "EdDSA") => of(&ring::ED25519, key),
            _ => false,
        }
    }
}

/// ECDSA on the curve P-521 with SHA-512; the signature is R and S, 66 bytes each (RFC 7518, section 3.4).
fn verifies_p521(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
    let signature = p521::ecdsa::Signature::from_slice(signature);
    key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
}

fn rsa_scheme(algorithm: &str) -> Option<&'static ring::RsaParameters> {
    Some(match algorithm {
        "RS256" => &ring::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &ring::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &ring::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &ring::RSA_PSS_2048_8192_SHA256,
        "PS384" => &ring::RSA_PSS_2048_8192_SHA384,
        "PS512" => &ring::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Without the zeros that DER puts before a number.
fn trimmed(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use self::ring::{Ed25519KeyPair, KeyPair as _};
    use super::*;

    #[test]
    fn keys_are_read_from_pem() {
        // The public key of RFC 8410, section 10.1; what is signed with it is not needed here.
        let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert!(Key::from_pem(ed25519).is_ok());
        assert!(matches!(Key::from_pem("x"), Err(Error::NotPem)));
    }

    /// The example of RFC 7515, appendix A.4: its key, what is signed, and the signature.
    const A4: (&str, &str, &str, &str) = (
        "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    );

    #[test]
    fn es512_is_verified() {
        let (x, y, message, signature) = A4;
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let jwks = json!({ "keys": [{ "kty": "EC", "crv": "P-521", "x": x, "y": y }] });
        let published = Key::from_jwks(jwks.to_string().as_bytes()).unwrap().remove(0);
        // The prefix of a P-521 key in DER, and the point.
        let prefix = STANDARD.decode("MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAA==").unwrap();
        let point = [&[4][..], &URL_SAFE_NO_PAD.decode(x).unwrap(), &URL_SAFE_NO_PAD.decode(y).unwrap()].concat();
        let der = STANDARD.encode([prefix, point].concat());
        let given = Key::from_pem(&format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")).unwrap();
        assert_eq!(given, published);
        assert!(given.verifies("ES512", message.as_bytes(), &signature));
        assert!(!given.verifies("ES512", b"another", &signature));
        assert!(!given.verifies("ES384", message.as_bytes(), &signature));
        assert!(!given.verifies("ES512", message.as_bytes(), &signature[1..]));
    }

    #[test]
    fn a_point_that_is_not_on_its_curve_verifies_nothing() {
        let jwks = json!({ "keys": [{ "kty": "EC", "crv": "P-521",
            "x": URL_SAFE_NO_PAD.encode([1; 66]), "y": URL_SAFE_NO_PAD.encode([1; 66]) }] });
        let keys = Key::from_jwks(jwks.to_string().as_bytes()).unwrap();
        assert!(!keys[0].verifies("ES512", b"m", &[1; 132]));
    }

    #[test]
    fn a_certificate_stands_for_its_key() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["sa".to_owned()]).unwrap().self_signed(&pair).unwrap();
        let of = |pem: &str| Key::from_pem(pem).unwrap();
        assert_eq!(of(&certificate.pem()), of(&pair.public_key_pem()));
    }

    #[test]
    fn an_rsa_key_that_is_too_short_is_refused() {
        let short = Material::Rsa { n: vec![0x80; 128], e: vec![1, 0, 1] };
        assert_eq!(
            short.check_size().unwrap_err().to_string(),
            "the key has 1024 bits: use an RSA key of 2048 to 8192"
        );
        assert!(Material::Rsa { n: vec![0x80; 256], e: vec![1, 0, 1] }.check_size().is_ok());
    }

    #[test]
    fn keys_that_cannot_verify_are_passed_over() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let jwks = json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()), "alg": "EdDSA" },
            { "kty": "oct", "k": "AAAA" }, { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" },
            { "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" } ] });
        let keys = Key::from_jwks(jwks.to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        let signature = pair.sign(b"m");
        let verifies = |algorithm, message: &[u8]| keys[0].verifies(algorithm, message, signature.as_ref());
        assert!(verifies("EdDSA", b"m") && !verifies("ES256", b"m") && !verifies("EdDSA", b"n"));
    }
}
