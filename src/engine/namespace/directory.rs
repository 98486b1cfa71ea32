//! Which namespaces there are, by path, and which one a request or a token means.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use super::{Record, id_in};
use crate::base::Secret;
use crate::base::shutdown::Trigger;
use crate::engine::core::Core;
use crate::engine::request::Incoming;
use crate::storage::View;
use crate::wire::{Error, Kind};

/// How tokens begin: the dot in it is no mark of a namespace.
const TOKEN_PREFIXES: &[&str] = &["s.", "b.", "hvs.", "hvb."];

/// What may be asked of a locked namespace.
const UNLOCK: &str = "sys/namespaces/api-lock/unlock";

type Spaces = BTreeMap<String, Arc<Space>>;

/// A namespace that is there.
pub struct Space {
    /// As stored.
    pub record: Record,
    /// What answers in it.
    pub core: Arc<Core>,
    /// Ends its background work.
    pub(super) stop: Trigger,
}

/// All namespaces but root.
pub struct Directory {
    pub(super) records: View,
    spaces: RwLock<Arc<Spaces>>,
    root: OnceLock<Weak<Core>>,
    /// Held by whoever makes or changes one, or makes sure that there is none.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl Directory {
    /// An empty directory over the records in `records`.
    pub fn new(records: View) -> Self {
        Self { records, spaces: RwLock::default(), root: OnceLock::new(), changing: Default::default() }
    }

    /// Says what answers in root.
    pub(super) fn set_root(&self, core: &Arc<Core>) {
        // There is one root for each directory: nobody has set it before.
        let _ = self.root.set(Arc::downgrade(core));
    }

    fn snapshot(&self) -> Arc<Spaces> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, apply: impl FnOnce(&mut Spaces)) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Spaces::clone(&spaces);
        apply(&mut next);
        *spaces = Arc::new(next);
    }

    /// The namespace at exactly `path` (`team/sub/`).
    pub fn get(&self, path: &str) -> Option<Arc<Space>> {
        self.snapshot().get(path).cloned()
    }

    /// All of them below `path`, which is empty for root, in the order of their paths.
    pub fn below(&self, path: &str) -> Vec<Arc<Space>> {
        let spaces = self.snapshot();
        spaces
            .values()
            .filter(|space| space.record.path != path && space.record.path.starts_with(path))
            .cloned()
            .collect()
    }

    /// Forgets all of them, so that nothing keeps the keys of a sealed engine alive.
    pub fn clear(&self) {
        self.change(Spaces::clear);
    }

    pub(super) fn insert(&self, space: Space) {
        self.change(|spaces| {
            spaces.insert(space.record.path.clone(), Arc::new(space));
        });
    }

    /// Takes a namespace out; false when it is out already, be it that another one has its path by now.
    pub(super) fn remove(&self, record: &Record) -> bool {
        let mut removed = false;
        self.change(|spaces| {
            removed = spaces.get(&record.path).is_some_and(|space| space.record.id == record.id);
            if removed {
                spaces.remove(&record.path);
            }
        });
        removed
    }

    /// Changes the record of the namespace at `path`; what answers in it stays.
    ///
    /// # Errors
    /// 404 when there is none; what `change` and the store say.
    pub(in crate::engine) async fn amend(
        &self,
        path: &str,
        change: impl FnOnce(&mut Record) -> Result<(), Error>,
    ) -> Result<Record, Error> {
        let _one_writer = self.changing.lock().await;
        let space = self.get(path).ok_or_else(Error::not_found)?;
        let mut record = space.record.clone();
        change(&mut record)?;
        self.records.put(&record.id, &record).await?;
        self.insert(Space { record: record.clone(), core: space.core.clone(), stop: space.stop.clone() });
        Ok(record)
    }

    /// The longest namespace that a path of root begins with, and the rest of the path.
    pub fn split<'a>(&self, path: &'a str) -> Option<(Arc<Space>, &'a str)> {
        let spaces = self.snapshot();
        if spaces.is_empty() {
            return None;
        }
        let ends = path.match_indices('/').map(|(at, _)| at + 1).rev();
        ends.map(|end| path.split_at(end)).find_map(|(lead, rest)| Some((spaces.get(lead)?.clone(), rest)))
    }

    /// While this is held, no namespace is made, changed or marked for deletion.
    pub(in crate::engine) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// The namespace below `here` that a mount at `path` would hide or be hidden by; both in terms of root.
    pub fn hidden_by(&self, here: &str, path: &str) -> Option<String> {
        let overlaps = |space: &str| path.starts_with(space) || space.starts_with(path);
        self.below(here).iter().map(|space| space.record.path.clone()).find(|space| overlaps(space))
    }

    /// Takes the namespace from header and path, which may each name a part of it; the path is what is left. `None` is root.
    ///
    /// # Errors
    /// 404 when there is no such namespace; 503 when it is locked.
    pub fn enter(&self, incoming: &mut Incoming) -> Result<Option<Arc<Space>>, Error> {
        let lead = match &incoming.namespace {
            Some(name) => format!("{name}/"),
            None => String::new(),
        };
        let named = if lead.is_empty() { None } else { Some(self.get(&lead).ok_or_else(not_found)?) };
        let found = match &named {
            Some(_) => {
                let full = format!("{lead}{}", incoming.path);
                self.split(&full).map(|(space, rest)| (space, rest.to_owned()))
            }
            None => self.split(&incoming.path).map(|(space, rest)| (space, rest.to_owned())),
        };
        let Some((space, rest)) = found else { return Ok(None) };
        incoming.path = rest;
        incoming.namespace = Some(space.record.path.trim_end_matches('/').to_owned());
        if space.record.tainted {
            return Err(not_found());
        }
        if !incoming.path.starts_with(UNLOCK) {
            self.check_locks(&space.record.path)?;
        }
        Ok(Some(space))
    }

    /// Whether it, or one above it, is locked.
    fn check_locks(&self, path: &str) -> Result<(), Error> {
        let spaces = self.snapshot();
        let above = path.match_indices('/').map(|(at, _)| &path[..=at]);
        match above.filter_map(|path| spaces.get(path)).find(|space| space.record.lock.is_some()) {
            None => Ok(()),
            Some(locked) => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "API access to this namespace has been locked by an administrator - {:?} must be unlocked to gain access.",
                    locked.record.path
                ),
            )),
        }
    }

    /// What answers in the namespace of that id.
    pub fn core(&self, id: &str) -> Option<Arc<Core>> {
        if id.is_empty() {
            return self.root.get().and_then(Weak::upgrade);
        }
        let spaces = self.snapshot();
        spaces.values().find(|space| space.record.id == id).map(|space| space.core.clone())
    }

    /// The id of the namespace that a token says it belongs to; empty for root, and for one that there is not.
    pub fn id_of<'a>(&self, token: &'a Secret) -> &'a str {
        let text = token.expose();
        let text = TOKEN_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        let id = id_in(text);
        if !id.is_empty() && self.snapshot().values().any(|space| space.record.id == id) { id } else { "" }
    }
}

pub(super) fn not_found() -> Error {
    Error::new(Kind::NotFound, "namespace not found")
}
