//! The Secrets that the operator has written, followed by their label: one that somebody edits or deletes wakes its object.
//!
//! Only metadata is asked for, only of Secrets that carry the operator's label, and only in namespaces that have objects of
//! Lessor's kinds. The operator's own writes come back as changes, too; they are known by their resourceVersion and wake nobody.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::mpsc;

use super::context::Context;
use super::watched::PAGE;
use crate::api::names::{GROUP, MANAGED_BY, MANAGER};
use crate::api::{DynamicDatabaseSecret, StaticDatabaseSecret};
use crate::base::telemetry;

/// What reconcilers tell of the Secrets that they write, and which namespaces are followed.
pub struct OwnedSecrets {
    asked: mpsc::UnboundedSender<String>,
    /// By namespace; `true` while nothing can be missed there.
    followed: Mutex<HashMap<String, bool>>,
    known: Mutex<HashMap<(String, String), Known>>,
}

/// What is known of one Secret's versions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    /// Who has read or written it.
    owner: Option<Owner>,
    /// As it was last read or written by its reconciler.
    version: Option<String>,
    /// Writes under way: what the watch shows meanwhile may be their result.
    writing: bool,
    /// What the watch showed last while a write was under way.
    held_back: Option<String>,
}

impl Known {
    /// Takes in what the watch shows; whether it is news.
    fn shown(&mut self, version: String) -> bool {
        if self.writing {
            self.held_back = Some(version);
            return false;
        }
        self.version.as_ref() != Some(&version)
    }

    /// Takes in that a listing does not show it; whose it was, if that is news.
    fn unlisted(&mut self) -> Option<Owner> {
        // What is just being written may be there by now; its reconciler looks when the write has ended.
        self.shown(String::new()).then(|| self.version.as_ref().and(self.owner.clone())).flatten()
    }

    /// Ends a write with what it made, if it did; whether the watch showed something else meanwhile.
    fn written(&mut self, version: Option<String>) -> bool {
        self.writing = false;
        let missed = self.held_back.take();
        if version.is_some() {
            self.version = version;
        }
        missed.is_some_and(|missed| self.version.as_ref() != Some(&missed))
    }
}

impl OwnedSecrets {
    /// Follows nothing yet. The other side of the channel goes to [`run`].
    pub fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (asked, requests) = mpsc::unbounded_channel();
        (Self { asked, followed: Mutex::default(), known: Mutex::default() }, requests)
    }

    /// Follows the Secrets of a namespace from now on.
    pub fn follow(&self, namespace: &str) {
        let mut followed = lock(&self.followed);
        if !followed.contains_key(namespace) {
            followed.insert(namespace.to_owned(), false);
            // A closed channel means that the operator is stopping.
            let _ = self.asked.send(namespace.to_owned());
        }
    }

    /// Whether every change of an owned Secret of that namespace is noticed now.
    pub fn is_watching(&self, namespace: &str) -> bool {
        lock(&self.followed).get(namespace).copied().unwrap_or(false)
    }

    /// Notes the version that a reconciler has just read.
    pub fn read(&self, namespace: &str, name: &str, owner: &Owner, version: Option<String>) {
        self.with(namespace, name, |known| {
            known.owner = Some(owner.clone());
            known.version = version;
        });
    }

    /// Notes that a write begins.
    pub fn writing(&self, namespace: &str, name: &str, owner: &Owner) {
        self.with(namespace, name, |known| {
            known.owner = Some(owner.clone());
            known.writing = true;
        });
    }

    /// Notes how a write ended: the version that it made, if it got through. Returns whether somebody else has changed the
    /// Secret meanwhile.
    pub fn written(&self, namespace: &str, name: &str, version: Option<String>) -> bool {
        self.with(namespace, name, |known| known.written(version))
    }

    /// Secrets that reconcilers know and a complete listing of their namespace does not show: they went before the watch began.
    fn missing(&self, namespace: &str, listed: &HashSet<String>) -> Vec<Change> {
        let mut known = lock(&self.known);
        let unseen = known.iter_mut().filter(|((of, name), _)| of == namespace && !listed.contains(name));
        unseen
            .filter_map(|((_, name), known)| known.unlisted().map(|owner| Change::Gone { name: name.clone(), owner }))
            .collect()
    }

    fn shown(&self, namespace: &str, name: &str, version: Option<String>) -> bool {
        self.with(namespace, name, |known| known.shown(version.unwrap_or_default()))
    }

    fn with<T>(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Known) -> T) -> T {
        change(lock(&self.known).entry((namespace.to_owned(), name.to_owned())).or_default())
    }

    fn forget(&self, namespace: &str, name: &str) {
        lock(&self.known).remove(&(namespace.to_owned(), name.to_owned()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The object that a Secret belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its name, in the Secret's namespace.
    pub name: String,
}

impl Owner {
    /// Asks for a reconcile of it.
    pub fn wake(&self, context: &Context, namespace: &str) {
        if self.kind == DynamicDatabaseSecret::kind(&()) {
            context.secrets.wake_one(namespace, &self.name);
        } else if self.kind == StaticDatabaseSecret::kind(&()) {
            context.static_secrets.wake_one(namespace, &self.name);
        }
    }
}

fn owner_of(secret: &PartialObjectMeta<KubeSecret>) -> Option<Owner> {
    let ours = |reference: &&_| -> bool {
        let reference: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference = reference;
        reference.controller == Some(true) && reference.api_version.split('/').next() == Some(GROUP)
    };
    let reference = secret.owner_references().iter().find(ours)?;
    Some(Owner { kind: reference.kind.clone(), name: reference.name.clone() })
}

/// A change that concerns an owner, or the absence of a Secret that was there.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The Secret is of that version now.
    Shown { name: String, version: Option<String>, owner: Owner },
    /// The Secret is gone, or carries the label no more.
    Gone { name: String, owner: Owner },
}

/// The owned Secrets of one namespace, as its watch has shown them.
#[derive(Debug, Default)]
struct Tracker {
    owners: HashMap<String, Owner>,
    /// What a new listing has brought so far.
    listed: HashSet<String>,
}

impl Tracker {
    /// Takes an event in and returns what it means.
    fn observe(&mut self, event: watcher::Event<PartialObjectMeta<KubeSecret>>) -> Vec<Change> {
        match event {
            watcher::Event::Apply(secret) => self.shown(&secret).into_iter().collect(),
            watcher::Event::InitApply(secret) => {
                self.listed.insert(secret.name_any());
                self.shown(&secret).into_iter().collect()
            }
            watcher::Event::Delete(secret) => self.gone(&secret.name_any()).into_iter().collect(),
            watcher::Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            watcher::Event::InitDone => {
                let missed = self.owners.keys().filter(|name| !self.listed.contains(*name)).cloned();
                let missed: Vec<String> = missed.collect();
                missed.iter().filter_map(|name| self.gone(name)).collect()
            }
        }
    }

    fn shown(&mut self, secret: &PartialObjectMeta<KubeSecret>) -> Option<Change> {
        let name = secret.name_any();
        // Somebody may have taken the reference away; it is still the Secret of whom it was of.
        let owner = owner_of(secret).or_else(|| self.owners.get(&name).cloned())?;
        self.owners.insert(name.clone(), owner.clone());
        Some(Change::Shown { name, version: secret.resource_version(), owner })
    }

    fn gone(&mut self, name: &str) -> Option<Change> {
        self.owners.remove(name).map(|owner| Change::Gone { name: name.to_owned(), owner })
    }
}

/// Watches the namespaces that reconcilers ask for, for ever.
pub async fn run(context: Arc<Context>, mut requests: mpsc::UnboundedReceiver<String>) {
    let mut watches = FuturesUnordered::new();
    loop {
        tokio::select! {
            namespace = requests.recv() => match namespace {
                Some(namespace) => watches.push(watch(context.clone(), namespace).boxed()),
                None => return,
            },
            Some(namespace) = watches.next() => {
                lock(&context.owned.followed).remove(&namespace);
                lock(&context.owned.known).retain(|(of, _), _| *of != namespace);
            }
        }
    }
}

/// Watches one namespace until nobody there needs it any more; returns its name.
async fn watch(context: Arc<Context>, namespace: String) -> String {
    let api: Api<PartialObjectMeta<KubeSecret>> = Api::namespaced(context.kube.clone(), &namespace);
    let selected = watcher::Config::default().page_size(PAGE).labels(&format!("{MANAGED_BY}={MANAGER}"));
    let mut events = watcher(api, selected).default_backoff().boxed();
    let mut tracker = Tracker::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let complete = matches!(event, watcher::Event::InitDone);
                let mut changes = tracker.observe(event);
                if complete {
                    // Whoever ends a turn from now on relies on the watch, so what went unseen before must be told now.
                    lock(&context.owned.followed).insert(namespace.clone(), true);
                    changes.extend(context.owned.missing(&namespace, &tracker.listed));
                }
                for change in changes {
                    take(&context, &namespace, change);
                }
            }
            Err(_) if !context.is_used(&namespace, "") => break,
            Err(error) => {
                lock(&context.owned.followed).insert(namespace.clone(), false);
                tracing::warn!(namespace, error = %telemetry::chain(&error), "watch of owned Secrets interrupted");
            }
        }
    }
    namespace
}

fn take(context: &Context, namespace: &str, change: Change) {
    let owner = match change {
        Change::Shown { name, version, owner } => {
            if !context.owned.shown(namespace, &name, version) {
                return;
            }
            owner
        }
        Change::Gone { name, owner } => {
            context.owned.forget(namespace, &name);
            owner
        }
    };
    owner.wake(context, namespace);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(name: &str, version: &str, owner: Option<&str>) -> PartialObjectMeta<KubeSecret> {
        let references = owner.map(|owner| {
            json!([{ "apiVersion": "lessor.dev/v1alpha1", "kind": "DynamicDatabaseSecret", "name": owner, "uid": "u",
                "controller": true }])
        });
        serde_json::from_value(json!({ "metadata": {
            "name": name, "resourceVersion": version, "ownerReferences": references,
        } }))
        .unwrap()
    }

    fn owner(name: &str) -> Owner {
        Owner { kind: "DynamicDatabaseSecret".into(), name: name.into() }
    }

    #[test]
    fn ones_own_writes_are_no_news_however_early_the_watch_shows_them() {
        let mut known = Known::default();
        assert!(known.shown("1".into()), "what nobody has looked at yet");
        known.version = Some("1".into());
        assert!(!known.shown("1".into()));
        known.writing = true;
        assert!(!known.shown("2".into()));
        assert!(!known.written(Some("2".into())), "shown before the write was answered");
        assert!(!known.shown("2".into()), "shown again");
        known.writing = true;
        assert!(!known.shown("3".into()) && !known.shown("4".into()));
        assert!(known.written(Some("3".into())), "somebody came right after");
        known.writing = true;
        assert!(!known.written(None), "a write that failed, and nothing happened");
        assert!(known.shown("5".into()), "somebody's edit");
    }

    #[test]
    fn a_new_listing_tells_which_secrets_went_unseen() {
        let mut tracker = Tracker::default();
        tracker.observe(watcher::Event::Init);
        for name in ["a", "b"] {
            tracker.observe(watcher::Event::InitApply(secret(name, "1", Some(name))));
        }
        assert!(tracker.observe(watcher::Event::InitDone).is_empty());
        tracker.observe(watcher::Event::Init);
        tracker.observe(watcher::Event::InitApply(secret("b", "1", Some("b"))));
        assert_eq!(tracker.observe(watcher::Event::InitDone), [Change::Gone { name: "a".into(), owner: owner("a") }]);
        assert_eq!(
            tracker.observe(watcher::Event::Delete(secret("b", "2", None))),
            [Change::Gone { name: "b".into(), owner: owner("b") }]
        );
    }

    #[test]
    fn a_secret_that_went_before_the_watch_began_is_told_of() {
        let (owned, _requests) = OwnedSecrets::new();
        for (namespace, name) in [("shop", "gone"), ("shop", "there"), ("shop", "never"), ("other", "gone")] {
            owned.read(namespace, name, &owner(name), (name != "never").then(|| "1".to_owned()));
        }
        let gone = [Change::Gone { name: "gone".into(), owner: owner("gone") }];
        assert_eq!(owned.missing("shop", &HashSet::from(["there".to_owned()])), gone);
    }

    #[test]
    fn a_secret_that_a_listing_misses_while_it_is_written_is_looked_at_after_that() {
        let (owned, _requests) = OwnedSecrets::new();
        owned.writing("shop", "db", &owner("db"));
        assert_eq!(owned.missing("shop", &HashSet::new()), []);
        assert!(owned.written("shop", "db", Some("1".into())));
    }

    #[test]
    fn a_secret_without_its_reference_is_still_its_owners() {
        let mut tracker = Tracker::default();
        assert!(tracker.observe(watcher::Event::Apply(secret("x", "1", None))).is_empty(), "never ours");
        tracker.observe(watcher::Event::Apply(secret("db", "1", Some("app"))));
        assert_eq!(
            tracker.observe(watcher::Event::Apply(secret("db", "2", None))),
            [Change::Shown { name: "db".into(), version: Some("2".into()), owner: owner("app") }]
        );
    }
}
