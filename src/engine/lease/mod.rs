//! Leases: the record of every credential that exists, made before the credential and removed after it.
//!
//! `issue.rs` makes and prolongs them, `revoke.rs` ends them, `worker.rs` ends them when nobody asked, `book.rs` shows each
//! secrets engine its own, `trace.rs` tells whose credential is whose, `logins.rs` through which login mounts they came,
//! `peers.rs` reaches into other namespaces.
//!
//! Keys below `lease/`: `id/<lease id>` the record, `owner/<owner>/<lease id>` the index by owner,
//! `queue/<group>/<time>/<lease id>` what waits to be revoked, by the connection that it needs.

pub mod book;
pub mod issue;
pub mod logins;
pub mod peers;
pub mod revoke;
pub mod tidy;
pub mod trace;
pub mod worker;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use self::peers::Peers;
use super::due::{Due, Index};
use super::mount::Table;
use super::namespace::Place;
use super::quota::Quotas;
use super::token::Tokens;
use super::ttl::Limits;
use crate::auth::Workload;
use crate::base::clock::seconds_between;
use crate::base::{Clock, Random, Timestamp};
use crate::secrets::SecretsEngine;
use crate::storage::{Error as StorageError, Version, View};

/// Who owns a lease: with its owner it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The token with this salted hash.
    Token(String),
    /// A pod or a Kubernetes object.
    Workload(Workload),
    /// Nobody yet: the mount with this uuid made it ahead.
    Stock(String),
}

impl Owner {
    fn folder(&self) -> String {
        match self {
            Self::Token(hash) => format!("owner/t/{hash}/"),
            Self::Workload(workload) => workload_folder(&workload.uid),
            Self::Stock(mount) => format!("owner/s/{mount}/"),
        }
    }
}

fn workload_folder(uid: &str) -> String {
    format!("owner/w/{uid}/")
}

/// A stored lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lease {
    /// `<request path>/<24 base62>`, and `.<namespace id>` outside root.
    pub id: String,
    /// The mount that made the credential, `database/`.
    pub mount: String,
    /// Its revocation queue: mount and connection. One whose database is down delays no other.
    pub group: String,
    /// When the credential was asked for.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was prolonged last.
    pub last_renewal: Option<Timestamp>,
    /// Whether it may be prolonged.
    pub renewable: bool,
    /// With whom it ends.
    pub owner: Owner,
    /// What the secrets engine needs to prolong and drop the credential.
    pub record: Value,
    /// Set once it is to be revoked, by whatever cause but its expiry.
    pub revoking: Option<Timestamp>,
    /// No renewal goes beyond: the end of the batch token that it was asked for with.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Lease {
    /// Whole seconds left.
    pub fn ttl(&self, now: Timestamp) -> u64 {
        seconds_between(now, self.expires)
    }

    /// Whether it is good for nothing any more, although its credential may not be dropped yet.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.revoking.is_some() || self.expires <= now
    }

    fn due(&self) -> Due {
        Due::Lease { id: self.id.clone(), group: self.group.clone() }
    }
}

/// An attempt at a revocation that has to wait: the value of a queue entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// How often it failed.
    pub failures: u32,
    /// Why it failed last; sanitized by the driver.
    pub error: String,
}

/// All leases of a namespace, and what ends them.
pub struct Leases {
    place: Place,
    peers: Arc<Peers>,
    view: View,
    due: Index,
    tombstones: View,
    mounts: Arc<Table<dyn SecretsEngine>>,
    tokens: Arc<Tokens>,
    limits: Limits,
    quotas: Arc<Quotas>,
    /// What happened since the start.
    pub counts: Counts,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Running queue workers, by group.
    groups: Mutex<HashMap<String, Arc<Notify>>>,
    undelivered: mpsc::UnboundedSender<String>,
}

/// Counters for monitoring.
#[derive(Debug, Default)]
pub struct Counts {
    /// Credentials that were made and answered.
    pub issued: AtomicU64,
    /// Leases that were prolonged.
    pub renewed: AtomicU64,
    /// Credentials that were dropped.
    pub revoked: AtomicU64,
    /// Attempts to drop one that failed.
    pub failed: AtomicU64,
    /// Credentials that were given up by force.
    pub forced: AtomicU64,
}

/// What [`Leases::open`] needs.
pub struct Parts {
    /// The namespace that they belong to.
    pub place: Place,
    /// The leases of the others.
    pub peers: Arc<Peers>,
    /// The engine's own part of the store.
    pub view: View,
    /// The due index that tokens share.
    pub due: Index,
    /// The secrets engines.
    pub mounts: Arc<Table<dyn SecretsEngine>>,
    /// The tokens.
    pub tokens: Arc<Tokens>,
    /// The server's limits.
    pub limits: Limits,
    /// The quotas of leases, which are about all namespaces.
    pub quotas: Arc<Quotas>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Leases {
    /// The leases of a store, and the channel on which undelivered ones are reported to [`Leases::run`].
    pub fn open(parts: Parts) -> (Arc<Self>, mpsc::UnboundedReceiver<String>) {
        let (undelivered, receiver) = mpsc::unbounded_channel();
        let leases = Arc::new(Self {
            place: parts.place,
            peers: parts.peers,
            tombstones: parts.view.sub("workload-ended"),
            view: parts.view.sub("lease"),
            due: parts.due,
            mounts: parts.mounts,
            tokens: parts.tokens,
            limits: parts.limits,
            quotas: parts.quotas,
            counts: Counts::default(),
            clock: parts.clock,
            random: parts.random,
            groups: Mutex::default(),
            undelivered,
        });
        leases.peers.add(&leases);
        (leases, receiver)
    }

    /// The lease, whatever its state.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, id: &str) -> Result<Option<(Lease, Version)>, StorageError> {
        self.view.get(&record_key(id)).await
    }

    /// The names directly below `prefix` (a path without lease id), sub-folders ending in `/`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let folder = prefix.trim_matches('/');
        let folder = if folder.is_empty() { "id/".to_owned() } else { format!("id/{folder}/") };
        self.view.list(&folder).await
    }

    /// The ids of all leases below `prefix`, which may itself be one lease's id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn below(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let prefix = prefix.trim_matches('/');
        if self.get(prefix).await?.is_some() {
            return Ok(vec![prefix.to_owned()]);
        }
        let keys = self.view.keys(&format!("id/{prefix}/")).await?;
        Ok(keys.into_iter().map(|key| key["id/".len()..].to_owned()).collect())
    }

    /// The user names in leases' records, by lease; a lease whose record has none is left out.
    ///
    /// # Errors
    /// What the store says.
    pub async fn usernames(&self, ids: &[String]) -> Result<HashMap<String, String>, StorageError> {
        let mut names = HashMap::new();
        for id in ids {
            let lease = self.get(id).await?.map(|(lease, _)| lease);
            if let Some(name) = lease.as_ref().and_then(|lease| lease.record["username"].as_str()) {
                names.insert(id.clone(), name.to_owned());
            }
        }
        Ok(names)
    }

    /// The ids of the leases that `owner` owns.
    ///
    /// # Errors
    /// What the store says.
    pub async fn owned(&self, owner: &Owner) -> Result<Vec<String>, StorageError> {
        self.in_folder(&owner.folder()).await
    }

    async fn in_folder(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let keys = self.view.keys(folder).await?;
        Ok(keys.into_iter().map(|key| key[folder.len()..].to_owned()).collect())
    }

    /// The leases that the workload of that UID owns.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_workload(&self, uid: &str) -> Result<Vec<Lease>, StorageError> {
        let mut found = Vec::new();
        for id in self.in_folder(&workload_folder(uid)).await? {
            found.extend(self.get(&id).await?.map(|(lease, _)| lease));
        }
        Ok(found)
    }

    /// How many revocations wait, by queue, and how many of them failed at least once; each queue is counted up to `limit`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn backlog(&self, limit: usize) -> Result<Vec<(String, usize, usize)>, StorageError> {
        let mut found = Vec::new();
        for group in self.waiting_groups().await? {
            let page: Vec<(String, Attempt)> = self.view.page(&format!("queue/{group}/"), None, limit).await?;
            let failed = page.iter().filter(|(_, attempt)| attempt.failures > 0).count();
            found.push((group, page.len(), failed));
        }
        Ok(found)
    }

    /// Revocations that do not get through, and how many of them there are: those that failed at least once, and all that wait
    /// behind one of these, because a queue whose database is down is tried by its first entry only. At most `limit` are shown.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stuck(&self, limit: usize) -> Result<(Vec<Stuck>, usize), StorageError> {
        let (mut found, mut total) = (Vec::new(), 0);
        let mut ahead = (String::new(), Attempt::default());
        let mut after: Option<String> = None;
        loop {
            let page: Vec<(String, Attempt)> = self.view.page("queue/", after.as_deref(), 1000).await?;
            let Some((last, _)) = page.last() else { return Ok((found, total)) };
            after = Some(last.clone());
            for (key, attempt) in page {
                let ["queue", group, time, id] = key.splitn(4, '/').collect::<Vec<_>>()[..] else { continue };
                if attempt.failures > 0 {
                    ahead = (group.to_owned(), attempt.clone());
                } else if ahead.0 != group {
                    continue;
                }
                total += 1;
                if found.len() < limit {
                    let next = super::due::at(time)?;
                    let attempt = Attempt { failures: attempt.failures, error: ahead.1.error.clone() };
                    found.push(Stuck { id: id.to_owned(), group: group.to_owned(), next, attempt });
                }
            }
        }
    }
}

/// A revocation that does not get through.
#[derive(Debug, Clone)]
pub struct Stuck {
    /// The lease.
    pub id: String,
    /// Its queue.
    pub group: String,
    /// When it is tried next.
    pub next: Timestamp,
    /// What happened so far; of one that was not tried yet, what happened to the one before it.
    pub attempt: Attempt,
}

fn record_key(id: &str) -> String {
    format!("id/{id}")
}
