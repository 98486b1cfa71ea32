//! Bringing an engine up behind its listeners: `lessor dev` and `lessor server`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use tokio::signal::unix::{SignalKind, signal};

use super::config::{Config, SealConfig, StorageConfig};
use super::listen::{Listener, Peer};
use super::{Access, router};
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::shutdown::Shutdown;
use crate::base::tls::renewed::RenewedCertificate;
use crate::base::{Secret, tls};
use crate::engine::core::Settings;
use crate::engine::seal::shamir::Scheme;
use crate::engine::seal::{Sealing, StaticSeal};
use crate::engine::{Engine, Parts, bootstrap};
use crate::storage::Backend;
use crate::storage::embedded::Embedded;
use crate::storage::memory::Memory;

/// How long open connections may finish their requests after a stop was requested.
const DRAIN: Duration = Duration::from_secs(10);

/// Anything that keeps the server from running; printed with its causes.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A dev engine that listens.
pub struct Dev {
    /// Where.
    pub address: SocketAddr,
    /// The root token.
    pub root_token: Secret,
    listener: Listener,
    pub(super) engine: Arc<Engine>,
    shutdown: Shutdown,
}

impl Dev {
    /// An unsealed engine in memory.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(listen: SocketAddr, root_token: Option<Secret>, shutdown: Shutdown) -> Result<Self, Failure> {
        let random = SystemRandom;
        let engine = Engine::new(Parts {
            raw: Arc::new(Memory::default()),
            seal: Sealing::Shamir,
            settings: Settings::default(),
            plan: bootstrap::Plan { kv: Some("secret".to_owned()), ..bootstrap::Plan::default() },
            clock: Arc::new(SystemClock),
            random: Arc::new(random),
            shutdown: shutdown.clone(),
        });
        let made = engine.initialize(Scheme::ONE).await?;
        let root_token = match root_token.filter(|token| !token.is_empty()) {
            Some(token) => {
                engine.create_root_token(token.clone()).await?;
                token
            }
            None => made.root_token().clone(),
        };
        let listener = Listener::bind(listen, None).await.map_err(|error| cannot_listen(listen, error))?;
        Ok(Self { address: listener.address(), root_token, listener, engine, shutdown })
    }

    /// Serves until the shutdown.
    ///
    /// # Errors
    /// When serving fails.
    pub async fn serve(self) -> Result<(), Failure> {
        serve(self.engine, vec![(self.listener, Access::default())], self.shutdown).await
    }
}

/// Runs the engine of a configuration until the shutdown.
///
/// # Errors
/// When storage, seal or a listener cannot be brought up.
pub async fn server(config: Config, shutdown: Shutdown) -> Result<(), Failure> {
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let raw: Arc<dyn Backend> = match &config.storage {
        StorageConfig::Embedded { path } => Arc::new(Embedded::open(path).await?),
        StorageConfig::InMemory => Arc::new(Memory::default()),
    };
    let random = Arc::new(SystemRandom);
    let seal = match &config.seal {
        SealConfig::Static { current, previous } => {
            Sealing::Auto(Box::new(StaticSeal::new(current.clone(), previous.clone(), random.clone())))
        }
        SealConfig::Shamir => Sealing::Shamir,
    };
    let engine = Engine::new(Parts {
        raw,
        seal,
        settings: Settings { limits: config.limits, cluster_name: config.cluster_name.clone() },
        plan: config.bootstrap.clone(),
        clock: Arc::new(SystemClock),
        random,
        shutdown: shutdown.clone(),
    });
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let tls = match &listener.tls {
            Some(files) => {
                let served = RenewedCertificate::open(files.cert_file.clone(), files.key_file.clone())?;
                tokio::spawn(served.clone().follow(Arc::new(SystemClock), shutdown.clone()));
                Some(Arc::new(tls::server_config(served)?))
            }
            None => None,
        };
        let bound = Listener::bind(listener.address, tls).await.map_err(|e| cannot_listen(listener.address, e))?;
        tracing::info!(address = %bound.address(), tls = listener.tls.is_some(), "listening");
        listeners.push((bound, listener.access));
    }
    engine.start().await?;
    serve(engine, listeners, shutdown).await
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Failure {
    format!("cannot listen on {address}: {error}").into()
}

/// SIGHUP is what logrotate sends after it moved a log away.
fn reopen_on_hangup(engine: Arc<Engine>) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            engine.reopen().await;
        }
    });
    Ok(())
}

async fn serve(engine: Arc<Engine>, listeners: Vec<(Listener, Access)>, shutdown: Shutdown) -> Result<(), Failure> {
    reopen_on_hangup(engine.clone())?;
    let router = router(engine.clone(), Arc::new(SystemRandom));
    let mut servers = tokio::task::JoinSet::new();
    for (listener, access) in listeners {
        let service = router.clone().layer(Extension(access)).into_make_service_with_connect_info::<Peer>();
        let stop = shutdown.clone();
        servers.spawn(async move {
            axum::serve(listener, service).with_graceful_shutdown(async move { stop.requested().await }).await
        });
    }
    shutdown.requested().await;
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some connections were still open at the end");
    }
    engine.close().await;
    Ok(())
}
