//! When the next attempt at a rotation is due, and what became of the last ones.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::base::clock::add;
use crate::base::{Random, Timestamp};
use crate::wire::Error;

/// Before the second attempt; doubled for each further one. The first is what Vault waits.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);

/// The longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// The times of one static role, or of one connection's root password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timing {
    /// When the present password came into use, as far as we know.
    pub last: Option<Timestamp>,
    /// The moment of the schedule that is worked for; `None` without a schedule.
    pub planned: Option<Timestamp>,
    /// The next attempt; `None` is never.
    pub due: Option<Timestamp>,
    /// Failed attempts in a row.
    pub failures: u32,
    /// Why the last attempt failed; holds no secret.
    pub error: String,
}

impl Timing {
    /// Waits for the first moment of the schedule after `from`.
    pub(super) fn plan(&mut self, schedule: Option<&Schedule>, from: Timestamp) -> Result<(), Error> {
        self.planned = schedule.map(|schedule| schedule.next(from)).transpose()?;
        self.due = self.planned;
        self.failures = 0;
        self.error.clear();
        Ok(())
    }

    /// The password was changed and is known to work.
    pub(super) fn succeed(&mut self, schedule: Option<&Schedule>, now: Timestamp) -> Result<(), Error> {
        self.last = Some(now);
        self.plan(schedule, now)
    }

    /// An attempt failed: the next one comes later, each time twice as late.
    pub(super) fn fail(&mut self, error: &Error, now: Timestamp, random: &dyn Random) {
        self.failures += 1;
        self.error = error.to_string();
        self.due = Some(add(now, backoff(self.failures, random)));
    }

    /// Whether the schedule's window closed before anything was begun.
    pub(super) fn is_over(&self, schedule: Option<&Schedule>, now: Timestamp) -> bool {
        schedule.zip(self.planned).is_some_and(|(schedule, planned)| schedule.is_over(planned, now))
    }

    /// Seconds until a reader should look again: rounded up, so that it then finds the new password, and never 0, which
    /// clients take for an error.
    pub(super) fn ttl(&self, now: Timestamp) -> u64 {
        let left = self.due.map_or(0, |due| due.duration_since(now).as_millis());
        u64::try_from(left).unwrap_or(0).div_ceil(1000).max(1)
    }
}

/// The wait after the given number of failures.
pub(super) fn backoff(failures: u32, random: &dyn Random) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_BACKOFF).mul_f64(random.jitter(0.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn the_backoff_doubles_up_to_its_cap() {
        let random = SeededRandom::new(1);
        for (failures, seconds) in [(1, 10.0), (2, 20.0), (5, 160.0), (6, 300.0), (1000, 300.0)] {
            let wait = backoff(failures, &random).as_secs_f64();
            assert!((seconds * 0.9..=seconds * 1.1).contains(&wait), "{failures}: {wait}");
        }
    }

    #[test]
    fn the_ttl_is_rounded_up_and_never_zero() {
        let now = Timestamp::from_second(100).unwrap();
        let ttl = |due: Option<Timestamp>| Timing { due, ..Timing::default() }.ttl(now);
        assert_eq!(ttl(Some(Timestamp::from_millisecond(110_001).unwrap())), 11);
        assert_eq!(ttl(Some(Timestamp::from_second(110).unwrap())), 10);
        assert_eq!((ttl(Some(now)), ttl(Some(Timestamp::UNIX_EPOCH)), ttl(None)), (1, 1, 1));
    }
}
