//! A content of a Secret that its consumers are to move to, and how much time there is for that.

use std::time::Duration;

use super::board::Wish;
use super::pods::PodFacts;
use crate::api::restart::RestartStatus;
use crate::base::Timestamp;

/// For what nobody foresees, whole seconds.
const MARGIN: u64 = 10;

/// A content that consumers are to move to.
#[derive(Debug)]
pub struct Change<'a> {
    /// Of the object that owns the Secret.
    pub uid: &'a str,
    /// The namespace of the Secret and its consumers.
    pub namespace: &'a str,
    /// The Secrets that hold the content.
    pub secrets: &'a [&'a str],
    /// The annotation of pod templates.
    pub annotation: &'a str,
    /// Its value.
    pub hash: &'a str,
    /// When the Secret was given the content.
    pub written: Timestamp,
    /// When the first of the older users must end, and when to begin to warn of that.
    pub deadline: Option<Deadline>,
    /// Whether no older user lives any more, so that pods that have not moved cannot work.
    pub urgent: bool,
    /// When the rotation window is open next.
    pub open_from: Timestamp,
    /// For how long nothing must have changed before a rollout begins, whole seconds.
    pub settle: u64,
    /// How long a rollout takes, whole seconds.
    pub expected: u64,
}

/// The end of a user that pods may still use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When it must end.
    pub end: Timestamp,
    /// From when on to warn of what does not move.
    pub warn: Timestamp,
}

impl Change<'_> {
    /// Until when a rollout must have begun to end before the deadline.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        let needed = Duration::from_secs(self.expected + self.expected / 4 + MARGIN);
        self.deadline.and_then(|deadline| deadline.end.checked_sub(needed).ok())
    }

    /// Whether a rollout has to begin now.
    pub(super) fn is_urgent(&self, now: Timestamp) -> bool {
        self.urgent || self.latest().is_some_and(|latest| now >= latest)
    }

    /// When older users must end, once it is time to warn of that.
    pub(super) fn warns(&self, now: Timestamp) -> Option<Timestamp> {
        self.deadline.filter(|deadline| now >= deadline.warn).map(|deadline| deadline.end)
    }

    /// Whether a pod may hold older content.
    pub(super) fn is_old(&self, pod: &PodFacts, status: &RestartStatus) -> bool {
        pod.is_old(self.hash, status.started.0)
    }

    /// What it wishes of a workload.
    pub(super) fn wish(&self, status: &RestartStatus) -> Wish {
        let (annotation, hash) = (self.annotation.to_owned(), self.hash.to_owned());
        Wish { annotation, hash, changed: status.started.0, settle: self.settle }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pods::tests::at;
    use super::*;

    fn change(deadline: Option<Deadline>) -> Change<'static> {
        Change {
            uid: "u",
            namespace: "shop",
            secrets: &["db"],
            annotation: "lessor.dev/secret-hash-db",
            hash: "h",
            written: at(0),
            deadline,
            urgent: false,
            open_from: at(0),
            settle: 15,
            expected: 80,
        }
    }

    #[test]
    fn it_is_urgent_when_a_rollout_would_only_just_end_in_time() {
        let change = change(Some(Deadline { end: at(1000), warn: at(750) }));
        assert!(!change.is_urgent(at(889)));
        assert!(change.is_urgent(at(890)));
        assert_eq!((change.warns(at(749)), change.warns(at(750))), (None, Some(at(1000))));
    }

    #[test]
    fn without_a_known_end_there_is_time_unless_nobody_can_work() {
        assert!(!change(None).is_urgent(at(5000)));
        assert_eq!(change(None).warns(at(5000)), None);
        assert!(Change { urgent: true, ..change(None) }.is_urgent(at(0)));
    }
}
