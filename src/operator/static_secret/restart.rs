//! After a change of the password: restart the consumers and watch them move.

use std::sync::atomic::Ordering;

use kube::runtime::events::EventType;

use super::record::Held;
use super::sync::Pass;
use crate::api::condition::whole_seconds;
use crate::api::names::secret_hash_annotation;
use crate::base::clock;
use crate::operator::dynamic::record::sha256;
use crate::operator::error::Error;
use crate::operator::rollout::{self, Change, Deadline};
use crate::operator::static_role;

/// For how long changes are collected before a rollout where nothing else is said, whole seconds.
const SETTLE: u64 = 15;

impl Pass<'_> {
    /// Brings the restart one step further.
    pub(super) async fn restart(&mut self, held: &Held) -> Result<(), Error> {
        // Without targets this content restarts nobody, also not when targets are named later.
        let (Some(hash), Some(spec)) = (&held.restart, &self.object.spec.restart) else { return Ok(()) };
        let now = whole_seconds(self.now());
        let known = self.status.restart.clone();
        let secret = self.object.spec.destination.name.as_str();
        let annotation = secret_hash_annotation(secret, |name| sha256(&[name.as_bytes()]));
        let started = known.as_ref().filter(|status| status.hash == *hash).map_or(now, |status| status.started.0);
        let grace = self.role.as_ref().and_then(|role| static_role::grace(&role.spec));
        let settle = spec.settle.as_ref().and_then(|settle| settle.seconds("spec.restart.settle").ok());
        let change = Change {
            uid: &self.tenant.uid,
            namespace: &self.tenant.namespace,
            secrets: &[secret],
            annotation: &annotation,
            hash,
            written: started,
            deadline: grace.map(|grace| Deadline {
                end: clock::add_seconds(started, grace),
                warn: clock::add_seconds(started, grace / 2),
            }),
            // The password of a single account does not work any more.
            urgent: grace.is_none(),
            open_from: now,
            settle: settle.unwrap_or(SETTLE),
            expected: self.expected_rollout().unwrap_or(0),
        };
        let shared = (&self.context.kube, &self.context.rollouts);
        let outcome = rollout::follow(shared, Some(spec), &change, known.as_ref(), now).await?;
        self.problems.extend(outcome.problems);
        if !outcome.begun.is_empty() {
            self.context.metrics.restarts.fetch_add(outcome.begun.len() as u64, Ordering::Relaxed);
            let note = format!("restarting {} for the new password", outcome.begun.join(", "));
            self.context.publish(self.object, EventType::Normal, "RestartBegun", "Restart", &note).await;
        }
        if let Some(look) = outcome.look {
            self.wake_at(look);
        }
        self.status.restart = Some(outcome.status);
        Ok(())
    }

    /// How long a rollout takes, whole seconds: what was declared, or what the last one took.
    fn expected_rollout(&self) -> Option<u64> {
        let spec = self.object.spec.restart.as_ref()?;
        let declared = spec.expected_duration.as_ref().and_then(|period| period.seconds("expectedDuration").ok());
        let last = self.status.restart.as_ref().and_then(|restart| restart.last_duration);
        declared.or_else(|| u64::try_from(last?).ok())
    }

    /// Says in time that the former account's grace is too short for a restart without refused logins.
    pub(super) fn foresee(&mut self) {
        let Some(takes) = self.expected_rollout() else { return };
        let Some(grace) = self.role.as_ref().and_then(|role| static_role::grace(&role.spec)) else { return };
        if takes > grace {
            let role = self.tenant.role.replacen('.', "/", 1);
            let message = format!(
                "gracePeriod of StaticDatabaseRole {role} is {grace} s, but a restart of spec.restart takes {takes} s: pods \
                 may still have the former account when its password changes"
            );
            self.problems.push(("GraceTooShort", message));
        }
    }
}
