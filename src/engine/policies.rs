//! The stored ACL policies, kept parsed, and what a set of them allows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::identity::entity::Entity;
use super::policy::{Acl, DEFAULT, Policy, Verb, plain_text};
use crate::storage::View;
use crate::wire::{Error, Fields, Operation};

/// How many sets of policies are kept merged; tokens of one role share a set.
const MERGED: usize = 4096;

/// The policy of wrapping tokens: built in, and no other token can have it.
pub const WRAPPING: &str = "response-wrapping";

/// Its text. Reading the cubbyhole is the old way of unwrapping.
const WRAPPING_RULES: &str = "path \"cubbyhole/response\" { capabilities = [\"create\", \"read\"] }\n\
                              path \"sys/wrapping/unwrap\" { capabilities = [\"update\"] }";

/// What a token may do.
pub struct Access {
    root: bool,
    acl: Acl,
}

impl Access {
    /// The access that policies given as text grant together.
    ///
    /// # Errors
    /// 400 when one does not parse.
    pub fn of(policies: &[(&str, &str)]) -> Result<Self, Error> {
        let parsed: Result<Vec<_>, _> =
            policies.iter().map(|(name, text)| Policy::parse(name, text).map(Arc::new)).collect();
        Ok(Self { root: false, acl: Acl::new(&parsed?) })
    }

    /// The same for paths whose names are taken in any case, from that segment on ([`Acl::in_any_case`]).
    pub fn in_any_case(&self, from: usize) -> Self {
        Self { root: self.root, acl: self.acl.in_any_case(from) }
    }

    /// Whether everything is allowed.
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Whether an operation that is not a write is allowed, its answer being wrapped for so many seconds, if at all.
    pub fn may(&self, operation: Operation, path: &str, fields: &Fields, wrap: Option<u64>) -> bool {
        let verb = match operation {
            Operation::Read | Operation::Help => Verb::Read,
            Operation::List => Verb::List,
            Operation::Patch => Verb::Patch,
            Operation::Delete => Verb::Delete,
            Operation::Write => Verb::Update,
        };
        self.allows(verb, path, fields, wrap)
    }

    /// Whether a write is allowed if it creates, and if it updates.
    pub fn may_write(&self, path: &str, fields: &Fields, wrap: Option<u64>) -> (bool, bool) {
        (self.allows(Verb::Create, path, fields, wrap), self.allows(Verb::Update, path, fields, wrap))
    }

    fn allows(&self, verb: Verb, path: &str, fields: &Fields, wrap: Option<u64>) -> bool {
        let wrapped = |ttl| self.acl.allows_wrapped(path, verb, fields, ttl);
        self.root || wrap.map_or_else(|| self.acl.allows(path, verb, fields), wrapped)
    }

    /// Whether paths that are root-protected are open.
    pub fn has_sudo(&self, path: &str) -> bool {
        self.root || self.acl.has_sudo(path)
    }

    /// Whether any rule is about a path, be it that it allows nothing.
    pub fn has_rule(&self, path: &str) -> bool {
        self.acl.has_rule(path)
    }

    /// The capabilities of a path, sorted: `["root"]`, `["deny"]`, `["list", "read"]`.
    pub fn capabilities(&self, path: &str) -> Vec<String> {
        if self.root { vec!["root".into()] } else { self.acl.capabilities(path) }
    }

    /// Every rule: its path, whether it means all that begins so, and its capabilities.
    pub fn rules(&self) -> Vec<(String, bool, Vec<String>)> {
        self.acl.rules()
    }

    /// Whether anything at or below a mount may be reached.
    pub fn reaches(&self, mount: &str) -> bool {
        self.root || self.acl.reaches(mount)
    }
}

/// All policies of a namespace.
pub struct Policies {
    view: View,
    /// Whether there is a policy that allows everything: not in a namespace, whose tokens never reach beyond it.
    has_root: bool,
    wrapping: Arc<Access>,
    state: RwLock<State>,
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    policies: BTreeMap<String, (String, Arc<Policy>)>,
    /// For callers without an identity.
    merged: Sets,
    /// By entity, as it was when they were merged.
    personal: HashMap<String, (Arc<Entity>, Sets)>,
}

type Sets = HashMap<Vec<String>, Arc<Access>>;

impl Policies {
    /// Reads and parses every policy; the built-in `default` is made when it is missing.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, has_root: bool) -> Result<Self, Error> {
        let mut policies = BTreeMap::new();
        for name in view.list("").await? {
            if let Some((text, _)) = view.get::<String>(&name).await? {
                let parsed = Policy::parse(&name, &text)?;
                policies.insert(name, (text, Arc::new(parsed)));
            }
        }
        let policies = Self {
            view,
            has_root,
            wrapping: Arc::new(Access::of(&[(WRAPPING, WRAPPING_RULES)])?),
            state: RwLock::new(State { policies, ..State::default() }),
            writing: Default::default(),
        };
        if !policies.exists("default") {
            policies.put("default", DEFAULT).await?;
        }
        Ok(policies)
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is such a policy.
    pub fn exists(&self, name: &str) -> bool {
        (name == "root" && self.has_root) || self.read(|state| state.policies.contains_key(name))
    }

    /// All names, sorted; in the root namespace with `root`.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.read(|state| state.policies.keys().cloned().collect());
        if self.has_root {
            names.push("root".into());
            names.sort();
        }
        names
    }

    /// A policy as it was written; `root` has no text.
    pub fn text(&self, name: &str) -> Option<String> {
        let name = name.to_lowercase();
        if name == "root" && self.has_root {
            return Some(String::new());
        }
        self.read(|state| state.policies.get(&name).map(|(text, _)| text.clone()))
    }

    /// Writes a policy, once it parses.
    ///
    /// # Errors
    /// 400 when it does not, and for `root`.
    pub async fn put(&self, name: &str, text: &str) -> Result<(), Error> {
        let name = name.to_lowercase();
        if name == "root" || name == WRAPPING {
            return Err(Error::bad_request(format!("cannot update {name:?} policy")));
        }
        if name.contains('/') || name.is_empty() {
            return Err(Error::bad_request(format!("{name:?} is not a policy name: it must not hold a slash")));
        }
        let text = &*plain_text(text);
        let policy = Arc::new(Policy::parse(&name, text)?);
        let _one_writer = self.writing.lock().await;
        if self.text(&name).as_deref() == Some(text) {
            return Ok(());
        }
        self.view.put(&name, &text).await?;
        self.change(|policies| {
            policies.insert(name, (text.to_owned(), policy));
        });
        Ok(())
    }

    /// Removes a policy; an absent one is fine.
    ///
    /// # Errors
    /// 400 for the built-in ones.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let name = name.to_lowercase();
        match name.as_str() {
            "root" | WRAPPING => return Err(Error::bad_request(format!("cannot delete {name:?} policy"))),
            "default" => return Err(Error::bad_request("cannot delete default policy")),
            _ => {}
        }
        let _one_writer = self.writing.lock().await;
        self.view.delete(&name).await?;
        self.change(|policies| {
            policies.remove(&name);
        });
        Ok(())
    }

    fn change(&self, apply: impl FnOnce(&mut BTreeMap<String, (String, Arc<Policy>)>)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        apply(&mut state.policies);
        state.merged.clear();
        state.personal.clear();
    }

    /// What a set of policies allows together to a caller; names without a policy grant nothing.
    pub fn access(&self, names: &[String], entity: Option<&Arc<Entity>>) -> Arc<Access> {
        if names == [WRAPPING] {
            return self.wrapping.clone();
        }
        if let Some(access) = self.read(|state| state.known(names, entity)) {
            return access;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let policies: Vec<_> =
            names.iter().filter_map(|name| state.policies.get(name).map(|(_, policy)| policy.clone())).collect();
        let root = self.has_root && names.iter().any(|name| name == "root");
        let lookup = |name: &str| entity.and_then(|entity| entity.lookup(name));
        let access = Arc::new(Access { root, acl: Acl::for_caller(&policies, &lookup) });
        state.remember(names, entity, access.clone());
        access
    }
}

impl State {
    fn known(&self, names: &[String], entity: Option<&Arc<Entity>>) -> Option<Arc<Access>> {
        let Some(entity) = entity else { return self.merged.get(names).cloned() };
        let own = self.personal.get(&entity.id).filter(|(known, _)| Arc::ptr_eq(known, entity));
        own.and_then(|(_, sets)| sets.get(names).cloned())
    }

    fn remember(&mut self, names: &[String], entity: Option<&Arc<Entity>>, access: Arc<Access>) {
        let Some(entity) = entity else {
            if self.merged.len() >= MERGED {
                self.merged.clear();
            }
            self.merged.insert(names.to_vec(), access);
            return;
        };
        if self.personal.len() >= MERGED {
            self.personal.clear();
        }
        let (known, sets) = self.personal.entry(entity.id.clone()).or_insert_with(|| (entity.clone(), Sets::new()));
        if !Arc::ptr_eq(known, entity) {
            (*known, *sets) = (entity.clone(), Sets::new());
        }
        sets.insert(names.to_vec(), access);
    }
}
