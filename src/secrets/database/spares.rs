//! Warm spares: users made before anybody asks, who may not log in yet, each with a lease of its own from its making on.
//!
//! Which user has which password is known in memory only. After a restart nobody knows the spares of before any more: none
//! of them is ever handed out again, and their leases are revoked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;

use super::creds::Source;
use crate::base::{Clock, Random, Secret, telemetry};
use crate::secrets::{Ending, LeaseBook};
use crate::storage::Version;
use crate::wire::Error;

/// How long a spare may wait before it is replaced, seconds.
const LIFETIME: u64 = 86_400;

/// How many are made at once for one role: the requests that are not served by spares go on beside them.
const PARALLEL: usize = 2;

/// New ones are made in the first pause of that length: made beside the requests that take them, they would slow those down.
const PAUSE: Duration = Duration::from_millis(50);

/// Before a role whose spares could not be made is tried again; doubled up to 64 times that.
const BACKOFF: Duration = Duration::from_secs(1);

/// What a user was made from; a change of either makes it useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) role: Version,
    pub(super) connection: Version,
}

/// No entry of a store has version 0: a spare of this origin is useless.
const NOTHING: Origin = Origin { role: 0, connection: 0 };

/// A user that waits.
pub(super) struct Spare {
    pub(super) lease: String,
    pub(super) username: String,
    pub(super) password: Secret,
    origin: Origin,
}

/// The spares of one mount.
#[derive(Default)]
pub(super) struct Spares {
    ready: Mutex<HashMap<String, Vec<Spare>>>,
    /// Roles that have to be looked at, and how often that failed.
    dirty: Mutex<HashMap<String, u32>>,
    wake: Notify,
}

impl Spares {
    fn ready(&self) -> MutexGuard<'_, HashMap<String, Vec<Spare>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dirty(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many users of a role wait.
    pub(super) fn count(&self, role: &str) -> usize {
        self.ready().get(role).map_or(0, Vec::len)
    }

    /// How many users wait, by role.
    pub(super) fn counts(&self) -> Vec<(String, usize)> {
        self.ready().iter().map(|(role, spares)| (role.clone(), spares.len())).collect()
    }

    /// Takes one user that was made from exactly that; whoever gets it is the only one.
    pub(super) fn take(&self, role: &str, origin: Origin) -> Option<Spare> {
        let taken = {
            let mut ready = self.ready();
            let spares = ready.get_mut(role)?;
            let at = spares.iter().position(|spare| spare.origin == origin);
            at.map(|at| spares.remove(at))
        };
        self.look_at(role);
        taken
    }

    /// One of a role's users turned out to be gone: none of them is handed out any more, and all are made anew.
    pub(super) fn distrust(&self, role: &str) {
        if let Some(spares) = self.ready().get_mut(role) {
            spares.iter_mut().for_each(|spare| spare.origin = NOTHING);
        }
        self.look_at(role);
    }

    /// Has the background look at a role soon.
    pub(super) fn look_at(&self, role: &str) {
        self.dirty().entry(role.to_owned()).or_default();
        self.wake.notify_one();
    }

    /// A user is being dropped: nobody may get it any more.
    pub(super) fn forget(&self, role: &str, username: &str) {
        let found = {
            let mut ready = self.ready();
            ready.get_mut(role).is_some_and(|spares| {
                let before = spares.len();
                spares.retain(|spare| spare.username != username);
                spares.len() < before
            })
        };
        if found {
            self.look_at(role);
        }
    }

    /// Revokes the spares of an earlier process and has all roles looked at.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn begin(&self, leases: &dyn LeaseBook, roles: Vec<String>) -> Result<(), Error> {
        let known: HashSet<_> = self.ready().values().flatten().map(|spare| spare.lease.clone()).collect();
        let mut after: Option<String> = None;
        loop {
            let page = leases.page(after.as_deref(), 1000).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            let old = page.into_iter().filter(|held| held.stocked && !held.ended && !known.contains(&held.id));
            let old: Vec<_> = old.map(|held| held.id).collect();
            if !old.is_empty() {
                leases.end(old, Ending::Later).await?;
            }
        }
        roles.iter().for_each(|role| self.look_at(role));
        Ok(())
    }

    /// Keeps every role's spares complete, for ever. Roles are looked after side by side: one whose database is down, or who
    /// waits after a failure, delays no other.
    pub(super) async fn tend(&self, source: &Source<'_>, clock: &Arc<dyn Clock>, random: &Arc<dyn Random>) {
        let mut running = FuturesUnordered::new();
        let mut busy = HashSet::new();
        loop {
            let work: Vec<_> = self.dirty().extract_if(|role, _| !busy.contains(role)).collect();
            for (role, failures) in work {
                busy.insert(role.clone());
                running.push(self.look_after(source, role, failures, clock, random));
            }
            tokio::select! {
                () = self.wake.notified() => {}
                Some((role, failures)) = running.next() => {
                    busy.remove(&role);
                    if failures > 0 {
                        self.dirty().insert(role, failures);
                    }
                }
            }
        }
    }

    /// Completes one role; after a failure it waits before it says so. Returns the failures in a row.
    async fn look_after(
        &self,
        source: &Source<'_>,
        role: String,
        failures: u32,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> (String, u32) {
        let done = async {
            self.rest(source, &role, clock).await?;
            self.complete(source, &role).await
        };
        let Err(error) = done.await else { return (role, 0) };
        let failures = failures + 1;
        tracing::warn!(role, failures, error = telemetry::chain(&error), "spares cannot be made");
        let pause = BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(6)).mul_f64(random.jitter(0.2));
        clock.sleep(pause).await;
        (role, failures)
    }

    /// Waits until nobody takes users of a role, or few are left.
    async fn rest(&self, source: &Source<'_>, role: &str, clock: &Arc<dyn Clock>) -> Result<(), Error> {
        let few = source.wanted(role).await?.map_or(0, |(count, _)| count as usize / 4);
        let mut left = self.count(role);
        while left > few {
            clock.sleep(PAUSE).await;
            let before = std::mem::replace(&mut left, self.count(role));
            if left == before {
                break;
            }
        }
        Ok(())
    }

    /// Drops what is useless and makes what is missing.
    async fn complete(&self, source: &Source<'_>, role: &str) -> Result<(), Error> {
        let wanted = source.wanted(role).await?;
        let count = wanted.map_or(0, |(count, _)| count as usize);
        let (useless, missing) = {
            let mut ready = self.ready();
            let spares = ready.remove(role).unwrap_or_default();
            let (mut good, mut useless): (Vec<_>, Vec<_>) =
                spares.into_iter().partition(|spare| wanted.is_some_and(|(_, origin)| origin == spare.origin));
            useless.extend(good.split_off(good.len().min(count)));
            let missing = count - good.len();
            if count > 0 {
                ready.insert(role.to_owned(), good);
            }
            (useless, missing)
        };
        if !useless.is_empty() {
            source.setup.leases.end(useless.into_iter().map(|spare| spare.lease).collect(), Ending::Later).await?;
        }
        let makings = (0..missing).map(|_| self.make(source, role));
        let mut made = stream::iter(makings).buffer_unordered(PARALLEL);
        while let Some(result) = made.next().await {
            result?;
        }
        Ok(())
    }

    async fn make(&self, source: &Source<'_>, role: &str) -> Result<(), Error> {
        let (mut offer, origin) = source.spare(role).await?;
        offer.requested = Some(LIFETIME);
        let stocked = source.setup.leases.stock(&format!("creds/{role}"), offer).await?;
        let text = |key: &str| stocked.data.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let spare = Spare {
            lease: stocked.id.clone(),
            username: text("username"),
            password: Secret::new(text("password")),
            origin,
        };
        self.ready().entry(role.to_owned()).or_default().push(spare);
        Ok(())
    }
}
