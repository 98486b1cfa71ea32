//! `identity/entity/merge`: several entities that are one caller become one.

use std::sync::Arc;

use super::Identity;
use super::entity::Entity;
use super::group::{Group, Groups};
use crate::auth::token_params::normal_policies;
use crate::base::Timestamp;
use crate::storage::Txn;
use crate::wire::{Answer, Error, Fields};

impl Identity {
    /// Gives the aliases, policies and memberships of some entities to another, and ends them, all at once. Their tokens are the
    /// other's from then on.
    pub(super) async fn merge(&self, fields: &Fields) -> Result<Answer, Error> {
        let _one_writer = self.writing.lock().await;
        let to = fields.string("to_entity_id")?.filter(|id| !id.is_empty());
        let to = to.ok_or_else(|| Error::bad_request("missing entity id to merge to"))?;
        let mut ids = fields.comma_list("from_entity_ids")?.unwrap_or_default();
        let mut kept_ids = std::collections::BTreeSet::new();
        ids.retain(|id| kept_ids.insert(id.clone()));
        if ids.is_empty() {
            return Err(Error::bad_request("missing entity ids to merge from"));
        }
        if ids.contains(&to) {
            return Err(Error::bad_request("to_entity_id should not be present in from_entity_ids"));
        }
        let target = self.fresh_by_id(&to).await?;
        let target = target.ok_or_else(|| Error::bad_request("entity id to merge to is invalid"))?;
        let mut sources = Vec::new();
        for id in &ids {
            let source = self.fresh_by_id(id).await?;
            sources.push(source.ok_or_else(|| Error::bad_request("entity id to merge from is invalid"))?);
        }
        let keep = fields.comma_list("conflicting_alias_ids_to_keep")?.unwrap_or_default();
        // MFA is not offered, so there is nothing that it could force.
        fields.bool("force")?;
        let merged = merge(&target, &sources, &keep, self.clock.now())?;
        let groups = self.groups();
        let regrouped: Vec<_> = groups.values().filter_map(|group| regroup(group, &ids, &to)).collect();
        self.store_merged(&target, &sources, merged, &groups, regrouped).await?;
        Ok(Answer::empty())
    }

    async fn store_merged(
        &self,
        target: &Entity,
        sources: &[Entity],
        merged: Entity,
        groups: &Groups,
        regrouped: Vec<Group>,
    ) -> Result<(), Error> {
        let (mut txn, mut groups) = (Txn::default(), groups.clone());
        for entity in sources.iter().chain([target]) {
            self.stage_without(&mut txn, entity);
        }
        self.stage_with(&mut txn, &merged)?;
        for group in regrouped {
            self.view.stage_put(&mut txn, &format!("group/{}", group.id), &group)?;
            groups.insert(group.id.clone(), Arc::new(group));
        }
        self.view.store().commit(txn).await?;
        // This empties the cache of entities, too.
        self.replace_groups(groups);
        Ok(())
    }
}

/// What becomes of an entity that takes others over.
///
/// # Errors
/// 400 where two of them are known to the same login mount, and `keep` does not say by which alias.
fn merge(target: &Entity, sources: &[Entity], keep: &[String], now: Timestamp) -> Result<Entity, Error> {
    let mut merged = target.clone();
    for source in sources {
        for alias in &source.aliases {
            let same = |other: &super::entity::Alias| other.mount_accessor == alias.mount_accessor;
            if let Some(at) = merged.aliases.iter().position(same) {
                let other = &merged.aliases[at];
                match (keep.contains(&alias.id), keep.contains(&other.id)) {
                    _ if sources.len() > 1 => return Err(clash(alias, other)),
                    (true, false) => drop(merged.aliases.remove(at)),
                    (false, true) => continue,
                    _ => return Err(clash(alias, other)),
                }
            }
            let mut alias = alias.clone();
            alias.merged_from_canonical_ids.push(source.id.clone());
            alias.updated = now;
            merged.aliases.push(alias);
        }
        merged.merged_entity_ids.push(source.id.clone());
        merged.merged_entity_ids.extend(source.merged_entity_ids.iter().cloned());
        merged.policies.extend(source.policies.iter().cloned());
    }
    merged.policies = normal_policies(merged.policies);
    merged.updated = now;
    Ok(merged)
}

fn clash(alias: &super::entity::Alias, other: &super::entity::Alias) -> Error {
    Error::bad_request(format!(
        "the aliases {} ({}) and {} ({}) are both of the mount {}: merge one entity at a time, and name the alias that is kept \
         in \"conflicting_alias_ids_to_keep\"",
        alias.name, alias.id, other.name, other.id, alias.mount_accessor
    ))
}

/// The group with the one entity in the others' place; none where it had none of them.
fn regroup(group: &Group, from: &[String], to: &str) -> Option<Group> {
    let mut group = group.clone();
    let before = group.member_entity_ids.len();
    group.member_entity_ids.retain(|id| !from.contains(id));
    if group.member_entity_ids.len() == before {
        return None;
    }
    group.member_entity_ids.insert(to.to_owned());
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::super::entity::Alias;
    use super::super::group::Membership;
    use super::*;

    fn alias(id: &str, accessor: &str) -> Alias {
        Alias {
            id: id.into(),
            name: format!("name of {id}"),
            mount_accessor: accessor.into(),
            mount_type: "userpass".into(),
            mount_path: "auth/userpass/".into(),
            metadata: Default::default(),
            groups: Vec::new(),
            custom_metadata: Default::default(),
            merged_from_canonical_ids: Vec::new(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    fn entity(id: &str, policy: &str, aliases: Vec<Alias>) -> Entity {
        Entity {
            id: id.into(),
            name: id.into(),
            metadata: Default::default(),
            policies: vec![policy.into()],
            disabled: false,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
            aliases,
            merged_entity_ids: Vec::new(),
            membership: Membership::default(),
        }
    }

    fn ids(aliases: &[Alias]) -> Vec<&str> {
        aliases.iter().map(|alias| alias.id.as_str()).collect()
    }

    #[test]
    fn what_was_others_becomes_the_ones() {
        let target = entity("t", "p", vec![alias("1", "ldap")]);
        let mut sources = vec![entity("a", "q", vec![alias("2", "oidc")]), entity("b", "p", Vec::new())];
        sources[1].merged_entity_ids.push("older".into());
        let merged = merge(&target, &sources, &[], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((merged.id.as_str(), ids(&merged.aliases)), ("t", vec!["1", "2"]));
        assert_eq!(merged.policies, ["p", "q"]);
        assert_eq!(merged.merged_entity_ids, ["a", "b", "older"]);
        assert_eq!(merged.aliases[1].merged_from_canonical_ids, ["a"]);
    }

    #[test]
    fn of_two_aliases_at_one_mount_somebody_chooses() {
        let (target, source) = (entity("t", "p", vec![alias("1", "m")]), entity("a", "p", vec![alias("2", "m")]));
        let merged = |keep: &[&str], sources: &[Entity]| {
            let keep: Vec<_> = keep.iter().map(|id| (*id).to_owned()).collect();
            merge(&target, sources, &keep, Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())
        };
        let one = std::slice::from_ref(&source);
        assert_eq!(ids(&merged(&["1"], one).unwrap().aliases), ["1"]);
        assert_eq!(ids(&merged(&["2"], one).unwrap().aliases), ["2"]);
        for (keep, sources) in
            [(&[][..], one), (&["1", "2"], one), (&["2"], &[source.clone(), entity("b", "p", Vec::new())])]
        {
            let error = merged(keep, sources).unwrap_err();
            assert!(error.contains("conflicting_alias_ids_to_keep"), "{error}");
        }
    }
}
