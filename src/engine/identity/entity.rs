//! What is known of a caller across its logins: an entity, and the names (aliases) that login methods know it by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::group::{self, Membership};
use crate::auth::token_params::normal_policies;
use crate::base::Timestamp;
use crate::wire::Auth;

/// A caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entity {
    /// A UUID.
    pub id: String,
    /// Unique, whatever its case.
    pub name: String,
    /// For people, and for templates in policies.
    pub metadata: BTreeMap<String, String>,
    /// What its tokens may do besides their own policies.
    pub policies: Vec<String>,
    /// Whether its tokens and logins are refused.
    pub disabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was written last.
    pub updated: Timestamp,
    /// One for each login mount that knows it.
    pub aliases: Vec<Alias>,
    /// The ids of those that it has taken over; tokens that name one of them are its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_entity_ids: Vec<String>,
    /// The groups that it was in when it was read; they know their members, so this is not stored.
    #[serde(skip)]
    pub membership: Membership,
}

/// A name by which one login mount knows an entity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alias {
    /// A UUID.
    pub id: String,
    /// The role id, the ServiceAccount's UID or name and the like.
    pub name: String,
    /// Of the login mount.
    pub mount_accessor: String,
    /// Of the login mount, for people.
    pub mount_type: String,
    /// Of the login mount, for people: `auth/approle/`.
    pub mount_path: String,
    /// What the last login told.
    pub metadata: BTreeMap<String, String>,
    /// The groups that the last login told of, by the names of group aliases of the mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What users note.
    pub custom_metadata: BTreeMap<String, String>,
    /// The entities that it belonged to before they were merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from_canonical_ids: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was written last.
    pub updated: Timestamp,
}

impl Entity {
    /// The value of what a policy's template names: `identity.entity.id`, `.name`, `.metadata.KEY`,
    /// `.aliases.ACCESSOR.id`, `.name`, `.metadata.KEY`, `.custom_metadata.KEY`; `identity.groups.ids.ID.name`,
    /// `.names.NAME.id` and both with `.metadata.KEY`.
    pub fn lookup(&self, name: &str) -> Option<String> {
        if let Some(rest) = name.strip_prefix("identity.groups.") {
            return self.membership.lookup(rest);
        }
        let rest = name.strip_prefix("identity.entity.")?;
        match rest.split_once('.') {
            None if rest == "id" => Some(self.id.clone()),
            None if rest == "name" => Some(self.name.clone()),
            Some(("metadata", key)) => self.metadata.get(key).cloned(),
            Some(("aliases", rest)) => {
                let (accessor, field) = rest.split_once('.')?;
                self.aliases.iter().find(|alias| alias.mount_accessor == accessor)?.lookup(field)
            }
            _ => None,
        }
    }

    /// Its policies and those of its groups.
    pub fn identity_policies(&self) -> &[String] {
        &self.membership.policies
    }

    /// The policies of its tokens: their own, its, and those of its groups.
    pub fn all_policies(&self, own: &[String]) -> Vec<String> {
        normal_policies(own.iter().chain(self.identity_policies()).cloned().collect())
    }

    /// The answer about one of its tokens, with its policies.
    pub fn complete(&self, auth: Auth) -> Auth {
        let policies = self.all_policies(&auth.policies);
        Auth { policies, identity_policies: self.identity_policies().to_vec(), entity_id: self.id.clone(), ..auth }
    }

    /// As the API shows it, in the namespace of that id.
    pub fn describe(&self, namespace: &str) -> Value {
        let aliases: Vec<_> = self.aliases.iter().map(|alias| alias.describe(&self.id)).collect();
        let (direct, inherited) = (group::ids(&self.membership.direct), group::ids(&self.membership.inherited));
        let all = [&direct[..], &inherited].concat();
        json!({
            "id": self.id, "name": self.name, "metadata": or_null(&self.metadata), "policies": self.policies,
            "disabled": self.disabled, "creation_time": self.created.to_string(),
            "last_update_time": self.updated.to_string(), "aliases": aliases,
            "merged_entity_ids": listed(&self.merged_entity_ids),
            "direct_group_ids": direct, "group_ids": all, "inherited_group_ids": inherited, "mfa_secrets": {},
            "namespace_id": namespace,
        })
    }
}

impl Alias {
    fn lookup(&self, field: &str) -> Option<String> {
        match field.split_once('.') {
            None if field == "id" => Some(self.id.clone()),
            None if field == "name" => Some(self.name.clone()),
            Some(("metadata", key)) => self.metadata.get(key).cloned(),
            Some(("custom_metadata", key)) => self.custom_metadata.get(key).cloned(),
            _ => None,
        }
    }

    /// As the API shows it.
    pub fn describe(&self, entity: &str) -> Value {
        json!({
            "id": self.id, "canonical_id": entity, "name": self.name, "mount_accessor": self.mount_accessor,
            "mount_type": self.mount_type, "mount_path": self.mount_path, "metadata": or_null(&self.metadata),
            "custom_metadata": or_null(&self.custom_metadata), "creation_time": self.created.to_string(),
            "last_update_time": self.updated.to_string(), "local": false,
            "merged_from_canonical_ids": listed(&self.merged_from_canonical_ids),
        })
    }
}

/// Ids as the API lists them.
pub(super) fn listed<'a>(ids: impl IntoIterator<Item = &'a String>) -> Value {
    let ids: Vec<_> = ids.into_iter().collect();
    if ids.is_empty() { Value::Null } else { json!(ids) }
}

pub(super) fn or_null(map: &BTreeMap<String, String>) -> Value {
    if map.is_empty() { Value::Null } else { json!(map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_what_is_there_and_nothing_else() {
        let created = Timestamp::UNIX_EPOCH;
        let map = |key: &str| BTreeMap::from([(key.to_owned(), "value".to_owned())]);
        let alias = Alias {
            id: "alias".into(),
            name: "sa".into(),
            mount_accessor: "auth_k_1".into(),
            mount_type: "kubernetes".into(),
            mount_path: "auth/k/".into(),
            metadata: map("role"),
            groups: Vec::new(),
            custom_metadata: map("c"),
            merged_from_canonical_ids: Vec::new(),
            created,
            updated: created,
        };
        let entity = Entity {
            id: "id".into(),
            name: "name".into(),
            metadata: map("team.sub"),
            policies: Vec::new(),
            disabled: false,
            created,
            updated: created,
            aliases: vec![alias],
            merged_entity_ids: Vec::new(),
            membership: Membership::default(),
        };
        for (name, value) in [
            ("identity.entity.id", Some("id")),
            ("identity.entity.name", Some("name")),
            ("identity.entity.metadata.team.sub", Some("value")),
            ("identity.entity.aliases.auth_k_1.name", Some("sa")),
            ("identity.entity.aliases.auth_k_1.metadata.role", Some("value")),
            ("identity.entity.aliases.auth_k_1.custom_metadata.c", Some("value")),
            ("identity.entity.aliases.other.name", None),
            ("identity.entity.metadata.none", None),
            ("identity.groups.ids.x.name", None),
        ] {
            assert_eq!(entity.lookup(name).as_deref(), value, "{name}");
        }
    }
}
