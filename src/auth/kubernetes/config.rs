//! Where the cluster's API server is and what the engine shows it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::PodFiles;
use crate::auth::jws::{Key, KeyError};
use crate::base::tls;
use crate::wire::{Error, Fields};

/// One of `pem_keys` is no key.
#[derive(Debug, thiserror::Error)]
#[error("key {number} of {of}: {source}")]
pub(super) struct WrongKey {
    number: usize,
    of: usize,
    source: KeyError,
}

/// The mount's configuration. It has no `Debug`, since it holds the reviewer's token.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Config {
    pub kubernetes_host: String,
    /// PEM; empty for the pod's own.
    pub kubernetes_ca_cert: String,
    /// Empty for the pod's own, or else the token that is reviewed.
    pub token_reviewer_jwt: String,
    pub issuer: String,
    pub disable_iss_validation: bool,
    pub disable_local_ca_jwt: bool,
    /// Public keys or certificates, one of which must have signed a token before it is reviewed; none for the cluster alone.
    #[serde(default)]
    pub pem_keys: Vec<String>,
}

impl Config {
    /// Reads a whole configuration; what is not sent is unset, as in Vault.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn from_fields(fields: &Fields) -> Result<Self, Error> {
        let text = |name| fields.string(name).map(Option::unwrap_or_default);
        let config = Self {
            kubernetes_host: text("kubernetes_host")?,
            kubernetes_ca_cert: text("kubernetes_ca_cert")?,
            token_reviewer_jwt: text("token_reviewer_jwt")?,
            issuer: text("issuer")?,
            disable_iss_validation: fields.bool("disable_iss_validation")?.unwrap_or(true),
            disable_local_ca_jwt: fields.bool("disable_local_ca_jwt")?.unwrap_or(false),
            pem_keys: fields.comma_list("pem_keys")?.unwrap_or_default(),
        };
        if config.kubernetes_host.is_empty() {
            return Err(Error::bad_request("no host provided"));
        }
        if config.disable_local_ca_jwt && config.kubernetes_ca_cert.is_empty() {
            return Err(Error::bad_request("kubernetes_ca_cert must be given when disable_local_ca_jwt is true"));
        }
        config.keys().map_err(|error| {
            let text = format!("\"pem_keys\": {error}");
            Error::bad_request(text).caused_by(error)
        })?;
        Ok(config)
    }

    /// The keys that tokens must be signed with.
    ///
    /// # Errors
    /// The first that is none.
    pub fn keys(&self) -> Result<Vec<Key>, WrongKey> {
        let parse = |(index, pem): (usize, &String)| {
            Key::from_pem(pem).map_err(|source| WrongKey { number: index + 1, of: self.pem_keys.len(), source })
        };
        self.pem_keys.iter().enumerate().map(parse).collect()
    }

    /// Finds an unusable CA when it is configured rather than at the first login.
    ///
    /// # Errors
    /// 400 saying which certificate is missing or broken.
    pub async fn check_ca(&self, pod: &PodFiles) -> Result<(), Error> {
        let Some(pem) = self.ca(pod).await.map_err(|error| {
            let path = pod.ca.display();
            Error::bad_request(format!(
                "give \"kubernetes_ca_cert\": the CA of this pod, {path}, cannot be read: {error}"
            ))
        })?
        else {
            return Ok(());
        };
        tls::certificates(pem.as_bytes(), "the CA certificate")
            .map(drop)
            .map_err(|error| Error::bad_request(format!("\"kubernetes_ca_cert\": {error}")).caused_by(error))
    }

    /// The CA that the API server is checked against; `None` where the host is `http://`.
    ///
    /// # Errors
    /// When the pod's own is wanted and cannot be read.
    pub async fn ca(&self, pod: &PodFiles) -> std::io::Result<Option<String>> {
        if !self.kubernetes_ca_cert.is_empty() {
            return Ok(Some(self.kubernetes_ca_cert.clone()));
        }
        if self.kubernetes_host.starts_with("http://") {
            return Ok(None);
        }
        tokio::fs::read_to_string(&pod.ca).await.map(Some)
    }

    /// The base of the API's URLs; a host without scheme is reached by HTTPS.
    pub fn url(&self) -> String {
        let host = self.kubernetes_host.trim_end_matches('/');
        if host.contains("://") { host.to_owned() } else { format!("https://{host}") }
    }

    /// The answer of a read: everything but the reviewer's token.
    pub fn describe(&self) -> Value {
        json!({
            "kubernetes_host": self.kubernetes_host,
            "kubernetes_ca_cert": self.kubernetes_ca_cert,
            "token_reviewer_jwt_set": !self.token_reviewer_jwt.is_empty(),
            "pem_keys": self.pem_keys,
            "issuer": self.issuer,
            "disable_iss_validation": self.disable_iss_validation,
            "disable_local_ca_jwt": self.disable_local_ca_jwt,
        })
    }
}
