//! Namespaces: engines within the engine, each with mounts, logins, policies, tokens, leases and identities of its own.
//!
//! Every namespace has a [`Core`] over a part of the store of its own, so a request in one has no way to name what lies in
//! another. Only three things reach across: the policies of a token act below its namespace, too (`session.rs`), such a
//! token's leases and children end with it ([`super::lease::peers`]), and root's quotas and audit devices see everything.

mod directory;
mod lifecycle;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Random;
use crate::wire::Error;

pub use directory::{Directory, Space};

/// Names that paths of the API begin with, or that stand for root.
const RESERVED: &[&str] = &["root", "sys", "audit", "auth", "cubbyhole", "identity"];

/// Letters and digits of an id; as many as in Vault's.
const ID_LENGTH: usize = 6;

/// Which namespace a part of the engine belongs to. The default is root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Ends the ids of all that belongs here; empty for root.
    pub id: String,
    /// `team/sub/`; empty for root.
    pub path: String,
}

impl Place {
    /// Whether this is no namespace but the engine itself.
    pub fn is_root(&self) -> bool {
        self.id.is_empty()
    }

    /// What the keys of everything that it stores begin with.
    pub fn prefix(&self) -> String {
        prefix_of(&self.id)
    }

    /// An id that says where it belongs (vault-api.md 0.7): `NAME.ID`, in root just `NAME`.
    pub fn mark(&self, name: String) -> String {
        if self.is_root() { name } else { format!("{name}.{}", self.id) }
    }

    /// A path of this namespace as root has it.
    pub fn full<'a>(&self, path: &'a str) -> Cow<'a, str> {
        if self.is_root() { Cow::Borrowed(path) } else { Cow::Owned(format!("{}{path}", self.path)) }
    }

    /// What the API shows as its id.
    pub fn shown_id(&self) -> &str {
        if self.is_root() { "root" } else { &self.id }
    }
}

/// What the keys of everything in the namespace of that id begin with.
pub fn prefix_of(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!("namespace/{id}/") }
}

/// The id of the namespace that a [marked](Place::mark) name belongs to; empty for root. Names themselves hold no dots.
pub fn id_in(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, id)| id)
}

/// Whatever the users of a namespace write about it.
pub type Metadata = BTreeMap<String, String>;

/// A namespace as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// See [`Place::id`].
    pub id: String,
    /// Shown in the API only.
    pub uuid: String,
    /// See [`Place::path`].
    pub path: String,
    /// For its users.
    #[serde(default)]
    pub custom_metadata: Metadata,
    /// The SHA-256 digest, in hex, of the key that unlocks it.
    #[serde(default)]
    pub lock: Option<String>,
    /// Being deleted: answers nothing more.
    #[serde(default)]
    pub tainted: bool,
}

impl Record {
    fn new(path: String, random: &dyn Random) -> Self {
        let (id, uuid) = (random.base62(ID_LENGTH), random.uuid());
        Self { id, uuid, path, custom_metadata: Metadata::new(), lock: None, tainted: false }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place { id: self.id.clone(), path: self.path.clone() }
    }
}

/// The path of a namespace as it is stored: no leading slash, one trailing slash.
///
/// # Errors
/// 400 for a name that the API uses otherwise, or one with odd characters.
pub fn normal_path(path: &str) -> Result<String, Error> {
    let path = path.trim_matches('/');
    for name in path.split('/') {
        if RESERVED.contains(&name) {
            return Err(Error::bad_request(format!("{name:?} is a reserved path and cannot be used as a namespace")));
        }
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(Error::bad_request(format!(
                "{path:?} is not the path of a namespace: use letters, digits, '-', '_' and '.'"
            )));
        }
    }
    Ok(format!("{path}/"))
}

#[cfg(test)]
mod name_tests {
    use super::*;

    #[test]
    fn names_say_where_they_belong() {
        let place = Place { id: "a1B2c3".into(), path: "team/".into() };
        assert_eq!(place.mark("s.xyz".into()), "s.xyz.a1B2c3");
        assert_eq!((id_in("0a1b.a1B2c3"), id_in("0a1b")), ("a1B2c3", ""));
        assert_eq!(place.full("sys/mounts"), "team/sys/mounts");
        let root = Place::default();
        assert_eq!((root.mark("s.xyz".into()).as_str(), &*root.full("sys/mounts")), ("s.xyz", "sys/mounts"));
    }

    #[test]
    fn paths_that_the_api_uses_name_no_namespace() {
        assert_eq!(normal_path("/team/sub/").unwrap(), "team/sub/");
        for wrong in ["", "sys", "team/auth", "a b", ".", "..", "root", "a//b"] {
            assert!(normal_path(wrong).is_err(), "{wrong:?}");
        }
    }
}
