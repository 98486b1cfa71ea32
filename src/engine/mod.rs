//! The engine: mounts, tokens, policies, leases, and the one path of every request.
//!
//! Where a credential is made: `secrets/database` describes it, [`lease`] records it (`issue.rs`) and then has it made,
//! [`core`] answers. Where it ends: `lease/revoke.rs` and, when nobody asks, `lease/worker.rs`.

mod batch;
pub mod bootstrap;
pub mod core;
mod cubbyhole;
pub mod due;
pub mod identity;
pub mod lease;
pub mod mount;
pub mod policies;
pub mod policy;
pub mod quota;
pub mod request;
pub mod seal;
pub mod shamir;
pub mod status;
mod sys;
pub mod token;
mod token_api;
mod token_create;
mod token_role;
pub mod ttl;
mod wrapping;

use std::sync::{Arc, PoisonError, RwLock};

use self::core::{Core, Settings};
use self::request::{Incoming, Reply};
use self::seal::{Initialized, Seal};
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Random, Secret};
use crate::storage::barrier::Barrier;
use crate::storage::{Backend, View};
use crate::wire::{Error, Kind};

/// The engine, sealed or not.
pub struct Engine {
    raw: Arc<dyn Backend>,
    barrier: Arc<Barrier>,
    seal: Box<dyn Seal>,
    settings: Settings,
    plan: bootstrap::Plan,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    shutdown: Shutdown,
    core: RwLock<Option<(Arc<Core>, Cluster)>>,
    changing: tokio::sync::Mutex<()>,
}

/// What [`Engine::new`] needs.
pub struct Parts {
    /// Where everything is stored, encrypted by the engine.
    pub raw: Arc<dyn Backend>,
    /// What protects the root key.
    pub seal: Box<dyn Seal>,
    /// Limits.
    pub settings: Settings,
    /// What to set up at the first start.
    pub plan: bootstrap::Plan,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Ends the engine's background work.
    pub shutdown: Shutdown,
}

/// The names that health and seal status show.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Cluster {
    name: String,
    id: String,
}

/// The answer of initialisation: shown once and kept nowhere.
pub struct Made {
    recovery_keys: Vec<Secret>,
    root_token: Secret,
}

impl Made {
    /// The root token.
    pub fn root_token(&self) -> &Secret {
        &self.root_token
    }

    fn recovery_keys_hex(&self) -> Vec<&str> {
        self.recovery_keys.iter().map(Secret::expose).collect()
    }

    fn recovery_keys_base64(&self) -> Vec<String> {
        use base64::Engine as _;
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()).collect()
        };
        self.recovery_keys
            .iter()
            .map(|key| base64::engine::general_purpose::STANDARD.encode(bytes(key.expose())))
            .collect()
    }
}

impl Engine {
    /// A sealed engine; [`Engine::start`] brings it up.
    pub fn new(parts: Parts) -> Arc<Self> {
        let barrier = Arc::new(Barrier::new(parts.raw.clone(), parts.clock.clone(), parts.random.clone()));
        Arc::new(Self {
            raw: parts.raw,
            barrier,
            seal: parts.seal,
            settings: parts.settings,
            plan: parts.plan,
            clock: parts.clock,
            random: parts.random,
            shutdown: parts.shutdown,
            core: RwLock::new(None),
            changing: Default::default(),
        })
    }

    /// Unseals an initialised engine. One that is new and has a bootstrap plan is initialised, and its root token revoked.
    ///
    /// # Errors
    /// When the seal's key does not fit, or the store fails.
    pub async fn start(&self) -> Result<(), Error> {
        if self.is_initialized().await? {
            self.unseal().await?;
        } else if self.plan != bootstrap::Plan::default() {
            let made = self.initialize(1, 1).await?;
            let core = self.core().ok_or_else(sealed)?;
            core.leases.end_token(&core.tokens.hash(&made.root_token)).await?;
            tracing::info!("initialised; no root token is kept");
        }
        Ok(())
    }

    /// Answers a request: the one way in.
    ///
    /// # Errors
    /// As vault-api.md has them.
    pub async fn handle(&self, mut incoming: Incoming) -> Result<Reply, Error> {
        incoming.namespace = incoming.namespace.map(|name| name.trim_matches('/').to_owned());
        if incoming.namespace.as_deref().is_some_and(|name| name.is_empty() || name == "root") {
            incoming.namespace = None;
        }
        if status::PATHS.contains(&incoming.path.as_str()) {
            return self.status(&incoming).await;
        }
        let core = self.core().ok_or_else(sealed)?;
        if incoming.namespace.is_some() {
            return Err(Error::new(Kind::NotFound, "namespace not found"));
        }
        core.handle(incoming).await
    }

    /// Answers `sys/metrics` to whoever asks: for listeners that say so.
    ///
    /// # Errors
    /// 503 while sealed.
    pub async fn metrics(&self, incoming: &Incoming) -> Result<Reply, Error> {
        self.core().ok_or_else(sealed)?.sys_metrics(incoming.operation, &incoming.fields).await
    }

    /// Whether the store holds an engine already.
    ///
    /// # Errors
    /// What the store says.
    pub async fn is_initialized(&self) -> Result<bool, Error> {
        Ok(seal::is_initialized(&self.raw).await?)
    }

    /// Makes keys and the root token, and unseals.
    ///
    /// # Errors
    /// 400 when it was done before or the shares make no sense.
    pub async fn initialize(&self, shares: u64, threshold: u64) -> Result<Made, Error> {
        let _one_at_a_time = self.changing.lock().await;
        if self.is_initialized().await? {
            return Err(Error::bad_request("Vault is already initialized"));
        }
        let Initialized { recovery_keys } =
            seal::initialize(&*self.seal, &self.barrier, &self.raw, &*self.random, shares, threshold).await?;
        let core = self.bring_up().await?;
        let made = core.tokens.create(token_create::root(self.clock.now()), None, self.settings.limits).await?;
        Ok(Made { recovery_keys, root_token: made.id })
    }

    /// Unseals with the configured seal; an unsealed engine stays so.
    ///
    /// # Errors
    /// 400 when it is not initialised; what seal and store say.
    pub async fn unseal(&self) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        if self.core().is_some() {
            return Ok(());
        }
        if !self.is_initialized().await? {
            return Err(Error::bad_request("server is not yet initialized"));
        }
        seal::unseal(&*self.seal, &self.barrier, &self.raw).await?;
        self.bring_up().await?;
        Ok(())
    }

    async fn bring_up(&self) -> Result<Arc<Core>, Error> {
        let store: Arc<dyn Backend> = self.barrier.clone();
        let mut cluster = self.name(&View::new(store.clone(), "sys/core/")).await?;
        if let Some(name) = &self.settings.cluster_name {
            cluster.name.clone_from(name);
        }
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let core = Core::load(store, self.settings.clone(), clock, random, self.shutdown.clone()).await?;
        core.bootstrap(&self.plan).await?;
        *self.core.write().unwrap_or_else(PoisonError::into_inner) = Some((core.clone(), cluster));
        Ok(core)
    }

    async fn name(&self, view: &View) -> Result<Cluster, Error> {
        if let Some((cluster, _)) = view.get::<Cluster>("cluster").await? {
            return Ok(cluster);
        }
        let id = self.random.uuid();
        let cluster = Cluster { name: format!("lessor-cluster-{}", &id[..8]), id };
        view.put_if("cluster", &cluster, 0).await?;
        Ok(cluster)
    }

    /// Makes a root token with the given text, for dev mode.
    ///
    /// # Errors
    /// 503 while sealed; 400 when a token with that text exists.
    pub async fn create_root_token(&self, id: Secret) -> Result<(), Error> {
        let core = self.core().ok_or_else(sealed)?;
        core.tokens.create(token_create::root(self.clock.now()), Some(id), self.settings.limits).await?;
        Ok(())
    }

    /// Closes what the mounts hold open, for a clean stop.
    pub async fn close(&self) {
        if let Some(core) = self.core() {
            for mounted in core.mounts.all() {
                mounted.plugin.close().await;
            }
        }
    }

    fn core(&self) -> Option<Arc<Core>> {
        let core = self.core.read().unwrap_or_else(PoisonError::into_inner);
        core.as_ref().map(|(core, _)| core.clone())
    }

    fn cluster(&self) -> (Option<String>, Option<String>) {
        let core = self.core.read().unwrap_or_else(PoisonError::into_inner);
        core.as_ref().map(|(_, cluster)| (cluster.name.clone(), cluster.id.clone())).unzip()
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn seal_kind(&self) -> &'static str {
        self.seal.kind()
    }

    async fn seal_shares(&self) -> Result<(u32, u32), Error> {
        Ok(seal::shares(&self.raw).await?)
    }

    fn storage_name(&self) -> &'static str {
        self.raw.name()
    }
}

fn sealed() -> Error {
    Error::new(Kind::Unavailable, "Vault is sealed")
}
