//! Lock-out: a name whose logins fail too often in a row is refused for a while, whatever it shows (vault-api.md 1.3).
//!
//! Failures are counted in memory; who is locked out is stored, `<mount accessor>/<name>`, so that a restart opens nobody's door.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::clock::{Clock, Timestamp, add};
use crate::storage::View;
use crate::wire::{Error, Fields};

/// How many names with failures are remembered: whoever tries more forgets those that he began with.
const REMEMBERED: usize = 10_000;

/// The longest name that is remembered, in bytes: nobody has checked that it is anybody's.
const LONGEST_NAME: usize = 1024;

/// A mount's `user_lockout_config`; what is not set is Vault's default. Durations are whole seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Vault's")]
pub struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockout_threshold: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockout_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockout_counter_reset_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockout_disable: Option<bool>,
}

impl Config {
    /// Takes over what a tune sends.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn merge(&mut self, fields: &Fields) -> Result<(), Error> {
        self.lockout_threshold = fields.count("lockout_threshold")?.or(self.lockout_threshold);
        self.lockout_duration = fields.seconds("lockout_duration")?.or(self.lockout_duration);
        let reset = fields.seconds("lockout_counter_reset_duration")?;
        self.lockout_counter_reset_duration = reset.or(self.lockout_counter_reset_duration);
        self.lockout_disable = fields.bool("lockout_disable")?.or(self.lockout_disable);
        if self.lockout_threshold == Some(0) {
            return Err(Error::bad_request("\"lockout_threshold\" must be above 0: say lockout_disable to have none"));
        }
        Ok(())
    }

    /// What is set, for the answer of a tune; none when nothing is.
    pub fn describe(&self) -> Option<Value> {
        let set = Map::from_iter(
            [
                ("lockout_threshold", json!(self.lockout_threshold)),
                ("lockout_duration", json!(self.lockout_duration)),
                ("lockout_counter_reset_duration", json!(self.lockout_counter_reset_duration)),
                ("lockout_disable", json!(self.lockout_disable)),
            ]
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value)),
        );
        (!set.is_empty()).then_some(set.into())
    }

    fn threshold(&self) -> u64 {
        self.lockout_threshold.unwrap_or(5)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.lockout_duration.unwrap_or(15 * 60))
    }

    fn reset(&self) -> Duration {
        Duration::from_secs(self.lockout_counter_reset_duration.unwrap_or(15 * 60))
    }

    fn is_off(&self) -> bool {
        self.lockout_disable == Some(true)
    }
}

/// A name at a login mount, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// The mount's accessor.
    pub accessor: String,
    /// As the method knows it: a user name, a role id.
    pub name: String,
}

impl Who {
    fn key(&self) -> String {
        format!("{}/{}", self.accessor, self.name)
    }
}

struct Failures {
    count: u64,
    forgotten: Timestamp,
}

/// Who is locked out, and who may be soon.
pub struct Lockouts {
    view: View,
    clock: Arc<dyn Clock>,
    failures: Mutex<HashMap<Who, Failures>>,
    /// Until when.
    locked: RwLock<BTreeMap<Who, Timestamp>>,
}

impl Lockouts {
    /// Reads who is locked out.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mut locked = BTreeMap::new();
        for key in view.keys("").await? {
            if let (Some((accessor, name)), Some((until, _))) = (key.split_once('/'), view.get(&key).await?) {
                locked.insert(Who { accessor: accessor.to_owned(), name: name.to_owned() }, until);
            }
        }
        Ok(Self { view, clock, failures: Mutex::default(), locked: RwLock::new(locked) })
    }

    fn until(&self, who: &Who) -> Option<Timestamp> {
        self.locked.read().unwrap_or_else(PoisonError::into_inner).get(who).copied()
    }

    fn is_locked(&self, who: &Who, config: &Config) -> bool {
        !config.is_off() && self.until(who).is_some_and(|until| until > self.clock.now())
    }

    /// Lets a login be tried, or not.
    ///
    /// # Errors
    /// 403 while the name is locked out; 400 for one that is too long to be remembered.
    pub async fn admit(&self, who: &Who, config: &Config) -> Result<(), Error> {
        if who.name.len() > LONGEST_NAME {
            return Err(Error::bad_request(format!("the name is longer than {LONGEST_NAME} bytes")));
        }
        if self.is_locked(who, config) {
            return Err(Error::denied());
        }
        match self.until(who) {
            None => Ok(()),
            Some(_) => self.unlock(who).await,
        }
    }

    /// A login succeeded: the next failure is a first one.
    ///
    /// # Errors
    /// 403 when the name was locked meanwhile: of many guesses at once, only those before the last allowed failure count.
    pub fn succeeded(&self, who: &Who, config: &Config) -> Result<(), Error> {
        if self.is_locked(who, config) {
            return Err(Error::denied());
        }
        self.forget(who);
        Ok(())
    }

    /// Counts a login that failed; the one that reaches the threshold locks the name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn failed(&self, who: Who, config: &Config) -> Result<(), Error> {
        if config.is_off() || self.count(&who, config) < config.threshold() {
            return Ok(());
        }
        let until = add(self.clock.now(), config.duration());
        self.forget(&who);
        tracing::warn!(mount = who.accessor, %until, "too many failed logins: a name is locked out");
        // Before the store is slow about it: others guess at the same time.
        self.locked.write().unwrap_or_else(PoisonError::into_inner).insert(who.clone(), until);
        self.view.put(&who.key(), &until).await?;
        self.forget_ended().await
    }

    /// Removes locks that are over: whoever locks made-up names never asks for them again.
    async fn forget_ended(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let locked = self.locked.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (who, _) in locked.iter().filter(|(_, until)| **until <= now) {
            self.unlock(who).await?;
        }
        Ok(())
    }

    fn count(&self, who: &Who, config: &Config) -> u64 {
        let now = self.clock.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= REMEMBERED && !failures.contains_key(who) {
            failures.retain(|_, failures| failures.forgotten > now);
            if failures.len() >= REMEMBERED {
                let first = failures.iter().min_by_key(|(_, failures)| failures.forgotten).map(|(who, _)| who.clone());
                first.map(|first| failures.remove(&first));
            }
        }
        let entry = failures.entry(who.clone()).or_insert(Failures { count: 0, forgotten: now });
        entry.count = if entry.forgotten > now { entry.count + 1 } else { 1 };
        entry.forgotten = add(now, config.reset());
        entry.count
    }

    fn forget(&self, who: &Who) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Opens a name again; one that is not locked is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn unlock(&self, who: &Who) -> Result<(), Error> {
        if self.until(who).is_some() {
            self.view.delete(&who.key()).await?;
            self.locked.write().unwrap_or_else(PoisonError::into_inner).remove(who);
        }
        self.forget(who);
        Ok(())
    }

    /// Forgets a mount that is gone.
    ///
    /// # Errors
    /// What the store says.
    pub async fn forget_mount(&self, accessor: &str) -> Result<(), Error> {
        let locked = self.locked.read().unwrap_or_else(PoisonError::into_inner).clone();
        for who in locked.keys().filter(|who| who.accessor == accessor) {
            self.unlock(who).await?;
        }
        Ok(())
    }

    /// The names that are locked out now, by mount.
    pub fn by_mount(&self) -> BTreeMap<String, Vec<String>> {
        let now = self.clock.now();
        let mut mounts = BTreeMap::<_, Vec<_>>::new();
        for (who, until) in &*self.locked.read().unwrap_or_else(PoisonError::into_inner) {
            if *until > now {
                mounts.entry(who.accessor.clone()).or_default().push(who.name.clone());
            }
        }
        mounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::storage::memory::Memory;

    fn who(name: &str) -> Who {
        Who { accessor: "auth_userpass_1".into(), name: name.into() }
    }

    struct Fixture {
        view: View,
        clock: ManualClock,
        lockouts: Lockouts,
    }

    impl Fixture {
        async fn new() -> Self {
            let view = View::new(Arc::new(Memory::default()), "lockout/");
            let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
            let lockouts = Lockouts::load(view.clone(), Arc::new(clock.clone())).await.unwrap();
            Self { view, clock, lockouts }
        }

        async fn fail(&self, times: usize, name: &str, config: &Config) {
            for _ in 0..times {
                self.lockouts.failed(who(name), config).await.unwrap();
            }
        }

        async fn admitted(&self, name: &str) -> bool {
            self.lockouts.admit(&who(name), &Config::default()).await.is_ok()
        }

        fn minutes(&self, minutes: u64) {
            self.clock.advance(Duration::from_secs(60 * minutes));
        }
    }

    #[tokio::test]
    async fn the_fifth_failure_locks_for_a_quarter_of_an_hour() {
        let fixture = Fixture::new().await;
        fixture.fail(4, "a", &Config::default()).await;
        assert!(fixture.admitted("a").await);
        fixture.fail(1, "a", &Config::default()).await;
        assert!(!fixture.admitted("a").await && fixture.admitted("b").await);
        assert_eq!(fixture.lockouts.by_mount()["auth_userpass_1"], ["a"]);
        fixture.minutes(15);
        assert!(fixture.lockouts.by_mount().is_empty());
        assert!(fixture.admitted("a").await);
        assert!(fixture.view.keys("").await.unwrap().is_empty(), "nothing is left in the store");
    }

    #[tokio::test]
    async fn a_success_or_time_begins_the_count_anew() {
        let fixture = Fixture::new().await;
        fixture.fail(4, "a", &Config::default()).await;
        fixture.lockouts.succeeded(&who("a"), &Config::default()).unwrap();
        fixture.fail(4, "a", &Config::default()).await;
        fixture.minutes(15);
        fixture.fail(4, "a", &Config::default()).await;
        assert!(fixture.admitted("a").await);
    }

    #[tokio::test]
    async fn a_lock_survives_a_restart_and_ends_by_hand() {
        let fixture = Fixture::new().await;
        let config = Config { lockout_threshold: Some(1), ..Config::default() };
        fixture.fail(1, "a/b", &config).await;
        let again = Lockouts::load(fixture.view.clone(), Arc::new(fixture.clock.clone())).await.unwrap();
        assert!(again.admit(&who("a/b"), &config).await.is_err());
        again.unlock(&who("a/b")).await.unwrap();
        assert!(again.admit(&who("a/b"), &config).await.is_ok());
        fixture.fail(9, "c", &Config { lockout_disable: Some(true), ..Config::default() }).await;
        assert!(fixture.admitted("c").await, "it can be turned off");
    }

    #[tokio::test]
    async fn of_many_guesses_at_once_only_the_first_count() {
        let fixture = Fixture::new().await;
        let config = Config::default();
        for _ in 0..9 {
            fixture.lockouts.admit(&who("a"), &config).await.unwrap();
        }
        fixture.fail(5, "a", &config).await;
        assert!(fixture.lockouts.succeeded(&who("a"), &config).is_err(), "the right one came too late");
        fixture.minutes(15);
        assert!(fixture.lockouts.succeeded(&who("a"), &config).is_ok());
    }

    #[tokio::test]
    async fn locks_of_made_up_names_go_when_they_are_over() {
        let fixture = Fixture::new().await;
        for name in ["a", "b"] {
            fixture.fail(5, name, &Config::default()).await;
        }
        fixture.minutes(15);
        fixture.fail(5, "c", &Config::default()).await;
        assert_eq!(fixture.view.keys("").await.unwrap(), ["auth_userpass_1/c"]);
    }

    #[tokio::test]
    async fn many_names_do_not_fill_the_memory() {
        let fixture = Fixture::new().await;
        assert!(!fixture.admitted(&"x".repeat(LONGEST_NAME + 1)).await);
        for number in 0..REMEMBERED + 10 {
            fixture.lockouts.count(&who(&number.to_string()), &Config::default());
        }
        assert_eq!(fixture.lockouts.failures.lock().unwrap().len(), REMEMBERED);
    }
}
