//! The logins behind credentials of other engines, kept in Secrets of the operator's own namespace.
//!
//! A login is written down before anything is asked for with it, so no crash leaves a user whose login nobody knows. Several
//! Secrets share the entries, because one takes a mebibyte; their names are known beforehand, so that the operator's rights in its own
//! namespace are for these alone. They are read once, at the first use after a start, and only their writer changes them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::place::EngineName;
use super::reach::Reach;
use crate::api::names::{MANAGED_BY, MANAGER};
use crate::base::{Secret, Timestamp};
use crate::operator::dynamic::record::{LeaseRecord, sha256};
use crate::operator::error::{self, Error};

/// A login, and what it was made for.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Names it; begins with `uid`.
    pub key: String,
    /// The UID of the DynamicDatabaseSecret that it is of.
    pub uid: String,
    /// That object's namespace.
    pub namespace: String,
    /// That object's name.
    pub name: String,
    /// The token.
    pub token: Secret,
    /// The engine.
    pub engine: EngineName,
    /// Where the engine was then: its object may be gone when the login has to end.
    pub reach: Reach,
    /// The lease, once there is one.
    pub lease: Option<LeaseRecord>,
    /// When all of it has ended by itself, as far as that is known.
    pub ends: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Kept {
    uid: String,
    namespace: String,
    name: String,
    token: Secret,
    engine: EngineName,
    reach: Reach,
    #[serde(default)]
    lease: Option<LeaseRecord>,
    #[serde(default)]
    ends: Option<Timestamp>,
}

impl Entry {
    fn text(&self) -> String {
        let Self { uid, namespace, name, token, engine, reach, lease, ends, .. } = self;
        json!({
            "uid": uid, "namespace": namespace, "name": name,
            "token": token.expose(), "engine": engine, "reach": reach, "lease": lease, "ends": ends,
        })
        .to_string()
    }

    fn parse(key: &str, text: &[u8]) -> Option<Self> {
        let Kept { uid, namespace, name, token, engine, reach, lease, ends } = serde_json::from_slice(text).ok()?;
        Some(Self { key: key.to_owned(), uid, namespace, name, token, engine, reach, lease, ends })
    }
}

/// The logins of all objects.
pub struct Ledger {
    api: Api<KubeSecret>,
    /// What the names of its Secrets begin with.
    prefix: String,
    entries: OnceCell<Mutex<HashMap<String, Entry>>>,
}

/// What the names of the Secrets end with; the first character of a hash picks one.
const SHARDS: &str = "0123456789abcdef";

impl Ledger {
    /// Nothing was read yet.
    pub fn new(kube: kube::Client, prefix: String) -> Self {
        let namespace = kube.default_namespace().to_owned();
        Self { api: Api::namespaced(kube, &namespace), prefix, entries: OnceCell::new() }
    }

    /// The entries of the object with that UID.
    ///
    /// # Errors
    /// When the Secrets cannot be read.
    pub async fn of(&self, uid: &str) -> Result<Vec<Entry>, Error> {
        Ok(self.entries().await?.values().filter(|entry| entry.uid == uid).cloned().collect())
    }

    /// One entry.
    ///
    /// # Errors
    /// When the Secrets cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.entries().await?.get(key).cloned())
    }

    /// All entries.
    ///
    /// # Errors
    /// When the Secrets cannot be read.
    pub async fn all(&self) -> Result<Vec<Entry>, Error> {
        Ok(self.entries().await?.values().cloned().collect())
    }

    /// Writes an entry down, in place of the one with its key.
    ///
    /// # Errors
    /// What Kubernetes says; the entry may be there nevertheless.
    pub async fn put(&self, entry: Entry) -> Result<(), Error> {
        // Read first: what is read later would overlook it.
        drop(self.entries().await?);
        self.write(&entry.key, Some(entry.text())).await?;
        self.entries().await?.insert(entry.key.clone(), entry);
        Ok(())
    }

    /// Strikes an entry.
    ///
    /// # Errors
    /// What Kubernetes says; the entry is there still then.
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        if self.entries().await?.contains_key(key) {
            self.write(key, None).await?;
            self.entries().await?.remove(key);
        }
        Ok(())
    }

    async fn entries(&self) -> Result<MutexGuard<'_, HashMap<String, Entry>>, Error> {
        let entries = self.entries.get_or_try_init(|| self.load()).await?;
        Ok(entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn load(&self) -> Result<Mutex<HashMap<String, Entry>>, Error> {
        let mut entries = HashMap::new();
        for shard in SHARDS.chars() {
            let name = format!("{}-{shard}", self.prefix);
            let found = self.api.get_opt(&name).await;
            let found = found.map_err(Error::kube(format!("cannot read Secret {name} of the operator's namespace")))?;
            for (key, text) in found.and_then(|secret| secret.data).unwrap_or_default() {
                match Entry::parse(&key, &text.0) {
                    Some(entry) => drop(entries.insert(key, entry)),
                    None => {
                        tracing::error!(secret = name, key, "a login cannot be read; its user lives to its lease's end")
                    }
                }
            }
        }
        Ok(Mutex::new(entries))
    }

    async fn write(&self, key: &str, text: Option<String>) -> Result<(), Error> {
        let name = self.shard(key);
        let failed = |error| Error::kube(format!("cannot write Secret {name} of the operator's namespace"))(error);
        let data = BTreeMap::from([(key, text.map(|text| STANDARD.encode(text)))]);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "data": data }));
        for _ in 0..2 {
            match self.api.patch(&name, &params, &patch).await {
                Err(error) if error::is_not_found(&error) => {}
                answer => return answer.map(drop).map_err(failed),
            }
            match self.api.create(&PostParams::default(), &empty(&name)?).await {
                Err(error) if !error::is_conflict(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        Err(Error::waiting("LedgerGone", format!("Secret {name} of the operator's namespace does not stay")))
    }

    fn shard(&self, key: &str) -> String {
        let uid = key.split('.').next().unwrap_or_default();
        format!("{}-{}", self.prefix, &sha256(&[uid.as_bytes()])[..1])
    }
}

fn empty(name: &str) -> Result<KubeSecret, Error> {
    let secret: Value = json!({ "metadata": { "name": name, "labels": { MANAGED_BY: MANAGER } }, "type": "Opaque" });
    serde_json::from_value(secret)
        .map_err(|error| Error::waiting("Internal", format!("cannot make Secret {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::dynamic::record::tests::record;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_shows_no_token() {
        let reach = json!({ "address": "https://vault:8200", "namespace": "team" });
        let entry = Entry {
            key: "u-1.abc".into(),
            uid: "u-1".into(),
            namespace: "shop".into(),
            name: "db".into(),
            token: Secret::new("canary"),
            engine: EngineName { namespace: "platform".into(), name: "vault".into() },
            reach: serde_json::from_value(reach).unwrap(),
            lease: Some(record("id")),
            ends: Some(Timestamp::UNIX_EPOCH),
        };
        assert!(!format!("{entry:?}").contains("canary"));
        let again = Entry::parse(&entry.key, entry.text().as_bytes()).unwrap();
        assert_eq!((again.token, again.engine, again.reach), (entry.token, entry.engine, entry.reach));
        assert_eq!((again.uid.as_str(), again.lease, again.ends), ("u-1", entry.lease, entry.ends));
        assert!(Entry::parse("k", b"broken").is_none());
    }
}
