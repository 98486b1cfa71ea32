//! The secrets in use and their leases: read once for all templates, renewed, read again in time, and given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::handover::Left;
use super::query::Query;
use super::renderer::Renderer;
use super::schedule::{self, Backoff};
use super::{Context, Error, MAX_ATTEMPTS};
use crate::base::clock::{add, add_seconds, seconds_between};
use crate::base::{Secret, Timestamp, telemetry};
use crate::client::{self, Client};
use crate::wire::Envelope;

const BACKOFF: Backoff = Backoff { min: Duration::from_millis(250), max: Duration::from_secs(60) };

/// What is held of one query.
#[derive(Debug)]
struct Entry {
    /// Whether it was ever read.
    known: bool,
    lease: Option<Lease>,
    /// Whether the next step is a renewal; otherwise it is a read.
    renews: bool,
    due: Timestamp,
    failures: u32,
    /// The session that it was read with.
    session: u64,
}

#[derive(Debug, Clone)]
struct Lease {
    id: Secret,
    /// The life it was first given. A renewal that gives less has met a limit.
    granted: u64,
    ends: Timestamp,
}

/// All of them, and the leases that wait for their end.
pub struct Secrets {
    context: Arc<Context>,
    entries: BTreeMap<Query, Entry>,
    retired: Vec<(Secret, Timestamp)>,
    /// Whole answers, where another agent is to go on with them.
    left: Option<BTreeMap<Query, Left>>,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Tended {
    /// Whether templates should be rendered anew.
    pub changed: bool,
    /// Whether the engine refused the token somewhere.
    pub denied: bool,
    /// What went wrong last.
    pub problem: Option<String>,
}

impl Secrets {
    /// None yet.
    pub fn new(context: Arc<Context>) -> Self {
        let hands_over = context.config.exit_after_auth && context.config.handover.is_some();
        let left = hands_over.then(BTreeMap::new);
        Self { context, entries: BTreeMap::new(), retired: Vec::new(), left }
    }

    /// Wants a secret, from now on.
    pub fn want(&mut self, query: Query) {
        let due = self.context.clock.now();
        self.entries.entry(query).or_insert(Entry {
            known: false,
            lease: None,
            renews: false,
            due,
            failures: 0,
            session: 0,
        });
    }

    /// Gives up what no template asks for any more.
    pub fn keep_only(&mut self, wanted: &BTreeSet<Query>) {
        let now = self.context.clock.now();
        let retired = &mut self.retired;
        self.entries.retain(|query, entry| {
            let kept = wanted.contains(query);
            if !kept && let Some(lease) = entry.lease.take() {
                retired.push((lease.id, now));
            }
            kept
        });
    }

    /// Reads everything again.
    pub fn reread(&mut self) {
        let now = self.context.clock.now();
        for entry in self.entries.values_mut() {
            (entry.renews, entry.due) = (false, now);
        }
    }

    /// A new token is there: what failed is tried at once, and leases that died with the old one are read again.
    pub fn session_changed(&mut self, leases_depend_on_it: bool) {
        let now = self.context.clock.now();
        for entry in self.entries.values_mut() {
            if entry.lease.is_some() && leases_depend_on_it {
                (entry.renews, entry.due) = (false, now);
            } else if entry.failures > 0 {
                entry.due = now;
            }
        }
    }

    /// When the next step is due.
    pub fn due(&self) -> Option<Timestamp> {
        self.entries.values().map(|entry| entry.due).min()
    }

    /// When the next retired lease is due.
    pub fn retirement_due(&self) -> Option<Timestamp> {
        self.retired.iter().map(|(_, due)| *due).min()
    }

    /// Whether a secret in use was read with a session before `session`, and so may depend on its token.
    pub fn any_older_than(&self, session: u64) -> bool {
        self.entries.values().any(|entry| entry.lease.is_some() && entry.session < session)
    }

    /// A secret in use whose life is over, so that who uses it is refused; `session_ends` is the end of the token that leases
    /// hang on, if they do.
    pub fn ended(&self, now: Timestamp, session_ends: Option<Timestamp>) -> Option<&Query> {
        let over = |lease: &Lease| lease.ends <= now || session_ends.is_some_and(|ends| ends <= now);
        self.entries.iter().find(|(_, entry)| entry.lease.as_ref().is_some_and(over)).map(|(query, _)| query)
    }

    /// When the next secret in use ends, unless something is done.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.entries.values().filter_map(|entry| entry.lease.as_ref()).map(|lease| lease.ends);
        ends.filter(|ends| *ends > now).min()
    }

    /// Takes every step that is due, as many at the same time as the configuration allows.
    ///
    /// # Errors
    /// [`Error::GaveUp`], when a secret could not be read [`MAX_ATTEMPTS`] times, it never was before, and the
    /// configuration says to end then.
    pub async fn tend(&mut self, client: &Client, session: u64, renderer: &Renderer) -> Result<Tended, Error> {
        let now = self.context.clock.now();
        let due = self.entries.iter().filter(|(_, entry)| entry.due <= now);
        let free = Semaphore::new(self.context.config.max_connections);
        // Each answer is taken in as it comes, so that a stop in between loses no lease that the engine has told of.
        let mut running: FuturesUnordered<_> = due
            .map(|(query, entry)| {
                let (query, client, free) = (query.clone(), client.clone(), &free);
                let renewed =
                    entry.lease.as_ref().filter(|_| entry.renews).map(|lease| (lease.id.clone(), lease.granted));
                async move {
                    // Nobody closes it, so an error cannot be.
                    let _turn = free.acquire().await;
                    let answer = match &renewed {
                        Some((id, granted)) => client.renew_lease(id.expose(), Some(*granted)).await,
                        None => query.fetch(&client).await,
                    };
                    (query, renewed.is_some(), answer)
                }
            })
            .collect();
        let mut tended = Tended::default();
        while let Some((query, renewal, answer)) = running.next().await {
            match answer {
                Ok(envelope) if renewal => self.renewed(&query, &envelope),
                Ok(envelope) => {
                    renderer.learn(&query, query.shown(&envelope));
                    self.read(query, &envelope, session);
                    tended.changed = true;
                }
                Err(error) => {
                    tended.denied |= error.is_denied();
                    tended.problem = Some(telemetry::chain(&error));
                    self.failed(&query, renewal, error)?;
                }
            }
        }
        Ok(tended)
    }

    fn read(&mut self, query: Query, envelope: &Envelope, session: u64) {
        let now = self.context.clock.now();
        let entry = self.entry(envelope, now, session);
        let Entry { renews, .. } = entry;
        tracing::info!(path = query.path(), lease_seconds = envelope.lease_duration, renewable = renews, "read");
        if let Some(left) = &mut self.left {
            left.insert(query.clone(), Left { query: query.clone(), envelope: envelope.clone(), at: now });
        }
        if let Some(Entry { lease: Some(old), .. }) = self.entries.insert(query, entry) {
            self.retired.push((old.id, add(now, self.context.config.revoke_grace)));
        }
    }

    /// Everything that was read, for an agent that goes on with it.
    pub fn left(&self) -> Vec<Left> {
        self.left
            .iter()
            .flat_map(BTreeMap::values)
            .filter(|left| self.entries.contains_key(&left.query))
            .cloned()
            .collect()
    }

    /// Goes on with what another agent has read. A lease is renewed at once, as some of its life is gone.
    pub fn adopt(&mut self, left: Left, session: u64) {
        let mut entry = self.entry(&left.envelope, left.at, session);
        if entry.renews {
            entry.due = self.context.clock.now();
        }
        tracing::info!(path = left.query.path(), renewable = entry.renews, "took over");
        self.entries.insert(left.query, entry);
    }

    /// What is held of an answer that came at `now`.
    fn entry(&self, envelope: &Envelope, now: Timestamp, session: u64) -> Entry {
        let Context { random, config, .. } = &*self.context;
        let life = Duration::from_secs(envelope.lease_duration);
        let lease = (!envelope.lease_id.is_empty()).then(|| Lease {
            id: Secret::new(envelope.lease_id.as_str()),
            granted: envelope.lease_duration,
            ends: add(now, life),
        });
        let renews = lease.is_some() && envelope.renewable;
        let due = match (&lease, renews, rotation(envelope)) {
            (Some(_), true, _) => schedule::renewal(now, life, &**random),
            (Some(_), false, _) => schedule::reread(now, life, config.renewal_threshold, &**random),
            // The new password is there a moment after the old one's time is over.
            (None, _, Some(seconds)) => add_seconds(now, seconds + 1),
            (None, _, None) if let Some(life) = own_life(envelope, now) => {
                schedule::reread(now, life, config.renewal_threshold, &**random)
            }
            (None, _, None) => schedule::interval(now, config.static_interval, &**random),
        };
        Entry { known: true, lease, renews, due, failures: 0, session }
    }

    fn renewed(&mut self, query: &Query, envelope: &Envelope) {
        let now = self.context.clock.now();
        let Some(entry) = self.entries.get_mut(query) else { return };
        let Some(lease) = &mut entry.lease else { return };
        let life = Duration::from_secs(envelope.lease_duration);
        lease.ends = add(now, life);
        entry.failures = 0;
        if envelope.lease_duration < lease.granted {
            // The lease has met its maximum: what is left of it is for moving to a new one.
            tracing::info!(path = query.path(), left = envelope.lease_duration, "the lease cannot be extended further");
            (entry.renews, entry.due) = (false, now);
        } else {
            tracing::debug!(path = query.path(), lease_seconds = envelope.lease_duration, "renewed");
            entry.due = schedule::renewal(now, life, &*self.context.random);
        }
    }

    fn failed(&mut self, query: &Query, renewal: bool, error: client::Error) -> Result<(), Error> {
        let Context { clock, random, config } = &*self.context;
        let now = clock.now();
        let Some(entry) = self.entries.get_mut(query) else { return Ok(()) };
        let over = entry.lease.as_ref().is_none_or(|lease| lease.ends <= now);
        if renewal && (over || !error.retryable()) {
            tracing::warn!(path = query.path(), error = telemetry::chain(&error), "cannot renew, reading anew");
            (entry.renews, entry.due) = (false, now);
            return Ok(());
        }
        entry.failures += 1;
        entry.due = BACKOFF.next(now, entry.failures, &**random);
        let verb = if renewal { "renew" } else { "read" };
        let attempt = entry.failures;
        tracing::warn!(path = query.path(), attempt, error = telemetry::chain(&error), "cannot {verb}, trying again");
        if !entry.known && attempt >= MAX_ATTEMPTS && config.exit_on_retry_failure {
            return Err(Error::GaveUp { attempts: attempt, source: error });
        }
        Ok(())
    }

    /// Revokes the retired leases whose grace is over. What cannot be revoked for lack of rights lives to its own end.
    pub async fn retire(&mut self, client: &Client) {
        let now = self.context.clock.now();
        while let Some(at) = self.retired.iter().position(|(_, due)| *due <= now) {
            let id = self.retired[at].0.clone();
            match client.revoke_lease(id.expose(), false).await {
                Err(error) if error.retryable() => {
                    tracing::warn!(error = telemetry::chain(&error), "cannot revoke a replaced lease, trying again");
                    self.retired[at].1 = add(now, BACKOFF.max);
                    continue;
                }
                Err(error) => tracing::info!(error = telemetry::chain(&error), "a replaced lease is left to its end"),
                Ok(()) => tracing::debug!("revoked a replaced lease"),
            }
            self.retired.swap_remove(at);
        }
    }

    /// Revokes every lease at the same time; the answer is how many were and how many could not be.
    pub async fn revoke_all(&mut self, client: &Client) -> (usize, usize) {
        let held = self.entries.values_mut().filter_map(|entry| entry.lease.take()).map(|lease| lease.id);
        let ids: Vec<Secret> = held.chain(self.retired.drain(..).map(|(id, _)| id)).collect();
        let revocations = ids.iter().map(|id| client.revoke_lease(id.expose(), true));
        let outcomes = futures_util::future::join_all(revocations).await;
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            tracing::debug!(error = telemetry::chain(error), "cannot revoke a lease");
        }
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        (outcomes.len() - failed, failed)
    }
}

/// Seconds to the next rotation of a static role's password.
fn rotation(envelope: &Envelope) -> Option<u64> {
    let data = envelope.data.as_ref()?;
    let rotates = data.get("rotation_period").or_else(|| data.get("rotation_schedule")).is_some();
    data.get("ttl").filter(|_| rotates)?.as_u64()
}

/// The life of what carries its end in itself: a certificate, a token.
fn own_life(envelope: &Envelope, now: Timestamp) -> Option<Duration> {
    if let Some(auth) = &envelope.auth {
        return (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
    }
    let data = envelope.data.as_ref()?;
    let expiration = data.get("expiration").filter(|_| data.get("certificate").is_some())?.as_i64()?;
    let end = Timestamp::from_second(expiration).ok()?;
    Some(Duration::from_secs(seconds_between(now, end).max(1)))
}
