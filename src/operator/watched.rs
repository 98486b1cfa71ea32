//! The objects of one kind as the cluster has them now, and the queues that wake their reconciler.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::base::telemetry;

/// How many objects a list brings at once: the largest answer is what a start costs in memory.
pub const PAGE: u32 = 100;
/// What `kubectl apply` notes: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a custom resource must be to be watched.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// One namespace (or all of them) of one kind.
struct Scope<K: Object> {
    namespace: Option<String>,
    store: Store<K>,
    queue: mpsc::UnboundedSender<ObjectRef<K>>,
}

/// Every watched object of one kind. Cheap to clone.
pub struct Watched<K: Object>(Arc<Vec<Scope<K>>>);

impl<K: Object> Clone for Watched<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What a scope's tasks need: where the watch writes, and what its reconciler reads.
pub struct Feed<K: Object>
where
    K::DynamicType: Hash + Eq,
{
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    /// Filled by [`Feed::watch`].
    pub writer: reflector::store::Writer<K>,
    /// Objects to reconcile.
    pub requests: mpsc::UnboundedReceiver<ObjectRef<K>>,
}

impl<K: Object> Watched<K> {
    /// One scope for each namespace; one for all of them when none is named.
    pub fn new(namespaces: &[String]) -> (Self, Vec<Feed<K>>) {
        let names: Vec<Option<String>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let mut scopes = Vec::new();
        let mut feeds = Vec::new();
        for namespace in names {
            let (store, writer) = reflector::store();
            let (queue, requests) = mpsc::unbounded_channel();
            feeds.push(Feed { namespace: namespace.clone(), writer, requests });
            scopes.push(Scope { namespace, store, queue });
        }
        (Self(Arc::new(scopes)), feeds)
    }

    fn scope(&self, namespace: &str) -> Option<&Scope<K>> {
        self.0.iter().find(|scope| scope.namespace.as_deref().is_none_or(|own| own == namespace))
    }

    /// The store of one scope.
    pub fn store(&self, namespace: Option<&str>) -> Option<Store<K>> {
        self.0.iter().find(|scope| scope.namespace.as_deref() == namespace).map(|scope| scope.store.clone())
    }

    /// The object of that name, if it is watched and exists.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.scope(namespace)?.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects, as they are now.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.0.iter().flat_map(|scope| scope.store.state()).collect()
    }

    /// Asks for a reconcile of every object that `concerned` picks.
    pub fn wake(&self, mut concerned: impl FnMut(&K) -> bool) {
        for scope in self.0.iter() {
            for object in scope.store.state() {
                if concerned(&object) {
                    // A closed queue means that the operator is stopping.
                    let _ = scope.queue.send(ObjectRef::from_obj(&*object));
                }
            }
        }
    }

    /// Asks for a reconcile of one object, if it exists.
    pub fn wake_one(&self, namespace: &str, name: &str) {
        let reference = ObjectRef::new(name).within(namespace);
        if let Some(scope) = self.scope(namespace).filter(|scope| scope.store.get(&reference).is_some()) {
            let _ = scope.queue.send(reference);
        }
    }

    /// Whether a namespace has an object of this kind that is to stay, other than the one with the UID `except`.
    pub fn any_in(&self, namespace: &str, except: &str) -> bool {
        let others = |object: &Arc<K>| {
            object.meta().deletion_timestamp.is_none()
                && object.namespace().as_deref() == Some(namespace)
                && object.uid().as_deref() != Some(except)
        };
        self.scope(namespace).is_some_and(|scope| scope.store.state().iter().any(others))
    }

    /// Returns once every scope was listed completely.
    pub async fn ready(&self) {
        for scope in self.0.iter() {
            if scope.store.wait_until_ready().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Watches one scope for ever: keeps its store, asks for a reconcile when spec or deletion of an object changed, and
    /// shows every change to `seen`.
    pub async fn watch(
        self,
        kube: kube::Client,
        namespace: Option<String>,
        writer: reflector::store::Writer<K>,
        seen: impl Fn(&K) + Send,
    ) {
        let Some(scope) = self.0.iter().find(|scope| scope.namespace == namespace) else { return };
        let api: Api<K> = match &namespace {
            Some(namespace) => Api::namespaced(kube, namespace),
            None => Api::all(kube),
        };
        // The operator's own status writes change no generation, so they do not wake it again.
        let changes = watcher(api, watcher::Config::default().page_size(PAGE))
            .default_backoff()
            .modify(|object| {
                object.managed_fields_mut().clear();
                object.annotations_mut().remove(LAST_APPLIED);
            })
            .reflect(writer)
            .touched_objects()
            .inspect_ok(|object| seen(object))
            .predicate_filter(predicates::generation, PredicateConfig::default());
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            match change {
                Ok(object) => {
                    let _ = scope.queue.send(ObjectRef::from_obj(&object));
                }
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), error = %telemetry::chain(&error), "watch interrupted");
                }
            }
        }
    }
}

/// A queue as the stream that kube's applier reads.
pub fn requests<K: Object>(
    receiver: mpsc::UnboundedReceiver<ObjectRef<K>>,
) -> impl Stream<Item = Result<ObjectRef<K>, std::convert::Infallible>> {
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|object| (Ok(object), receiver)) })
}
