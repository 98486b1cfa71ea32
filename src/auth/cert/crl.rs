//! Revocation lists: certificates that are no good any more although their authority is trusted.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::distribution::RETRY;
use super::shown::Shown;
use crate::auth::objects::Object;
use crate::base::clock::{Timestamp, add};
use crate::wire::{Error, Fields};

/// The longest that a list from an address is believed without looking anew.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// A stored list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Crl {
    /// The authority's name, DER in base64.
    issuer: String,
    /// Serial numbers, decimal.
    serials: BTreeSet<String>,
    /// Where it comes from, if it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// Where a list is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    pub url: String,
    /// When the list that is kept is to be replaced.
    pub valid_until: Timestamp,
}

/// A list as it was read, not checked yet.
pub(super) struct Read(Vec<u8>);

impl Read {
    /// Out of PEM or DER.
    ///
    /// # Errors
    /// 400 for what is neither.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = || Error::bad_request("\"crl\" is not a revocation list in PEM");
        let der = match bytes.trim_ascii_start().starts_with(b"-----") {
            true => {
                CertificateRevocationListDer::from_pem_slice(bytes).map_err(|error| wrong().caused_by(error))?.to_vec()
            }
            false => bytes.to_vec(),
        };
        CertificateRevocationList::from_der(&der).map_err(|_| wrong())?;
        Ok(Self(der))
    }

    fn list(&self) -> Option<CertificateRevocationList<'_>> {
        CertificateRevocationList::from_der(&self.0).ok().map(|(_, list)| list)
    }

    /// Whether one of these authorities made it.
    pub fn is_signed_by(&self, authorities: &[CertificateDer<'_>]) -> bool {
        let Some(list) = self.list() else { return false };
        authorities.iter().filter_map(|der| X509Certificate::from_der(der).ok()).any(|(_, authority)| {
            authority.subject().as_raw() == list.issuer().as_raw()
                && list.verify_signature(authority.public_key()).is_ok()
        })
    }

    /// What of it is kept, with the address that it was fetched from.
    pub fn keep(&self, url: Option<&str>, now: Timestamp) -> Crl {
        let Some(list) = self.list() else { return Crl::default() };
        let next = list.next_update().and_then(|next| Timestamp::from_second(next.timestamp()).ok());
        // One that is too old already is looked for again, but not at every login.
        let next = next.map_or_else(|| add(now, FRESH), |next| next.min(add(now, FRESH)).max(add(now, RETRY)));
        Crl {
            issuer: STANDARD.encode(list.issuer().as_raw()),
            serials: list.iter_revoked_certificates().map(|revoked| revoked.serial().to_string()).collect(),
            source: url.map(|url| Source { url: url.to_owned(), valid_until: next }),
        }
    }
}

impl Object for Crl {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        // What is sent counts as it is; no time is needed, since it is never replaced by itself.
        *self = Read::new(fields.required("crl")?.as_bytes())?.keep(None, Timestamp::UNIX_EPOCH);
        Ok(())
    }

    fn describe(&self) -> Map<String, Value> {
        let serials: Map<_, _> = self.serials.iter().map(|serial| (serial.clone(), json!({}))).collect();
        let mut data = Map::from_iter([("serials".to_owned(), serials.into())]);
        if let Some(source) = &self.source {
            let cdp = json!({ "url": source.url, "valid_until": source.valid_until.to_string() });
            data.insert("cdp".to_owned(), cdp);
        }
        data
    }
}

impl Crl {
    /// Whether the client's certificate, or one that it showed on the way to its authority, is on the list.
    pub fn revokes(&self, shown: &Shown) -> bool {
        shown
            .numbers
            .iter()
            .any(|(issuer, serial)| STANDARD.encode(issuer) == self.issuer && self.serials.contains(serial))
    }
}
