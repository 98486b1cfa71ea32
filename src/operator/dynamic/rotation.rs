//! After a change of users: restart the consumers, watch them move, then revoke the old users.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::EventType;

use super::engine::{self, Renewal};
use super::held::Held;
use super::plan::{self, OldStep};
use super::record::{LeaseRecord, PreviousLease, sha256};
use super::restart::{self, Mark, Progress};
use super::sync::Pass;
use crate::api::condition::whole_seconds;
use crate::api::dynamic_secret::{LeaseStatus, PendingRevocation, RestartStatus};
use crate::api::names::secret_hash_annotation;
use crate::base::{Timestamp, clock};
use crate::operator::error::Error;
use crate::operator::metrics;

/// How often a rollout is looked at, whole seconds.
const LOOK: u64 = 2;

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
            let unused = if self.object.spec.restart.is_some() { moved } else { Some(old.replaced) };
            if let Some(status) = self.old_user(&old, unused).await {
                pending.push(PendingRevocation {
                    username: old.lease.username.clone(),
                    lease: status,
                    unused_since: unused.map(Time),
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
        let known = self.status.restart.clone();
        let current = known.clone().filter(|status| status.hash == *hash);
        if let Some(Time(finished)) = current.as_ref().and_then(|status| status.finished.clone()) {
            return Ok(Some(finished));
        }
        // Without targets this content restarts nobody, also not when targets are named later.
        let targets = self.object.spec.restart.as_ref().map_or(&[][..], |restart| &restart.targets);
        let annotation = secret_hash_annotation(&self.object.spec.destination.name, |name| sha256(&[name.as_bytes()]));
        let mark = Mark { annotation: &annotation, hash };
        let (mut waiting, mut begun) = (Vec::new(), Vec::new());
        for target in targets {
            let name = restart::describe(target);
            match restart::drive(&self.context.kube, &self.namespace, target, &mark).await? {
                Progress::Done => {}
                Progress::Begun => {
                    metrics::count(&self.context.metrics.restarts);
                    begun.push(name.clone());
                    waiting.push(name);
                }
                Progress::Rolling => waiting.push(name),
                Progress::Missing => {
                    let message = format!("spec.restart.targets: there is no {name} in namespace {}", self.namespace);
                    self.problems.push(("RestartTargetNotFound", message));
                }
            }
        }
        if !begun.is_empty() {
            let note = format!("restarting {} for the new credential", begun.join(", "));
            self.context.publish(self.object, EventType::Normal, "RestartBegun", "Restart", &note).await;
        }
        let started = current.map_or(now, |status| status.started.0);
        let finished = waiting.is_empty().then_some(now);
        let took = finished.filter(|_| !targets.is_empty()).map(|finished| clock::seconds_between(started, finished));
        if finished.is_none() {
            self.wake_at(clock::add_seconds(self.now(), LOOK));
        }
        self.status.restart = Some(RestartStatus {
            hash: hash.clone(),
            started: Time(started),
            finished: finished.map(Time),
            waiting_for: waiting,
            last_duration: took
                .and_then(|took| i64::try_from(took).ok())
                .or(known.and_then(|status| status.last_duration)),
        });
        Ok(finished)
    }

    /// Sees to one old user; `None` when it is gone, or the engine has taken its end over.
    async fn old_user(&mut self, old: &PreviousLease, unused: Option<Timestamp>) -> Option<LeaseStatus> {
        let now = self.now();
        let reference = old.lease.id.reference();
        let known = self.status.pending_revocations.iter().find(|pending| pending.lease.reference == reference);
        let known = known.map(|pending| pending.lease.clone());
        let step = match old.lease.times(known.as_ref(), self.max_ttl_of(&old.lease.role)) {
            Some(times) => plan::old_step(now, &times, self.renewal_percent(), unused, self.grace),
            None => OldStep::Renew,
        };
        let status = known.unwrap_or_else(|| old.lease.status(old.lease.issued, old.lease.ttl));
        match step {
            OldStep::Gone => return None,
            OldStep::Revoke => match engine::revoke(self.context, &self.tenant, &old.lease).await {
                Ok(()) => {
                    let note = format!("database user {} is dropped: nobody uses it any more", old.lease.username);
                    self.context.publish(self.object, EventType::Normal, "UserRevoked", "Revoke", &note).await;
                    return None;
                }
                Err(error) => self.suffer("RevocationFailing", &error),
            },
            OldStep::Renew => match engine::renew(self.context, &self.tenant, &old.lease).await {
                Ok(Renewal::Prolonged(ttl)) => {
                    metrics::count(&self.context.metrics.renewed);
                    self.wake_at(clock::add(now, std::time::Duration::from_secs(ttl).mul_f64(0.5)));
                    return Some(old.lease.status(now, ttl));
                }
                Ok(Renewal::Ended) => return None,
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
        let times = lease.times(Some(status), self.max_ttl_of(&lease.role));
        let Some(last) = times.and_then(|times| times.last).filter(|_| unused.is_none()) else { return };
        let life = clock::seconds_between(lease.issued, last);
        if clock::seconds_between(self.now(), last) < life / 6 {
            let waiting =
                self.status.restart.as_ref().map(|restart| restart.waiting_for.join(", ")).unwrap_or_default();
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
