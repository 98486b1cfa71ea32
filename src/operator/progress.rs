//! The conditions by which GitOps tools tell "still at it" from "somebody has to act": kstatus' Reconciling and Stalled.
//!
//! kstatus (Flux, `kubectl wait`-like tools) reads Ready=False alone as "in progress". Both conditions are there only while they
//! hold, as kstatus wants it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::error::Error;
use crate::api::condition::{self, RECONCILING, STALLED, Statement};
use crate::base::Timestamp;

/// Sets Reconciling where a failure may pass by itself, Stalled where somebody has to change something, and neither after a
/// success.
pub fn set(conditions: &mut Vec<Condition>, failure: Option<&Error>, generation: Option<i64>, now: Timestamp) {
    let kind = failure.map(|error| if error.needs_change() { STALLED } else { RECONCILING });
    conditions.retain(|known| ![STALLED, RECONCILING].iter().any(|own| known.type_ == *own && kind != Some(*own)));
    if let (Some(kind), Some(error)) = (kind, failure) {
        let message = error.story();
        condition::set(
            conditions,
            &Statement { kind, holds: true, reason: error.reason(), message: &message },
            generation,
            now,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_reconciling_and_what_needs_somebody_is_stalled() {
        let mut list = Vec::new();
        let mut types = |failure: Option<Error>| {
            set(&mut list, failure.as_ref(), Some(2), Timestamp::UNIX_EPOCH);
            list.iter()
                .map(|condition| format!("{}={} {}", condition.type_, condition.status, condition.reason))
                .collect()
        };
        let none: Vec<String> = Vec::new();
        let found: Vec<String> = types(Some(Error::waiting("ConnectionFailed", "refused")));
        assert_eq!(found, ["Reconciling=True ConnectionFailed"]);
        assert_eq!(types(Some(Error::refused("InvalidConfiguration", "no"))), ["Stalled=True InvalidConfiguration"]);
        assert_eq!(types(None), none);
    }
}
