//! Time as an argument: the system's clock for programs, one that moves only when told to for tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use jiff::Timestamp;
use tokio::sync::watch;

/// Where a component reads the time and waits for it. Programs pass [`SystemClock`], tests a [`ManualClock`].
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;

    /// Returns at `deadline` or later; at once when it has passed.
    async fn sleep_until(&self, deadline: Timestamp);

    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration) {
        self.sleep_until(add(self.now(), duration)).await;
    }
}

/// `moment` plus `duration`, saturating at the end of representable time.
pub fn add(moment: Timestamp, duration: Duration) -> Timestamp {
    moment.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// `moment` plus whole seconds, saturating.
pub fn add_seconds(moment: Timestamp, seconds: u64) -> Timestamp {
    add(moment, Duration::from_secs(seconds))
}

/// Whole seconds from `from` to `to`, rounded down; 0 when `to` lies before `from`.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let wait = deadline.duration_since(self.now());
        if let Ok(wait) = Duration::try_from(wait) {
            tokio::time::sleep(wait).await;
        }
    }
}

/// A clock that stands still until [`ManualClock::advance`] moves it; sleepers wake when it passes their deadline.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(start)))
    }

    /// Moves the clock forward and wakes whoever waited for a moment that has now passed.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = add(*now, by));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut moved = self.0.subscribe();
        // The sender lives in self, so waiting cannot fail while this borrow lasts.
        let _ = moved.wait_for(|now| *now >= deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_only_when_the_clock_has_passed_its_deadline() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
    }

    #[test]
    fn seconds_are_rounded_down_and_never_negative() {
        let later = add(Timestamp::UNIX_EPOCH, Duration::from_millis(1999));
        assert_eq!(seconds_between(Timestamp::UNIX_EPOCH, later), 1);
        assert_eq!(seconds_between(later, Timestamp::UNIX_EPOCH), 0);
    }
}
