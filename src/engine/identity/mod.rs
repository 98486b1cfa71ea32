//! Identity: who a caller is across logins. `entity.rs` and `group.rs` are what is known, `api.rs` and `group_api.rs` the paths
//! below `identity/`.
//!
//! Keys: `entity/<id>` with the aliases inside, `name/<name>`, `alias/<alias id>`, `login/<mount accessor>/<name>` and
//! `merged/<id>` of those that were merged into it, all four naming the entity; `group/<id>` with its alias inside. Each change is one transaction. Groups are few and all in memory;
//! which of them an entity is in is worked out when it is read, and kept with it until a group changes.

mod api;
pub mod entity;
pub mod group;
mod group_api;
mod merge;
pub(in crate::engine) mod routes;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use self::entity::{Alias, Entity};
use self::group::{Group, Groups, Membership};
use super::mount::Entry;
use crate::auth;
use crate::base::{Clock, Random};
use crate::storage::{Error as StorageError, Txn, View};
use crate::wire::Error;

/// The accessor of the mount of tokens, which is always there.
pub const TOKEN_ACCESSOR: &str = "auth_token_builtin";

/// How many entities are kept in memory.
const CACHED: usize = 4096;

/// The login mount that an alias belongs to.
#[derive(Debug, Clone)]
pub struct Mount {
    /// `auth_approle_1a2b3c4d`.
    pub accessor: String,
    /// Its type.
    pub kind: String,
    /// `auth/approle/`.
    pub path: String,
}

impl Mount {
    /// Of a login method.
    pub fn of(entry: &Entry) -> Self {
        Self { accessor: entry.accessor.clone(), kind: entry.kind.clone(), path: format!("auth/{}", entry.path) }
    }

    /// Of the tokens.
    pub fn tokens() -> Self {
        Self { accessor: TOKEN_ACCESSOR.into(), kind: "token".into(), path: "auth/token/".into() }
    }
}

/// All entities of a namespace.
pub struct Identity {
    view: View,
    namespace: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    cache: RwLock<HashMap<String, Arc<Entity>>>,
    groups: RwLock<Arc<Groups>>,
    writing: tokio::sync::Mutex<()>,
}

impl Identity {
    /// The entities and groups in `view`, which are those of the namespace with that id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(
        view: View,
        namespace: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StorageError> {
        let mut groups = Groups::new();
        for key in view.keys("group/").await? {
            groups.extend(view.get::<Group>(&key).await?.map(|(group, _)| (group.id.clone(), Arc::new(group))));
        }
        let groups = RwLock::new(Arc::new(groups));
        Ok(Self {
            view,
            namespace: namespace.to_owned(),
            clock,
            random,
            cache: RwLock::default(),
            groups,
            writing: Default::default(),
        })
    }

    /// The entity with the groups that it is in.
    fn with_groups(&self, mut entity: Entity) -> Entity {
        entity.membership = Membership::of(&entity, &self.groups());
        entity
    }

    /// The entity with that id, or the one that it was merged into.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, id: &str) -> Result<Option<Arc<Entity>>, StorageError> {
        if id.is_empty() {
            return Ok(None);
        }
        if let Some(entity) = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Some(entity.clone()));
        }
        // Whoever writes must not be overtaken by an older value on its way into the cache.
        let _still = self.writing.lock().await;
        let entity = match self.fresh_by_id(id).await? {
            Some(entity) => Some(entity),
            None => self.fresh(&merged_key(id)).await?,
        };
        let entity = entity.map(Arc::new);
        if let Some(entity) = &entity {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= CACHED {
                cache.clear();
            }
            cache.insert(id.to_owned(), entity.clone());
        }
        Ok(entity)
    }

    /// The entity that an index entry names.
    async fn by(&self, index: &str) -> Result<Option<Arc<Entity>>, StorageError> {
        match self.view.get::<String>(index).await? {
            Some((id, _)) => self.get(&id).await,
            None => Ok(None),
        }
    }

    /// The entity of a login, which is made at its first.
    ///
    /// # Errors
    /// 403 when it is disabled; what the store says.
    pub async fn of_login(&self, mount: &Mount, login: &auth::Alias, groups: &[String]) -> Result<Arc<Entity>, Error> {
        let index = login_key(&mount.accessor, &login.name);
        let found = self.by(&index).await?;
        let known = |entity: &Entity| {
            let alias = entity.aliases.iter().find(|a| a.mount_accessor == mount.accessor && a.name == login.name);
            alias.is_some_and(|alias| alias.metadata == login.metadata && alias.groups == groups)
        };
        let entity = match found {
            Some(entity) if known(&entity) => entity,
            _ => self.note_login(mount, login, groups).await?,
        };
        if entity.disabled { Err(Error::denied()) } else { Ok(entity) }
    }

    async fn note_login(&self, mount: &Mount, login: &auth::Alias, groups: &[String]) -> Result<Arc<Entity>, Error> {
        let _one_writer = self.writing.lock().await;
        let now = self.clock.now();
        let before = self.fresh(&login_key(&mount.accessor, &login.name)).await?;
        let mut entity = before.clone().unwrap_or_else(|| self.blank());
        match entity.aliases.iter_mut().find(|a| a.mount_accessor == mount.accessor && a.name == login.name) {
            Some(alias) => {
                alias.metadata.clone_from(&login.metadata);
                alias.groups = groups.to_vec();
            }
            None => entity.aliases.push(Alias {
                id: self.random.uuid(),
                name: login.name.clone(),
                mount_accessor: mount.accessor.clone(),
                mount_type: mount.kind.clone(),
                mount_path: mount.path.clone(),
                metadata: login.metadata.clone(),
                groups: groups.to_vec(),
                custom_metadata: Default::default(),
                merged_from_canonical_ids: Vec::new(),
                created: now,
                updated: now,
            }),
        }
        self.commit(before.as_ref(), Some(entity.clone())).await?;
        Ok(Arc::new(self.with_groups(entity)))
    }

    /// Notes what a login mount tells of the groups of an entity without a login of it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn note_groups(&self, entity: &str, accessor: &str, groups: Vec<String>) -> Result<(), StorageError> {
        let _one_writer = self.writing.lock().await;
        let before = match self.fresh_by_id(entity).await? {
            None => self.fresh(&merged_key(entity)).await?,
            known => known,
        };
        let Some(before) = before else { return Ok(()) };
        let mut after = before.clone();
        match after.aliases.iter_mut().find(|alias| alias.mount_accessor == accessor) {
            Some(alias) if alias.groups != groups => alias.groups = groups,
            _ => return Ok(()),
        }
        self.commit(Some(&before), Some(after)).await
    }

    fn blank(&self) -> Entity {
        let (id, now) = (self.random.uuid(), self.clock.now());
        Entity {
            name: format!("entity_{}", &id[..8]),
            id,
            metadata: Default::default(),
            policies: Vec::new(),
            disabled: false,
            created: now,
            updated: now,
            aliases: Vec::new(),
            merged_entity_ids: Vec::new(),
            membership: Membership::default(),
        }
    }

    /// As stored, past the cache, for a change.
    async fn fresh(&self, index: &str) -> Result<Option<Entity>, StorageError> {
        let Some((id, _)) = self.view.get::<String>(index).await? else { return Ok(None) };
        self.fresh_by_id(&id).await
    }

    async fn fresh_by_id(&self, id: &str) -> Result<Option<Entity>, StorageError> {
        let entity = self.view.get::<Entity>(&format!("entity/{id}")).await?;
        Ok(entity.map(|(entity, _)| self.with_groups(entity)))
    }

    /// Replaces an entity and its index entries; the caller holds the lock of writers.
    async fn commit(&self, before: Option<&Entity>, after: Option<Entity>) -> Result<(), StorageError> {
        self.commit_all(vec![(before.cloned(), after)]).await
    }

    /// Replaces several entities, each as it was by what it is now, in one transaction; the caller holds the lock of writers.
    async fn commit_all(&self, changes: Vec<(Option<Entity>, Option<Entity>)>) -> Result<(), StorageError> {
        let mut txn = Txn::default();
        for entity in changes.iter().filter_map(|(before, _)| before.as_ref()) {
            self.stage_without(&mut txn, entity);
        }
        // After all that goes: an alias may move from one to another.
        for entity in changes.iter().filter_map(|(_, after)| after.as_ref()) {
            self.stage_with(&mut txn, entity)?;
        }
        self.view.store().commit(txn).await?;
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        for entity in changes.into_iter().flat_map(|(before, after)| [before, after]).flatten() {
            cache.remove(&entity.id);
            entity.merged_entity_ids.iter().for_each(|id| drop(cache.remove(id)));
        }
        Ok(())
    }

    fn stage_without(&self, txn: &mut Txn, entity: &Entity) {
        self.view.stage_delete(txn, &format!("entity/{}", entity.id));
        for key in indexes(entity) {
            self.view.stage_delete(txn, &key);
        }
    }

    fn stage_with(&self, txn: &mut Txn, entity: &Entity) -> Result<(), StorageError> {
        self.view.stage_put(txn, &format!("entity/{}", entity.id), entity)?;
        for key in indexes(entity) {
            self.view.stage_put(txn, &key, &entity.id)?;
        }
        Ok(())
    }

    /// How many there are.
    ///
    /// # Errors
    /// What the store says.
    pub async fn count(&self) -> Result<usize, StorageError> {
        Ok(self.view.keys("entity/").await?.len())
    }

    /// The names below an index, each with its entity.
    async fn listed(&self, folder: &str) -> Result<Vec<(String, Value)>, StorageError> {
        let mut rows = Vec::new();
        for key in self.view.keys(folder).await? {
            rows.extend(self.view.get::<Value>(&key).await?.map(|(value, _)| (key[folder.len()..].to_owned(), value)));
        }
        Ok(rows)
    }
}

fn name_key(name: &str) -> String {
    format!("name/{}", name.to_lowercase())
}

fn login_key(accessor: &str, name: &str) -> String {
    format!("login/{accessor}/{name}")
}

fn merged_key(id: &str) -> String {
    format!("merged/{id}")
}

fn indexes(entity: &Entity) -> Vec<String> {
    let aliases = entity.aliases.iter();
    let aliases =
        aliases.flat_map(|alias| [format!("alias/{}", alias.id), login_key(&alias.mount_accessor, &alias.name)]);
    let merged = entity.merged_entity_ids.iter().map(|id| merged_key(id));
    aliases.chain(merged).chain([name_key(&entity.name)]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::Timestamp;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn the_policies_of_a_group_end_with_what_its_mount_tells() {
        let view = View::new(Arc::new(Memory::default()), "identity/");
        let (clock, random) = (ManualClock::new(Timestamp::UNIX_EPOCH), SeededRandom::new(1));
        let identity = Identity::load(view, "root", Arc::new(clock), Arc::new(random)).await.unwrap();
        let mount = Mount { accessor: "auth_ldap_1".into(), kind: "ldap".into(), path: "auth/ldap/".into() };
        let fields = |value: Value| value.as_object().unwrap().clone().into();
        let group = json!({ "name": "g", "type": "external", "policies": "p" });
        let made = identity.write_group(None, &fields(group)).await.unwrap().data.unwrap();
        let alias = json!({ "name": "devs", "canonical_id": made["id"] });
        identity.write_group_alias(None, Some(mount.clone()), &fields(alias)).await.unwrap();
        let login = auth::Alias { name: "sam".into(), ..auth::Alias::default() };
        let entity = identity.of_login(&mount, &login, &["devs".to_owned()]).await.unwrap();
        assert_eq!(entity.identity_policies(), ["p"]);
        identity.note_groups(&entity.id, "auth_ldap_2", Vec::new()).await.unwrap();
        assert_eq!(identity.get(&entity.id).await.unwrap().unwrap().identity_policies(), ["p"], "another mount");
        identity.note_groups(&entity.id, &mount.accessor, Vec::new()).await.unwrap();
        assert!(identity.get(&entity.id).await.unwrap().unwrap().identity_policies().is_empty());
    }
}
