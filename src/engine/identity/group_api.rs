//! `identity/group…`: groups and their aliases made, read, listed, changed, removed and looked up.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value, json};

use super::api::{granted, with_info};
use super::entity::Entity;
use super::group::{Group, GroupAlias, GroupType, Groups, ancestors, parents};
use super::{Identity, Mount};
use crate::engine::core::Core;
use crate::storage::{Error as StorageError, Txn};
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn group_api(
        &self,
        segments: &[&str],
        operation: Operation,
        fields: &Fields,
    ) -> Result<Answer, Error> {
        use Operation::{Delete, List, Read, Write};
        let identity = &self.identity;
        match (operation, segments) {
            (Write, ["group"]) => identity.write_group(None, fields).await,
            (List, ["group", "id"]) => identity.list_groups(),
            (List, ["group", "name"]) => {
                let mut names: Vec<_> = identity.groups().values().map(|group| group.name.clone()).collect();
                names.sort();
                Answer::keys(names)
            }
            (Read, ["group", by @ ("id" | "name"), key]) => {
                let group = identity.group(by, key).ok_or_else(Error::not_found)?;
                Ok(Answer::data(identity.describe_group(&group).await?))
            }
            (Write, ["group", by @ ("id" | "name"), key]) => identity.write_group(Some((by, key)), fields).await,
            (Delete, ["group", by @ ("id" | "name"), key]) => identity.delete_group(by, key).await,
            (Write, ["group-alias"]) => self.write_group_alias(fields.string("id")?, fields).await,
            (List, ["group-alias", "id"]) => identity.list_group_aliases(),
            (Read, ["group-alias", "id", id]) => {
                let group = identity.group_of_alias(id).ok_or_else(Error::not_found)?;
                Ok(Answer::data(group.alias.as_ref().map_or(Value::Null, |alias| alias.describe(&group.id))))
            }
            (Write, ["group-alias", "id", id]) => self.write_group_alias(Some((*id).to_owned()), fields).await,
            (Delete, ["group-alias", "id", id]) => identity.delete_group_alias(id).await,
            (Write, ["lookup", "group"]) => identity.lookup_group(fields).await,
            (
                _,
                ["group" | "group-alias"] | ["group", "id" | "name", ..] | ["group-alias", "id", ..] | ["lookup", _],
            ) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    async fn write_group_alias(&self, id: Option<String>, fields: &Fields) -> Result<Answer, Error> {
        let mount = self.named_mount(fields)?;
        self.identity.write_group_alias(id.filter(|id| !id.is_empty()), mount, fields).await
    }
}

impl Identity {
    /// All groups as they are now.
    pub(super) fn groups(&self) -> Arc<Groups> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn group(&self, by: &str, key: &str) -> Option<Arc<Group>> {
        let groups = self.groups();
        if by == "id" {
            return groups.get(key).cloned();
        }
        groups.values().find(|group| group.name.to_lowercase() == key.to_lowercase()).cloned()
    }

    fn group_of_alias(&self, id: &str) -> Option<Arc<Group>> {
        let of = |group: &&Arc<Group>| group.alias.as_ref().is_some_and(|alias| alias.id == id);
        self.groups().values().find(of).cloned()
    }

    fn group_of_login(&self, accessor: &str, name: &str) -> Option<Arc<Group>> {
        let of = |group: &&Arc<Group>| {
            group.alias.as_ref().is_some_and(|alias| alias.mount_accessor == accessor && alias.name == name)
        };
        self.groups().values().find(of).cloned()
    }

    /// Stores changed groups (`None`: removed) in one transaction; the caller holds the lock of writers.
    pub(super) async fn commit_groups(&self, changed: Vec<(String, Option<Group>)>) -> Result<(), StorageError> {
        let (mut txn, mut groups) = (Txn::default(), (*self.groups()).clone());
        for (id, group) in changed {
            match group {
                Some(group) => {
                    self.view.stage_put(&mut txn, &format!("group/{id}"), &group)?;
                    groups.insert(id, Arc::new(group));
                }
                None => {
                    self.view.stage_delete(&mut txn, &format!("group/{id}"));
                    groups.remove(&id);
                }
            }
        }
        self.view.store().commit(txn).await?;
        self.replace_groups(groups);
        Ok(())
    }

    /// Groups as they have been stored.
    pub(super) fn replace_groups(&self, groups: Groups) {
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(groups);
        // Who is in which group is kept with the entities.
        self.cache.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes an entity that goes out of all groups; the caller holds the lock of writers.
    pub(super) async fn forget_member(&self, entity: &str) -> Result<(), StorageError> {
        let groups = self.groups();
        let left = groups.values().filter(|group| group.member_entity_ids.contains(entity)).map(|group| {
            let mut group = (**group).clone();
            group.member_entity_ids.remove(entity);
            (group.id.clone(), Some(group))
        });
        let left: Vec<_> = left.collect();
        if left.is_empty() { Ok(()) } else { self.commit_groups(left).await }
    }

    async fn describe_group(&self, group: &Group) -> Result<Value, Error> {
        let parents = parents(&self.groups(), &group.id).map(|parent| parent.id.clone()).collect();
        let members = match group.kind {
            GroupType::Internal => group.member_entity_ids.iter().cloned().collect(),
            GroupType::External => self.members(group).await?,
        };
        Ok(group.describe(members, parents, &self.namespace))
    }

    /// Who is in an external group by the last logins.
    async fn members(&self, group: &Group) -> Result<Vec<String>, Error> {
        let mut members = Vec::new();
        for (id, row) in self.listed("entity/").await? {
            let entity: Option<Entity> = serde_json::from_value(row).ok();
            if entity.is_some_and(|entity| group.has(&entity)) {
                members.push(id);
            }
        }
        Ok(members)
    }

    /// Creates, or updates the group that the path, an `id` or a `name` means; fields that are left out stay as they are.
    pub(super) async fn write_group(&self, place: Option<(&str, &str)>, fields: &Fields) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        let id = fields.string("id")?.filter(|id| !id.is_empty());
        let name = fields.string("name")?.filter(|name| !name.is_empty());
        let before = match (place, &id, &name) {
            (Some(("id", id)), ..) => Some(self.group("id", id).ok_or_else(Error::not_found)?),
            (Some((by, name)), ..) => self.group(by, name),
            (None, Some(id), _) => {
                Some(self.group("id", id).ok_or_else(|| Error::bad_request("group not found from id"))?)
            }
            (None, None, Some(name)) => self.group("name", name),
            (None, None, None) => None,
        };
        let mut group = before.as_deref().cloned().unwrap_or_else(|| self.blank_group());
        let named = place.filter(|(by, _)| *by == "name").map(|(_, name)| name.to_owned());
        if let Some(name) = named.or(name) {
            if self.group("name", &name).is_some_and(|other| other.id != group.id) {
                return Err(Error::bad_request("group name is already in use"));
            }
            group.name = name;
        }
        if let Some(kind) = fields.string("type")?.filter(|kind| !kind.is_empty()) {
            let wrong = |_| Error::bad_request(format!("invalid group type {kind:?}: say internal or external"));
            let kind = serde_json::from_value(json!(kind)).map_err(wrong)?;
            if before.is_some() && kind != group.kind {
                return Err(Error::bad_request("group type cannot be changed"));
            }
            group.kind = kind;
        }
        if let Some(metadata) = fields.string_map("metadata")? {
            group.metadata = metadata;
        }
        if let Some(policies) = granted(fields)? {
            group.policies = policies;
        }
        self.set_members(&mut group, fields).await?;
        group.updated = self.clock.now();
        let made = json!({ "id": group.id, "name": group.name });
        self.commit_groups(vec![(group.id.clone(), Some(group))]).await?;
        Ok(if before.is_some() { Answer::empty() } else { Answer::data(made) })
    }

    fn blank_group(&self) -> Group {
        let (id, now) = (self.random.uuid(), self.clock.now());
        Group {
            name: format!("group_{}", &id[..8]),
            id,
            kind: GroupType::default(),
            policies: Vec::new(),
            metadata: Default::default(),
            member_entity_ids: BTreeSet::new(),
            member_group_ids: BTreeSet::new(),
            alias: None,
            created: now,
            updated: now,
        }
    }

    async fn set_members(&self, group: &mut Group, fields: &Fields) -> Result<(), Error> {
        let (entities, groups) = (fields.comma_list("member_entity_ids")?, fields.comma_list("member_group_ids")?);
        let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if group.kind == GroupType::External && some(&entities) {
            return Err(Error::bad_request("member entities can't be set manually for external groups"));
        }
        if group.kind == GroupType::External && some(&groups) {
            return Err(Error::bad_request("member groups can't be set for external groups"));
        }
        if let Some(ids) = entities {
            for id in &ids {
                if self.fresh_by_id(id).await?.is_none() {
                    return Err(Error::bad_request(format!("invalid entity ID {id:?}")));
                }
            }
            group.member_entity_ids = ids.into_iter().collect();
        }
        if let Some(ids) = groups {
            let known = self.groups();
            let above = ancestors(&known, &group.id);
            for id in &ids {
                if !known.contains_key(id) {
                    return Err(Error::bad_request(format!("invalid member group ID {id:?}")));
                }
                if *id == group.id || above.contains(id) {
                    return Err(Error::bad_request(format!("cyclic relationship detected for member group ID {id:?}")));
                }
            }
            group.member_group_ids = ids.into_iter().collect();
        }
        Ok(())
    }

    /// Removes a group, also out of those that it is in; an absent one is fine.
    async fn delete_group(&self, by: &str, key: &str) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        let Some(group) = self.group(by, key) else { return Ok(Answer::empty()) };
        let groups = self.groups();
        let above = parents(&groups, &group.id).map(|parent| {
            let mut parent = (**parent).clone();
            parent.member_group_ids.remove(&group.id);
            (parent.id.clone(), Some(parent))
        });
        let changed = above.chain([(group.id.clone(), None)]).collect();
        self.commit_groups(changed).await?;
        Ok(Answer::empty())
    }

    fn list_groups(&self) -> Result<Answer, Error> {
        let groups = self.groups();
        let info: Map<String, Value> = groups
            .iter()
            .map(|(id, group)| {
                let above = parents(&groups, id).count();
                let row = json!({ "name": group.name, "num_member_entities": group.member_entity_ids.len(),
                    "num_parent_groups": above });
                (id.clone(), row)
            })
            .collect();
        with_info(info)
    }

    fn list_group_aliases(&self) -> Result<Answer, Error> {
        let mut info = Map::new();
        for group in self.groups().values() {
            if let Some(alias) = &group.alias {
                let row = json!({ "name": alias.name, "canonical_id": group.id, "mount_path": alias.mount_path,
                    "mount_accessor": alias.mount_accessor, "mount_type": alias.mount_type });
                info.insert(alias.id.clone(), row);
            }
        }
        with_info(info)
    }

    /// Creates or updates; without `canonical_id` a new alias gets a group of its own.
    pub(super) async fn write_group_alias(
        &self,
        id: Option<String>,
        mount: Option<Mount>,
        fields: &Fields,
    ) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        let name = fields.string("name")?.filter(|name| !name.is_empty());
        let owner = match (&id, &name, &mount) {
            (Some(id), ..) => Some(self.group_of_alias(id).ok_or_else(Error::not_found)?),
            (None, Some(name), Some(mount)) => self.group_of_login(&mount.accessor, name),
            (None, None, _) => return Err(Error::bad_request("missing alias name")),
            (None, _, None) => return Err(Error::bad_request("missing mount_accessor")),
        };
        let now = self.clock.now();
        let mut alias = owner.as_ref().and_then(|group| group.alias.clone()).unwrap_or_else(|| GroupAlias {
            id: self.random.uuid(),
            name: String::new(),
            mount_accessor: String::new(),
            mount_type: String::new(),
            mount_path: String::new(),
            created: now,
            updated: now,
        });
        if let Some(name) = name {
            alias.name = name;
        }
        if let Some(Mount { accessor, kind, path }) = mount {
            (alias.mount_accessor, alias.mount_type, alias.mount_path) = (accessor, kind, path);
        }
        alias.updated = now;
        let taken = self.group_of_login(&alias.mount_accessor, &alias.name);
        if taken.is_some_and(|other| owner.as_ref().is_none_or(|owner| owner.id != other.id)) {
            return Err(Error::bad_request("a group alias of that name exists at this mount already"));
        }
        let wanted = fields.string("canonical_id")?.filter(|id| !id.is_empty());
        self.give_alias(owner, alias, wanted).await
    }

    /// Puts an alias on the group that is meant to have it, taking it from the one that has.
    async fn give_alias(
        &self,
        owner: Option<Arc<Group>>,
        alias: GroupAlias,
        wanted: Option<String>,
    ) -> Result<Answer, Error> {
        let target = match wanted.or_else(|| owner.as_ref().map(|owner| owner.id.clone())) {
            Some(id) => {
                self.group("id", &id).ok_or_else(|| Error::bad_request("invalid group ID given in 'canonical_id'"))?
            }
            None => Arc::new(Group { kind: GroupType::External, ..self.blank_group() }),
        };
        if target.kind != GroupType::External {
            return Err(Error::bad_request("alias can't be set on an internal group"));
        }
        if target.alias.as_ref().is_some_and(|other| other.id != alias.id) {
            return Err(Error::bad_request("the group has an alias already"));
        }
        let without = owner.filter(|owner| owner.id != target.id).map(|owner| {
            let left = Group { alias: None, ..(*owner).clone() };
            (left.id.clone(), Some(left))
        });
        let answer = json!({ "id": alias.id, "canonical_id": target.id });
        let with = Group { alias: Some(alias), updated: self.clock.now(), ..(*target).clone() };
        let changed = without.into_iter().chain([(with.id.clone(), Some(with))]).collect();
        self.commit_groups(changed).await?;
        Ok(Answer::data(answer))
    }

    async fn delete_group_alias(&self, id: &str) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        if let Some(group) = self.group_of_alias(id) {
            let without = Group { alias: None, updated: self.clock.now(), ..(*group).clone() };
            self.commit_groups(vec![(without.id.clone(), Some(without))]).await?;
        }
        Ok(Answer::empty())
    }

    /// 204 when nothing is found, as in Vault.
    async fn lookup_group(&self, fields: &Fields) -> Result<Answer, Error> {
        let text = |name: &str| Ok::<_, Error>(fields.string(name)?.filter(|text| !text.is_empty()));
        let found = match (text("id")?, text("name")?, text("alias_id")?) {
            (Some(id), ..) => self.group("id", &id),
            (_, Some(name), _) => self.group("name", &name),
            (.., Some(id)) => self.group_of_alias(&id),
            _ => match (text("alias_name")?, text("alias_mount_accessor")?) {
                (Some(name), Some(accessor)) => self.group_of_login(&accessor, &name),
                (None, None) => return Err(Error::bad_request("query parameter not supplied")),
                _ => return Err(Error::bad_request("both 'alias_name' and 'alias_mount_accessor' must be set")),
            },
        };
        match found {
            Some(group) => Ok(Answer::data(self.describe_group(&group).await?)),
            None => Ok(Answer::empty()),
        }
    }
}
