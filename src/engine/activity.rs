//! Which clients used the engine in which month, as `sys/internal/counters/activity` tells it. A client is an entity, or all
//! tokens without one that have the same policies.
//!
//! Keys: `config`; `month/<YYYY-MM>/<id>` with the mount that the client came by. Each is written once, at the client's first
//! request of the month.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use ring::digest;
use serde::{Deserialize, Serialize};

use super::policies::WRAPPING;
use super::token::Token;
use crate::base::{Clock, Timestamp, telemetry};
use crate::storage::{Error, View};

/// What is counted, and for how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Whether anything is counted.
    pub enabled: bool,
    /// Older months are forgotten.
    pub retention_months: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, retention_months: 48 }
    }
}

/// A client of one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Whether it is an entity.
    pub entity: bool,
    /// `auth/approle/`: where the token of its first request came from.
    pub mount: String,
}

/// The clients of each month, by the month (`2026-11`) and by their ids.
pub type Months = BTreeMap<String, BTreeMap<String, Client>>;

/// The clients of a namespace.
pub struct Activity {
    view: View,
    clock: Arc<dyn Clock>,
    config: RwLock<Config>,
    seen: RwLock<Seen>,
}

/// Who was written down in the present month since the start: to write is dear, to ask here is not.
#[derive(Default)]
struct Seen {
    month: String,
    until: Timestamp,
    entities: HashSet<String>,
    /// Those of tokens without an entity: to look for them is cheap, their digest at each request would not be.
    policies: HashSet<Vec<String>>,
}

impl Activity {
    /// The counts in `view`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let config = view.get("config").await?.map(|(config, _)| config).unwrap_or_default();
        Ok(Self { view, clock, config: RwLock::new(config), seen: RwLock::default() })
    }

    /// What is counted.
    pub fn config(&self) -> Config {
        *self.config.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is counted.
    ///
    /// # Errors
    /// What the store says.
    pub async fn configure(&self, config: Config) -> Result<(), Error> {
        self.view.put("config", &config).await?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Counts a request with this token, which belongs to the login mount at `mount`. No request fails because it could not be
    /// counted.
    pub async fn note(&self, token: &Token, mount: impl FnOnce() -> String) {
        if token.is_root() || token.policies == [WRAPPING] || !self.config().enabled {
            return;
        }
        let now = self.clock.now();
        if self.knows(token, now) {
            return;
        }
        let client = Client { entity: !token.entity_id.is_empty(), mount: mount() };
        let (month, until) = month_of(now);
        match self.view.put(&format!("month/{month}/{}", client_id(token)), &client).await {
            Ok(()) if self.remember(&month, until, token) => {
                if let Err(error) = self.forget(&month).await {
                    tracing::warn!(error = telemetry::chain(&error), "old months of clients cannot be forgotten");
                }
            }
            Ok(()) => {}
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "a client cannot be counted"),
        }
    }

    fn knows(&self, token: &Token, now: Timestamp) -> bool {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        now < seen.until
            && match token.entity_id.as_str() {
                "" => seen.policies.contains(&token.policies),
                entity => seen.entities.contains(entity),
            }
    }

    /// Whether the client is the first of the month.
    fn remember(&self, month: &str, until: Timestamp, token: &Token) -> bool {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let first = seen.month != month;
        if first {
            *seen = Seen { month: month.to_owned(), until, ..Seen::default() };
        }
        match token.entity_id.is_empty() {
            true => seen.policies.insert(token.policies.clone()),
            false => seen.entities.insert(token.entity_id.clone()),
        };
        first
    }

    /// Removes the months that are too old when `month` is the present one.
    async fn forget(&self, month: &str) -> Result<(), Error> {
        let oldest = months_before(month, self.config().retention_months);
        for key in self.view.keys("month/").await? {
            if month_in(&key).is_some_and(|month| month < oldest.as_str()) {
                self.view.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// The clients of the months from `first` to `last`, both included.
    ///
    /// # Errors
    /// What the store says.
    pub async fn months(&self, first: &str, last: &str) -> Result<Months, Error> {
        let mut months = Months::new();
        for key in self.view.keys("month/").await? {
            let Some(month) = month_in(&key).filter(|month| (first..=last).contains(month)) else { continue };
            if let Some((client, _)) = self.view.get::<Client>(&key).await? {
                let id = key.rsplit('/').next().unwrap_or_default().to_owned();
                months.entry(month.to_owned()).or_default().insert(id, client);
            }
        }
        Ok(months)
    }
}

fn month_in(key: &str) -> Option<&str> {
    key.strip_prefix("month/")?.split('/').next()
}

/// The entity, or a digest of the policies: tokens that may do the same are one client, as in Vault.
fn client_id(token: &Token) -> String {
    if !token.entity_id.is_empty() {
        return token.entity_id.clone();
    }
    let hash = digest::digest(&digest::SHA256, token.policies.join(",").as_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("tokens-{hex}")
}

fn first_day(moment: Timestamp) -> Date {
    Offset::UTC.to_datetime(moment).date().first_of_month()
}

fn start(day: Date) -> Timestamp {
    Offset::UTC.to_timestamp(DateTime::from(day)).unwrap_or(Timestamp::MAX)
}

fn name(day: Date) -> String {
    format!("{:04}-{:02}", day.year(), day.month())
}

/// The month of a moment, and its end.
fn month_of(moment: Timestamp) -> (String, Timestamp) {
    let day = first_day(moment);
    (name(day), start(day.last_of_month().tomorrow().unwrap_or(Date::MAX)))
}

/// The name of a moment's month.
pub fn month(moment: Timestamp) -> String {
    name(first_day(moment))
}

/// When a month begins; the beginning of time for what is no month.
pub fn month_start(month: &str) -> Timestamp {
    format!("{month}-01").parse().map_or(Timestamp::MIN, start)
}

/// The month so many months before another.
pub fn months_before(month: &str, count: u32) -> String {
    let mut day: Date = format!("{month}-01").parse().unwrap_or(Date::MIN);
    for _ in 0..count {
        day = day.yesterday().map_or(Date::MIN, Date::first_of_month);
    }
    name(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::storage::memory::Memory;

    fn token(entity: &str, policy: &str) -> Token {
        let mut token = Token::blank(Timestamp::UNIX_EPOCH);
        token.entity_id = entity.to_owned();
        token.policies = vec![policy.to_owned()];
        token
    }

    #[test]
    fn months_are_counted_in_the_calendar() {
        let (month, until) = month_of("2026-12-31T23:59:59Z".parse().unwrap());
        assert_eq!((month.as_str(), until), ("2026-12", "2027-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!((months_before("2026-02", 3), months_before("2026-02", 0)), ("2025-11".into(), "2026-02".into()));
        assert_eq!(month_start("2026-11"), "2026-11-01T00:00:00Z".parse().unwrap());
    }

    #[tokio::test]
    async fn a_client_counts_once_a_month_and_old_months_go() {
        let clock = Arc::new(ManualClock::new("2026-11-20T00:00:00Z".parse().unwrap()));
        let view = View::new(Arc::new(Memory::default()), "activity/");
        let activity = Activity::load(view.clone(), clock.clone()).await.unwrap();
        let mount = || "auth/approle/".to_owned();
        for token in [token("e1", "a"), token("e1", "b"), token("", "a"), token("", "a"), token("", "b")] {
            activity.note(&token, mount).await;
        }
        activity.note(&token("", "root"), mount).await;
        activity.note(&token("", WRAPPING), mount).await;
        activity.configure(Config { enabled: true, retention_months: 1 }).await.unwrap();
        clock.advance(std::time::Duration::from_secs(20 * 24 * 60 * 60));
        activity.note(&token("e1", "a"), mount).await;
        let months = activity.months("2026-01", "2027-01").await.unwrap();
        assert_eq!(months["2026-11"].len(), 3, "one entity, two kinds of tokens without");
        assert_eq!(months["2026-12"]["e1"], Client { entity: true, mount: mount() });
        clock.advance(std::time::Duration::from_secs(31 * 24 * 60 * 60));
        activity.note(&token("e1", "a"), mount).await;
        let kept = activity.months("2026-01", "2027-12").await.unwrap();
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["2026-12", "2027-01"]);
        // After a restart nobody counts twice.
        let again = Activity::load(view, clock).await.unwrap();
        assert_eq!(again.config().retention_months, 1);
        again.note(&token("e1", "a"), mount).await;
        assert_eq!(again.months("2027-01", "2027-01").await.unwrap()["2027-01"].len(), 1);
    }
}
