//! When the key that encrypts what is stored is replaced by itself: after so many uses, or so much time.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::seconds_between;
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Timestamp, telemetry};
use crate::storage::View;
use crate::storage::barrier::{Barrier, KeyStatus};
use crate::wire::{Error, Fields};

/// Where it is stored.
const KEY: &str = "rotation";

/// Bounds of `max_operations`, as in Vault; the barrier itself rotates at 2^31 in any case.
const OPERATIONS: std::ops::RangeInclusive<u64> = 1_000_000..=3_865_470_566;

/// Shortest interval, seconds.
const SHORTEST: u64 = 24 * 3600;

/// How often the key is looked at.
const LOOK: Duration = Duration::from_secs(600);

/// `sys/rotate/config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Whether it happens at all.
    pub enabled: bool,
    /// After so many encryptions.
    pub max_operations: u64,
    /// After so many seconds; 0: however old it is.
    pub interval: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { enabled: true, max_operations: *OPERATIONS.end(), interval: 0 }
    }
}

impl Rotation {
    fn is_due(&self, status: &KeyStatus, now: Timestamp) -> bool {
        let old = self.interval > 0 && seconds_between(status.installed, now) >= self.interval;
        self.enabled && (old || status.encryptions >= self.max_operations)
    }
}

/// The rule in force.
pub struct Rotations {
    view: View,
    current: RwLock<Rotation>,
}

impl Rotations {
    /// The rule stored in `view`, or the default.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View) -> Result<Self, Error> {
        let current = view.get(KEY).await?.map(|(rotation, _)| rotation).unwrap_or_default();
        Ok(Self { view, current: RwLock::new(current) })
    }

    /// The rule in force.
    pub fn get(&self) -> Rotation {
        *self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what `fields` name.
    ///
    /// # Errors
    /// 400 naming the field.
    pub async fn put(&self, fields: &Fields) -> Result<(), Error> {
        let mut next = self.get();
        if let Some(enabled) = fields.bool("enabled")? {
            next.enabled = enabled;
        }
        if let Some(operations) = fields.count("max_operations")? {
            if !OPERATIONS.contains(&operations) {
                let (least, most) = (OPERATIONS.start(), OPERATIONS.end());
                return Err(Error::bad_request(format!("max_operations must be in the range {least}-{most}")));
            }
            next.max_operations = operations;
        }
        if let Some(interval) = fields.seconds("interval")? {
            if interval > 0 && interval < SHORTEST {
                return Err(Error::bad_request("interval must be at least 24 hours, or 0"));
            }
            next.interval = interval;
        }
        self.view.put(KEY, &next).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Looks at the key now and then, until the shutdown.
    pub async fn run(self: Arc<Self>, barrier: Arc<Barrier>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                () = clock.sleep(LOOK) => {}
            }
            let due = barrier.key_status().is_ok_and(|status| self.get().is_due(&status, clock.now()));
            if due && let Err(error) = barrier.rotate().await {
                tracing::warn!(
                    error = telemetry::chain(&error),
                    "the encryption key was not replaced; tried again later"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::clock::add_seconds;
    use crate::storage::memory::Memory;

    #[test]
    fn a_key_is_replaced_by_age_and_use() {
        let now = Timestamp::UNIX_EPOCH;
        let status = |encryptions| KeyStatus { term: 1, installed: now, encryptions };
        let rotation = Rotation { enabled: true, max_operations: 10, interval: 100 };
        assert!(!rotation.is_due(&status(9), add_seconds(now, 99)));
        assert!(rotation.is_due(&status(10), now) && rotation.is_due(&status(0), add_seconds(now, 100)));
        assert!(!Rotation { enabled: false, ..rotation }.is_due(&status(10), now));
        assert!(!Rotation { interval: 0, ..rotation }.is_due(&status(0), Timestamp::MAX));
    }

    #[tokio::test]
    async fn the_rule_is_checked_and_kept() {
        let view = View::new(Arc::new(Memory::default()), "core/");
        let rotations = Rotations::load(view.clone()).await.unwrap();
        let put = async |body: serde_json::Value| rotations.put(&body.as_object().unwrap().clone().into()).await;
        for (wrong, field) in
            [(json!({ "max_operations": 5 }), "max_operations"), (json!({ "interval": "1h" }), "interval")]
        {
            assert!(put(wrong).await.unwrap_err().to_string().contains(field));
        }
        put(json!({ "interval": "48h", "max_operations": 2_000_000 })).await.unwrap();
        let expected = Rotation { enabled: true, max_operations: 2_000_000, interval: 172_800 };
        assert_eq!(Rotations::load(view).await.unwrap().get(), expected);
    }
}
