//! When something with a limited life is due: renewals, further reads, further attempts; always with jitter.

use std::time::Duration;

use crate::base::clock::add;
use crate::base::{Random, Timestamp};

/// Two thirds of a life, so that a third is left for an engine that is down. Spread by a tenth of that.
pub fn renewal(now: Timestamp, life: Duration, random: &dyn Random) -> Timestamp {
    add(now, life.mul_f64(2.0 / 3.0 * random.jitter(0.05)))
}

/// The moment at which `part` of a life is over, or a little earlier.
pub fn reread(now: Timestamp, life: Duration, part: f64, random: &dyn Random) -> Timestamp {
    add(now, life.mul_f64(part * (random.jitter(0.025) - 0.025)))
}

/// An interval of about this length.
pub fn interval(now: Timestamp, length: Duration, random: &dyn Random) -> Timestamp {
    add(now, length.mul_f64(random.jitter(0.1)))
}

/// Waits that double from `min` to `max` with the number of failures so far, each spread by a quarter.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// After the first failure.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Backoff {
    /// The moment of the next attempt after `failures` of them, at least one.
    pub fn next(&self, now: Timestamp, failures: u32, random: &dyn Random) -> Timestamp {
        let doubled = self.min.saturating_mul(1 << failures.saturating_sub(1).min(20));
        add(now, doubled.min(self.max).mul_f64(random.jitter(0.25)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    fn seconds(at: Timestamp) -> f64 {
        at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
    }

    #[test]
    fn moments_lie_within_their_spread() {
        let (random, start, hour) = (SeededRandom::new(3), Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        for _ in 0..200 {
            assert!((2280.0..=2520.0).contains(&seconds(renewal(start, hour, &random))));
            let threshold = seconds(reread(start, hour, 0.9, &random));
            assert!((3078.0..=3240.0).contains(&threshold), "{threshold}");
        }
    }

    #[test]
    fn waits_double_up_to_their_limit() {
        let random = SeededRandom::new(3);
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(300) };
        let wait = |failures| seconds(backoff.next(Timestamp::UNIX_EPOCH, failures, &random));
        assert!((0.75..=1.25).contains(&wait(1)));
        assert!((3.0..=5.0).contains(&wait(3)));
        assert!((225.0..=375.0).contains(&wait(40)));
    }
}
