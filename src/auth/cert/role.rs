//! What Vault calls a certificate: the certificates that are trusted, and what a client's own must be named.

use rustls_pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ocsp_fields::OcspFields;
use super::shown::{Shown, is_authority};
use crate::auth::objects::Object;
use crate::auth::{TokenParams, cidr};
use crate::base::{Timestamp, glob, tls};
use crate::wire::{Error, Fields};

/// A stored role of `certs/`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// PEM: authorities, or clients' own.
    pub certificate: String,
    pub display_name: String,
    pub allowed_names: Vec<String>,
    pub allowed_common_names: Vec<String>,
    pub allowed_dns_sans: Vec<String>,
    pub allowed_email_sans: Vec<String>,
    pub allowed_uri_sans: Vec<String>,
    pub allowed_organizational_units: Vec<String>,
    /// `OID:PATTERN`, or `hex:OID:PATTERN`.
    pub required_extensions: Vec<String>,
    /// OIDs whose texts go into the metadata.
    pub allowed_metadata_extensions: Vec<String>,
    #[serde(flatten)]
    pub ocsp: OcspFields,
    pub token: TokenParams,
}

impl Object for Role {
    fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        for (name, slot) in [("certificate", &mut self.certificate), ("display_name", &mut self.display_name)] {
            if let Some(text) = fields.string(name)? {
                *slot = text;
            }
        }
        for (name, slot) in [
            ("allowed_names", &mut self.allowed_names),
            ("allowed_common_names", &mut self.allowed_common_names),
            ("allowed_dns_sans", &mut self.allowed_dns_sans),
            ("allowed_email_sans", &mut self.allowed_email_sans),
            ("allowed_uri_sans", &mut self.allowed_uri_sans),
            ("allowed_organizational_units", &mut self.allowed_organizational_units),
            ("required_extensions", &mut self.required_extensions),
            ("allowed_metadata_extensions", &mut self.allowed_metadata_extensions),
        ] {
            if let Some(list) = fields.comma_list(name)? {
                *slot = list;
            }
        }
        self.ocsp.merge(fields)?;
        if let Some(wrong) = self.required_extensions.iter().find(|wanted| !wanted.contains(':')) {
            return Err(Error::bad_request(format!("\"required_extensions\": {wrong:?} is not OID:VALUE")));
        }
        self.token.merge(fields)?;
        cidr::check("token_bound_cidrs", &self.token.token_bound_cidrs)?;
        if self.certificate.trim().is_empty() {
            return Err(Error::bad_request("\"certificate\" is missing: give what is trusted, in PEM"));
        }
        self.trusted()
            .map(drop)
            .map_err(|error| Error::bad_request(format!("failed to parse certificate: {error}")).caused_by(error))
    }

    fn describe(&self) -> Map<String, Value> {
        let mut data = Map::from_iter(
            [
                ("certificate", json!(self.certificate)),
                ("display_name", json!(self.display_name)),
                ("allowed_names", json!(self.allowed_names)),
                ("allowed_common_names", json!(self.allowed_common_names)),
                ("allowed_dns_sans", json!(self.allowed_dns_sans)),
                ("allowed_email_sans", json!(self.allowed_email_sans)),
                ("allowed_uri_sans", json!(self.allowed_uri_sans)),
                ("allowed_organizational_units", json!(self.allowed_organizational_units)),
                ("required_extensions", json!(self.required_extensions)),
                ("allowed_metadata_extensions", json!(self.allowed_metadata_extensions)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        self.ocsp.describe(&mut data);
        self.token.describe(&mut data);
        data
    }
}

impl Role {
    /// The certificates of the role.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, tls::Error> {
        tls::certificates(self.certificate.as_bytes(), "the certificate")
    }

    /// Whether a client may log in with what it showed.
    ///
    /// # Errors
    /// When the stored certificates cannot be read.
    pub fn admits(&self, shown: &Shown, now: Timestamp) -> Result<bool, tls::Error> {
        Ok(self.is_named(shown) && self.trusts(shown, now)?)
    }

    /// Whether an authority of this role made the certificate, or it is one of those named here. A client's own certificate
    /// vouches for nobody else: whoever holds its key could then log in under any name.
    fn trusts(&self, shown: &Shown, now: Timestamp) -> Result<bool, tls::Error> {
        let trusted = self.trusted()?;
        let Some((own, others)) = shown.chain.split_first() else { return Ok(false) };
        if trusted.contains(own) {
            return Ok(shown.is_current(now));
        }
        let authorities: Vec<_> = trusted.into_iter().filter(is_authority).collect();
        if authorities.is_empty() {
            return Ok(false);
        }
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        Ok(tls::client_verifier(&authorities)?.verify_client_cert(own, others, now).is_ok())
    }

    /// Whether the certificate's names are those that are allowed; a list that is empty allows all.
    fn is_named(&self, shown: &Shown) -> bool {
        let any = |allowed: &[String], names: &[String]| {
            allowed.is_empty() || names.iter().any(|name| allowed.iter().any(|pattern| glob::matches(pattern, name)))
        };
        let common = std::slice::from_ref(&shown.common_name);
        let all = [common, &shown.dns, &shown.emails].concat();
        let extension = |wanted: &String| {
            let (value, rest) = match wanted.strip_prefix("hex:") {
                Some(rest) => (rest.split(':').next().and_then(|oid| shown.extension_hex(oid)), rest),
                None => (wanted.split(':').next().and_then(|oid| shown.extension(oid)), wanted.as_str()),
            };
            let pattern = rest.split_once(':').map_or("", |(_, pattern)| pattern);
            value.is_some_and(|value| glob::matches(pattern, &value))
        };
        any(&self.allowed_names, &all)
            && any(&self.allowed_common_names, common)
            && any(&self.allowed_dns_sans, &shown.dns)
            && any(&self.allowed_email_sans, &shown.emails)
            && any(&self.allowed_uri_sans, &shown.uris)
            && any(&self.allowed_organizational_units, &shown.units)
            && self.required_extensions.iter().all(extension)
    }
}
