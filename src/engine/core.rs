//! The unsealed engine, or one of its namespaces: what exists while the store can be read. `handle.rs` is the way through it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::activity::Activity;
use super::audit::Audits;
use super::cors::Browsers;
use super::identity::Identity;
use super::lease::book::{Book, Slot};
use super::lease::peers::Peers;
use super::lease::{Leases, Parts};
use super::lockout::Lockouts;
use super::namespace::{Directory, Place};
use super::policies::Policies;
use super::quota::Quotas;
use super::rate_limit::RateLimits;
use super::rotation::Rotations;
use super::seal::Keeper;
use super::sys::{Flights, Moves};
use super::token::Tokens;
use super::ttl::Limits;
use super::{due, mount};
use crate::auth::{self, Method};
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Random};
use crate::secrets::password_policy::PasswordPolicies;
use crate::secrets::{self, SecretsEngine};
use crate::storage::{Backend, View};
use crate::wire::Error;

/// What of the configuration the core uses.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Limits of mounts that set none themselves.
    pub limits: Limits,
    /// Shown in health and seal status; a name is made when there is none.
    pub cluster_name: Option<String>,
    /// The configuration without its secrets, for `sys/config/state/sanitized`.
    pub shown: serde_json::Value,
}

/// What all namespaces have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Backend>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) audits: Arc<Audits>,
    pub(super) rotation: Arc<Rotations>,
    pub(super) quotas: Arc<Quotas>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) browsers: Arc<Browsers>,
    pub(super) flights: Flights,
    pub(super) directory: Arc<Directory>,
    pub(super) peers: Arc<Peers>,
    pub(super) settings: Settings,
    pub(super) random: Arc<dyn Random>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: Shutdown,
}

/// Everything that exists only while the engine is unsealed, of one namespace.
pub struct Core {
    pub(super) place: Place,
    pub(super) mounts: Arc<mount::Table<dyn SecretsEngine>>,
    pub(super) methods: mount::Table<dyn Method>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) policies: Policies,
    pub(super) identity: Identity,
    pub(super) activity: Activity,
    pub(super) lockouts: Lockouts,
    pub(super) passwords: PasswordPolicies,
    pub(super) leases: Arc<Leases>,
    pub(super) moves: Moves,
    /// What it has in common with the others, but for its own end.
    pub(super) shared: Shared,
    /// Of leases that nobody took, until [`Core::begin`].
    undelivered: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

impl Core {
    /// Loads an unsealed store with all its namespaces and starts expiry, which runs until `shutdown`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(
        store: Arc<dyn Backend>,
        keeper: Arc<Keeper>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, Error> {
        let view = View::new(store.clone(), "sys/");
        let rotation = Arc::new(Rotations::load(view.sub("core")).await?);
        tokio::spawn(rotation.clone().run(keeper.barrier().clone(), clock.clone(), shutdown.clone()));
        let shared = Shared {
            keeper,
            audits: Arc::new(Audits::load(view.sub("audit"), clock.clone(), random.clone()).await?),
            rotation,
            quotas: Arc::new(Quotas::load(view.sub("quota"), view.sub("lease")).await?),
            rate_limits: Arc::new(RateLimits::load(view.sub("rate-limit"), clock.clone()).await?),
            browsers: Arc::new(Browsers::load(view.sub("core")).await?),
            flights: Flights::default(),
            directory: Arc::new(Directory::new(view.sub("namespace"))),
            peers: Arc::default(),
            store,
            settings,
            random,
            clock,
            shutdown,
        };
        let root = Self::open(shared, Place::default()).await?;
        root.note_version().await?;
        root.load_namespaces().await?;
        root.begin_all();
        Ok(root)
    }

    /// Opens what the store holds of one namespace. Nothing runs before [`Core::begin`].
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn open(shared: Shared, place: Place) -> Result<Arc<Self>, Error> {
        let (clock, random) = (shared.clock.clone(), shared.random.clone());
        let view = View::new(shared.store.clone(), format!("{}sys/", place.prefix()));
        let slot = Slot::default();
        let passwords = PasswordPolicies::new(view.sub("password-policy"));
        let open = open_secrets(&shared, &place, slot.clone(), passwords.clone());
        let mounts = Arc::new(mount::Table::load(view.sub("core"), "mounts", open).await?);
        let methods = mount::Table::load(view.sub("core"), "auth", open_method(&shared, &place)).await?;
        let due = due::Index::new(view.sub("due"));
        let tokens = Tokens::open(view.sub("token"), place.clone(), due.clone(), clock.clone(), random.clone()).await?;
        let tokens = Arc::new(tokens);
        if !place.is_root() {
            shared.quotas.add(&place.path, view.sub("lease")).await?;
        }
        let (leases, undelivered) = Leases::open(Parts {
            place: place.clone(),
            peers: shared.peers.clone(),
            view: view.clone(),
            due,
            mounts: mounts.clone(),
            tokens: tokens.clone(),
            limits: shared.settings.limits,
            quotas: shared.quotas.clone(),
            clock: clock.clone(),
            random: random.clone(),
        });
        // Nobody else has set it: this slot is of this call.
        let _ = slot.set(Arc::downgrade(&leases));
        let policies = Policies::load(view.sub("policy"), place.is_root()).await?;
        let identity = Identity::load(view.sub("identity"), place.shown_id(), clock.clone(), random.clone()).await?;
        Ok(Arc::new(Self {
            place,
            mounts,
            methods,
            tokens,
            policies,
            identity,
            activity: Activity::load(view.sub("activity"), clock.clone()).await?,
            lockouts: Lockouts::load(view.sub("lockout"), clock.clone()).await?,
            passwords,
            leases,
            moves: Moves::default(),
            shared,
            undelivered: Mutex::new(Some(undelivered)),
        }))
    }

    /// Starts what runs in the background, once.
    pub(super) fn begin(&self) {
        let undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(undelivered) = undelivered else { return };
        tokio::spawn(self.leases.clone().run(undelivered, self.shared.shutdown.clone()));
        for mounted in self.mounts.all() {
            self.set_going(&mounted);
        }
    }

    /// The others forget this namespace, which is gone.
    pub(super) async fn leave(&self) {
        self.shared.peers.remove(&self.place.id);
        self.shared.quotas.remove(&self.place.path).await;
    }

    /// Starts what a secrets engine does on its own.
    pub(super) fn set_going(&self, mounted: &mount::Mounted<dyn SecretsEngine>) {
        tokio::spawn(mounted.plugin.clone().run(self.shared.shutdown.clone()));
    }

    /// Closes what mounts hold open, here and in every namespace below.
    pub(super) async fn close(&self) {
        let below = self.shared.directory.below(&self.place.path);
        for core in below.iter().map(|space| &*space.core).chain([self]) {
            for mounted in core.mounts.all() {
                mounted.plugin.close().await;
            }
        }
    }

    /// Ends the background work of this namespace.
    pub(super) fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// A part of what this namespace stores, for what must be read or removed without a token.
    pub(super) fn stored(&self, prefix: &str) -> View {
        View::new(self.shared.store.clone(), format!("{}{prefix}", self.place.prefix()))
    }
}

fn open_secrets(
    shared: &Shared,
    place: &Place,
    slot: Slot,
    passwords: PasswordPolicies,
) -> mount::Open<dyn SecretsEngine> {
    let (store, clock, random) = (shared.store.clone(), shared.clock.clone(), shared.random.clone());
    let prefix = place.prefix();
    Box::new(move |entry| {
        let spec = secrets::TABLE.iter().find(|spec| spec.kind == entry.kind)?;
        let view = View::new(store.clone(), format!("{prefix}mount/{}/", entry.uuid));
        let (uuid, leases) = (entry.uuid.clone(), Book::new(slot.clone(), entry));
        let (clock, random, passwords) = (clock.clone(), random.clone(), passwords.clone());
        let options = entry.options.clone();
        Some((spec.open)(secrets::Setup { view, uuid, options, clock, random, leases, passwords }))
    })
}

fn open_method(shared: &Shared, place: &Place) -> mount::Open<dyn Method> {
    let (store, clock, random) = (shared.store.clone(), shared.clock.clone(), shared.random.clone());
    let prefix = place.prefix();
    Box::new(move |entry| {
        let spec = auth::TABLE.iter().find(|spec| spec.kind == entry.kind)?;
        let view = View::new(store.clone(), format!("{prefix}auth/{}/", entry.uuid));
        let mount = entry.path.trim_end_matches('/').to_owned();
        Some((spec.open)(auth::Setup { view, clock: clock.clone(), random: random.clone(), mount }))
    })
}
