//! A signed token taken apart. Nothing of it is believed before a key has verified it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::key::{ALGORITHMS, Key};
use crate::base::Secret;

/// Why a token is refused. The texts reach the caller and the log; they hold nothing of the token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("the token is not a signed JWT")]
    NotAJwt,
    #[error("the token's claims are not a JSON object")]
    Claims,
    #[error("the token's header names critical extensions, which are not supported")]
    Critical,
    #[error("the token is signed with an algorithm that is not allowed: allowed are {}", .0.join(", "))]
    Algorithm(Vec<String>),
    #[error("no known key verifies the signature")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token whose signature was not verified yet.
pub struct Unverified {
    pub key_id: Option<String>,
    algorithm: String,
    signed: Secret,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl Unverified {
    /// Reads a token that is signed in an allowed way; an empty list allows every one that there is.
    pub fn parse(jwt: &Secret, allowed: &[String]) -> Result<Self, Error> {
        let (signed, signature) = jwt.expose().rsplit_once('.').ok_or(Error::NotAJwt)?;
        let (header, payload) = signed.split_once('.').ok_or(Error::NotAJwt)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::NotAJwt);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Error::NotAJwt)?;
        if header.crit.is_some() {
            return Err(Error::Critical);
        }
        let known = ALGORITHMS.contains(&header.alg.as_str());
        if !known || !(allowed.is_empty() || allowed.contains(&header.alg)) {
            let all = || ALGORITHMS.iter().map(|name| (*name).to_owned()).collect();
            return Err(Error::Algorithm(if allowed.is_empty() { all() } else { allowed.to_vec() }));
        }
        Ok(Self {
            key_id: header.kid,
            algorithm: header.alg,
            signature: decode(signature)?,
            claims: serde_json::from_slice(&decode(payload)?).map_err(|_| Error::Claims)?,
            signed: signed.into(),
        })
    }

    /// Whether the token says, or leaves open, that this key signed it.
    pub fn may_be_of(&self, key: &Key) -> bool {
        match (&self.key_id, &key.id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        }
    }

    /// The claims, if one of the keys verifies the token.
    pub fn verify(&self, keys: &[Key]) -> Option<Map<String, Value>> {
        let (message, signature) = (self.signed.expose().as_bytes(), &self.signature);
        let mut candidates = keys.iter().filter(|key| self.may_be_of(key));
        candidates.any(|key| key.verifies(&self.algorithm, message, signature)).then(|| self.claims.clone())
    }
}
