//! Status conditions in the standard form: type, status, reason, message, observedGeneration, and when the status changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::base::Timestamp;

/// Whether the object does what it is for.
pub const READY: &str = "Ready";
/// Whether something is wrong that has not yet done harm.
pub const DEGRADED: &str = "Degraded";
/// Whether an old credential still lives beside the new one.
pub const ROTATING: &str = "Rotating";
/// Whether the engine has changed the password of a connection's admin account, so that only it knows it.
pub const ROOT_ROTATED: &str = "RootRotated";
/// Whether the operator goes on trying what has not succeeded; there only while it holds.
pub const RECONCILING: &str = "Reconciling";
/// Whether nothing gets on until somebody changes something; there only while it holds.
pub const STALLED: &str = "Stalled";
/// The longest message that Kubernetes takes.
const MAX_MESSAGE: usize = 32 * 1024;

/// A status with conditions.
pub trait Conditions {
    /// The list in the status.
    fn conditions(&self) -> &[Condition];
    /// The list, for changing.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    /// Notes the generation that the status speaks of.
    fn observe(&mut self, generation: Option<i64>);
}

/// Implements [`Conditions`] for a status with the fields `conditions` and `observed_generation`.
macro_rules! conditions {
    ($status:ty) => {
        impl $crate::api::condition::Conditions for $status {
            fn conditions(&self) -> &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition] {
                &self.conditions
            }

            fn conditions_mut(&mut self) -> &mut Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
                &mut self.conditions
            }

            fn observe(&mut self, generation: Option<i64>) {
                self.observed_generation = generation;
            }
        }
    };
}
pub(in crate::api) use conditions;

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// [`READY`], [`DEGRADED`], [`ROTATING`], [`RECONCILING`] or [`STALLED`].
    pub kind: &'a str,
    /// Whether it holds.
    pub holds: bool,
    /// One word in CamelCase that names the cause.
    pub reason: &'a str,
    /// For people. It must hold no secret.
    pub message: &'a str,
}

/// Sets a condition. The time of its last transition moves only when its status changes.
pub fn set(conditions: &mut Vec<Condition>, statement: &Statement<'_>, generation: Option<i64>, now: Timestamp) {
    let status = if statement.holds { "True" } else { "False" };
    let since = conditions
        .iter()
        .find(|known| known.type_ == statement.kind && known.status == status)
        .map_or(Time(whole_seconds(now)), |known| known.last_transition_time.clone());
    let condition = Condition {
        type_: statement.kind.to_owned(),
        status: status.to_owned(),
        reason: statement.reason.to_owned(),
        message: cut(statement.message),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|known| known.type_ == statement.kind) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// The condition of that type.
pub fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Kubernetes keeps times in whole seconds; finer ones would differ from themselves after a write.
pub fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// As [`whole_seconds`], for times that tell two rotations of one second apart.
pub fn whole_microseconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(moment.as_microsecond()).unwrap_or(moment)
}

fn cut(message: &str) -> String {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    fn ready(holds: bool, reason: &str) -> Statement<'_> {
        Statement { kind: READY, holds, reason, message: "m" }
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let start = Timestamp::UNIX_EPOCH;
        let later = clock::add(start, Duration::from_secs(60));
        let mut list = Vec::new();
        set(&mut list, &ready(false, "Pending"), Some(1), start);
        set(&mut list, &ready(false, "ConnectionRefused"), Some(1), later);
        assert_eq!((list.len(), list[0].last_transition_time.0), (1, start));
        assert_eq!(list[0].reason, "ConnectionRefused");
        set(&mut list, &ready(true, "Configured"), Some(2), later);
        assert_eq!((list[0].last_transition_time.0, list[0].observed_generation), (later, Some(2)));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(MAX_MESSAGE)).len(), MAX_MESSAGE);
        assert_eq!(cut(&format!("x{}", "é".repeat(MAX_MESSAGE))).len(), MAX_MESSAGE - 1);
    }
}
