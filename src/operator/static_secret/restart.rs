//! After a change of the password: restart the consumers and watch them move.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::EventType;

use super::record::Held;
use super::sync::Pass;
use crate::api::condition::whole_seconds;
use crate::api::dynamic_secret::RestartStatus;
use crate::api::names::secret_hash_annotation;
use crate::base::clock;
use crate::operator::dynamic::record::sha256;
use crate::operator::dynamic::restart::{self, Mark, Progress};
use crate::operator::error::Error;
use crate::operator::metrics;
use crate::operator::static_role;

/// How often a rollout is looked at, whole seconds.
const LOOK: u64 = 2;

impl Pass<'_> {
    /// Brings the restart one step further.
    pub(super) async fn restart(&mut self, held: &Held) -> Result<(), Error> {
        let Some(hash) = &held.restart else { return Ok(()) };
        let now = whole_seconds(self.now());
        let known = self.status.restart.clone();
        let current = known.clone().filter(|status| status.hash == *hash);
        if current.as_ref().is_some_and(|status| status.finished.is_some()) {
            return Ok(());
        }
        // Without targets this content restarts nobody, also not when targets are named later.
        let targets = self.object.spec.restart.as_ref().map_or(&[][..], |restart| &restart.targets);
        let annotation = secret_hash_annotation(&self.object.spec.destination.name, |name| sha256(&[name.as_bytes()]));
        let mark = Mark { annotation: &annotation, hash };
        let (mut waiting, mut begun) = (Vec::new(), Vec::new());
        for target in targets {
            let name = restart::describe(target);
            match restart::drive(&self.context.kube, &self.tenant.namespace, target, &mark).await? {
                Progress::Done => {}
                Progress::Begun => {
                    metrics::count(&self.context.metrics.restarts);
                    begun.push(name.clone());
                    waiting.push(name);
                }
                Progress::Rolling => waiting.push(name),
                Progress::Missing => {
                    let namespace = &self.tenant.namespace;
                    let message = format!("spec.restart.targets: there is no {name} in namespace {namespace}");
                    self.problems.push(("RestartTargetNotFound", message));
                }
            }
        }
        if !begun.is_empty() {
            let note = format!("restarting {} for the new password", begun.join(", "));
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
        Ok(())
    }

    /// Says in time that the former account's grace is too short for a restart without refused logins.
    pub(super) fn foresee(&mut self) {
        let Some(restart) = &self.object.spec.restart else { return };
        let Some(grace) = self.role.as_ref().and_then(|role| static_role::grace(&role.spec)) else { return };
        let declared = restart.expected_duration.as_ref().and_then(|period| period.seconds("expectedDuration").ok());
        let last = self.status.restart.as_ref().and_then(|restart| restart.last_duration);
        let takes = declared.or_else(|| last.and_then(|last| u64::try_from(last).ok())).unwrap_or(0);
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
