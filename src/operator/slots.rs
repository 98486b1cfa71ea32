//! Values that many ask for at once and one makes: tokens and logins, kept for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use crate::base::{Clock, Timestamp};

struct Kept<V> {
    value: V,
    good_until: Timestamp,
}

type Slot<V> = Arc<AsyncMutex<Option<Kept<V>>>>;

/// Values by key. Whoever comes while one is made waits for it.
pub struct Slots<K, V> {
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<K, Slot<V>>>,
}

impl<K: Eq + Hash, V: Clone> Slots<K, V> {
    /// Nothing is kept yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, slots: Mutex::default() }
    }

    /// The value of `key`, and whether it was made just now. One that is past its time, or that `unwanted` picks, is made anew by
    /// `make`, which also says until when it is good.
    ///
    /// # Errors
    /// Those of `make`; then nothing is kept.
    pub async fn get<E, F: Future<Output = Result<(V, Timestamp), E>>>(
        &self,
        key: K,
        unwanted: impl Fn(&V) -> bool,
        make: impl FnOnce() -> F,
    ) -> Result<(V, bool), E> {
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        let now = self.clock.now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.good_until && !unwanted(&kept.value)) {
            return Ok((kept.value.clone(), false));
        }
        *kept = None;
        let (value, good_until) = make().await?;
        *kept = Some(Kept { value: value.clone(), good_until });
        Ok((value, true))
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return slot.clone();
        }
        // Nothing is kept of what nobody has used for long.
        let now = self.clock.now();
        slots.retain(|_, slot| {
            let used = Arc::strong_count(slot) > 1;
            used || slot.try_lock().is_ok_and(|kept| kept.as_ref().is_some_and(|kept| now < kept.good_until))
        });
        slots.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::base::clock::{self, ManualClock};

    struct Bench {
        clock: ManualClock,
        slots: Slots<&'static str, u32>,
        made: AtomicU32,
    }

    impl Bench {
        fn new() -> Self {
            let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
            Self { slots: Slots::new(Arc::new(clock.clone())), clock, made: AtomicU32::new(0) }
        }

        async fn get(&self, key: &'static str, unwanted: u32) -> (u32, bool) {
            let make = || async {
                tokio::task::yield_now().await;
                let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
                Ok::<_, Infallible>((number, clock::add_seconds(self.clock.now(), 60)))
            };
            self.slots.get(key, |value| *value == unwanted, make).await.unwrap()
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_get_one_value() {
        let bench = Bench::new();
        let all = futures_util::future::join_all((0..20).map(|_| bench.get("a", 0))).await;
        assert!(all.iter().all(|(value, _)| *value == 1), "{all:?}");
        assert_eq!(all.iter().filter(|(_, fresh)| *fresh).count(), 1);
        assert_eq!(bench.get("b", 0).await, (2, true), "another key");
    }

    #[tokio::test]
    async fn what_is_old_or_was_refused_is_made_anew_once() {
        let bench = Bench::new();
        bench.get("a", 0).await;
        bench.clock.advance(Duration::from_secs(59));
        assert_eq!(bench.get("a", 0).await, (1, false));
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(bench.get("a", 0).await, (2, true));
        assert_eq!(bench.get("a", 2).await, (3, true));
        assert_eq!(bench.get("a", 2).await, (3, false), "somebody else has replaced the refused one already");
    }

    #[tokio::test]
    async fn what_nobody_uses_any_more_is_let_go() {
        let bench = Bench::new();
        bench.get("a", 0).await;
        bench.clock.advance(Duration::from_secs(61));
        bench.get("b", 0).await;
        let slots = bench.slots.slots.lock().unwrap();
        assert_eq!(slots.keys().copied().collect::<Vec<_>>(), ["b"]);
    }
}
