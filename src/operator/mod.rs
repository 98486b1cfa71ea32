//! The operator: Lessor's kinds into engine configuration and Kubernetes Secrets, and the end of workloads to the engine.
//!
//! | file | what it does |
//! |---|---|
//! | `kind.rs` | what reconciling has in common: finalizer, conditions, events, retries, a deletion that ends |
//! | `connection.rs`, `role.rs` (`allow.rs`) | DatabaseConnection and DatabaseRole into the engine |
//! | `dynamic/` | DynamicDatabaseSecret: credential, Secret, renewal, rotation, restart |
//! | `workloads.rs` | pods and objects that are gone, to the engine |
//! | `session.rs`, `tenant.rs` | logins at the engine: the operator's own, and those of tenants |
//! | `leader.rs` | of several replicas, the one that works |
//! | `watched.rs` | the objects of a kind, and the queue of its reconciler |
//!
//! # What it may do in the cluster
//!
//! Cluster-wide, or by a Role in each watched namespace (all but the last row):
//!
//! | group | resources | verbs | for |
//! |---|---|---|---|
//! | lessor.dev | databaseconnections, databaseroles, dynamicdatabasesecrets | get, list, watch, patch | reading; patch sets the finalizer |
//! | lessor.dev | the same with `/status` | patch | status |
//! | lessor.dev | the same with `/finalizers` | update | owner references where OwnerReferencesPermissionEnforcement is on |
//! | (core) | secrets | get, create, patch | admin accounts, destinations. No list and no watch: it reads what is named |
//! | (core) | serviceaccounts/token | create | logging in as a tenant, audience `lessor` |
//! | (core) | pods | get, list, watch | injected pods; old pods of a restart |
//! | apps | deployments, statefulsets, daemonsets | get, patch | restarts |
//! | events.k8s.io | events | create, patch | events |
//! | coordination.k8s.io | leases | get, create, update | leader election, in the operator's own namespace only |
//! | (core) | namespaces | list, watch | `namespaceSelector`; cluster-wide mode only |
//!
//! # What it may do at the engine
//!
//! Its policy (`engine/bootstrap.rs` writes it): all on `database/config/*`, `database/roles/*`, `auth/kubernetes/role/*` and
//! `sys/policies/acl/lessor-role-*`; `sys/lessor/*`; list `sys/leases/lookup/database/creds/*` and update
//! `sys/leases/revoke-prefix/database/creds/*`, for deletions. Credentials are asked for with tenants' tokens only.

mod allow;
mod connection;
mod context;
mod drift;
mod dynamic;
mod error;
mod health;
mod kind;
mod leader;
mod leases;
mod metrics;
mod options;
mod role;
mod session;
mod tenant;
mod watched;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Config as ControllerConfig, applier};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, ResourceExt};
use tokio::task::JoinSet;

use crate::api::names::MANAGER;
use crate::api::{DatabaseConnection, DatabaseRole, DynamicDatabaseSecret};
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Random, telemetry};
use crate::client::Client;
use context::Context;
use kind::{Kind, namespace_of};
use leader::Candidate;
pub use options::{Election, Options, RunError};
use watched::{Feed, Watched};

/// How many objects of one kind are reconciled at the same time.
const CONCURRENCY: u16 = 32;

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
    let (namespace_store, namespace_writer) = reflector::store();
    let (listen, election) = (options.listen, options.election.clone());
    let context = Arc::new(Context {
        namespaces: namespaces.is_empty().then_some(namespace_store),
        ..context(options, kube.clone(), clock.clone(), random.clone(), Kinds { connections, roles, secrets })?
    });
    // A replica that only waits is as ready as it can be.
    let ready = Arc::new(AtomicBool::new(election.is_some()));
    let mut parts = Parts { context: context.clone(), shutdown: shutdown.clone(), tasks: JoinSet::new() };
    let probes = health::serve(listen, context.clone(), ready.clone(), shutdown.clone());
    parts.tasks.spawn(async move { probes.await.map_err(|source| RunError::Listen { address: listen, source }) });
    let mut leading = None;
    if let Some(election) = election {
        let mut candidate = Candidate::new(kube, election, clock, random);
        tokio::select! {
            () = candidate.win() => {}
            () = shutdown.requested() => return parts.wait(None).await,
        }
        ready.store(false, Ordering::Relaxed);
        leading = Some(candidate);
    }
    if namespaces.is_empty() {
        parts.forever("the watch of namespaces", watch_namespaces(context.clone(), namespace_writer));
    }
    parts.kind(connection_feeds, &context.connections, wake_roles);
    parts.kind(role_feeds, &context.roles, wake_secrets);
    parts.kind(secret_feeds, &context.secrets, |_, _| {});
    parts.forever("the watch of workloads", workloads::run(context.clone(), namespaces));
    parts.tasks.spawn(async move {
        tokio::select! {
            () = listed(&context) => {
                ready.store(true, Ordering::Relaxed);
                tracing::info!("operator ready");
            }
            () = shutdown.requested() => {}
        }
        Ok(())
    });
    parts.wait(leading).await
}

/// The watched objects of all kinds.
struct Kinds {
    connections: Watched<DatabaseConnection>,
    roles: Watched<DatabaseRole>,
    secrets: Watched<DynamicDatabaseSecret>,
}

fn context(
    options: Options,
    kube: kube::Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    kinds: Kinds,
) -> Result<Context, RunError> {
    let engine = Client::new(options.engine, clock.clone(), random.clone()).map_err(RunError::Engine)?;
    let login = session::LoginOptions {
        mount: options.auth_mount.clone(),
        role: options.login_role,
        token_file: options.token_file,
    };
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(options.identity) };
    Ok(Context {
        session: session::Session::new(engine.clone(), login, clock.clone()),
        tenants: tenant::Tenants::new(
            kube.clone(),
            engine,
            options.auth_mount.clone(),
            options.audience.clone(),
            clock.clone(),
        ),
        database_mount: options.database_mount.trim_matches('/').to_owned(),
        auth_mount: options.auth_mount,
        audience: options.audience,
        metrics: Arc::default(),
        connections: kinds.connections,
        roles: kinds.roles,
        secrets: kinds.secrets,
        namespaces: None,
        recorder: Recorder::new(kube.clone(), reporter),
        failures: context::Failures::default(),
        kube,
        clock,
        random,
    })
}

/// Returns once everything that reconcilers look up was listed: before that, what is absent may only be unknown.
async fn listed(context: &Context) {
    context.connections.ready().await;
    context.roles.ready().await;
    context.secrets.ready().await;
    if let Some(namespaces) = &context.namespaces
        && namespaces.wait_until_ready().await.is_err()
    {
        std::future::pending::<()>().await;
    }
}

/// The tasks of a running operator.
struct Parts {
    context: Arc<Context>,
    shutdown: Shutdown,
    tasks: JoinSet<Result<(), RunError>>,
}

impl Parts {
    /// Runs a part until the stop is requested; if it ends before, the operator fails.
    fn forever(&mut self, name: &str, part: impl Future<Output = ()> + Send + 'static) {
        let (name, shutdown) = (name.to_owned(), self.shutdown.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = part => if shutdown.is_requested() { Ok(()) } else { Err(RunError::PartEnded(name)) },
                () = shutdown.requested() => Ok(()),
            }
        });
    }

    /// Watches and reconciles one kind, in each of its scopes. `seen` is shown every change.
    fn kind<K: Kind>(&mut self, feeds: Vec<Feed<K>>, watched: &Watched<K>, seen: fn(&Context, &K)) {
        for Feed { namespace, writer, requests } in feeds {
            let context = self.context.clone();
            let watch = watched.clone().watch(context.kube.clone(), namespace.clone(), writer, move |object| {
                seen(&context, object);
            });
            self.forever(&format!("the watch of {}", K::kind(&())), watch);
            let Some(store) = watched.store(namespace.as_deref()) else { continue };
            let (context, shutdown) = (self.context.clone(), self.shutdown.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = listed(&context) => {}
                    () = shutdown.requested() => return Ok(()),
                }
                let stop = shutdown.clone();
                let queue = watched::requests(requests).take_until(Box::pin(async move { stop.requested().await }));
                let config = ControllerConfig::default().concurrency(CONCURRENCY);
                let reconcile = |object, context| Box::pin(kind::reconcile::<K>(object, context));
                // Failures were logged by the error policy; an object that is gone meanwhile needs nothing.
                applier(reconcile, kind::on_error::<K>, context, store, queue, config).for_each(|_| async {}).await;
                let name = format!("the reconciler of {}", K::kind(&()));
                if shutdown.is_requested() { Ok(()) } else { Err(RunError::PartEnded(name)) }
            });
        }
    }

    /// Returns when every part has stopped after a request, or with the first that fails. The leadership is kept until the
    /// last part has stopped, and given back then.
    async fn wait(mut self, mut leading: Option<Candidate>) -> Result<(), RunError> {
        {
            let mut kept = std::pin::pin!(async {
                match &mut leading {
                    Some(candidate) => candidate.keep().await,
                    None => std::future::pending().await,
                }
            });
            loop {
                let ended = tokio::select! {
                    ended = self.tasks.join_next() => ended,
                    () = &mut kept => return Err(RunError::PartEnded("the leadership".to_owned())),
                };
                match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) if !self.shutdown.is_requested() => return Err(error),
                    Some(Ok(Err(error))) => tracing::warn!(error = %telemetry::chain(&error), "stopping"),
                    Some(Err(error)) => return Err(RunError::PartEnded(format!("a part ({error})"))),
                }
            }
        }
        if let Some(candidate) = leading {
            candidate.resign().await;
        }
        Ok(())
    }
}

/// A connection that became usable, or ceased to be, matters to its roles.
fn wake_roles(context: &Context, connection: &DatabaseConnection) {
    let (namespace, name) = (namespace_of(connection), connection.name_any());
    context.roles.wake(|role| namespace_of(role) == namespace && role.spec.connection_ref.name == name);
}

/// A role that became usable, or changed its longest life, matters to the Secrets that use it.
fn wake_secrets(context: &Context, role: &DatabaseRole) {
    let (namespace, name) = (namespace_of(role), role.name_any());
    context.secrets.wake(|secret| {
        let reference = &secret.spec.role_ref;
        reference.name == name && reference.namespace.clone().unwrap_or_else(|| namespace_of(secret)) == namespace
    });
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
                let by_label =
                    |role: &DatabaseRole| role.spec.allow.iter().any(|allowed| allowed.namespace_selector.is_some());
                context.roles.wake(by_label);
            }
            Err(error) => tracing::warn!(error = %telemetry::chain(&error), "watch of namespaces interrupted"),
        }
    }
}
