//! Where another engine is and how its certificate is checked; and the clients for that, which share their connections.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde::{Deserialize, Serialize};

use crate::api::CredentialEngine;
use crate::base::tls::ClientTls;
use crate::base::{Clock, Random};
use crate::client::{Client, ClientConfig};
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::kind::namespace_of;
use crate::operator::secrets::SecretKey;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most engines whose connections are kept.
const KEPT: usize = 64;

/// Where an engine is and how its certificate is checked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Its URL.
    pub address: String,
    /// The namespace inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_pem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    skip_verify: bool,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Reach {
    /// What the object says, with its CA certificates.
    ///
    /// # Errors
    /// When these cannot be read.
    pub async fn read(context: &Context, engine: &CredentialEngine) -> Result<Self, Error> {
        let spec = &engine.spec;
        Ok(Self {
            address: spec.address.clone(),
            namespace: spec.namespace.clone(),
            ca_pem: ca(context, engine).await?,
            server_name: spec.tls_server_name.clone(),
            skip_verify: spec.skip_tls_verify,
        })
    }

    /// The same engine outside every namespace, where its own state is told.
    #[must_use]
    pub fn outside_namespaces(self) -> Self {
        Self { namespace: None, ..self }
    }

    fn config(&self) -> ClientConfig {
        let tls = ClientTls {
            ca_pem: self.ca_pem.clone(),
            server_name: self.server_name.clone(),
            skip_verify: self.skip_verify,
            ..ClientTls::default()
        };
        ClientConfig {
            namespace: self.namespace.clone(),
            tls,
            timeout: TIMEOUT,
            // A read of a credential that is repeated makes a second one.
            max_retries: 0,
            ..ClientConfig::new(self.address.clone())
        }
    }
}

async fn ca(context: &Context, engine: &CredentialEngine) -> Result<Option<String>, Error> {
    let Some(ca) = &engine.spec.ca_cert else { return Ok(None) };
    if let Some(pem) = &ca.pem {
        return Ok(Some(pem.clone()));
    }
    let namespace = namespace_of(engine);
    if let Some(reference) = &ca.secret_ref {
        let key = SecretKey {
            namespace: &namespace,
            name: &reference.name,
            key: &reference.key,
            field: "spec.caCert.secretRef",
        };
        return Ok(Some(key.read(context).await?.text.expose().to_owned()));
    }
    let Some(reference) = &ca.config_map_ref else { return Ok(None) };
    let (field, name) = ("spec.caCert.configMapRef", &reference.name);
    let api: Api<ConfigMap> = Api::namespaced(context.kube.clone(), &namespace);
    let found = api.get_opt(name).await;
    let found = found.map_err(Error::kube(format!("{field}: cannot read ConfigMap {namespace}/{name}")))?;
    let missing =
        || Error::waiting("ConfigMapNotFound", format!("{field}: ConfigMap {namespace}/{name} does not exist"));
    let text = found.ok_or_else(missing)?.data.and_then(|mut data| data.remove(&reference.key));
    let incomplete = || {
        Error::refused(
            "ConfigMapIncomplete",
            format!("{field}: ConfigMap {namespace}/{name} has no key {:?}", reference.key),
        )
    };
    text.map(Some).ok_or_else(incomplete)
}

/// Clients of other engines.
pub struct Clients {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    known: Mutex<Vec<(Reach, Client)>>,
}

impl Clients {
    /// No connections yet.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, known: Mutex::default() }
    }

    /// A client without a token.
    ///
    /// # Errors
    /// When address or certificates are unusable.
    pub fn client(&self, reach: &Reach) -> Result<Client, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known.iter().find(|(other, _)| other == reach) {
            return Ok(client.clone());
        }
        let client = Client::new(reach.config(), self.clock.clone(), self.random.clone());
        let client = client.map_err(Error::engine(format!("cannot talk to the engine at {}", reach.address)))?;
        if known.len() >= KEPT {
            known.remove(0);
        }
        known.push((reach.clone(), client.clone()));
        Ok(client)
    }
}
