//! Quotas of requests: how many one address may send in an interval, by `sys/quotas/rate-limit`.
//!
//! The most specific quota alone counts: one of a path before one of its mount, that before one of everything. Counts are in
//! memory, as in Vault: they are about seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::base::clock::{add_seconds, seconds_between};
use crate::base::{Clock, Timestamp};
use crate::storage::{Error as StorageError, View};
use crate::wire::{Error, Kind};

/// Where the settings are stored; a quota cannot have this name, since it holds a slash.
const SETTINGS: &str = "settings/all";

/// Addresses that are counted at once; beyond them those whose interval is over are forgotten.
const COUNTED: usize = 10_000;

/// A quota as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// A mount, a path in it, or empty for everything.
    pub path: String,
    /// Requests in an interval.
    pub rate: f64,
    /// Seconds.
    pub interval: u64,
    /// How long an address is refused after it sent too many, seconds; 0: to the end of the interval.
    pub block_interval: u64,
    /// A login role; kept to be shown.
    pub role: String,
}

/// `sys/quotas/config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub struct Settings {
    pub enable_rate_limit_audit_logging: bool,
    pub enable_rate_limit_response_headers: bool,
    /// Paths that are never refused, and never counted.
    pub rate_limit_exempt_paths: Vec<String>,
}

/// What an address may still send, for the headers of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests in an interval.
    pub limit: u64,
    /// Those that are left in this one.
    pub remaining: u64,
    /// Seconds until there are more.
    pub reset: u64,
}

/// What one address has sent.
#[derive(Debug, Clone, Copy)]
struct Count {
    since: Timestamp,
    requests: f64,
    blocked: Option<Timestamp>,
}

impl Count {
    /// Counts one request; false when it is one too many.
    fn admit(&mut self, limit: &RateLimit, now: Timestamp) -> bool {
        if self.blocked.is_some_and(|end| end > now) {
            return false;
        }
        if self.is_over(limit, now) {
            *self = Self { since: now, requests: 0.0, blocked: None };
        }
        self.requests += 1.0;
        if self.requests <= limit.rate {
            return true;
        }
        if limit.block_interval > 0 {
            self.blocked = Some(add_seconds(now, limit.block_interval));
        }
        false
    }

    fn left(&self, limit: &RateLimit, now: Timestamp) -> Left {
        let blocked = self.blocked.filter(|end| *end > now);
        let end = blocked.unwrap_or_else(|| add_seconds(self.since, limit.interval.max(1)));
        let remaining = if blocked.is_some() { 0.0 } else { (limit.rate - self.requests).max(0.0) };
        Left { limit: limit.rate as u64, remaining: remaining as u64, reset: seconds_between(now, end) }
    }

    fn is_over(&self, limit: &RateLimit, now: Timestamp) -> bool {
        self.blocked.is_none_or(|end| end <= now) && seconds_between(self.since, now) >= limit.interval.max(1)
    }
}

type Rules = HashMap<String, RateLimit>;

/// All quotas of requests.
pub struct RateLimits {
    view: View,
    clock: Arc<dyn Clock>,
    rules: RwLock<Arc<(Rules, Settings)>>,
    counts: Mutex<HashMap<(String, Option<IpAddr>), Count>>,
    writing: tokio::sync::Mutex<()>,
}

impl RateLimits {
    /// The quotas stored in `view`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        let mut rules = Rules::new();
        for name in view.list("").await?.into_iter().filter(|name| !name.ends_with('/')) {
            if let Some((rule, _)) = view.get(&name).await? {
                rules.insert(name, rule);
            }
        }
        let settings = view.get(SETTINGS).await?.map(|(settings, _)| settings).unwrap_or_default();
        let rules = RwLock::new(Arc::new((rules, settings)));
        Ok(Self { view, clock, rules, counts: Mutex::default(), writing: Default::default() })
    }

    fn snapshot(&self) -> Arc<(Rules, Settings)> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 when the address has sent too many.
    pub fn admit(&self, path: &str, address: Option<IpAddr>) -> Result<(), Error> {
        let rules = self.snapshot();
        if rules.0.is_empty() || exempt(&rules.1, path) {
            return Ok(());
        }
        let Some((name, limit)) = most_specific(&rules.0, path) else { return Ok(()) };
        let now = self.clock.now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED {
            counts.retain(|(name, _), count| rules.0.get(name).is_some_and(|limit| !count.is_over(limit, now)));
        }
        let new = Count { since: now, requests: 0.0, blocked: None };
        if counts.entry((name.clone(), address)).or_insert(new).admit(limit, now) {
            return Ok(());
        }
        Err(Error::new(Kind::TooMany, format!("request path {path:?}: rate limit quota exceeded")))
    }

    /// What the quota of a path leaves to an address that has just sent a request; none without a quota, or unless
    /// `enable_rate_limit_response_headers` is set.
    pub fn left(&self, path: &str, address: Option<IpAddr>) -> Option<Left> {
        let rules = self.snapshot();
        if !rules.1.enable_rate_limit_response_headers || exempt(&rules.1, path) {
            return None;
        }
        let (name, limit) = most_specific(&rules.0, path)?;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Some(counts.get(&(name.clone(), address))?.left(limit, self.clock.now()))
    }

    /// Whether answers tell what quotas leave.
    pub fn tells(&self) -> bool {
        self.snapshot().1.enable_rate_limit_response_headers
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.snapshot().0.keys().cloned().collect();
        names.sort();
        names
    }

    /// A quota.
    pub fn get(&self, name: &str) -> Option<RateLimit> {
        self.snapshot().0.get(name).cloned()
    }

    /// Writes a quota; what was counted for it is forgotten.
    ///
    /// # Errors
    /// 400 when another one has the same path; what the store says.
    pub async fn put(&self, name: &str, limit: RateLimit) -> Result<(), Error> {
        let _one_writer = self.writing.lock().await;
        let rules = self.snapshot();
        if rules.0.iter().any(|(other, rule)| other != name && rule.path == limit.path && rule.role == limit.role) {
            let text =
                format!("quota rule with similar properties exists under the name of another: path {:?}", limit.path);
            return Err(Error::bad_request(text));
        }
        self.view.put(name, &limit).await?;
        let mut next = rules.0.clone();
        next.insert(name.to_owned(), limit);
        self.replace(next, rules.1.clone(), name);
        Ok(())
    }

    /// Removes a quota; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let _one_writer = self.writing.lock().await;
        self.view.delete(name).await?;
        let rules = self.snapshot();
        let mut next = rules.0.clone();
        next.remove(name);
        self.replace(next, rules.1.clone(), name);
        Ok(())
    }

    fn replace(&self, rules: Rules, settings: Settings, changed: &str) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new((rules, settings));
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _), _| name != changed);
    }

    /// `sys/quotas/config`.
    pub fn settings(&self) -> Settings {
        self.snapshot().1.clone()
    }

    /// Changes `sys/quotas/config`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn set(&self, settings: Settings) -> Result<(), Error> {
        let _one_writer = self.writing.lock().await;
        self.view.put(SETTINGS, &settings).await?;
        self.replace(self.snapshot().0.clone(), settings, "");
        Ok(())
    }
}

fn exempt(settings: &Settings, path: &str) -> bool {
    settings.rate_limit_exempt_paths.iter().any(|exempt| covers(exempt, path))
}

/// A path covers itself and what lies below it; one that ends in `*` covers what begins with it.
fn covers(own: &str, path: &str) -> bool {
    if let Some(start) = own.strip_suffix('*') {
        return path.starts_with(start);
    }
    let own = own.trim_end_matches('/');
    own.is_empty() || path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn most_specific<'a>(rules: &'a Rules, path: &str) -> Option<(&'a String, &'a RateLimit)> {
    let covering = rules.iter().filter(|(_, rule)| covers(&rule.path, path));
    covering.max_by_key(|(name, rule)| (rule.path.len(), std::cmp::Reverse(*name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::storage::memory::Memory;

    fn limit(path: &str, rate: f64, block_interval: u64) -> RateLimit {
        RateLimit { path: path.into(), rate, interval: 10, block_interval, role: String::new() }
    }

    async fn limits() -> (RateLimits, ManualClock, View) {
        let (clock, view) = (ManualClock::new(Timestamp::UNIX_EPOCH), View::new(Arc::new(Memory::default()), "q/"));
        (RateLimits::load(view.clone(), Arc::new(clock.clone())).await.unwrap(), clock, view)
    }

    #[tokio::test]
    async fn each_address_has_its_own_count_and_a_new_one_in_each_interval() {
        let (limits, clock, _) = limits().await;
        limits.put("all", limit("", 2.0, 0)).await.unwrap();
        let from = |last: u8| limits.admit("a/b", Some([10, 0, 0, last].into()));
        assert!(from(1).is_ok() && from(1).is_ok() && from(2).is_ok());
        let refused = from(1).unwrap_err();
        assert_eq!(
            (refused.status(), refused.to_string().as_str()),
            (429, "request path \"a/b\": rate limit quota exceeded")
        );
        assert_eq!(limits.left("a/b", Some([10, 0, 0, 1].into())), None, "nobody has asked for it");
        limits.set(Settings { enable_rate_limit_response_headers: true, ..Settings::default() }).await.unwrap();
        let left = |last: u8| limits.left("a/b", Some([10, 0, 0, last].into()));
        assert_eq!(left(1), Some(Left { limit: 2, remaining: 0, reset: 10 }));
        assert_eq!(left(2), Some(Left { limit: 2, remaining: 1, reset: 10 }));
        clock.advance(std::time::Duration::from_secs(10));
        assert!(from(1).is_ok());
        assert_eq!(left(1).map(|left| left.remaining), Some(1));
    }

    #[tokio::test]
    async fn the_most_specific_quota_counts_and_may_block() {
        let (limits, clock, view) = limits().await;
        limits.put("all", limit("", 1.0, 0)).await.unwrap();
        limits.put("db", limit("database/", 2.0, 60)).await.unwrap();
        assert!(limits.put("twin", limit("database/", 9.0, 0)).await.is_err());
        let ask = |path: &str| limits.admit(path, None).is_ok();
        assert!(ask("database/creds/a") && ask("database/creds/b") && ask("other"));
        assert!(!ask("database/creds/a") && !ask("other") && !ask("databases/x"));
        clock.advance(std::time::Duration::from_secs(30));
        assert!(!ask("database/creds/a") && ask("other"), "blocked for a minute");
        limits
            .set(Settings { rate_limit_exempt_paths: vec!["database/creds".into()], ..Settings::default() })
            .await
            .unwrap();
        assert!(ask("database/creds/a"));
        let again = RateLimits::load(view, Arc::new(clock)).await.unwrap();
        assert_eq!((again.names(), again.settings()), (limits.names(), limits.settings()));
        limits.delete("db").await.unwrap();
        assert_eq!(limits.names(), ["all"]);
    }
}
