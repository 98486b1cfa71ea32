//! Dev mode: an engine in memory that is initialised, unsealed and listening before anybody asks.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Rules;
use super::config::sanitized;
use super::dev_tls::Certificate;
use super::listen::Listener;
use super::run::{Failure, cannot_listen, serve};
use crate::base::Secret;
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::shutdown::Shutdown;
use crate::engine::core::Settings;
use crate::engine::seal::Sealing;
use crate::engine::seal::shamir::Scheme;
use crate::engine::{Engine, Parts, bootstrap};
use crate::storage::memory::Memory;

/// How dev mode is set up.
pub struct DevOptions {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// None or empty: a random one.
    pub root_token: Option<Secret>,
    /// None: plain HTTP.
    pub tls: Option<DevTls>,
    /// The version of the key-value engine at `secret/`; None: there is none.
    pub kv: Option<u8>,
    /// Otherwise it is as after the first start of a server: not initialised.
    pub initialized: bool,
}

/// TLS by a certificate that is made for this run.
#[derive(Default)]
pub struct DevTls {
    /// Where certificate, key and CA are put; None: in a folder of their own, which goes with the engine.
    pub folder: Option<PathBuf>,
    /// Names and addresses besides `localhost` and where it listens.
    pub names: Vec<String>,
}

/// A dev engine that listens.
pub struct Dev {
    /// Where.
    pub address: SocketAddr,
    /// The root token; empty where nothing was initialised.
    pub root_token: Secret,
    /// The one share of the key that opens it, in base64.
    pub unseal_key: Option<Secret>,
    listener: Listener,
    certificate: Option<Certificate>,
    pub(super) engine: Arc<Engine>,
    shutdown: Shutdown,
}

impl Dev {
    /// An unsealed engine in memory, without TLS.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(listen: SocketAddr, root_token: Option<Secret>, shutdown: Shutdown) -> Result<Self, Failure> {
        Self::with(DevOptions { listen, root_token, tls: None, kv: Some(2), initialized: true }, shutdown).await
    }

    /// An engine in memory.
    ///
    /// # Errors
    /// When the address cannot be bound, or the certificate cannot be written.
    pub async fn with(options: DevOptions, shutdown: Shutdown) -> Result<Self, Failure> {
        let random = Arc::new(SystemRandom);
        let kv = options.kv.map(|version| bootstrap::KeyValue { path: "secret".to_owned(), version });
        let engine = Engine::new(Parts {
            raw: Arc::new(Memory::default()),
            seal: Sealing::Shamir,
            settings: Settings {
                shown: sanitized::of_dev(options.listen, options.tls.is_some()),
                ..Settings::default()
            },
            plan: bootstrap::Plan { kv, ..bootstrap::Plan::default() },
            clock: Arc::new(SystemClock),
            random: random.clone(),
            shutdown: shutdown.clone(),
        });
        let (root_token, unseal_key) = match options.initialized {
            false => (Secret::default(), None),
            true => {
                let made = engine.initialize(Scheme::ONE).await?;
                let root_token = match options.root_token.filter(|token| !token.is_empty()) {
                    Some(token) => {
                        engine.create_root_token(token.clone()).await?;
                        token
                    }
                    None => made.root_token().clone(),
                };
                (root_token, made.shares().next().cloned())
            }
        };
        let certificate = match &options.tls {
            Some(tls) => Some(Certificate::make(tls, options.listen, &SystemClock, &*random)?),
            None => None,
        };
        let config = certificate.as_ref().map(Certificate::server_config).transpose()?;
        let bound = Listener::bind(options.listen, config).await;
        let listener = bound.map_err(|error| cannot_listen(options.listen, error))?;
        Ok(Self { address: listener.address(), root_token, unseal_key, listener, certificate, engine, shutdown })
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The CA that clients must trust, if there is TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificate.as_ref().map(Certificate::ca_file)
    }

    /// Serves until the shutdown.
    ///
    /// # Errors
    /// When serving fails.
    pub async fn serve(self) -> Result<(), Failure> {
        serve(self.engine, vec![(self.listener, Rules::default())], self.shutdown).await
    }
}
