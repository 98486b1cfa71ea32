//! Leader election on a coordination Lease: of several replicas one works, and another takes over when it is gone.
//!
//! Whoever holds the Lease renews it every two seconds and works only while its last renewal is younger than ten
//! ([`Fence`]); the others respect a silent holder for fifteen by their own clocks, and take a Lease that was given back at
//! their next look. So two never work at once, and a clean stop costs no waiting.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::error;
use super::fence::Fence;
use crate::base::{Clock, Random, Timestamp, clock, telemetry};

/// How long a holder that does not renew is respected. The other replicas wait that long when one dies.
const LEASE: Duration = Duration::from_secs(15);
/// How long a holder that cannot renew goes on working: less than the others wait.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often the holder renews.
const RENEWAL: Duration = Duration::from_secs(2);
/// How often the others look.
const LOOK: Duration = Duration::from_secs(1);
/// The longest that giving the Lease back takes.
const RESIGNATION: Duration = Duration::from_secs(2);

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
    fence: Fence,
    /// The Lease as this replica last wrote it.
    held: Option<Lease>,
    /// What was last seen of the Lease, and when by our own clock: other machines' clocks may differ.
    seen: Option<(Option<String>, Timestamp)>,
}

impl Candidate {
    /// A candidate that has not run yet; it opens `fence` while it leads. `kube` must not be fenced itself.
    pub fn new(
        kube: kube::Client,
        election: Election,
        fence: Fence,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let api = Api::namespaced(kube, &election.namespace);
        Self { api, election, clock, random, fence, held: None, seen: None }
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
            self.clock.sleep(LOOK.mul_f64(self.random.jitter(0.2))).await;
        }
        tracing::info!(identity = self.election.identity, "leading");
    }

    /// Renews until the leadership is lost.
    pub async fn keep(&mut self) {
        loop {
            self.clock.sleep(RENEWAL).await;
            // An API server that hangs must not make this replica work on while another takes over.
            let attempt = tokio::time::timeout(RENEWAL, self.attempt()).await;
            match attempt {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    self.fence.close();
                    tracing::error!("another replica leads");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(error = %telemetry::chain(&error), "cannot renew the leadership"),
                Err(_) => tracing::warn!("renewing the leadership takes too long"),
            }
            if !self.fence.is_open() {
                tracing::error!("leadership lost: it could not be renewed");
                return;
            }
        }
    }

    /// Gives the leadership back, so that another replica need not wait. Nothing may be changed any more before that.
    pub async fn resign(mut self) {
        self.fence.close();
        let given = tokio::time::timeout(RESIGNATION, self.give_back()).await;
        match given {
            Ok(Ok(())) => tracing::info!("leadership given back"),
            Ok(Err(error)) => tracing::warn!(error = %telemetry::chain(&error), "cannot give the leadership back"),
            Err(_) => tracing::warn!("giving the leadership back takes too long"),
        }
    }

    async fn give_back(&mut self) -> Result<(), kube::Error> {
        let known = match self.held.take() {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.election.name).await?,
        };
        let Some(mut lease) = known.filter(|lease| holder(lease) == Some(&self.election.identity)) else {
            return Ok(());
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        // With the version that is known; a conflict means that somebody else has it already.
        self.api.replace(&self.election.name, &PostParams::default(), &lease).await.map(drop)
    }

    /// Takes or renews the Lease if it is free, expired or ours, and opens the fence for as long as that holds.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        // The others count from when they see the renewal, which is later than this.
        let now = self.clock.now();
        let won = self.write(now).await?;
        if won {
            self.fence.extend(clock::add(now, GIVE_UP));
        }
        Ok(won)
    }

    async fn write(&mut self, now: Timestamp) -> Result<bool, kube::Error> {
        // A renewal needs no look first: with the version that we wrote, it fails where somebody else wrote since.
        if let Some(mut lease) = self.held.take() {
            lease.spec = Some(self.claim(lease.spec.take(), now));
            match self.api.replace(&self.election.name, &PostParams::default(), &lease).await {
                Err(error) if error::is_conflict(&error) || error::is_not_found(&error) => {}
                answer => return self.written(answer, lease),
            }
        }
        let Some(mut lease) = self.api.get_opt(&self.election.name).await? else {
            let metadata = ObjectMeta { name: Some(self.election.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.claim(None, now)) };
            let answer = self.api.create(&PostParams::default(), &lease).await;
            return self.written(answer, lease);
        };
        if !may_take(&lease, &self.election.identity, &mut self.seen, now) {
            return Ok(false);
        }
        lease.spec = Some(self.claim(lease.spec.take(), now));
        // With the resourceVersion that was read, only one of several candidates gets through.
        let answer = self.api.replace(&self.election.name, &PostParams::default(), &lease).await;
        self.written(answer, lease)
    }

    fn written(&mut self, answer: Result<Lease, kube::Error>, sent: Lease) -> Result<bool, kube::Error> {
        match answer {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(true)
            }
            Err(error) if error::is_conflict(&error) => Ok(false),
            Err(error) => {
                // Without an answer it may have been written or not; the next attempt finds out by the conflict.
                self.held = sent.metadata.resource_version.is_some().then_some(sent);
                Err(error)
            }
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
            now >= clock::add(*since, held)
        }
        _ => {
            *seen = Some((version.clone(), now));
            false
        }
    }
}

#[cfg(test)]
mod tests;
