//! `identity/…`: entities and aliases made, read, listed, changed and looked up.

use serde_json::{Map, Value, json};

use super::entity::{Alias, Entity};
use super::{Identity, Mount, login_key, name_key};
use crate::auth::token_params::normal_policies;
use crate::engine::core::Core;
use crate::engine::policies;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(in crate::engine) async fn identity_api(
        &self,
        path: &str,
        operation: Operation,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        use Operation::{Delete, List, Read, Write};
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if matches!(segments[..], ["group" | "group-alias", ..] | ["lookup", "group"]) {
            return self.group_api(&segments, operation, fields).await.map(Reply::answer);
        }
        let identity = &self.identity;
        let answer = match (operation, &segments[..]) {
            (Write, ["entity"]) => identity.write_entity(None, fields).await?,
            (List, ["entity", "id"]) => identity.list_entities().await?,
            (List, ["entity", "name"]) => identity.list_names().await?,
            (Write, ["entity", "batch-delete"]) => identity.delete_many(fields).await?,
            (Write, ["entity", "merge"]) => identity.merge(fields).await?,
            (Read, ["entity", by @ ("id" | "name"), key]) => identity.read_entity(by, key).await?,
            (Write, ["entity", by @ ("id" | "name"), key]) => identity.write_entity(Some((by, key)), fields).await?,
            (Delete, ["entity", by @ ("id" | "name"), key]) => identity.delete_entity(by, key).await?,
            (Write, ["entity-alias"]) => self.write_alias(fields.string("id")?, fields).await?,
            (List, ["entity-alias", "id"]) => identity.list_aliases().await?,
            (Read, ["entity-alias", "id", id]) => identity.read_alias(id).await?,
            (Write, ["entity-alias", "id", id]) => self.write_alias(Some((*id).to_owned()), fields).await?,
            (Delete, ["entity-alias", "id", id]) => identity.delete_alias(id).await?,
            (Write, ["lookup", "entity"]) => identity.lookup(fields).await?,
            (_, ["entity" | "entity-alias" | "lookup"] | ["entity", _, ..] | ["entity-alias", "id", ..])
            | (_, ["lookup", "entity"]) => return Err(Error::unsupported_operation()),
            _ => return Err(Error::unsupported_path()),
        };
        Ok(Reply::answer(answer))
    }

    async fn write_alias(&self, id: Option<String>, fields: &Fields) -> Result<Answer, Error> {
        let mount = self.named_mount(fields)?;
        self.identity.write_alias(id.filter(|id| !id.is_empty()), mount, fields).await
    }

    /// The login mount that a request names by its accessor.
    pub(super) fn named_mount(&self, fields: &Fields) -> Result<Option<Mount>, Error> {
        let Some(accessor) = fields.string("mount_accessor")?.filter(|accessor| !accessor.is_empty()) else {
            return Ok(None);
        };
        let methods = self.methods.all().into_iter().map(|mounted| Mount::of(&mounted.entry));
        let found = methods.chain([Mount::tokens()]).find(|mount| mount.accessor == accessor);
        found.map(Some).ok_or_else(|| Error::bad_request(format!("invalid mount accessor {accessor:?}")))
    }
}

impl Identity {
    async fn find(&self, by: &str, key: &str) -> Result<Option<Entity>, Error> {
        let found = if by == "id" { self.fresh_by_id(key).await? } else { self.fresh(&name_key(key)).await? };
        Ok(found)
    }

    async fn read_entity(&self, by: &str, key: &str) -> Result<Answer, Error> {
        Ok(Answer::data(self.find(by, key).await?.ok_or_else(Error::not_found)?.describe(&self.namespace)))
    }

    /// Creates, or updates the entity that the path, an `id` or a `name` means; fields that are left out stay as they are.
    async fn write_entity(&self, place: Option<(&str, &str)>, fields: &Fields) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        let id = fields.string("id")?.filter(|id| !id.is_empty());
        let name = fields.string("name")?.filter(|name| !name.is_empty());
        let before = match (place, &id, &name) {
            (Some(("id", id)), ..) => Some(self.find("id", id).await?.ok_or_else(Error::not_found)?),
            (Some((_, name)), ..) => self.find("name", name).await?,
            (None, Some(id), _) => {
                let unknown = || Error::bad_request("entity not found from id");
                Some(self.find("id", id).await?.ok_or_else(unknown)?)
            }
            (None, None, Some(name)) => self.find("name", name).await?,
            (None, None, None) => None,
        };
        let mut entity = before.clone().unwrap_or_else(|| self.blank());
        let named = place.filter(|(by, _)| *by == "name").map(|(_, name)| name.to_owned());
        if let Some(name) = named.or(name) {
            let other = self.find("name", &name).await?.filter(|other| other.id != entity.id);
            if other.is_some() {
                return Err(Error::bad_request("entity name is already in use"));
            }
            entity.name = name;
        }
        if let Some(metadata) = fields.string_map("metadata")? {
            entity.metadata = metadata;
        }
        if let Some(policies) = granted(fields)? {
            entity.policies = policies;
        }
        if let Some(disabled) = fields.bool("disabled")? {
            entity.disabled = disabled;
        }
        entity.updated = self.clock.now();
        let made = json!({ "id": entity.id, "name": entity.name, "aliases": null });
        self.commit(before.as_ref(), Some(entity)).await?;
        Ok(if before.is_some() { Answer::empty() } else { Answer::data(made) })
    }

    async fn delete_entity(&self, by: &str, key: &str) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        if let Some(entity) = self.find(by, key).await? {
            self.forget_member(&entity.id).await?;
            self.commit(Some(&entity), None).await?;
        }
        Ok(Answer::empty())
    }

    async fn delete_many(&self, fields: &Fields) -> Result<Answer, Error> {
        let ids = fields.comma_list("entity_ids")?.unwrap_or_default();
        if ids.is_empty() {
            return Err(Error::bad_request("missing entity ids to delete"));
        }
        for id in ids {
            self.delete_entity("id", &id).await?;
        }
        Ok(Answer::empty())
    }

    async fn list_names(&self) -> Result<Answer, Error> {
        let mut names = Vec::new();
        for (_, row) in self.listed("entity/").await? {
            names.extend(row["name"].as_str().map(str::to_owned));
        }
        names.sort();
        Answer::keys(names)
    }

    async fn list_entities(&self) -> Result<Answer, Error> {
        let rows = self.listed("entity/").await?;
        let info: Map<String, Value> = rows
            .iter()
            .map(|(id, row)| (id.clone(), json!({ "name": row["name"], "aliases": row["aliases"] })))
            .collect();
        with_info(info)
    }

    async fn list_aliases(&self) -> Result<Answer, Error> {
        let mut info = Map::new();
        for (_, row) in self.listed("entity/").await? {
            for alias in row["aliases"].as_array().into_iter().flatten() {
                let id = alias["id"].as_str().unwrap_or_default().to_owned();
                let row = json!({ "name": alias["name"], "canonical_id": row["id"], "local": false,
                    "mount_accessor": alias["mount_accessor"], "mount_type": alias["mount_type"],
                    "mount_path": alias["mount_path"], "custom_metadata": alias["custom_metadata"] });
                info.insert(id, row);
            }
        }
        with_info(info)
    }

    async fn read_alias(&self, id: &str) -> Result<Answer, Error> {
        let entity = self.fresh(&format!("alias/{id}")).await?.ok_or_else(Error::not_found)?;
        let alias = entity.aliases.iter().find(|alias| alias.id == id).ok_or_else(Error::not_found)?;
        Ok(Answer::data(alias.describe(&entity.id)))
    }

    async fn delete_alias(&self, id: &str) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        if let Some(before) = self.fresh(&format!("alias/{id}")).await? {
            let mut entity = before.clone();
            entity.aliases.retain(|alias| alias.id != id);
            entity.updated = self.clock.now();
            self.commit(Some(&before), Some(entity)).await?;
        }
        Ok(Answer::empty())
    }

    /// Creates or updates; without `canonical_id` a new alias gets an entity of its own.
    async fn write_alias(&self, id: Option<String>, mount: Option<Mount>, fields: &Fields) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        let now = self.clock.now();
        let name = fields.string("name")?.filter(|name| !name.is_empty());
        let custom = fields.string_map("custom_metadata")?;
        let owner = match (&id, &name, &mount) {
            (Some(id), ..) => Some(self.fresh(&format!("alias/{id}")).await?.ok_or_else(Error::not_found)?),
            (None, Some(name), Some(mount)) => self.fresh(&login_key(&mount.accessor, name)).await?,
            (None, None, _) => return Err(Error::bad_request("missing alias name")),
            (None, _, None) => return Err(Error::bad_request("missing mount_accessor")),
        };
        let is_it = |alias: &Alias| match (&id, &name, &mount) {
            (Some(id), ..) => alias.id == *id,
            (None, Some(name), Some(mount)) => alias.name == *name && alias.mount_accessor == mount.accessor,
            _ => false,
        };
        let known = owner.as_ref().and_then(|owner| owner.aliases.iter().find(|alias| is_it(alias)).cloned());
        let mut alias = known.unwrap_or_else(|| Alias {
            id: self.random.uuid(),
            name: String::new(),
            mount_accessor: String::new(),
            mount_type: String::new(),
            mount_path: String::new(),
            metadata: Default::default(),
            groups: Vec::new(),
            custom_metadata: Default::default(),
            merged_from_canonical_ids: Vec::new(),
            created: now,
            updated: now,
        });
        if let Some(name) = name {
            alias.name = name;
        }
        if let Some(Mount { accessor, kind, path }) = mount {
            (alias.mount_accessor, alias.mount_type, alias.mount_path) = (accessor, kind, path);
        }
        if let Some(custom) = custom {
            alias.custom_metadata = custom;
        }
        alias.updated = now;
        let taken = self.fresh(&login_key(&alias.mount_accessor, &alias.name)).await?;
        if taken.is_some_and(|other| {
            other
                .aliases
                .iter()
                .any(|a| a.id != alias.id && a.name == alias.name && a.mount_accessor == alias.mount_accessor)
        }) {
            return Err(Error::bad_request("an alias of that name exists at this mount already"));
        }
        self.give(owner, alias, fields.string("canonical_id")?.filter(|id| !id.is_empty())).await
    }

    /// Puts an alias into the entity that is meant to have it, taking it from the one that has.
    async fn give(&self, owner: Option<Entity>, alias: Alias, wanted: Option<String>) -> Result<Answer, Error> {
        let invalid = || Error::bad_request("invalid canonical ID");
        let target = match wanted.or_else(|| owner.as_ref().map(|owner| owner.id.clone())) {
            Some(id) => Some(self.fresh_by_id(&id).await?.ok_or_else(invalid)?),
            None => None,
        };
        let mut entity = target.clone().unwrap_or_else(|| self.blank());
        let doubled = |other: &Alias| other.id != alias.id && other.mount_accessor == alias.mount_accessor;
        if entity.aliases.iter().any(doubled) {
            return Err(Error::bad_request("entity already has an alias of this mount"));
        }
        let answer = json!({ "id": alias.id, "canonical_id": entity.id });
        let mut changes = Vec::new();
        if let Some(owner) = owner.filter(|owner| owner.id != entity.id) {
            let mut without = owner.clone();
            without.aliases.retain(|other| other.id != alias.id);
            changes.push((Some(owner), Some(without)));
        }
        entity.aliases.retain(|other| other.id != alias.id);
        entity.aliases.push(alias);
        entity.updated = self.clock.now();
        changes.push((target, Some(entity)));
        self.commit_all(changes).await?;
        Ok(Answer::data(answer))
    }

    /// 204 when nobody is found, as in Vault.
    async fn lookup(&self, fields: &Fields) -> Result<Answer, Error> {
        let text = |name: &str| Ok::<_, Error>(fields.string(name)?.filter(|text| !text.is_empty()));
        let found = match (text("id")?, text("name")?, text("alias_id")?) {
            (Some(id), ..) => self.fresh_by_id(&id).await?,
            (_, Some(name), _) => self.fresh(&name_key(&name)).await?,
            (.., Some(id)) => self.fresh(&format!("alias/{id}")).await?,
            _ => match (text("alias_name")?, text("alias_mount_accessor")?) {
                (Some(name), Some(accessor)) => self.fresh(&login_key(&accessor, &name)).await?,
                (None, None) => return Err(Error::bad_request("query parameter not supplied")),
                _ => return Err(Error::bad_request("both 'alias_name' and 'alias_mount_accessor' must be set")),
            },
        };
        Ok(found.map_or_else(Answer::empty, |entity| Answer::data(entity.describe(&self.namespace))))
    }
}

/// The policies that an entity or a group is given, if any were sent.
///
/// # Errors
/// 400 for those that only tokens of the engine's own making have.
pub(super) fn granted(fields: &Fields) -> Result<Option<Vec<String>>, Error> {
    let names = fields.comma_list("policies")?.map(normal_policies);
    if names.iter().flatten().any(|name| name == "root" || name == policies::WRAPPING) {
        return Err(Error::bad_request("policies cannot contain root"));
    }
    Ok(names)
}

/// The answer of a list whose keys come with something about each.
pub(super) fn with_info(info: Map<String, Value>) -> Result<Answer, Error> {
    let mut answer = Answer::keys(info.keys().cloned().collect())?;
    if let Some(data) = &mut answer.data {
        data["key_info"] = info.into();
    }
    Ok(answer)
}
