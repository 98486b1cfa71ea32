//! What to do with a credential now, and when to look again: pure decisions over times.

use std::time::Duration;

use crate::base::{Timestamp, clock};

/// A lease as far as its times go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was made.
    pub issued: Timestamp,
    /// When it was last prolonged, or made.
    pub renewed: Timestamp,
    /// For how long it was last prolonged, whole seconds.
    pub ttl: u64,
    /// When it ends unless it is prolonged.
    pub expires: Timestamp,
    /// Past this it cannot be prolonged, as far as it is known.
    pub last: Option<Timestamp>,
    /// Whether it can be prolonged at all.
    pub renewable: bool,
}

impl Times {
    /// The moment at which it must have been replaced, if it is known to end at all.
    fn end(&self) -> Option<Timestamp> {
        if self.renewable { self.last } else { Some(self.expires) }
    }

    fn renewal_due(&self, percent: u8) -> Timestamp {
        clock::add(self.renewed, Duration::from_secs(self.ttl).mul_f64(f64::from(percent) / 100.0))
    }

    /// Whether prolonging it would still move its end.
    fn can_grow(&self) -> bool {
        self.renewable && self.last.is_none_or(|last| self.expires < last)
    }
}

/// What comes next for the credential in the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It has ended.
    Expired,
    /// It ends for good soon: make its successor while it still lives.
    Replace,
    /// Prolong its lease.
    Renew,
    /// Nothing before that moment.
    Wait(Timestamp),
}

/// Decides what comes next. `lead`, whole seconds, is how long consumers need to move to a successor.
pub fn next_step(now: Timestamp, lease: &Times, percent: u8, lead: u64) -> Step {
    if now >= lease.expires {
        return Step::Expired;
    }
    let replace = lease.end().map(|end| replacement_due(lease.issued, end, lead));
    if replace.is_some_and(|due| now >= due) {
        return Step::Replace;
    }
    let renew = lease.can_grow().then(|| lease.renewal_due(percent));
    match renew {
        Some(due) if now >= due => Step::Renew,
        _ => Step::Wait([renew, replace].into_iter().flatten().min().unwrap_or(lease.expires)),
    }
}

/// `lead` before the end; but never before a third of the lease's whole life, lest a lead that is too long make a new user
/// at every look.
fn replacement_due(issued: Timestamp, end: Timestamp, lead: u64) -> Timestamp {
    let life = clock::seconds_between(issued, end);
    clock::add_seconds(issued, life.saturating_sub(lead).max(life / 3))
}

/// Whether consumers cannot move within a lease's whole life, however early its successor is made. Both in whole seconds.
pub fn too_short(max_ttl: u64, lead: u64) -> bool {
    max_ttl.saturating_sub(lead) < max_ttl / 3
}

/// How long consumers need, whole seconds: what was declared, or what the last restart took with half as much again, or
/// (nothing known yet) two minutes; without a restart it is the grace in which they pick up the changed Secret.
pub fn lead(restarts: bool, declared: Option<u64>, last: Option<u64>, grace: u64) -> u64 {
    const UNKNOWN: u64 = 120;
    const MARGIN: u64 = 10;
    if !restarts {
        return grace;
    }
    declared.unwrap_or_else(|| last.map_or(UNKNOWN, |last| last + last / 2)) + MARGIN
}

/// What comes next for a credential that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldStep {
    /// Its lease has ended by itself.
    Gone,
    /// Nobody uses it any more, and the grace is over.
    Revoke,
    /// Somebody may still use it: prolong its lease.
    Renew,
    /// Nothing before that moment.
    Wait(Timestamp),
}

/// Decides what comes next for a replaced credential that nobody uses since `unused` (`None`: somebody may).
pub fn old_step(now: Timestamp, lease: &Times, percent: u8, unused: Option<Timestamp>, grace: u64) -> OldStep {
    if now >= lease.expires {
        return OldStep::Gone;
    }
    let revoke = unused.map(|since| clock::add_seconds(since, grace));
    if revoke.is_some_and(|due| now >= due) {
        return OldStep::Revoke;
    }
    // One that is to be revoked before it ends needs no renewal.
    let renew = (lease.can_grow() && revoke.is_none_or(|due| due > lease.expires)).then(|| lease.renewal_due(percent));
    match renew {
        Some(due) if now >= due => OldStep::Renew,
        _ => OldStep::Wait([renew, revoke, Some(lease.expires)].into_iter().flatten().min().unwrap_or(lease.expires)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Issued at 0 with a TTL of 60 s.
    fn lease(last: Option<i64>) -> Times {
        Times { issued: at(0), renewed: at(0), ttl: 60, expires: at(60), last: last.map(at), renewable: true }
    }

    fn renewed(mut lease: Times, now: i64) -> Times {
        lease.renewed = at(now);
        let wanted = at(now + 60);
        lease.expires = lease.last.map_or(wanted, |last| wanted.min(last));
        lease
    }

    #[test]
    fn a_lease_is_renewed_at_two_thirds_and_not_before() {
        assert_eq!(
            next_step(at(0), &lease(None), 67, 30),
            Step::Wait(clock::add(at(0), Duration::from_millis(40_200)))
        );
        assert_eq!(next_step(at(41), &lease(None), 67, 30), Step::Renew);
        assert_eq!(next_step(at(60), &lease(None), 67, 30), Step::Expired);
    }

    #[test]
    fn the_successor_is_made_a_rollout_before_the_end() {
        let mut now = 0;
        let mut held = lease(Some(180));
        let mut renewals = 0;
        let replaced = loop {
            match next_step(at(now), &held, 67, 75) {
                Step::Wait(until) => {
                    assert!(until > at(now));
                    now = clock::add(until, Duration::from_millis(999)).as_second();
                }
                Step::Renew => {
                    renewals += 1;
                    held = renewed(held, now);
                }
                Step::Replace => break now,
                Step::Expired => panic!("expired at {now}"),
            }
        };
        assert_eq!((replaced, renewals), (105, 2));
        assert!(held.expires >= at(105 + 1));
    }

    #[test]
    fn a_lead_longer_than_the_life_does_not_replace_at_every_look() {
        assert_eq!(
            next_step(at(10), &lease(Some(180)), 67, 1000),
            Step::Wait(clock::add(at(0), Duration::from_millis(40_200)))
        );
        assert_eq!(next_step(at(61), &renewed(lease(Some(180)), 41), 67, 1000), Step::Replace);
        assert!(too_short(180, 130) && !too_short(180, 115));
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_is_replaced_before_it_ends() {
        let fixed = Times { renewable: false, ..lease(None) };
        assert_eq!(next_step(at(0), &fixed, 67, 20), Step::Wait(at(40)));
        assert_eq!(next_step(at(40), &fixed, 67, 20), Step::Replace);
    }

    #[test]
    fn a_lease_at_its_last_expiry_is_not_renewed_again() {
        let held = renewed(lease(Some(180)), 150);
        assert_eq!(next_step(at(100), &held, 67, 10), Step::Wait(at(170)));
    }

    #[test]
    fn the_lead_follows_what_was_seen() {
        assert_eq!(lead(false, None, None, 120), 120);
        assert_eq!(lead(true, None, None, 5), 130);
        assert_eq!(lead(true, None, Some(60), 5), 100);
        assert_eq!(lead(true, Some(30), Some(60), 5), 40);
    }

    #[test]
    fn an_old_lease_lives_while_it_is_used_and_a_grace_longer() {
        let held = lease(Some(180));
        assert_eq!(old_step(at(45), &held, 67, None, 30), OldStep::Renew);
        assert_eq!(old_step(at(10), &held, 67, Some(at(10)), 30), OldStep::Wait(at(40)));
        assert_eq!(old_step(at(40), &held, 67, Some(at(10)), 30), OldStep::Revoke);
        assert_eq!(old_step(at(60), &held, 67, None, 30), OldStep::Gone);
        // It would end within its grace: prolonged, if it can be.
        assert_eq!(old_step(at(45), &held, 67, Some(at(45)), 30), OldStep::Renew);
        assert_eq!(old_step(at(170), &renewed(held, 150), 67, None, 30), OldStep::Wait(at(180)));
    }
}
