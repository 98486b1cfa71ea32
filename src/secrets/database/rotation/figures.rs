//! What monitoring should know about rotations: how many succeeded and failed, when the next is due, and what fails now.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Rotation;
use super::queue::Item;
use super::timing::Timing;
use crate::secrets::Sample;
use crate::wire::Error;

/// The most rotations that are told one by one: each is a read of its record.
const TOLD: usize = 1000;

/// Which kind of password was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A connection's own.
    Root,
    /// A static role's.
    Static,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Static => "static",
        }
    }
}

/// Rotations since the engine started, by kind and connection.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<(Subject, String), Outcomes>>);

#[derive(Debug, Default, Clone, Copy)]
struct Outcomes {
    succeeded: u64,
    failed: u64,
}

impl Counts {
    /// Counts a password that was changed.
    pub(super) fn succeeded(&self, subject: Subject, connection: &str) {
        self.change(subject, connection, |outcomes| outcomes.succeeded += 1);
    }

    /// Counts an attempt that failed.
    pub(super) fn failed(&self, subject: Subject, connection: &str) {
        self.change(subject, connection, |outcomes| outcomes.failed += 1);
    }

    fn change(&self, subject: Subject, connection: &str, change: impl FnOnce(&mut Outcomes)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry((subject, connection.to_owned())).or_default());
    }

    /// Series of the connections that exist; those of others end.
    fn samples(&self, existing: &[String]) -> Vec<Sample> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|(_, connection), _| existing.contains(connection));
        let rows = counts.iter().flat_map(|((subject, connection), outcomes)| {
            [("success", outcomes.succeeded), ("failure", outcomes.failed)].map(|(outcome, value)| Sample {
                name: "lessor_rotations_total",
                help: "Changes of passwords by kind (root, static), connection and outcome.",
                counter: true,
                labels: vec![
                    ("kind", subject.name().to_owned()),
                    ("connection", connection.clone()),
                    ("outcome", outcome.to_owned()),
                ],
                value,
            })
        });
        rows.collect()
    }
}

impl Rotation {
    /// All series about rotations.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::secrets::database) async fn samples(&self) -> Result<Vec<Sample>, Error> {
        let mut samples = self.counts.samples(&self.connections.list().await?);
        let mut left = TOLD;
        for connection in self.queue.connections().await? {
            let entries = self.queue.page(&connection, left).await?;
            left = left.saturating_sub(entries.len());
            for entry in entries {
                let (subject, role, timing) = match entry.item {
                    Item::Root => (Subject::Root, String::new(), self.roots.get(&connection).await?.root.timing),
                    Item::Role { name } => {
                        let Some(held) = self.roles.get(&name).await? else { continue };
                        (Subject::Static, name, held.role.timing)
                    }
                };
                samples.extend(about(subject, &connection, &role, &timing));
            }
        }
        Ok(samples)
    }
}

/// The series of one password. A root password has an empty role.
fn about(subject: Subject, connection: &str, role: &str, timing: &Timing) -> Vec<Sample> {
    let sample = |name, help, value: i64| Sample {
        name,
        help,
        counter: false,
        labels: vec![
            ("kind", subject.name().to_owned()),
            ("connection", connection.to_owned()),
            ("role", role.to_owned()),
        ],
        value: u64::try_from(value).unwrap_or(0),
    };
    let mut samples = vec![sample(
        "lessor_rotation_failures",
        "Failed attempts in a row to change a password; 0 where the last one succeeded.",
        i64::from(timing.failures),
    )];
    samples.extend(timing.due.map(|due| {
        let help = "When a password is changed next, or the next attempt is due, Unix time.";
        sample("lessor_rotation_next_timestamp_seconds", help, due.as_second())
    }));
    samples.extend(timing.last.map(|last| {
        let help = "When a password was last changed, Unix time.";
        sample("lessor_rotation_last_timestamp_seconds", help, last.as_second())
    }));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn series_end_with_their_connection() {
        let counts = Counts::default();
        counts.succeeded(Subject::Root, "pg");
        counts.failed(Subject::Static, "pg");
        counts.failed(Subject::Static, "gone");
        let told = |samples: &[Sample]| -> Vec<String> {
            let labels = |sample: &Sample| sample.labels.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
            samples.iter().map(|sample| format!("{} {}", labels(sample).join("/"), sample.value)).collect()
        };
        let samples = counts.samples(&["pg".to_owned()]);
        let expected = ["root/pg/success 1", "root/pg/failure 0", "static/pg/success 0", "static/pg/failure 1"];
        assert_eq!(told(&samples), expected);
    }

    #[test]
    fn a_rotation_that_never_comes_has_no_next_moment() {
        let names = |timing: &Timing| -> Vec<&str> {
            about(Subject::Static, "pg", "app", timing).iter().map(|sample| sample.name).collect()
        };
        assert_eq!(names(&Timing::default()), ["lessor_rotation_failures"]);
        let planned = Timing { due: Some(Timestamp::UNIX_EPOCH), failures: 3, ..Timing::default() };
        assert_eq!(names(&planned), ["lessor_rotation_failures", "lessor_rotation_next_timestamp_seconds"]);
        assert_eq!(about(Subject::Static, "pg", "app", &planned)[0].value, 3);
    }
}
