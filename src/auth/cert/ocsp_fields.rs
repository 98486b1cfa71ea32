//! What a role says about asking OCSP responders.

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::tls;
use crate::wire::{Error, Fields};

/// The `ocsp_…` fields of a role, under Vault's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OcspFields {
    pub ocsp_enabled: bool,
    /// PEM: who besides the issuer may have certified a responder.
    pub ocsp_ca_certificates: String,
    /// In place of those that certificates name.
    pub ocsp_servers_override: Vec<String>,
    pub ocsp_fail_open: bool,
    pub ocsp_query_all_servers: bool,
    /// Seconds; 0 is any.
    pub ocsp_this_update_max_age: u64,
    /// Kept and shown: a responder that is away is not asked again during one login.
    pub ocsp_max_retries: u64,
}

impl Default for OcspFields {
    fn default() -> Self {
        Self {
            ocsp_enabled: false,
            ocsp_ca_certificates: String::new(),
            ocsp_servers_override: Vec::new(),
            ocsp_fail_open: false,
            ocsp_query_all_servers: false,
            ocsp_this_update_max_age: 0,
            ocsp_max_retries: 4,
        }
    }
}

impl OcspFields {
    /// Takes over what was sent.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        for (name, slot) in [
            ("ocsp_enabled", &mut self.ocsp_enabled),
            ("ocsp_fail_open", &mut self.ocsp_fail_open),
            ("ocsp_query_all_servers", &mut self.ocsp_query_all_servers),
        ] {
            if let Some(flag) = fields.bool(name)? {
                *slot = flag;
            }
        }
        if let Some(pem) = fields.string("ocsp_ca_certificates")? {
            self.ocsp_ca_certificates = pem;
        }
        if let Some(servers) = fields.comma_list("ocsp_servers_override")? {
            self.ocsp_servers_override = servers;
        }
        if let Some(seconds) = fields.seconds("ocsp_this_update_max_age")? {
            self.ocsp_this_update_max_age = seconds;
        }
        self.ocsp_max_retries = fields.count("ocsp_max_retries")?.unwrap_or(self.ocsp_max_retries);
        let wrong = |server: &&String| !server.starts_with("http://") && !server.starts_with("https://");
        if let Some(server) = self.ocsp_servers_override.iter().find(wrong) {
            let text = format!("\"ocsp_servers_override\": {server:?} does not begin with http:// or https://");
            return Err(Error::bad_request(text));
        }
        self.authorities()
            .map(drop)
            .map_err(|error| Error::bad_request(format!("\"ocsp_ca_certificates\": {error}")).caused_by(error))
    }

    /// Adds them to the answer of a read.
    pub fn describe(&self, data: &mut Map<String, Value>) {
        let rows = [
            ("ocsp_enabled", json!(self.ocsp_enabled)),
            ("ocsp_ca_certificates", json!(self.ocsp_ca_certificates)),
            ("ocsp_servers_override", json!(self.ocsp_servers_override)),
            ("ocsp_fail_open", json!(self.ocsp_fail_open)),
            ("ocsp_query_all_servers", json!(self.ocsp_query_all_servers)),
            ("ocsp_this_update_max_age", json!(self.ocsp_this_update_max_age)),
            ("ocsp_max_retries", json!(self.ocsp_max_retries)),
        ];
        data.extend(rows.map(|(name, value)| (name.to_owned(), value)));
    }

    /// Who besides the issuer may have certified a responder.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, tls::Error> {
        if self.ocsp_ca_certificates.trim().is_empty() {
            return Ok(Vec::new());
        }
        tls::certificates(self.ocsp_ca_certificates.as_bytes(), "the certificate")
    }
}
