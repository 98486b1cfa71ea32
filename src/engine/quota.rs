//! Quotas of leases: how many may exist at once below a path, by `sys/quotas/lease-count`.
//!
//! Every quota whose path a request lies below must have room. Counts are kept in memory: each is taken from the store once,
//! while no lease is being recorded, and follows every lease that comes and goes from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::storage::{Error as StorageError, View};
use crate::wire::{Error, Kind};

/// A quota as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// A mount (`database/`), a role (`database/creds/app`), or empty for all leases.
    pub path: String,
    /// How many leases may exist at once.
    pub max_leases: u64,
}

impl Quota {
    fn covers(&self, path: &str) -> bool {
        let folder = self.path.trim_end_matches('/');
        folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

struct Rule {
    name: String,
    quota: Quota,
    count: AtomicU64,
}

/// All quotas.
pub struct Quotas {
    view: View,
    /// The lease records of every namespace, by its path.
    places: RwLock<Vec<(String, View)>>,
    rules: Arc<RwLock<Vec<Rule>>>,
}

/// Room for one lease, given back unless [`Reservation::keep`] is called.
pub struct Reservation {
    rules: OwnedRwLockReadGuard<Vec<Rule>>,
    path: String,
    kept: bool,
}

impl Reservation {
    /// The lease was recorded.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            release(&self.rules, &self.path);
        }
    }
}

fn release(rules: &[Rule], path: &str) {
    for rule in rules.iter().filter(|rule| rule.quota.covers(path)) {
        let less = |count: u64| Some(count.saturating_sub(1));
        // The closure never refuses.
        let _ = rule.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

impl Quotas {
    /// The quotas stored in `view`, about the lease records in `leases` and those that are [added](Quotas::add).
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, leases: View) -> Result<Self, StorageError> {
        let mut rules = Vec::new();
        for name in view.list("").await? {
            if let Some((quota, _)) = view.get::<Quota>(&name).await? {
                let count = AtomicU64::new(count("", &leases, &quota).await?);
                rules.push(Rule { name, quota, count });
            }
        }
        let places = RwLock::new(vec![(String::new(), leases)]);
        Ok(Self { view, places, rules: Arc::new(RwLock::new(rules)) })
    }

    /// Counts the lease records of the namespace at `path` from now on, too.
    ///
    /// # Errors
    /// What the store says.
    pub async fn add(&self, path: &str, leases: View) -> Result<(), StorageError> {
        let rules = self.rules.write().await;
        for rule in &*rules {
            rule.count.fetch_add(count(path, &leases, &rule.quota).await?, Ordering::AcqRel);
        }
        self.places.write().await.push((path.to_owned(), leases));
        Ok(())
    }

    /// The namespace at `path` is gone, and gave back the room of all its leases.
    pub async fn remove(&self, path: &str) {
        self.places.write().await.retain(|(other, _)| other != path);
    }

    /// Takes room for a lease of the request `path` in every quota above it.
    ///
    /// # Errors
    /// 429 when one is used up.
    pub async fn reserve(&self, path: &str) -> Result<Reservation, Error> {
        let rules = self.rules.clone().read_owned().await;
        let mut reservation = Reservation { rules, path: String::new(), kept: false };
        let full = reservation.rules.iter().filter(|rule| rule.quota.covers(path)).position(|rule| {
            let more = |count: u64| (count < rule.quota.max_leases).then_some(count + 1);
            rule.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err()
        });
        if let Some(full) = full {
            for rule in reservation.rules.iter().filter(|rule| rule.quota.covers(path)).take(full) {
                rule.count.fetch_sub(1, Ordering::AcqRel);
            }
            reservation.kept = true;
            return Err(Error::new(Kind::TooMany, format!("request path {path:?}: lease count quota exceeded")));
        }
        path.clone_into(&mut reservation.path);
        Ok(reservation)
    }

    /// A lease of the request `path` is gone.
    pub async fn release(&self, path: &str) {
        release(&self.rules.read().await, path);
    }

    /// The names of all quotas.
    pub async fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.rules.read().await.iter().map(|rule| rule.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// A quota and how much of it is used.
    pub async fn get(&self, name: &str) -> Option<(Quota, u64)> {
        let rules = self.rules.read().await;
        let rule = rules.iter().find(|rule| rule.name == name)?;
        Some((rule.quota.clone(), rule.count.load(Ordering::Acquire)))
    }

    /// Sets a quota. One below what exists already takes nothing away; it lets nothing new in.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put(&self, name: &str, quota: Quota) -> Result<(), Error> {
        // Nobody records a lease while this is held, so the count is exact.
        let mut rules = self.rules.write().await;
        let mut total = 0;
        for (path, leases) in &*self.places.read().await {
            total += count(path, leases, &quota).await?;
        }
        let count = AtomicU64::new(total);
        self.view.put(name, &quota).await?;
        rules.retain(|rule| rule.name != name);
        rules.push(Rule { name: name.to_owned(), quota, count });
        Ok(())
    }

    /// Removes a quota; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let mut rules = self.rules.write().await;
        self.view.delete(name).await?;
        rules.retain(|rule| rule.name != name);
        Ok(())
    }
}

/// How many leases of the namespace at `place` a quota covers.
async fn count(place: &str, leases: &View, quota: &Quota) -> Result<u64, StorageError> {
    let folder = quota.path.trim_matches('/');
    let prefix = match folder.strip_prefix(place.trim_end_matches('/')).map(|rest| rest.trim_start_matches('/')) {
        _ if quota.covers(place.trim_end_matches('/')) => "id/".to_owned(),
        Some(rest) if place.is_empty() || folder.starts_with(place) => format!("id/{rest}/"),
        _ => return Ok(0),
    };
    Ok(u64::try_from(leases.keys(&prefix).await?.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;

    async fn quotas() -> (Quotas, View) {
        let store = View::new(Arc::new(Memory::default()), "");
        store.put("lease/id/db/creds/a/1", &1).await.unwrap();
        (Quotas::load(store.sub("quota"), store.sub("lease")).await.unwrap(), store)
    }

    fn quota(path: &str, max_leases: u64) -> Quota {
        Quota { path: path.into(), max_leases }
    }

    #[tokio::test]
    async fn what_exists_counts_and_every_quota_above_must_have_room() {
        let (quotas, store) = quotas().await;
        quotas.put("mount", quota("db/", 3)).await.unwrap();
        quotas.put("role", quota("db/creds/a", 2)).await.unwrap();
        quotas.reserve("db/creds/a").await.unwrap().keep();
        let error = quotas.reserve("db/creds/a").await.err().unwrap();
        assert_eq!(error.kind(), Kind::TooMany);
        assert_eq!(quotas.get("mount").await.unwrap().1, 2, "the refused one took nothing");
        quotas.reserve("db/creds/ab").await.unwrap().keep();
        assert!(quotas.reserve("db/creds/other").await.is_err());
        quotas.release("db/creds/a").await;
        quotas.reserve("db/creds/a").await.unwrap().keep();
        // The keys in the store were not written by this test's leases, so a restart counts one.
        let again = Quotas::load(store.sub("quota"), store.sub("lease")).await.unwrap();
        assert_eq!((again.get("role").await.unwrap().1, again.names().await), (1, vec!["mount".into(), "role".into()]));
    }

    #[tokio::test]
    async fn a_quota_counts_the_namespaces_that_it_covers() {
        let (quotas, store) = quotas().await;
        let below = store.sub("namespace");
        below.put("id/db/creds/a/1.x", &1).await.unwrap();
        below.put("id/other/creds/a/1.x", &1).await.unwrap();
        for (name, path) in [("all", ""), ("team", "team/"), ("db", "team/db"), ("root", "db/"), ("twin", "teams/db")] {
            quotas.put(name, quota(path, 9)).await.unwrap();
        }
        quotas.add("team/", below).await.unwrap();
        for (name, used) in [("all", 3), ("team", 2), ("db", 1), ("root", 1), ("twin", 0)] {
            assert_eq!(quotas.get(name).await.unwrap().1, used, "{name}");
            let quota = quotas.get(name).await.unwrap().0;
            quotas.put(name, quota).await.unwrap();
            assert_eq!(quotas.get(name).await.unwrap().1, used, "{name} counted anew");
        }
    }

    #[tokio::test]
    async fn room_that_was_not_used_is_given_back() {
        let (quotas, _) = quotas().await;
        quotas.put("all", quota("", 2)).await.unwrap();
        drop(quotas.reserve("x/creds/y").await.unwrap());
        assert_eq!(quotas.get("all").await.unwrap().1, 1);
        quotas.delete("all").await.unwrap();
        assert!(quotas.get("all").await.is_none());
    }
}
