//! Revocation lists: certificates that are no good any more although their authority is trusted.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::shown::Shown;
use crate::auth::objects::Object;
use crate::wire::{Error, Fields};

/// A stored list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Crl {
    /// The authority's name, DER in base64.
    issuer: String,
    /// Serial numbers, decimal.
    serials: BTreeSet<String>,
}

impl Object for Crl {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        if fields.string("url")?.is_some_and(|url| !url.is_empty()) {
            return Err(Error::bad_request("\"url\" is not offered: send the list itself as \"crl\""));
        }
        let pem = fields.required("crl")?;
        let wrong = || Error::bad_request("\"crl\" is not a revocation list in PEM");
        let der =
            CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).map_err(|error| wrong().caused_by(error))?;
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| wrong())?;
        self.issuer = STANDARD.encode(list.issuer().as_raw());
        self.serials = list.iter_revoked_certificates().map(|revoked| revoked.serial().to_string()).collect();
        Ok(())
    }

    fn describe(&self) -> Map<String, Value> {
        let serials: Map<_, _> = self.serials.iter().map(|serial| (serial.clone(), json!({}))).collect();
        Map::from_iter([("serials".to_owned(), serials.into())])
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
