//! Leader election on a coordination Lease: of several replicas one works, and another takes over when it is gone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::error;
use crate::base::{Clock, Random, Timestamp, telemetry};

/// How long a holder that does not renew is respected. The other replicas wait that long when one dies.
const LEASE: Duration = Duration::from_secs(15);
/// How long a holder that cannot renew goes on working: less than the others wait.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often the holder renews, and how often the others look.
const RENEWAL: Duration = Duration::from_secs(2);

/// Where the election is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the coordination Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This replica.
    pub identity: String,
}

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    election: Election,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// What was last seen of the Lease, and when by our own clock: other machines' clocks may differ.
    seen: Option<(Option<String>, Timestamp)>,
}

impl Candidate {
    /// A candidate that has not run yet.
    pub fn new(kube: kube::Client, election: Election, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { api: Api::namespaced(kube, &election.namespace), election, clock, random, seen: None }
    }

    /// Returns when this replica leads.
    pub async fn win(&mut self) {
        tracing::info!(lease = self.election.name, identity = self.election.identity, "waiting to lead");
        loop {
            match self.attempt().await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %telemetry::chain(&error), "cannot run for leader"),
            }
            self.clock.sleep(RENEWAL.mul_f64(self.random.jitter(0.2))).await;
        }
        tracing::info!(identity = self.election.identity, "leading");
    }

    /// Renews until the leadership is lost.
    pub async fn keep(&mut self) {
        let mut renewed = self.clock.now();
        loop {
            self.clock.sleep(RENEWAL).await;
            // An API server that hangs must not make this replica work on while another takes over.
            let attempt = tokio::time::timeout(RENEWAL, self.attempt()).await;
            match attempt {
                Ok(Ok(true)) => renewed = self.clock.now(),
                Ok(Ok(false)) => {
                    tracing::error!("another replica leads");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(error = %telemetry::chain(&error), "cannot renew the leadership"),
                Err(_) => tracing::warn!("renewing the leadership takes too long"),
            }
            if self.clock.now().duration_since(renewed) > GIVE_UP.try_into().unwrap_or_default() {
                tracing::error!("leadership lost: it could not be renewed");
                return;
            }
        }
    }

    /// Gives the leadership back, so that another replica need not wait.
    pub async fn resign(&self) {
        let Ok(Some(lease)) = self.api.get_opt(&self.election.name).await else { return };
        if holder(&lease) == Some(&self.election.identity) {
            let mut lease = lease;
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = None;
            }
            let given = self.api.replace(&self.election.name, &PostParams::default(), &lease).await;
            tracing::info!(given_back = given.is_ok(), "leadership ended");
        }
    }

    /// Takes or renews the Lease if it is free, expired or ours.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let now = self.clock.now();
        let Some(mut lease) = self.api.get_opt(&self.election.name).await? else {
            let metadata = ObjectMeta { name: Some(self.election.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.claim(None, now)) };
            return self.written(self.api.create(&PostParams::default(), &lease).await);
        };
        if !may_take(&lease, &self.election.identity, &mut self.seen, now) {
            return Ok(false);
        }
        lease.spec = Some(self.claim(lease.spec.take(), now));
        // With the resourceVersion that was read, only one of several candidates gets through.
        self.written(self.api.replace(&self.election.name, &PostParams::default(), &lease).await)
    }

    fn written(&self, answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error::is_conflict(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn claim(&self, old: Option<LeaseSpec>, now: Timestamp) -> LeaseSpec {
        let old = old.unwrap_or_default();
        let ours = old.holder_identity.as_ref() == Some(&self.election.identity);
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: if ours { old.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()).filter(|holder| !holder.is_empty())
}

/// Whether `identity` may take the Lease. Somebody else's is free once it has not changed for as long as it is held, by our
/// own clock since we first saw it so.
fn may_take(lease: &Lease, identity: &str, seen: &mut Option<(Option<String>, Timestamp)>, now: Timestamp) -> bool {
    if holder(lease).is_none_or(|holder| holder == identity) {
        return true;
    }
    let version = &lease.metadata.resource_version;
    match seen {
        Some((known, since)) if known == version => {
            let held = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
            let held = held.and_then(|seconds| u64::try_from(seconds).ok()).map_or(LEASE, Duration::from_secs);
            now >= crate::base::clock::add(*since, held)
        }
        _ => {
            *seen = Some((version.clone(), now));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn lease(holder: &str, version: &str) -> Lease {
        let metadata = ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    #[test]
    fn a_lease_is_free_when_its_holder_has_been_silent() {
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds| clock::add_seconds(start, seconds);
        let mut seen = None;
        assert!(!may_take(&lease("b", "1"), "a", &mut seen, at(0)));
        assert!(!may_take(&lease("b", "1"), "a", &mut seen, at(14)));
        assert!(!may_take(&lease("b", "2"), "a", &mut seen, at(20)), "renewed meanwhile");
        assert!(!may_take(&lease("b", "2"), "a", &mut seen, at(34)));
        assert!(may_take(&lease("b", "2"), "a", &mut seen, at(35)));
    }

    #[test]
    fn ones_own_lease_and_one_given_back_are_free_at_once() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(may_take(&lease("a", "1"), "a", &mut None, now));
        assert!(may_take(&lease("", "1"), "a", &mut None, now));
    }
}
