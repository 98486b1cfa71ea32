//! One prefix of the store: what a mount, a method or a part of the engine may see, with JSON values.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Backend, Error, Op, Txn, Version};

/// How many entries a full scan reads at a time.
const PAGE: usize = 1000;

/// A part of the store that cannot reach outside its prefix. Cheap to clone.
#[derive(Clone)]
pub struct View {
    store: Arc<dyn Backend>,
    prefix: String,
}

impl View {
    /// The part of `store` below `prefix`, which must end in `/` (or be empty: the whole store).
    pub fn new(store: Arc<dyn Backend>, prefix: impl Into<String>) -> Self {
        Self { store, prefix: prefix.into() }
    }

    /// The part below `name/`.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self { store: self.store.clone(), prefix: format!("{}{name}/", self.prefix) }
    }

    /// The key as the store knows it.
    pub fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The store itself, for transactions over several views.
    pub fn store(&self) -> &Arc<dyn Backend> {
        &self.store
    }

    /// The value and its version, or `None`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are not the JSON of `T`, and whatever the store says.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, Version)>, Error> {
        let Some(entry) = self.store.get(&self.full_key(key)).await? else { return Ok(None) };
        decode(&entry.key, &entry.value).map(|value| Some((value, entry.version)))
    }

    /// Writes the value whatever was there before.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<(), Error> {
        let mut txn = Txn::default();
        self.stage_put(&mut txn, key, value)?;
        self.store.commit(txn).await
    }

    /// Writes the value only if the entry still has `version` (0: only if it is absent).
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has not.
    pub async fn put_if<T: Serialize>(&self, key: &str, value: &T, version: Version) -> Result<(), Error> {
        let mut txn = Txn { expect: vec![(self.full_key(key), version)], ops: Vec::new() };
        self.stage_put(&mut txn, key, value)?;
        self.store.commit(txn).await
    }

    /// Removes the entry; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        self.store.commit(Txn { expect: Vec::new(), ops: vec![Op::Delete(self.full_key(key))] }).await
    }

    /// Adds a write of this view to a transaction.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn stage_put<T: Serialize>(&self, txn: &mut Txn, key: &str, value: &T) -> Result<(), Error> {
        txn.ops.push(Op::Put(self.full_key(key), encode(&self.full_key(key), value)?));
        Ok(())
    }

    /// Adds a removal of this view to a transaction.
    pub fn stage_delete(&self, txn: &mut Txn, key: &str) {
        txn.ops.push(Op::Delete(self.full_key(key)));
    }

    /// Values below `prefix` in key order, keys relative to this view: one page of at most `limit` after `after`.
    ///
    /// # Errors
    /// As [`View::get`].
    pub async fn page<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, T)>, Error> {
        let after = after.map(|key| self.full_key(key));
        let entries = self.store.range(&self.full_key(prefix), after.as_deref(), limit).await?;
        entries
            .iter()
            .map(|entry| Ok((entry.key[self.prefix.len()..].to_owned(), decode(&entry.key, &entry.value)?)))
            .collect()
    }

    /// Every key below `prefix`, relative to this view, without its value being decoded.
    ///
    /// # Errors
    /// What the store says.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map(|key| self.full_key(key));
            let page = self.store.range(&self.full_key(prefix), after.as_deref(), PAGE).await?;
            let done = page.len() < PAGE;
            keys.extend(page.into_iter().map(|entry| entry.key[self.prefix.len()..].to_owned()));
            if done {
                return Ok(keys);
            }
        }
    }

    /// The names directly below `folder` (empty, or ending in `/`); sub-folders end in `/`, as Vault lists them.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        for key in self.keys(folder).await? {
            let rest = &key[folder.len()..];
            let name = rest.find('/').map_or(rest, |slash| &rest[..=slash]);
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Corrupt { key: key.to_owned(), problem: error.to_string() })
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupt { key: key.to_owned(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;

    fn view() -> View {
        View::new(Arc::new(Memory::default()), "mount/")
    }

    #[tokio::test]
    async fn lists_names_and_folders_once() {
        let view = view();
        for key in ["role/a", "role/b/x", "role/b/y", "role/c", "other"] {
            view.put(key, &1).await.unwrap();
        }
        assert_eq!(view.list("role/").await.unwrap(), ["a", "b/", "c"]);
        assert_eq!(view.list("none/").await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_conditional_write_loses_against_a_newer_version() {
        let view = view();
        view.put_if("k", &1, 0).await.unwrap();
        let (value, version) = view.get::<u8>("k").await.unwrap().unwrap();
        assert_eq!(value, 1);
        view.put("k", &2).await.unwrap();
        assert!(matches!(view.put_if("k", &3, version).await, Err(Error::Conflict(_))));
        assert!(matches!(view.put_if("k", &3, 0).await, Err(Error::Conflict(_))));
    }
}
