//! Follows the shared certificates in one replica, and takes the steps that are due.

use std::sync::Arc;

use async_trait::async_trait;

use super::issue::issue;
use super::upkeep::{LOOK, Tend};
use super::{Bundle, Error, Policy, Resolver, Step, Store, plan};
use crate::base::clock::add;
use crate::base::{Clock, Random, Timestamp};

/// One replica's part in keeping the certificates.
pub struct Keeper {
    store: Arc<dyn Store>,
    names: Vec<String>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    resolver: Arc<Resolver>,
    /// The CAs that were seen at the API server, and since when.
    published: Option<(String, Timestamp)>,
}

impl Keeper {
    /// `names` are the DNS names by which API servers reach the webhook.
    pub fn new(
        store: Arc<dyn Store>,
        names: Vec<String>,
        policy: Policy,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { store, names, policy, clock, random, resolver: Arc::default(), published: None }
    }

    /// What is kept after `step`; nothing if nothing changes.
    fn take(&self, step: Step, bundle: Option<&Bundle>, now: Timestamp) -> Result<Option<Bundle>, Error> {
        let fresh = || issue(&self.names, now, self.policy.validity);
        Ok(match (step, bundle.cloned()) {
            (Step::Wait(_), _) => None,
            (Step::Stage, Some(bundle)) => Some(Bundle { next: Some(fresh()?), changed: now, ..bundle }),
            (Step::Promote, Some(Bundle { next: Some(next), current, names, .. })) => {
                Some(Bundle { names, current: next, next: None, retired_ca: Some(current.ca), changed: now })
            }
            (Step::Retire, Some(bundle)) => Some(Bundle { retired_ca: None, changed: now, ..bundle }),
            _ => Some(Bundle {
                names: self.names.clone(),
                current: fresh()?,
                next: None,
                retired_ca: None,
                changed: now,
            }),
        })
    }

    async fn publish(&mut self, bundle: &Bundle) -> Result<(), Error> {
        let cas = bundle.trusted();
        let changed = self.store.publish(&cas).await?;
        if changed {
            tracing::info!("told the API server which CAs to trust");
        }
        if changed || self.published.as_ref().is_none_or(|(seen, _)| *seen != cas) {
            self.published = Some((cas, self.clock.now()));
        }
        Ok(())
    }
}

#[async_trait]
impl Tend for Keeper {
    /// Reads what is shared, publishes its CAs, shows its certificate, and takes at most one step; returns when to look again.
    async fn tend(&mut self) -> Result<Timestamp, Error> {
        let now = self.clock.now();
        let (mut bundle, version) = self.store.read().await?;
        if let Some(bundle) = &bundle {
            self.publish(bundle).await?;
        }
        let since = self.published.as_ref().map_or(now, |(_, since)| *since);
        let step = plan(bundle.as_ref(), &self.names, self.policy, now, since);
        if let Some(changed) = self.take(step, bundle.as_ref(), now)? {
            if !self.store.write(&changed, &version).await? {
                tracing::debug!(?step, "another replica was faster");
                return Ok(now);
            }
            tracing::info!(?step, valid_until = %changed.current.not_after, "took a step in exchanging the certificate");
            self.publish(&changed).await?;
            bundle = Some(changed);
        }
        if let Some(bundle) = &bundle
            && self.resolver.show(&bundle.current)?
        {
            tracing::info!(valid_until = %bundle.current.not_after, "showing another certificate");
        }
        let look = add(now, LOOK.min(self.policy.overlap / 3).mul_f64(self.random.jitter(0.2)));
        Ok(match step {
            Step::Wait(until) => until.min(look),
            _ => look,
        })
    }

    fn resolver(&self) -> Arc<Resolver> {
        Arc::clone(&self.resolver)
    }
}
