//! Groups: entities and other groups that have policies together. Who is in an internal group stands in it; who is in an
//! external one is what its login mount told at each entity's last login.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entity::{Entity, listed, or_null};
use crate::auth::token_params::normal_policies;
use crate::base::Timestamp;

/// Who decides on its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupType {
    /// Its member lists.
    #[default]
    Internal,
    /// A login mount, for the group of its alias.
    External,
}

/// A group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// A UUID.
    pub id: String,
    /// Unique, whatever its case.
    pub name: String,
    /// Never changes.
    pub kind: GroupType,
    /// What its members may do besides their own policies.
    pub policies: Vec<String>,
    /// For people, and for templates in policies.
    pub metadata: BTreeMap<String, String>,
    /// Of an internal group.
    pub member_entity_ids: BTreeSet<String>,
    /// Of an internal group; what is in them is in this one as well.
    pub member_group_ids: BTreeSet<String>,
    /// Of an external group.
    pub alias: Option<GroupAlias>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was written last.
    pub updated: Timestamp,
}

/// The name by which a login mount knows a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupAlias {
    /// A UUID.
    pub id: String,
    /// As logins tell it.
    pub name: String,
    /// Of the login mount.
    pub mount_accessor: String,
    /// Of the login mount, for people.
    pub mount_type: String,
    /// Of the login mount, for people: `auth/ldap/`.
    pub mount_path: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was written last.
    pub updated: Timestamp,
}

/// All groups, by id.
pub type Groups = BTreeMap<String, Arc<Group>>;

/// The groups that an entity is in, and what it may do with all of them.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// Those that name it, or its login.
    pub direct: Vec<Arc<Group>>,
    /// Those that it is in by way of others.
    pub inherited: Vec<Arc<Group>>,
    /// Its own policies and those of all its groups.
    pub policies: Vec<String>,
}

impl Group {
    /// Whether an entity is in it by itself.
    pub fn has(&self, entity: &Entity) -> bool {
        match (&self.kind, &self.alias) {
            (GroupType::Internal, _) => self.member_entity_ids.contains(&entity.id),
            (GroupType::External, Some(own)) => entity
                .aliases
                .iter()
                .any(|alias| alias.mount_accessor == own.mount_accessor && alias.groups.contains(&own.name)),
            (GroupType::External, None) => false,
        }
    }

    /// The value of `id`, `name` or `metadata.KEY`.
    fn lookup(&self, field: &str) -> Option<String> {
        match field.split_once('.') {
            None if field == "id" => Some(self.id.clone()),
            None if field == "name" => Some(self.name.clone()),
            Some(("metadata", key)) => self.metadata.get(key).cloned(),
            _ => None,
        }
    }

    /// As the API shows it, with its members, the groups that it is in, and the id of its namespace.
    pub fn describe(&self, members: Vec<String>, parents: Vec<String>, namespace: &str) -> Value {
        let alias = self.alias.as_ref().map_or_else(|| json!({}), |alias| alias.describe(&self.id));
        json!({
            "id": self.id, "name": self.name, "type": self.kind, "policies": self.policies,
            "metadata": or_null(&self.metadata), "member_entity_ids": listed(&members),
            "member_group_ids": listed(&self.member_group_ids), "parent_group_ids": listed(&parents), "alias": alias,
            "creation_time": self.created.to_string(), "last_update_time": self.updated.to_string(),
            "modify_index": 1, "namespace_id": namespace,
        })
    }
}

impl GroupAlias {
    /// As the API shows it.
    pub fn describe(&self, group: &str) -> Value {
        json!({
            "id": self.id, "canonical_id": group, "name": self.name, "mount_accessor": self.mount_accessor,
            "mount_type": self.mount_type, "mount_path": self.mount_path, "metadata": null,
            "creation_time": self.created.to_string(), "last_update_time": self.updated.to_string(),
            "merged_from_canonical_ids": null,
        })
    }
}

/// The groups that a group is in by itself.
pub fn parents<'a>(groups: &'a Groups, id: &str) -> impl Iterator<Item = &'a Arc<Group>> {
    groups.values().filter(move |group| group.member_group_ids.contains(id))
}

/// The groups that one is in, by itself or by way of others; itself, too, where they go round in a circle.
pub fn ancestors(groups: &Groups, id: &str) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![id.to_owned()]);
    while let Some(id) = open.pop() {
        for parent in parents(groups, &id) {
            if found.insert(parent.id.clone()) {
                open.push(parent.id.clone());
            }
        }
    }
    found
}

impl Membership {
    /// Of an entity, as the groups are.
    pub fn of(entity: &Entity, groups: &Groups) -> Self {
        let direct: Vec<_> = groups.values().filter(|group| group.has(entity)).cloned().collect();
        let mut above: BTreeSet<_> = direct.iter().flat_map(|group| ancestors(groups, &group.id)).collect();
        for group in &direct {
            above.remove(&group.id);
        }
        let inherited: Vec<_> = above.iter().filter_map(|id| groups.get(id).cloned()).collect();
        let of_groups = direct.iter().chain(&inherited).flat_map(|group| group.policies.clone());
        let policies = normal_policies(entity.policies.iter().cloned().chain(of_groups).collect());
        Self { direct, inherited, policies }
    }

    /// The value of what a policy's template names: `ids.ID.name`, `names.NAME.id`, each also `.metadata.KEY`.
    pub fn lookup(&self, name: &str) -> Option<String> {
        let (by, rest) = name.split_once('.')?;
        self.direct.iter().chain(&self.inherited).find_map(|group| {
            let key = match by {
                "ids" => &group.id,
                "names" => &group.name,
                _ => return None,
            };
            group.lookup(rest.strip_prefix(key.as_str())?.strip_prefix('.')?)
        })
    }
}

/// The ids of groups, for the API.
pub fn ids(groups: &[Arc<Group>]) -> Vec<&str> {
    groups.iter().map(|group| group.id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::identity::entity::Alias;

    fn group(id: &str, entities: &[&str], groups: &[&str]) -> Arc<Group> {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let now = Timestamp::UNIX_EPOCH;
        Arc::new(Group {
            id: id.into(),
            name: format!("n.{id}"),
            kind: GroupType::Internal,
            policies: vec![format!("p-{id}")],
            metadata: [("team".to_owned(), id.to_owned())].into(),
            member_entity_ids: set(entities),
            member_group_ids: set(groups),
            alias: None,
            created: now,
            updated: now,
        })
    }

    fn entity() -> Entity {
        let now = Timestamp::UNIX_EPOCH;
        let alias = Alias {
            id: "a".into(),
            name: "sam".into(),
            mount_accessor: "ldap_1".into(),
            mount_type: "ldap".into(),
            mount_path: "auth/ldap/".into(),
            metadata: Default::default(),
            groups: vec!["devs".into()],
            merged_from_canonical_ids: Vec::new(),
            custom_metadata: Default::default(),
            created: now,
            updated: now,
        };
        Entity {
            merged_entity_ids: Vec::new(),
            id: "e".into(),
            name: "e".into(),
            metadata: Default::default(),
            policies: vec!["own".into()],
            disabled: false,
            created: now,
            updated: now,
            aliases: vec![alias],
            membership: Membership::default(),
        }
    }

    fn all(groups: Vec<Arc<Group>>) -> Groups {
        groups.into_iter().map(|group| (group.id.clone(), group)).collect()
    }

    #[test]
    fn policies_come_from_all_groups_above() {
        let groups = all(vec![
            group("a", &["e"], &[]),
            group("b", &[], &["a"]),
            group("c", &[], &["b"]),
            group("d", &["x"], &[]),
        ]);
        let membership = Membership::of(&entity(), &groups);
        assert_eq!((ids(&membership.direct), ids(&membership.inherited)), (vec!["a"], vec!["b", "c"]));
        assert_eq!(membership.policies, ["own", "p-a", "p-b", "p-c"]);
    }

    #[test]
    fn an_external_group_has_who_its_mount_says() {
        let alias = |accessor: &str, name: &str| GroupAlias {
            id: "ga".into(),
            name: name.into(),
            mount_accessor: accessor.into(),
            mount_type: "ldap".into(),
            mount_path: "auth/ldap/".into(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        };
        for (accessor, name, inside) in [("ldap_1", "devs", true), ("ldap_1", "ops", false), ("ldap_2", "devs", false)]
        {
            let own = Group {
                kind: GroupType::External,
                alias: Some(alias(accessor, name)),
                // What stands there from other times does not count.
                member_entity_ids: ["e".to_owned()].into(),
                ..(*group("x", &[], &[])).clone()
            };
            assert_eq!(own.has(&entity()), inside, "{accessor} {name}");
        }
    }

    #[test]
    fn templates_name_groups_that_one_is_in() {
        let groups = all(vec![group("a", &["e"], &[]), group("b", &[], &["a"]), group("d", &[], &[])]);
        let membership = Membership::of(&entity(), &groups);
        for (name, value) in [
            ("ids.a.name", Some("n.a")),
            ("ids.b.metadata.team", Some("b")),
            ("names.n.a.id", Some("a")),
            ("names.n.a.metadata.team", Some("a")),
            ("ids.d.name", None),
            ("names.n.id", None),
            ("ids.a", None),
        ] {
            assert_eq!(membership.lookup(name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn circles_are_seen() {
        let groups = all(vec![group("a", &[], &["b"]), group("b", &[], &["a"])]);
        assert!(ancestors(&groups, "a").contains("a"));
        assert!(!ancestors(&all(vec![group("a", &[], &["b"]), group("b", &[], &[])]), "b").contains("b"));
    }
}
