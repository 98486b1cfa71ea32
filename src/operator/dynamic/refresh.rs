//! refreshAfter: when users are replaced that could live on.

use super::plan::Step;
use crate::base::{Timestamp, clock};

/// The step for a credential that was issued at `issued`, when it is to be replaced `after` seconds. Otherwise it would be
/// `step`. While an earlier one still waits for its end (`busy`) the next does not begin, lest users pile up.
pub fn step(step: Step, issued: Timestamp, after: Option<u64>, busy: bool, now: Timestamp) -> Step {
    let Some(due) = after.map(|after| clock::add_seconds(issued, after)) else { return step };
    match step {
        Step::Expired | Step::Replace => step,
        _ if now >= due && !busy => Step::Replace,
        Step::Wait(until) if now < due => Step::Wait(until.min(due)),
        Step::Wait(_) | Step::Renew => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn it_replaces_in_time_what_would_only_be_renewed() {
        let issued = at(100);
        let next = |given, busy, now| step(given, issued, Some(60), busy, at(now));
        assert_eq!(next(Step::Wait(at(500)), false, 110), Step::Wait(at(160)));
        assert_eq!(next(Step::Wait(at(120)), false, 110), Step::Wait(at(120)));
        assert_eq!(next(Step::Wait(at(500)), false, 160), Step::Replace);
        assert_eq!(next(Step::Renew, false, 160), Step::Replace);
        assert_eq!(next(Step::Expired, false, 160), Step::Expired);
    }

    #[test]
    fn it_waits_for_the_end_of_the_replacement_before() {
        assert_eq!(step(Step::Renew, at(100), Some(60), true, at(160)), Step::Renew);
        assert_eq!(step(Step::Wait(at(500)), at(100), Some(60), true, at(160)), Step::Wait(at(500)));
        assert_eq!(step(Step::Wait(at(500)), at(100), None, false, at(160)), Step::Wait(at(500)));
    }
}
