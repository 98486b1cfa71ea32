//! Annotations about the engine: where it is, how it is checked, how often it is asked.

use super::value;

/// What one of them sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineSetting {
    /// The engine's address.
    Address,
    /// The engine's namespace.
    Namespace,
    /// What lies between.
    Proxy,
    /// Whether the engine's certificate is not checked.
    SkipVerify,
    /// The name in the engine's certificate.
    ServerName,
    /// A Secret with the files that the three below name.
    Secret,
    /// The file of the CA.
    CaCert,
    /// The file of the agent's own certificate.
    ClientCert,
    /// The file of its key.
    ClientKey,
    /// How often a request is repeated.
    MaxRetries,
    /// For one request.
    Timeout,
}

/// What a pod chooses in place of the installation's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    /// `http://` or `https://`.
    pub address: Option<String>,
    /// The engine's namespace.
    pub namespace: Option<String>,
    /// `http://[user:password@]host:port` or `socks5://…`.
    pub proxy: Option<String>,
    /// Whether its certificate is not checked.
    pub skip_verify: Option<bool>,
    /// The name in its certificate.
    pub server_name: Option<String>,
    /// The Secret that is mounted for the files below.
    pub secret: Option<String>,
    /// In the agent's container, as are the two below.
    pub ca_cert: Option<String>,
    /// PEM.
    pub client_cert: Option<String>,
    /// PEM.
    pub client_key: Option<String>,
    /// Without the first attempt.
    pub max_retries: Option<u32>,
    /// Seconds or Go's notation.
    pub timeout: Option<String>,
}

impl Engine {
    /// Takes one annotation.
    pub fn take(&mut self, setting: EngineSetting, text: &str) -> Result<(), String> {
        match setting {
            EngineSetting::Address => self.address = Some(value::address(text)?),
            EngineSetting::Namespace => self.namespace = Some(value::text(text)?),
            EngineSetting::Proxy => self.proxy = Some(value::proxy(text)?),
            EngineSetting::SkipVerify => self.skip_verify = Some(value::flag(text)?),
            EngineSetting::ServerName => self.server_name = Some(value::text(text)?),
            EngineSetting::Secret => self.secret = Some(value::object_name(text)?),
            EngineSetting::CaCert => self.ca_cert = Some(value::absolute_file(text)?),
            EngineSetting::ClientCert => self.client_cert = Some(value::absolute_file(text)?),
            EngineSetting::ClientKey => self.client_key = Some(value::absolute_file(text)?),
            EngineSetting::MaxRetries => self.max_retries = Some(value::number(text)?),
            EngineSetting::Timeout => self.timeout = Some(value::duration(text)?),
        }
        Ok(())
    }

    /// Whether the pod says itself how the engine is known: then the installation's CA says nothing about it.
    pub fn brings_its_trust(&self) -> bool {
        self.address.is_some() || self.ca_cert.is_some()
    }
}
