//! What version 2 stores: settings, the metadata of each path, and each version of its data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::Data;
use crate::base::Timestamp;
use crate::base::clock::add_seconds;
use crate::storage::{Error, Txn, Version as Stored, View};

/// How many versions are kept where nothing says how many.
const DEFAULT_VERSIONS: u64 = 10;

/// The settings of a mount, for all its paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Versions that are kept of each path; 0 is unset.
    pub max_versions: u64,
    /// Whether every write needs `cas`.
    pub cas_required: bool,
    /// Whether every write of metadata needs `metadata_cas`.
    pub metadata_cas_required: bool,
    /// Whole seconds after which a version deletes itself; 0 is unset, -1 forbids it whatever the path's metadata say.
    pub delete_version_after: i64,
}

/// One version of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// When it was written.
    pub created: Timestamp,
    /// When it was, or will be, deleted.
    pub deletion: Option<Timestamp>,
    /// Whether its data are gone for good.
    pub destroyed: bool,
}

impl Version {
    /// Whether it is not to be read any more.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.destroyed || self.deletion.is_some_and(|deletion| deletion <= now)
    }
}

/// What is known of a path besides its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// By number, from 1.
    pub versions: BTreeMap<u64, Version>,
    /// The latest version; 0 before the first.
    pub current: u64,
    /// The oldest version that is kept, once one was dropped.
    pub oldest: u64,
    /// When the first version, or the metadata, was written.
    pub created: Timestamp,
    /// When anything was written last.
    pub updated: Timestamp,
    /// Versions that are kept; 0 is the mount's.
    pub max_versions: u64,
    /// Whether every write needs `cas`.
    pub cas_required: bool,
    /// Whether every write of metadata needs `metadata_cas`.
    pub metadata_cas_required: bool,
    /// Counts the writes of metadata.
    pub metadata_version: u64,
    /// Whole seconds; 0 is unset.
    pub delete_version_after: u64,
    /// For people and their programs.
    pub custom: BTreeMap<String, String>,
}

/// A version that was just added.
pub struct Added {
    /// Its number.
    pub number: u64,
    /// The numbers of those that are kept no longer.
    pub dropped: Vec<u64>,
}

impl Metadata {
    /// Of a path that has no version yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            versions: BTreeMap::new(),
            current: 0,
            oldest: 0,
            created: now,
            updated: now,
            max_versions: 0,
            cas_required: false,
            metadata_cas_required: false,
            metadata_version: 0,
            delete_version_after: 0,
            custom: BTreeMap::new(),
        }
    }

    /// Adds a version and drops the oldest ones beyond the limit, which is the larger one of path and mount.
    pub fn add(&mut self, now: Timestamp, deletion: Option<Timestamp>, mount_limit: u64) -> Added {
        self.current += 1;
        self.versions.insert(self.current, Version { created: now, deletion, destroyed: false });
        self.updated = now;
        let limit = Some(self.max_versions.max(mount_limit)).filter(|limit| *limit > 0).unwrap_or(DEFAULT_VERSIONS);
        let mut dropped = Vec::new();
        if self.current - self.oldest >= limit {
            let last = self.current - limit;
            dropped = self.versions.range(..=last).map(|(number, _)| *number).collect();
            self.versions.retain(|number, _| *number > last);
            self.oldest = last + 1;
        }
        Added { number: self.current, dropped }
    }

    /// When a version that is written now deletes itself: the earlier of what path and mount say.
    pub fn deletion(&self, config: &Config, now: Timestamp) -> Option<Timestamp> {
        let mount = u64::try_from(config.delete_version_after).ok()?;
        let after = [mount, self.delete_version_after].into_iter().filter(|seconds| *seconds > 0).min()?;
        Some(add_seconds(now, after))
    }
}

/// The storage of one mount: `config`, `metadata/<path>`, `version/<path>/<number>`.
#[derive(Clone)]
pub struct Store {
    view: View,
}

impl Store {
    /// In the mount's own part of the store.
    pub fn new(view: View) -> Self {
        Self { view }
    }

    /// The mount's part of the store.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The settings, and their version for a write.
    ///
    /// # Errors
    /// What the store says.
    pub async fn config(&self) -> Result<(Config, Stored), Error> {
        Ok(self.view.get("config").await?.unwrap_or_default())
    }

    /// Writes the settings if they have not been changed since; false if they have.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put_config(&self, config: &Config, seen: Stored) -> Result<bool, Error> {
        won(self.view.put_if("config", config, seen).await)
    }

    /// The metadata of a path, and their version for a write.
    ///
    /// # Errors
    /// What the store says.
    pub async fn metadata(&self, path: &str) -> Result<Option<(Metadata, Stored)>, Error> {
        self.view.get(&metadata_key(path)).await
    }

    /// Where the metadata of a path are in the whole store.
    pub fn metadata_key(&self, path: &str) -> String {
        self.view.full_key(&metadata_key(path))
    }

    /// Adds the write of a path's metadata to a transaction.
    ///
    /// # Errors
    /// When they cannot be written as JSON.
    pub fn stage_metadata(&self, txn: &mut Txn, path: &str, metadata: &Metadata) -> Result<(), Error> {
        self.view.stage_put(txn, &metadata_key(path), metadata)
    }

    /// The data of one version, whose metadata were read at the version `seen`; `None` if somebody has changed these
    /// meanwhile.
    ///
    /// # Errors
    /// What the store says; `Corrupt` when they are not there although the metadata say so.
    pub async fn data(&self, path: &str, seen: Stored, number: u64) -> Result<Option<Data>, Error> {
        let key = version_key(path, number);
        if let Some((data, _)) = self.view.get(&key).await? {
            return Ok(Some(data));
        }
        match self.metadata(path).await? {
            Some((_, version)) if version == seen => {
                Err(Error::Corrupt { key, problem: "the data of this version are missing".to_owned() })
            }
            _ => Ok(None),
        }
    }

    /// Writes metadata that were read at the version `seen`, adding data of one version and removing those of others, all or
    /// nothing; false if somebody else has written meanwhile.
    ///
    /// # Errors
    /// What the store says.
    pub async fn commit(&self, path: &str, seen: Stored, change: Change<'_>) -> Result<bool, Error> {
        let mut txn = Txn { expect: vec![(self.metadata_key(path), seen)], ops: Vec::new() };
        match change.metadata {
            Some(metadata) => self.stage_metadata(&mut txn, path, metadata)?,
            None => self.view.stage_delete(&mut txn, &metadata_key(path)),
        }
        if let Some((number, data)) = change.added {
            self.view.stage_put(&mut txn, &version_key(path, number), data)?;
        }
        for number in change.removed {
            self.view.stage_delete(&mut txn, &version_key(path, *number));
        }
        won(self.view.store().commit(txn).await)
    }
}

/// A change of a path.
pub struct Change<'a> {
    /// As they are afterwards; `None` removes the path.
    pub metadata: Option<&'a Metadata>,
    /// A new version.
    pub added: Option<(u64, &'a Data)>,
    /// Versions whose data go.
    pub removed: &'a [u64],
}

fn won(committed: Result<(), Error>) -> Result<bool, Error> {
    match committed {
        Ok(()) => Ok(true),
        Err(Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn metadata_key(path: &str) -> String {
    format!("metadata/{path}")
}

/// No two versions share a key: what follows the last slash is always the number.
pub fn version_key(path: &str, number: u64) -> String {
    format!("version/{path}/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn the_oldest_versions_are_dropped_beyond_the_limit() {
        let mut metadata = Metadata::new(NOW);
        for number in 1..=9 {
            assert_eq!(metadata.add(NOW, None, 0).number, number);
        }
        assert_eq!(metadata.oldest, 0);
        assert!(metadata.add(NOW, None, 0).dropped.is_empty());
        assert_eq!(metadata.oldest, 1);
        assert_eq!(metadata.add(NOW, None, 0).dropped, [1]);
        metadata.max_versions = 3;
        assert_eq!(metadata.add(NOW, None, 0).dropped, (2..=9).collect::<Vec<_>>());
        assert_eq!(metadata.versions.keys().copied().collect::<Vec<_>>(), [10, 11, 12]);
        assert!(metadata.add(NOW, None, 5).dropped.is_empty(), "the larger limit holds");
    }

    #[test]
    fn the_shorter_life_of_a_version_holds_unless_the_mount_forbids_it() {
        let deletion = |mount: i64, path: u64| {
            let config = Config { delete_version_after: mount, ..Config::default() };
            let metadata = Metadata { delete_version_after: path, ..Metadata::new(NOW) };
            metadata.deletion(&config, NOW).map(Timestamp::as_second)
        };
        assert_eq!(deletion(0, 0), None);
        assert_eq!(deletion(60, 0), Some(60));
        assert_eq!(deletion(60, 30), Some(30));
        assert_eq!(deletion(0, 30), Some(30));
        assert_eq!(deletion(-1, 30), None);
    }
}
