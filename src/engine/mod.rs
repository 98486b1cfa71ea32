//! The engine: mounts, tokens, policies, leases, and the one path of every request.
//!
//! Where a credential is made: `secrets/database` describes it, [`lease`] records it (`issue.rs`) and then has it made,
//! `handle.rs` answers. Where it ends: `lease/revoke.rs` and, when nobody asks, `lease/worker.rs`.

pub mod activity;
pub mod audit;
mod batch;
pub mod bootstrap;
pub mod core;
pub mod cors;
mod cubbyhole;
pub mod due;
mod handle;
pub mod identity;
mod issuing;
pub mod lease;
pub mod lockout;
mod login;
pub mod mount;
pub mod namespace;
mod openapi;
pub mod policies;
pub mod policy;
pub mod quota;
pub mod rate_limit;
pub mod request;
pub mod rotation;
mod routes;
pub mod seal;
mod session;
mod spelling;
pub mod status;
mod sys;
pub mod token;
mod token_api;
mod token_create;
mod token_home;
mod token_role;
mod token_routes;
pub mod ttl;
pub mod tuning;
mod wrapping;

use std::sync::{Arc, PoisonError, RwLock};

use self::core::{Core, Settings};
use self::request::{Incoming, Reply};
use self::seal::pgp::{self, Readers};
use self::seal::shamir::Scheme;
use self::seal::{Initialized, Keeper, Sealing};
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::base::{Clock, Random, Secret};
use crate::storage::barrier::Barrier;
use crate::storage::fence::Fence;
use crate::storage::{Backend, View};
use crate::wire::{Error, Kind, Operation};

/// Paths that no namespace has: they are about the whole engine (vault-api.md 0.1, and OpenBao's list of restricted paths).
const ROOT_ONLY: &[&str] = &[
    "sys/audit",
    "sys/config/",
    "sys/generate-root",
    "sys/host-info",
    "sys/in-flight-req",
    "sys/key-status",
    "sys/loggers",
    "sys/metrics",
    "sys/quotas/",
    "sys/raw",
    "sys/rekey",
    "sys/rotate",
    "sys/seal",
    "sys/step-down",
    "sys/storage",
    "sys/version-history",
];

/// The engine, sealed or not.
pub struct Engine {
    keeper: Arc<Keeper>,
    storage_name: &'static str,
    settings: Settings,
    plan: bootstrap::Plan,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    shutdown: Shutdown,
    running: RwLock<Option<Running>>,
    changing: tokio::sync::Mutex<()>,
}

/// What [`Engine::new`] needs.
pub struct Parts {
    /// Where everything is stored, encrypted by the engine.
    pub raw: Arc<dyn Backend>,
    /// What protects the root key.
    pub seal: Sealing,
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

/// What exists from unsealing to sealing.
struct Running {
    core: Arc<Core>,
    cluster: Cluster,
    fence: Arc<Fence>,
    /// Ends the core's background work; so does the end of the engine.
    stop: Arc<Trigger>,
}

/// The names that health and seal status show.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Cluster {
    name: String,
    id: String,
}

/// The answer of initialisation: shown once and kept nowhere.
pub struct Made {
    shares: Initialized,
    root_token: Secret,
}

impl Made {
    /// The root token.
    pub fn root_token(&self) -> &Secret {
        &self.root_token
    }

    /// The shares that open the engine, in base64.
    pub fn shares(&self) -> impl Iterator<Item = &Secret> {
        self.shares.shares.iter().map(|(_, base64)| base64)
    }
}

impl Engine {
    /// A sealed engine; [`Engine::start`] brings it up.
    pub fn new(parts: Parts) -> Arc<Self> {
        let barrier = Arc::new(Barrier::new(parts.raw.clone(), parts.clock.clone(), parts.random.clone()));
        let storage_name = parts.raw.name();
        let keeper = Arc::new(Keeper::new(parts.raw, barrier, parts.seal, parts.random.clone()));
        Arc::new(Self {
            keeper,
            storage_name,
            settings: parts.settings,
            plan: parts.plan,
            clock: parts.clock,
            random: parts.random,
            shutdown: parts.shutdown,
            running: RwLock::new(None),
            changing: Default::default(),
        })
    }

    /// Unseals an initialised engine that opens itself. One that is new and has a bootstrap plan is initialised, and nobody is
    /// given a root token.
    ///
    /// # Errors
    /// When the seal's key does not fit, or the store fails.
    pub async fn start(&self) -> Result<(), Error> {
        if self.is_initialized().await? {
            if self.keeper.sealing().is_auto() {
                self.unseal().await?;
            } else {
                tracing::info!("sealed: waits for the shares of its key");
            }
        } else if self.plan != bootstrap::Plan::default() {
            let _one_at_a_time = self.changing.lock().await;
            let recovery = self.plan.recovery_key.as_ref().map(|key| &key.0);
            self.keeper.initialize(Scheme::ONE, recovery, false).await?;
            let running = self.load().await?;
            self.keeper.finish().await?;
            self.publish(running);
            tracing::info!("initialised; there is no root token");
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
        let core = self.core();
        // Whoever asks for the state of the engine is told, whatever the state of the namespace.
        let entered = core.as_ref().map_or(Ok(None), |core| core.shared.directory.enter(&mut incoming));
        let asks_for_help = incoming.operation == Operation::Help;
        if !asks_for_help && let Some(path) = status::path_of(&incoming.path, core.is_none()) {
            incoming.path = path.to_owned();
            return self.status(&incoming).await;
        }
        let core = core.ok_or_else(sealed)?;
        if incoming.namespace.is_some() && ROOT_ONLY.iter().any(|path| incoming.path.starts_with(path)) {
            return Err(Error::bad_request("operation unavailable in namespaces"));
        }
        let core = entered?.map_or(core, |space| space.core.clone());
        if !asks_for_help && let Some(area) = seal::open_area(&incoming.path) {
            routes::early(&incoming)?;
            return core.handle_shares(area, &incoming).await;
        }
        let seals = incoming.path.trim_end_matches('/') == "sys/seal" && incoming.operation == Operation::Write;
        let reply = core.handle(incoming).await?;
        if seals {
            self.seal().await;
        }
        Ok(reply)
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
        Ok(self.keeper.is_initialized().await?)
    }

    /// Makes keys and the root token, and leaves the engine unsealed. What a crash cuts off is begun anew the next time.
    ///
    /// # Errors
    /// 400 when it was done before.
    pub async fn initialize(&self, scheme: Scheme) -> Result<Made, Error> {
        self.initialize_for(scheme, &Readers::default()).await
    }

    /// As [`Engine::initialize`], with what is for `readers` encrypted.
    async fn initialize_for(&self, scheme: Scheme, readers: &Readers) -> Result<Made, Error> {
        let _one_at_a_time = self.changing.lock().await;
        if self.is_initialized().await? {
            return Err(Error::bad_request("Vault is already initialized"));
        }
        let made = self.keeper.initialize(scheme, None, true).await?;
        let shares = made.for_readers(&readers.shares, &*self.random)?;
        let running = self.load().await?;
        let root = token_create::root(self.clock.now());
        let made = running.core.tokens.create(root, None, self.settings.limits).await?;
        let root_token = match &readers.root_token {
            Some(reader) => pgp::message(&made.id, reader, &*self.random)?,
            None => made.id,
        };
        self.keeper.finish().await?;
        self.publish(running);
        Ok(Made { shares, root_token })
    }

    /// Unseals an engine that opens itself; an unsealed one stays so.
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
        self.keeper.open(self.plan.recovery_key.as_ref().map(|key| &key.0)).await?;
        self.publish(self.load().await?);
        Ok(())
    }

    /// Takes a share of the key that opens the engine, and unseals it when there are enough.
    ///
    /// # Errors
    /// 400 when the engine is not initialised, or the shares are wrong.
    pub async fn unseal_with(&self, share: &Secret) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        if self.core().is_some() {
            return Ok(());
        }
        if !self.is_initialized().await? {
            return Err(Error::bad_request("server is not yet initialized"));
        }
        if self.keeper.unseal(share).await? {
            self.publish(self.load().await?);
            tracing::info!("unsealed");
        }
        Ok(())
    }

    /// Forgets all keys and ends all work; what was under way fails. A sealed engine stays so.
    pub async fn seal(&self) {
        let _one_at_a_time = self.changing.lock().await;
        let Some(running) = self.write().take() else { return };
        running.stop.stop();
        running.fence.close();
        self.keeper.barrier().seal();
        self.keeper.forget_all().await;
        running.core.close().await;
        running.core.shared.directory.clear();
        tracing::warn!("sealed");
    }

    /// Brings up what exists while the barrier is open. If that fails, the barrier is closed again.
    async fn load(&self) -> Result<Running, Error> {
        let loaded = self.try_load().await;
        if loaded.is_err() {
            self.keeper.barrier().seal();
        }
        loaded
    }

    async fn try_load(&self) -> Result<Running, Error> {
        let fence = Arc::new(Fence::new(self.keeper.barrier().clone()));
        let store: Arc<dyn Backend> = fence.clone();
        let mut cluster = self.name(&View::new(store.clone(), "sys/core/")).await?;
        if let Some(name) = &self.settings.cluster_name {
            cluster.name.clone_from(name);
        }
        let (stop, stopped) = shutdown::channel();
        let stop = Arc::new(stop);
        let (settings, clock, random) = (self.settings.clone(), self.clock.clone(), self.random.clone());
        let core = Core::load(store, self.keeper.clone(), settings, clock, random, stopped.clone()).await?;
        core.bootstrap(&self.plan).await?;
        let (end, trigger) = (self.shutdown.clone(), Arc::downgrade(&stop));
        tokio::spawn(async move {
            tokio::select! {
                () = end.requested() => if let Some(trigger) = trigger.upgrade() { trigger.stop() },
                () = stopped.requested() => {}
            }
        });
        Ok(Running { core, cluster, fence, stop })
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Running>> {
        self.running.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, running: Running) {
        *self.write() = Some(running);
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

    /// The path that quotas of requests count a request under; none where answers do not tell what quotas leave.
    pub fn counted_path(&self, incoming: &Incoming) -> Option<String> {
        self.core().filter(|core| core.shared.rate_limits.tells())?;
        let namespace = incoming.namespace.as_deref().map(|name| name.trim_matches('/')).unwrap_or_default();
        match namespace {
            "" | "root" => Some(incoming.path.clone()),
            namespace => Some(format!("{namespace}/{}", incoming.path)),
        }
    }

    /// What the quota of a [counted path](Engine::counted_path) leaves to an address.
    pub fn quota_left(&self, path: &str, address: Option<std::net::IpAddr>) -> Option<rate_limit::Left> {
        self.core()?.shared.rate_limits.left(path, address)
    }

    /// Which pages of other origins may use the API; none while sealed.
    pub fn cors(&self) -> Arc<cors::Cors> {
        self.core().map(|core| core.shared.browsers.cors()).unwrap_or_default()
    }

    /// Opens the audit devices anew, after their files were moved away.
    pub async fn reopen(&self) {
        if let Some(core) = self.core() {
            core.shared.audits.reopen().await;
        }
    }

    /// Closes what the mounts hold open, for a clean stop.
    pub async fn close(&self) {
        if let Some(core) = self.core() {
            core.close().await;
        }
    }

    fn core(&self) -> Option<Arc<Core>> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.core.clone())
    }

    fn cluster(&self) -> (Option<String>, Option<String>) {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| (running.cluster.name.clone(), running.cluster.id.clone())).unzip()
    }
}

fn sealed() -> Error {
    Error::new(Kind::Unavailable, "Vault is sealed")
}
