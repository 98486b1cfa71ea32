//! What every reconciler shares: clients, time, events, counters, and the watched objects of all kinds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;

use super::access::Access;
use super::events::{self, Events, Recorders, Told};
use super::external::External;
use super::fence::Fence;
use super::latest::Latest;
use super::leftovers::Leftovers;
use super::metrics::Metrics;
use super::options::{Options, RunError};
use super::owned::OwnedSecrets;
use super::requests::guarded;
use super::rollout::Rollouts;
use super::service_account::AccountTokens;
use super::session::{LoginOptions, Session};
use super::tenant::Tenants;
use super::watched::Watched;
use crate::api::names::MANAGER;
use crate::api::{
    CredentialEngine, DatabaseConnection, DatabaseRole, DynamicDatabaseSecret, StaticDatabaseRole, StaticDatabaseSecret,
};
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Random};
use crate::client::Client;

/// The first wait after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait when trying again may help by itself.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// The longest wait when somebody has to change something; most such changes wake the object anyway.
const LONGEST_WAIT_FOR_CHANGE: Duration = Duration::from_secs(120);
/// Kubernetes takes 1,024 bytes for an event's note.
const LONGEST_NOTE: usize = 1000;

/// Shared by all reconcilers of one operator.
pub struct Context {
    /// The Kubernetes API with the operator's own rights.
    pub kube: kube::Client,
    /// The engine with the operator's own rights: configuration and ends of workloads, never credentials.
    pub session: Session,
    /// The engine with the rights of tenants.
    pub tenants: Tenants,
    /// Engines other than the installed one.
    pub external: External,
    /// Mount of the database engine, without slashes at its ends.
    pub database_mount: String,
    /// Mount of the kubernetes login, without `auth/`.
    pub auth_mount: String,
    /// Login mounts of this cluster, [`Context::auth_mount`] first: only of workloads that came through them, or through others
    /// that ask the same API server, can it be told here whether they have ended.
    pub logins: Vec<String>,
    /// Audience of the tokens that tenants log in with.
    pub audience: String,
    /// This replica's name, in events.
    pub identity: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for spreading retries.
    pub random: Arc<dyn Random>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// All DatabaseConnections.
    pub connections: Watched<DatabaseConnection>,
    /// All DatabaseRoles.
    pub roles: Watched<DatabaseRole>,
    /// All DynamicDatabaseSecrets.
    pub secrets: Watched<DynamicDatabaseSecret>,
    /// All StaticDatabaseRoles.
    pub static_roles: Watched<StaticDatabaseRole>,
    /// All StaticDatabaseSecrets.
    pub static_secrets: Watched<StaticDatabaseSecret>,
    /// All CredentialEngines.
    pub engines: Watched<CredentialEngine>,
    /// All namespaces; `None` when the operator is limited to some and may not list them.
    pub namespaces: Option<Store<PartialObjectMeta<Namespace>>>,
    /// Who waits for a rollout, and who rolls.
    pub rollouts: Rollouts,
    /// UIDs of workloads whose end the engine has to be told.
    pub ended: mpsc::UnboundedSender<String>,
    /// The Secrets that the operator has written.
    pub owned: OwnedSecrets,
    /// The operator's rights in namespaces.
    pub access: Access,
    /// Clean-ups of deleted objects that remain to be done.
    pub leftovers: Leftovers,
    /// UIDs of DynamicDatabaseSecrets whose lease the engine may not have any more.
    suspects: Mutex<HashSet<String>>,
    /// UIDs of DynamicDatabaseSecrets that own more leases than they know of.
    surplus: Mutex<HashSet<String>>,
    /// Takes events.
    events: Events,
    /// What events have said last.
    pub told: Told,
    /// The versions of objects after their last status.
    pub latest: Latest,
    /// Whether anything may be changed.
    pub fence: Fence,
    /// Failures in a row, by the object's UID.
    pub failures: Failures,
}

/// What publishes the events of a context.
pub struct Publishing {
    recorders: Recorders,
    queue: events::Queue,
}

impl Publishing {
    /// Publishes until `end` and the last event.
    pub async fn run(self, context: Arc<Context>, end: Shutdown) {
        events::publish(self.recorders, self.queue, &context.metrics, end).await;
    }
}

/// The watched objects of all kinds.
pub struct Kinds {
    /// All DatabaseConnections.
    pub connections: Watched<DatabaseConnection>,
    /// All DatabaseRoles.
    pub roles: Watched<DatabaseRole>,
    /// All DynamicDatabaseSecrets.
    pub secrets: Watched<DynamicDatabaseSecret>,
    /// All StaticDatabaseRoles.
    pub static_roles: Watched<StaticDatabaseRole>,
    /// All StaticDatabaseSecrets.
    pub static_secrets: Watched<StaticDatabaseSecret>,
    /// All CredentialEngines.
    pub engines: Watched<CredentialEngine>,
}

impl Context {
    /// A context that sees no namespaces' labels, and the events that [`events::publish`] has to publish. With an
    /// election, its fence is shut at first.
    ///
    /// # Errors
    /// [`RunError::Engine`], when the settings for the engine are unusable.
    pub fn new(
        options: Options,
        kube: kube::Client,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        kinds: Kinds,
        ended: mpsc::UnboundedSender<String>,
        owned: OwnedSecrets,
    ) -> Result<(Self, Publishing), RunError> {
        let engine = Client::new(options.engine, clock.clone(), random.clone()).map_err(RunError::Engine)?;
        let (mount, audience) = (options.auth_mount, options.audience);
        let login = LoginOptions { mount: mount.clone(), role: options.login_role, token_file: options.token_file };
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(options.identity.clone()) };
        let metrics = Arc::<Metrics>::default();
        let fence = if options.election.is_some() { Fence::shut(clock.clone()) } else { Fence::open(clock.clone()) };
        let kube = guarded(kube, fence.clone(), metrics.clone());
        let (events, queue) = Events::new();
        let client = kube.clone();
        let recorders = Recorders::new(move || Recorder::new(client.clone(), reporter.clone()));
        let publishing = Publishing { recorders, queue };
        let accounts = Arc::new(AccountTokens::new(kube.clone(), clock.clone()));
        let external = External::new(
            kube.clone(),
            options.login_secrets,
            accounts.clone(),
            fence.clone(),
            clock.clone(),
            random.clone(),
        );
        let tenants = Tenants::new(
            accounts,
            audience.clone(),
            engine.clone(),
            mount.clone(),
            fence.clone(),
            metrics.clone(),
            clock.clone(),
        );
        let context = Self {
            session: Session::new(engine, login, fence.clone(), clock.clone()),
            tenants,
            external,
            database_mount: options.database_mount.trim_matches('/').to_owned(),
            logins: [mount.clone()].into_iter().chain(options.login_mounts).collect(),
            auth_mount: mount,
            audience,
            identity: options.identity,
            metrics,
            connections: kinds.connections,
            roles: kinds.roles,
            secrets: kinds.secrets,
            static_roles: kinds.static_roles,
            static_secrets: kinds.static_secrets,
            engines: kinds.engines,
            namespaces: None,
            rollouts: Rollouts::new(options.max_rollouts),
            ended,
            owned,
            access: Access::new(kube.clone(), options.tenant_role, clock.clone()),
            leftovers: Leftovers::new(kube.clone()),
            suspects: Mutex::default(),
            surplus: Mutex::default(),
            events,
            told: Told::default(),
            latest: Latest::default(),
            fence,
            failures: Failures::default(),
            kube,
            clock,
            random,
        };
        Ok((context, publishing))
    }

    /// Notes that the engine may not have the lease of the object with that UID any more.
    pub fn suspect(&self, uid: String) {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(uid);
    }

    /// Whether [`Context::suspect`] was called for the object since this was last asked.
    pub fn take_suspect(&self, uid: &str) -> bool {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(uid)
    }

    /// Notes that the engine has more leases of the object with that UID than the object knows of.
    pub fn note_surplus(&self, uid: String) {
        self.surplus.lock().unwrap_or_else(PoisonError::into_inner).insert(uid);
    }

    /// Whether [`Context::note_surplus`] was called for the object since this was last asked.
    pub fn take_surplus(&self, uid: &str) -> bool {
        self.surplus.lock().unwrap_or_else(PoisonError::into_inner).remove(uid)
    }

    /// Whether a namespace has an object of any of Lessor's kinds that is to stay, other than the one with the UID `except`.
    pub fn is_used(&self, namespace: &str, except: &str) -> bool {
        self.connections.any_in(namespace, except)
            || self.roles.any_in(namespace, except)
            || self.secrets.any_in(namespace, except)
            || self.static_roles.any_in(namespace, except)
            || self.static_secrets.any_in(namespace, except)
            || self.engines.any_in(namespace, except)
    }

    /// The labels of a namespace, none where there is no such namespace; `None` when the operator may not see them.
    pub fn labels_of(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let found = self.namespaces.as_ref()?.get(&ObjectRef::new(namespace));
        Some(found.map(|found| found.labels().clone()).unwrap_or_default())
    }

    /// Whether a namespace is being deleted, as far as that can be seen: nothing new can be made there, and what is there goes.
    pub fn is_terminating(&self, namespace: &str) -> bool {
        let found = self.namespaces.as_ref().and_then(|store| store.get(&ObjectRef::new(namespace)));
        found.is_some_and(|found| found.meta().deletion_timestamp.is_some())
    }

    /// Returns once everything that reconcilers look up was listed.
    pub async fn listed(&self) {
        self.connections.ready().await;
        self.roles.ready().await;
        self.secrets.ready().await;
        self.static_roles.ready().await;
        self.static_secrets.ready().await;
        self.engines.ready().await;
        if let Some(namespaces) = &self.namespaces
            && namespaces.wait_until_ready().await.is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Tells the user of an object what happened, soon. A failure to do so is logged only.
    pub async fn publish<K>(&self, object: &K, kind: EventType, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let mut end = note.len().min(LONGEST_NOTE);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        self.events.tell(event, object.object_ref(&()), &self.metrics).await;
    }
}

/// Failures in a row by object, for waits that grow.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Counts one more failure and returns how long to wait.
    pub fn next_wait(&self, uid: &str, needs_change: bool, random: &dyn Random) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(uid.to_owned()).or_default();
        let longest = if needs_change { LONGEST_WAIT_FOR_CHANGE } else { LONGEST_RETRY };
        let wait = FIRST_RETRY.saturating_mul(1 << (*count).min(16)).min(longest);
        *count += 1;
        wait.mul_f64(random.jitter(0.2))
    }

    /// The object got through, or is gone.
    pub fn clear(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn waits_grow_to_a_limit_and_start_anew_after_success() {
        let (failures, random) = (Failures::default(), SeededRandom::new(1));
        let waits: Vec<_> = (0..20).map(|_| failures.next_wait("uid", false, &random)).collect();
        assert!(waits[0] < Duration::from_millis(601), "{waits:?}");
        assert!(waits[3] > waits[0] * 4, "{waits:?}");
        assert!(waits[19] <= LONGEST_RETRY.mul_f64(1.2), "{waits:?}");
        assert!(
            (0..20).map(|_| failures.next_wait("other", true, &random)).any(|wait| wait > LONGEST_RETRY.mul_f64(1.2))
        );
        failures.clear("uid");
        assert!(failures.next_wait("uid", false, &random) < Duration::from_millis(601));
    }
}
