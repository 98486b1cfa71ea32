//! Leases that went through the local API with the agent's token: handed out again to whoever asks for the same, and renewed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::task::AbortHandle;

use super::super::Context;
use super::super::schedule::{self, Backoff};
use crate::base::clock::{add, seconds_between};
use crate::base::{Secret, Timestamp, telemetry};
use crate::client::Client;
use crate::wire::Envelope;

/// More different requests than this are passed on without being kept.
const MAX_ENTRIES: usize = 1000;
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

/// Says that requests are the same: a digest, since a body may hold secrets.
pub type Key = [u8; 32];

/// The same request waits for the one that is under way.
pub type Slot = Arc<tokio::sync::Mutex<()>>;

/// All that is kept.
pub struct Cache {
    context: Arc<Context>,
    entries: Arc<Mutex<BTreeMap<Key, Entry>>>,
}

#[derive(Default)]
struct Entry {
    slot: Slot,
    kept: Option<Kept>,
}

/// An answer with a lease.
#[derive(Clone)]
pub struct Kept {
    /// The session that it belongs to; 0 for the workload.
    pub identity: u64,
    /// Without `/v1/`.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    lease: Secret,
    since: Timestamp,
    renewals: Option<AbortHandle>,
}

impl Kept {
    /// How long it has been kept, in seconds.
    pub fn age(&self, now: Timestamp) -> u64 {
        seconds_between(self.since, now)
    }

    /// Whether it stands for this lease.
    pub fn has_lease(&self, id: &str) -> bool {
        self.lease.expose() == id
    }

    /// Whether its lease lies below a prefix.
    pub fn lies_below(&self, prefix: &str) -> bool {
        self.lease.expose().starts_with(prefix)
    }
}

impl Cache {
    /// Nothing is kept yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, entries: Arc::default() }
    }

    /// Where to wait for the same request; `None` when there is no room.
    pub fn slot(&self, key: Key) -> Option<Slot> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(&entries.entry(key).or_default().slot))
    }

    /// What is kept of a request.
    pub fn get(&self, key: &Key) -> Option<Kept> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.kept.clone()
    }

    /// Keeps an answer if it holds a lease, and looks after that with `client`.
    pub fn offer(&self, key: Key, identity: u64, path: &str, headers: &HeaderMap, body: &Bytes, client: &Client) {
        let leased = serde_json::from_slice::<Envelope>(body).ok();
        let leased = leased.filter(|envelope| !envelope.lease_id.is_empty() && envelope.lease_duration > 0);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(envelope) = leased else {
            // Whoever still waits for it has the slot itself.
            entries.remove(&key);
            return;
        };
        let lease = Secret::new(envelope.lease_id.as_str());
        let keeper = Keeper {
            context: Arc::clone(&self.context),
            client: client.clone(),
            lease: lease.clone(),
            granted: envelope.lease_duration,
            renewable: envelope.renewable,
        };
        let (shared, path) = (Arc::clone(&self.entries), path.to_owned());
        let task = tokio::spawn(async move {
            keeper.until_over().await;
            shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
        let kept = Kept {
            identity,
            path,
            headers: headers.clone(),
            body: body.clone(),
            lease,
            since: self.context.clock.now(),
            renewals: Some(task.abort_handle()),
        };
        entries.entry(key).or_default().kept = Some(kept);
    }

    /// Forgets the rest. Their leases live to their end.
    pub fn keep_only(&self, wanted: impl Fn(&Kept) -> bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| {
            let Some(kept) = &entry.kept else { return true };
            let stays = wanted(kept);
            if !stays && let Some(task) = &kept.renewals {
                task.abort();
            }
            stays
        });
    }

    /// Gives back every lease.
    pub async fn revoke_all(&self, client: &Client) {
        let entries = std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        let revocations = entries.into_values().filter_map(|entry| entry.kept).map(async |kept| {
            if let Some(task) = &kept.renewals {
                task.abort();
            }
            if let Err(error) = client.revoke_lease(kept.lease.expose(), true).await {
                tracing::debug!(error = telemetry::chain(&error), "cannot revoke a lease of the local API");
            }
        });
        futures_util::future::join_all(revocations).await;
    }
}

/// Looks after one lease.
struct Keeper {
    context: Arc<Context>,
    client: Client,
    lease: Secret,
    granted: u64,
    renewable: bool,
}

impl Keeper {
    /// Renews until the lease should not be handed out any more.
    async fn until_over(self) {
        let Context { clock, random, config } = &*self.context;
        let life = Duration::from_secs(self.granted);
        if !self.renewable {
            clock.sleep_until(schedule::reread(clock.now(), life, config.renewal_threshold, &**random)).await;
            return;
        }
        let mut ends = add(clock.now(), life);
        let mut due = schedule::renewal(clock.now(), life, &**random);
        let mut failures = 0;
        loop {
            clock.sleep_until(due).await;
            let answer = self.client.renew_lease(self.lease.expose(), Some(self.granted)).await;
            let now = clock.now();
            match answer {
                // What is left of it is for those who have it.
                Ok(envelope) if envelope.lease_duration < self.granted => return,
                Ok(envelope) => {
                    let life = Duration::from_secs(envelope.lease_duration);
                    (failures, ends, due) = (0, add(now, life), schedule::renewal(now, life, &**random));
                }
                Err(error) if error.retryable() && ends > now => {
                    failures += 1;
                    due = BACKOFF.next(now, failures, &**random);
                }
                Err(error) => {
                    tracing::info!(error = telemetry::chain(&error), "a lease of the local API is over");
                    return;
                }
            }
        }
    }
}
