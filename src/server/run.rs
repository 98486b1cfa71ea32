//! Bringing an engine up behind its listeners: `lessor server`, and what it shares with dev mode.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::config::{ClientCertificates, Config, SealConfig, StorageConfig};
use super::listen::Listener;
use super::{Rules, Shared};
use crate::base::clock::SystemClock;
use crate::base::process::lift_open_files;
use crate::base::random::SystemRandom;
use crate::base::shutdown::Shutdown;
use crate::base::tls;
use crate::base::tls::renewed::RenewedCertificate;
use crate::engine::core::Settings;
use crate::engine::seal::{Sealing, StaticSeal};
use crate::engine::{Engine, Parts};
use crate::storage::Backend;
use crate::storage::embedded::Embedded;
use crate::storage::memory::Memory;

/// How long open connections may finish their requests after a stop was requested.
const DRAIN: Duration = Duration::from_secs(10);

/// Anything that keeps the server from running; printed with its causes.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the engine of a configuration until the shutdown.
///
/// # Errors
/// When storage, seal or a listener cannot be brought up.
pub async fn server(config: Config, shutdown: Shutdown) -> Result<(), Failure> {
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let connections =
        config.listeners.iter().map(|listener| listener.rules.bounds.connections).fold(0, usize::saturating_add);
    if let Some(files) = lift_open_files().filter(|files| *files < connections as u64) {
        tracing::warn!(
            files,
            connections,
            "fewer files may be open than max_connections says: raise the limit, or lower that"
        );
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
        settings: Settings {
            limits: config.limits,
            cluster_name: config.cluster_name.clone(),
            shown: config.sanitized(),
        },
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
                let clients = match &files.clients {
                    ClientCertificates::Asked => tls::Clients::Asked,
                    ClientCertificates::Ignored => tls::Clients::Ignored,
                    ClientCertificates::Required(file) => tls::Clients::Required(
                        std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?,
                    ),
                };
                Some(Arc::new(tls::server_config_for(served, &clients, files.versions)?))
            }
            None => None,
        };
        let bound = Listener::bind(listener.address, tls).await.map_err(|e| cannot_listen(listener.address, e))?;
        tracing::info!(address = %bound.address(), tls = listener.tls.is_some(), "listening");
        listeners.push((bound, listener.rules));
    }
    engine.start().await?;
    serve(engine, listeners, shutdown).await
}

pub(super) fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Failure {
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

pub(super) async fn serve(
    engine: Arc<Engine>,
    listeners: Vec<(Listener, Rules)>,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    reopen_on_hangup(engine.clone())?;
    let shared = Shared { engine: engine.clone(), random: Arc::new(SystemRandom) };
    let mut servers = tokio::task::JoinSet::new();
    for (listener, rules) in listeners {
        servers.spawn(listener.serve(shared.clone(), rules, Arc::new(SystemClock), shutdown.clone()));
    }
    shutdown.requested().await;
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some connections were still open at the end");
    }
    engine.close().await;
    Ok(())
}
