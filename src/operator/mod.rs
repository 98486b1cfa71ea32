//! The operator: Lessor's kinds into engine configuration and Kubernetes Secrets, and the end of workloads to the engine.
//!
//! | file | what it does |
//! |---|---|
//! | `kind.rs` (`finalizer.rs`) | what reconciling has in common: finalizer, conditions, events, retries, a deletion that ends |
//! | `connection.rs`, `role.rs`, `static_role/` | DatabaseConnection, DatabaseRole and StaticDatabaseRole into the engine |
//! | `login_role.rs` (`allow.rs`) | whom a role of either kind lets in |
//! | `dynamic/` | DynamicDatabaseSecret: credential, Secret, renewal, rotation, restart |
//! | `static_secret/` | StaticDatabaseSecret: the password of a static role in a Secret, and the restarts after its changes |
//! | `external/` | CredentialEngine: engines other than the installed one, and the logins there |
//! | `rollout/` | restarts of the workloads that use a Secret, to the last old pod |
//! | `workloads.rs` (`surplus.rs`) | pods and objects that are gone, to the engine; leases that are gone, to their objects |
//! | `owned.rs` | Secrets that somebody edits or deletes, to their objects |
//! | `leftovers.rs` | clean-ups that have to wait: written down, and done later |
//! | `access.rs` | the operator's rights in the namespaces that use it |
//! | `session.rs`, `tenant.rs` | logins at the engine: the operator's own, and those of tenants |
//! | `service_account.rs`, `slots.rs` | the tokens that tenants log in with |
//! | `leader.rs`, `fence.rs`, `requests.rs` | of several replicas, the one that works; the others change nothing |
//! | `parts.rs` | the tasks of a running operator |
//! | `metrics/`, `events.rs`, `progress.rs` | what monitoring, users and GitOps tools are told |
//! | `watched.rs` (`latest.rs`) | the objects of a kind, never older than the operator's own last status, and the queue of its reconciler |
//!
//! # What it may do in the cluster
//!
//! Cluster-wide, or by a Role in each watched namespace:
//!
//! | group | resources | verbs | for |
//! |---|---|---|---|
//! | lessor.dev | credentialengines, databaseconnections, databaseroles, dynamicdatabasesecrets, staticdatabaseroles, staticdatabasesecrets | get, list, watch, patch | reading; patch sets the finalizer |
//! | lessor.dev | the same with `/status` | patch | status |
//! | lessor.dev | the same with `/finalizers` | update | owner references where OwnerReferencesPermissionEnforcement is on |
//! | (core) | pods | get, list, watch | injected pods; pods that use a Secret |
//! | apps | deployments, statefulsets, daemonsets | get, list, patch | restarts; list for targets by label |
//! | apps | replicasets | get | whose pods they are, for `restart.auto` |
//! | argoproj.io, or what `operator.restartKinds` of the chart names | rollouts | get, list, patch | restarts |
//! | events.k8s.io | events | create, patch | events |
//! | (core) | namespaces | list, watch | `namespaceSelector`; cluster-wide only |
//! | rbac.authorization.k8s.io | rolebindings, clusterroles | create, patch, delete; bind: one name only | the next table's rights (`access.rs`); cluster-wide only |
//!
//! By a RoleBinding in each namespace that has objects of its kinds, which it makes itself where it works cluster-wide:
//!
//! | group | resources | verbs | for |
//! |---|---|---|---|
//! | (core) | secrets | get, create, patch | admin accounts, destinations |
//! | (core) | configmaps | get | CA certificates of other engines |
//! | (core) | secrets | list, watch | metadata of those with its label (`owned.rs`) |
//! | (core) | serviceaccounts/token | create | logging in as a tenant, audience `lessor` or what a CredentialEngine names |
//!
//! In its own namespace: coordination.k8s.io leases (get, create, update) for leader election; configmaps (list, create,
//! delete) for clean-ups that have to wait (`leftovers.rs`); secrets (create; get and patch of sixteen names) for logins at other
//! engines (`external/ledger.rs`).
//!
//! # What it may do at the engine
//!
//! Its policy (`engine/bootstrap.rs` writes it): all on `database/config/*`, `database/roles/*`, `database/static-roles/*`,
//! `auth/kubernetes/role/*`, `sys/policies/acl/lessor-role-*` and `sys/policies/password/lessor-role-*`; update
//! `database/rotate-role/*`; `sys/lessor/*`; list `sys/leases/lookup/database/creds/*` and update
//! `sys/leases/revoke-prefix/database/creds/*`, for deletions. Credentials are asked for with tenants' tokens only.

mod access;
mod allow;
mod configuration;
mod connection;
mod context;
mod drift;
mod dynamic;
mod error;
mod events;
mod external;
mod fence;
mod finalizer;
mod health;
mod kind;
mod latest;
mod leader;
mod leases;
mod leftovers;
mod login_role;
mod metrics;
mod options;
mod owned;
mod parts;
mod progress;
mod requests;
mod role;
mod rollout;
mod same_name;
mod secrets;
mod service_account;
mod session;
mod slots;
mod static_role;
mod static_secret;
mod surplus;
mod tenant;
mod watched;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;

use crate::api::engine::EngineRef;
use crate::api::role::Allowed;
use crate::api::{CredentialEngine, DatabaseConnection, DatabaseRole, StaticDatabaseRole};
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Random, telemetry};
use context::{Context, Kinds};
use external::place::EngineName;
use kind::namespace_of;
use leader::Candidate;
pub use options::{Election, Options, RunError, TenantRole};
use owned::OwnedSecrets;
use parts::Parts;
use watched::Watched;

/// Runs until the stop is requested: finishes what it is at, and begins nothing new.
///
/// # Errors
/// See [`RunError`].
pub async fn run(
    options: Options,
    kube: kube::Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let namespaces = options.namespaces.clone();
    let (connections, connection_feeds) = Watched::new(&namespaces);
    let (roles, role_feeds) = Watched::new(&namespaces);
    let (secrets, secret_feeds) = Watched::new(&namespaces);
    let (static_roles, static_role_feeds) = Watched::new(&namespaces);
    let (static_secrets, static_secret_feeds) = Watched::new(&namespaces);
    let (engines, engine_feeds) = Watched::new(&namespaces);
    let (namespace_store, namespace_writer) = reflector::store();
    let (ended, ends) = mpsc::unbounded_channel();
    let (owned, followed) = OwnedSecrets::new();
    let (listen, election) = (options.listen, options.election.clone());
    let kinds = Kinds { connections, roles, secrets, static_roles, static_secrets, engines };
    let (mut context, publishing) =
        Context::new(options, kube.clone(), clock.clone(), random.clone(), kinds, ended, owned)?;
    context.namespaces = namespaces.is_empty().then_some(namespace_store);
    let context = Arc::new(context);
    // A replica that only waits is as ready as it can be.
    let ready = Arc::new(AtomicBool::new(election.is_some()));
    let mut parts = Parts::new(context.clone(), shutdown.clone());
    let probes = health::serve(listen, context.clone(), ready.clone(), shutdown.clone());
    parts.spawn(async move { probes.await.map_err(|source| RunError::Listen { address: listen, source }) });
    let mut leading = None;
    if let Some(election) = election {
        let mut candidate = Candidate::new(kube, election, context.fence.clone(), clock, random);
        tokio::select! {
            () = candidate.win() => {}
            () = shutdown.requested() => return parts.wait(None).await,
        }
        ready.store(false, Ordering::Relaxed);
        leading = Some(candidate);
    }
    context.metrics.leading.store(true, Ordering::Relaxed);
    parts.last(|end| publishing.run(context.clone(), end));
    if namespaces.is_empty() {
        parts.forever("the watch of namespaces", watch_namespaces(context.clone(), namespace_writer));
    }
    parts.kind(connection_feeds, &context.connections, wake_roles);
    parts.kind(role_feeds, &context.roles, wake_secrets);
    parts.kind(secret_feeds, &context.secrets, |_, _| {});
    parts.kind(static_role_feeds, &context.static_roles, wake_static_secrets);
    parts.kind(static_secret_feeds, &context.static_secrets, |_, _| {});
    parts.kind(engine_feeds, &context.engines, wake_users);
    parts.forever("the watch of rotations", static_role::watch_rotations(context.clone()));
    parts.forever("the watch of workloads", workloads::run(context.clone(), namespaces.clone(), ends));
    parts.forever("the watch of other engines", external::watch::run(context.clone(), namespaces));
    parts.forever("the watch of owned Secrets", owned::run(context.clone(), followed));
    parts.forever("the clean-up of deleted objects", leftovers::run(context.clone()));
    parts.begin(ready);
    parts.wait(leading).await
}

/// A connection that became usable, or ceased to be, matters to its roles.
fn wake_roles(context: &Context, connection: &DatabaseConnection) {
    let (namespace, name) = (namespace_of(connection), connection.name_any());
    context.roles.wake(|role| namespace_of(role) == namespace && role.spec.connection_ref.name == name);
    context.static_roles.wake(|role| namespace_of(role) == namespace && role.spec.connection_ref.name == name);
}

/// A role that became usable, or changed its longest life, matters to the Secrets that use it.
fn wake_secrets(context: &Context, role: &DatabaseRole) {
    let (namespace, name) = (namespace_of(role), role.name_any());
    context.secrets.wake(|secret| {
        secret.spec.role_ref.as_ref().is_some_and(|reference| {
            reference.name == name && reference.namespace.clone().unwrap_or_else(|| namespace_of(secret)) == namespace
        })
    });
}

/// A static role whose password has changed matters to the Secrets that hold it.
fn wake_static_secrets(context: &Context, role: &StaticDatabaseRole) {
    let (namespace, name) = (namespace_of(role), role.name_any());
    context.static_secrets.wake(|secret| {
        secret.spec.role_ref.as_ref().is_some_and(|reference| {
            reference.name == name && reference.namespace.clone().unwrap_or_else(|| namespace_of(secret)) == namespace
        })
    });
}

/// An engine that became usable, or whom it allows, matters to the Secrets that use it.
fn wake_users(context: &Context, engine: &CredentialEngine) {
    let name = EngineName::of(engine);
    let uses = |reference: Option<&EngineRef>, own: String| {
        reference.is_some_and(|reference| EngineName::referred(reference, &own) == name)
    };
    context.secrets.wake(|secret| uses(secret.spec.engine_ref.as_ref(), namespace_of(secret)));
    context.static_secrets.wake(|secret| uses(secret.spec.engine_ref.as_ref(), namespace_of(secret)));
}

/// Keeps the labels of all namespaces; a change of labels may change whom a role allows.
async fn watch_namespaces(context: Arc<Context>, writer: Writer<PartialObjectMeta<Namespace>>) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.kube.clone());
    let changes = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|namespace| {
            namespace.managed_fields_mut().clear();
            namespace.annotations_mut().clear();
        })
        .reflect(writer)
        .touched_objects()
        .predicate_filter(predicates::labels, PredicateConfig::default());
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(_) => {
                let by_label = |allow: &[Allowed]| allow.iter().any(|allowed| allowed.namespace_selector.is_some());
                context.roles.wake(|role| by_label(&role.spec.allow));
                context.static_roles.wake(|role| by_label(&role.spec.allow));
            }
            Err(error) => tracing::warn!(error = %telemetry::chain(&error), "watch of namespaces interrupted"),
        }
    }
}
