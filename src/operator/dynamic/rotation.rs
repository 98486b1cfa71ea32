//! After a change of users: restart the consumers, watch them move, then revoke the old users.

use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::EventType;

use super::held::Held;
use super::lender::Renewal;
use super::plan::{self, OldStep};
use super::record::{LeaseRecord, PreviousLease, sha256};
use super::sync::Pass;
use crate::api::condition::whole_seconds;
use crate::api::dynamic_secret::{LeaseStatus, PendingRevocation};
use crate::api::names::secret_hash_annotation;
use crate::base::{Timestamp, clock};
use crate::operator::error::Error;
use crate::operator::metrics;
use crate::operator::rollout::{self, Change, Deadline};

/// How soon to guess again how long a rollout takes, whole seconds, while no pod is ready.
const GUESS_AGAIN: u64 = 60;

impl Pass<'_> {
    /// Brings restarts and old users one step further. Failures are noted, never returned: the new credential stands.
    pub(super) async fn rotation(&mut self, held: &mut Held) {
        let moved = match self.restart(held).await {
            Ok(moved) => moved,
            Err(error) => {
                self.suffer("RestartFailing", &error);
                None
            }
        };
        let mut left = Vec::new();
        let mut pending = Vec::new();
        for old in held.previous.clone() {
            if let Some(status) = self.old_user(&old, moved).await {
                pending.push(PendingRevocation {
                    username: old.lease.username.clone(),
                    lease: status,
                    unused_since: moved.map(Time),
                });
                left.push(old);
            }
        }
        self.status.pending_revocations = pending;
        if left.len() < held.previous.len() {
            match self.set_previous(&left).await {
                Ok(()) => held.previous = left,
                Err(error) => self.suffer("RevocationFailing", &error),
            }
        }
    }

    /// Since when no pod can use an older credential; `None` while one may.
    async fn restart(&mut self, held: &Held) -> Result<Option<Timestamp>, Error> {
        let now = whole_seconds(self.now());
        let Some(hash) = &held.restart else { return Ok(Some(now)) };
        let spec = self.object.spec.restart.as_ref();
        let known = self.status.restart.clone();
        if spec.is_none() && held.previous.is_empty() && known.as_ref().is_none_or(|status| status.finished.is_some()) {
            // Nobody to move, and nobody to protect.
            return Ok(Some(now));
        }
        let secret = self.object.spec.destination.name.as_str();
        let annotation = secret_hash_annotation(secret, |name| sha256(&[name.as_bytes()]));
        let started = match (&known, &held.lease) {
            (Some(status), _) if status.hash == *hash => status.started.0,
            // The status was lost: pods that were started with this credential must not be restarted for that.
            (None, Some(lease)) if !held.written => lease.issued,
            _ => now,
        };
        let noted = known.as_ref().is_some_and(|known| known.hash == *hash && known.urgent);
        let change = Change {
            uid: &self.tenant.uid,
            namespace: &self.namespace,
            secrets: &[secret],
            annotation: &annotation,
            hash,
            written: started,
            deadline: self.deadline(held),
            urgent: spec.is_some() && held.previous.is_empty() && (self.bereft || noted),
            open_from: self.replacement.window.as_ref().map_or(now, |window| window.open_from(now)),
            settle: self.settle,
            expected: self.expected_rollout(),
        };
        let shared = (&self.context.kube, &self.context.rollouts);
        let outcome = rollout::follow(shared, spec, &change, known.as_ref(), now).await?;
        self.problems.extend(outcome.problems);
        if !outcome.begun.is_empty() {
            self.context.metrics.restarts.fetch_add(outcome.begun.len() as u64, Ordering::Relaxed);
            let note = format!("restarting {} for the new credential", outcome.begun.join(", "));
            self.context.publish(self.object, EventType::Normal, "RestartBegun", "Restart", &note).await;
        }
        if let Some(look) = outcome.look {
            self.wake_at(look);
        }
        let finished_now = outcome.status.finished.is_some()
            && known.is_none_or(|known| known.finished.is_none() || known.hash != *hash);
        if finished_now {
            // The next replacement may have waited for this.
            self.wake_at(now);
            if outcome.status.begun.is_some() {
                self.learn(outcome.status.last_duration);
            }
        }
        let moved = outcome.status.moved.as_ref().map(|moved| moved.0);
        self.status.restart = Some(outcome.status);
        Ok(moved)
    }

    /// When the first of the users that pods may still have must end; a warning comes a quarter of its life before.
    fn deadline(&self, held: &Held) -> Option<Deadline> {
        let ends = held.previous.iter().filter_map(|old| {
            let reference = old.lease.id.reference();
            let known = self.status.pending_revocations.iter().find(|pending| pending.lease.reference == reference);
            let times = old.lease.times(known.map(|pending| &pending.lease), self.longest_life(&old.lease))?;
            let end = if times.renewable { times.last? } else { times.expires };
            let quarter = clock::seconds_between(times.issued, end) / 4;
            Some(Deadline { end, warn: end.checked_sub(Duration::from_secs(quarter)).unwrap_or(end) })
        });
        ends.min_by_key(|deadline| deadline.end)
    }

    fn learn(&mut self, took: Option<i64>) {
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        if let Some(took) = number(took) {
            let expected = plan::expected_after(took, number(self.status.expected_rollout));
            self.status.expected_rollout = i64::try_from(expected).ok();
        }
    }

    /// Guesses how long a rollout takes while none was seen, and looks whether it has become longer at each renewal: somebody
    /// may have scaled the workload up.
    pub(super) async fn guess_rollout(&mut self, held: &Held) {
        let spec = self.object.spec.restart.as_ref().filter(|spec| spec.expected_duration.is_none());
        let due = self.status.expected_rollout.is_none() || self.renewed;
        let Some(spec) = spec.filter(|_| due && held.found.exists) else { return };
        let shared = (&self.context.kube, &self.context.rollouts);
        let secret = self.object.spec.destination.name.as_str();
        match rollout::guess(shared, spec, &self.namespace, &[secret]).await {
            Ok(Some(guess)) => {
                let guess = i64::try_from(guess).unwrap_or(i64::MAX);
                let seen = self.status.restart.as_ref().and_then(|restart| restart.last_duration);
                self.status.expected_rollout = Some(guess.max(seen.unwrap_or(0)));
            }
            Ok(None) => {
                let longest = held.lease.as_ref().and_then(|lease| self.longest_life(lease));
                let soon = longest.map_or(GUESS_AGAIN, |max_ttl| GUESS_AGAIN.min(max_ttl / 6));
                self.wake_at(clock::add_seconds(self.now(), soon));
            }
            Err(error) => self.suffer("RestartFailing", &error),
        }
    }

    /// Sees to one old user; `None` when it is gone, or the engine has taken its end over.
    async fn old_user(&mut self, old: &PreviousLease, unused: Option<Timestamp>) -> Option<LeaseStatus> {
        let now = self.now();
        let reference = old.lease.id.reference();
        let known = self.status.pending_revocations.iter().find(|pending| pending.lease.reference == reference);
        let known = known.map(|pending| pending.lease.clone());
        let step = match old.lease.times(known.as_ref(), self.longest_life(&old.lease)) {
            Some(times) => plan::old_step(now, &times, self.renewal_percent(), unused, self.grace),
            None => OldStep::Renew,
        };
        let status = known.unwrap_or_else(|| old.lease.status(old.lease.issued, old.lease.ttl));
        match step {
            OldStep::Gone => {
                self.note_end(&old.lease).await;
                return None;
            }
            OldStep::Revoke => match self.revoke(&old.lease).await {
                Ok(()) => {
                    let note = format!("database user {} is dropped: nobody uses it any more", old.lease.username);
                    self.context.publish(self.object, EventType::Normal, "UserRevoked", "Revoke", &note).await;
                    return None;
                }
                Err(error) => self.suffer("RevocationFailing", &error),
            },
            OldStep::Renew => match self.prolong(&old.lease).await {
                Ok(Renewal::Prolonged(ttl)) => {
                    metrics::count(&self.context.metrics.renewed);
                    self.wake_at(clock::add(now, Duration::from_secs(ttl).mul_f64(0.5)));
                    return Some(old.lease.status(now, ttl));
                }
                Ok(Renewal::Ended) => {
                    self.note_end(&old.lease).await;
                    return None;
                }
                Err(error) => {
                    metrics::count(&self.context.metrics.renewals_failed);
                    self.suffer("RenewalFailing", &error);
                }
            },
            OldStep::Wait(until) => self.wake_at(until),
        }
        self.warn_of_stuck_restart(&old.lease, &status, unused);
        Some(status)
    }

    /// Says in time that pods will lose their credential because a restart does not get on.
    fn warn_of_stuck_restart(&mut self, lease: &LeaseRecord, status: &LeaseStatus, unused: Option<Timestamp>) {
        let waiting = self.status.restart.as_ref().map(|restart| restart.waiting_for.join(", ")).unwrap_or_default();
        let times = lease.times(Some(status), self.longest_life(lease));
        let Some(last) = times.and_then(|times| times.last).filter(|_| unused.is_none() && !waiting.is_empty()) else {
            return;
        };
        let life = clock::seconds_between(lease.issued, last);
        if clock::seconds_between(self.now(), last) < life / 6 {
            let message = format!("{waiting} still runs pods with user {}, which must end at {last}", lease.username);
            self.problems.push(("RestartStuck", message));
        }
    }

    /// Takes the times of a credential over into the list of old ones.
    pub(super) fn remember(&mut self, old: &LeaseRecord, status: LeaseStatus) {
        if status.reference == old.id.reference() {
            let pending = PendingRevocation { username: old.username.clone(), lease: status, unused_since: None };
            self.status.pending_revocations.push(pending);
        }
    }
}
