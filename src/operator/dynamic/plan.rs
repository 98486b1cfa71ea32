//! What to do with a credential now, and when to look again: pure decisions over times.

use std::time::Duration;

use crate::base::{Timestamp, clock};
use crate::operator::rollout::Window;

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

/// When a credential is to be replaced.
#[derive(Debug, Clone, Default)]
pub struct Replacement {
    /// Whole seconds: how long consumers need to move to a successor.
    pub lead: u64,
    /// Consumers still move to this one: a successor would only prolong that.
    pub busy: bool,
    /// When it may be replaced, if that can wait.
    pub window: Option<Window>,
}

/// Decides what comes next.
pub fn next_step(now: Timestamp, lease: &Times, percent: u8, replacement: &Replacement) -> Step {
    if now >= lease.expires {
        return Step::Expired;
    }
    let replace = lease.end().map(|end| replacement.due(now, lease.issued, end));
    if replace.is_some_and(|due| now >= due) {
        return Step::Replace;
    }
    let renew = lease.can_grow().then(|| lease.renewal_due(percent));
    match renew {
        Some(due) if now >= due => Step::Renew,
        _ => Step::Wait([renew, replace].into_iter().flatten().min().unwrap_or(lease.expires)),
    }
}

impl Replacement {
    /// The lead before the end; but never before a third of the lease's whole life, lest a lead that is too long make a new
    /// user at every look.
    fn due(&self, now: Timestamp, issued: Timestamp, end: Timestamp) -> Timestamp {
        let life = clock::seconds_between(issued, end);
        let lead = if self.busy { self.lead.min(life / 6) } else { self.lead };
        let earliest = clock::add_seconds(issued, life / 3);
        let due = clock::add_seconds(issued, life.saturating_sub(lead)).max(earliest);
        self.window.as_ref().map_or(due, |window| window.moment(now, earliest, due))
    }
}

/// Whether consumers that pick the changed Secret up by themselves cannot do so within a lease's life, however early its
/// successor is made. Both in whole seconds.
pub fn too_short(max_ttl: u64, grace: u64) -> bool {
    max_ttl.saturating_sub(grace) < max_ttl / 3
}

/// Whether rollouts that take `rollout` cannot keep up with users that live for `max_ttl`, both in whole seconds: each rollout
/// begins after the one before has ended, so a user has to live for two of them. A mere guess has to miss by more.
pub fn too_slow(max_ttl: u64, rollout: u64, guessed: bool) -> bool {
    if guessed { rollout.saturating_mul(3) > max_ttl.saturating_mul(2) } else { rollout.saturating_mul(2) > max_ttl }
}

/// How long a rollout is taken to last where nothing is known of it, whole seconds.
pub const UNKNOWN: u64 = 120;

/// How long changes are collected before a rollout begins, whole seconds: what was `declared`, or 15 s, or a twentieth of a
/// user's longest life.
pub fn settle(declared: Option<u64>, max_ttl: Option<u64>) -> u64 {
    const USUAL: u64 = 15;
    declared.unwrap_or_else(|| max_ttl.map_or(USUAL, |max_ttl| USUAL.min(max_ttl / 20)))
}

/// How long consumers need to move, whole seconds: until a rollout begins, for the rollout itself (a declared time as it is, an
/// expected one with a quarter more), and a margin.
pub fn lead(declared: Option<u64>, expected: Option<u64>, settle: u64) -> u64 {
    const MARGIN: u64 = 10;
    let rollout = declared.unwrap_or_else(|| expected.map_or(UNKNOWN, |expected| expected + expected / 4));
    // Workloads are spread over a third of the settling time.
    rollout + settle + settle / 3 + MARGIN
}

/// What the next rollout is expected to take, whole seconds, after one that took `last`: a slower one is believed at once, a
/// faster one a quarter at a time.
pub fn expected_after(last: u64, before: Option<u64>) -> u64 {
    last.max(before.unwrap_or(0) * 3 / 4)
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

    fn ahead(lead: u64) -> Replacement {
        Replacement { lead, ..Replacement::default() }
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
            next_step(at(0), &lease(None), 67, &ahead(30)),
            Step::Wait(clock::add(at(0), Duration::from_millis(40_200)))
        );
        assert_eq!(next_step(at(41), &lease(None), 67, &ahead(30)), Step::Renew);
        assert_eq!(next_step(at(60), &lease(None), 67, &ahead(30)), Step::Expired);
    }

    #[test]
    fn the_successor_is_made_a_rollout_before_the_end() {
        let mut now = 0;
        let mut held = lease(Some(180));
        let mut renewals = 0;
        let replaced = loop {
            match next_step(at(now), &held, 67, &ahead(75)) {
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
            next_step(at(10), &lease(Some(180)), 67, &ahead(1000)),
            Step::Wait(clock::add(at(0), Duration::from_millis(40_200)))
        );
        assert_eq!(next_step(at(61), &renewed(lease(Some(180)), 41), 67, &ahead(1000)), Step::Replace);
        assert!(too_short(180, 130) && !too_short(180, 115));
        assert!(too_slow(180, 91, false) && !too_slow(180, 90, false));
        assert!(too_slow(60, 65, true) && !too_slow(180, 110, true));
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_is_replaced_before_it_ends() {
        let fixed = Times { renewable: false, ..lease(None) };
        assert_eq!(next_step(at(0), &fixed, 67, &ahead(20)), Step::Wait(at(40)));
        assert_eq!(next_step(at(40), &fixed, 67, &ahead(20)), Step::Replace);
    }

    #[test]
    fn a_lease_at_its_last_expiry_is_not_renewed_again() {
        let held = renewed(lease(Some(180)), 150);
        assert_eq!(next_step(at(100), &held, 67, &ahead(10)), Step::Wait(at(170)));
    }

    #[test]
    fn the_lead_follows_what_was_seen() {
        assert_eq!(lead(None, None, 15), 120 + 20 + 10);
        assert_eq!(lead(None, Some(72), 9), 90 + 12 + 10);
        assert_eq!(lead(Some(30), Some(60), 0), 40);
        assert_eq!((settle(None, Some(180)), settle(None, None), settle(Some(60), Some(180))), (9, 15, 60));
        assert_eq!(
            (expected_after(80, Some(60)), expected_after(40, Some(80)), expected_after(40, None)),
            (80, 60, 40)
        );
    }

    #[test]
    fn while_consumers_still_move_the_successor_waits_almost_to_the_end() {
        let held = renewed(lease(Some(180)), 140);
        let busy = Replacement { busy: true, ..ahead(110) };
        assert_eq!(next_step(at(141), &held, 67, &ahead(110)), Step::Replace);
        assert_eq!(next_step(at(141), &held, 67, &busy), Step::Wait(at(150)));
        assert_eq!(next_step(at(150), &held, 67, &busy), Step::Replace);
    }

    #[test]
    fn a_window_moves_the_replacement_to_an_earlier_moment() {
        let window = serde_json::json!({ "schedule": "0 2 * * *", "duration": "1h" });
        let window = Window::parse(&serde_json::from_value(window).unwrap()).unwrap();
        let day = 24 * 3600;
        let held = Times { ttl: 10 * 86_400, expires: at(10 * day), last: Some(at(10 * day)), ..lease(None) };
        let replacement = Replacement { window: Some(window), ..ahead(3600) };
        assert_eq!(next_step(at(5 * day), &held, 67, &replacement), Step::Wait(at(9 * day + 2 * 3600)));
        assert_eq!(next_step(at(9 * day + 2 * 3600), &held, 67, &replacement), Step::Replace);
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
