//! Removes what nobody can use any more: expired secret ids, and those that a deleted role left behind.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::AppRole;
use super::role::Role;
use super::secret_id::SecretId;
use super::store::{PAGE, Place, Store};
use crate::base::{Timestamp, telemetry};
use crate::storage::Error;
use crate::wire::Answer;

/// How often making secret ids starts a clean-up, in seconds.
const INTERVAL: i64 = 3600;

impl AppRole {
    /// `tidy/secret-id`: starts a clean-up and does not wait for it.
    pub(super) fn tidy(&self) -> Answer {
        let text = if self.start_tidy(self.clock.now()) {
            "Tidy operation successfully started. Any information from the operation will be printed to the server's logs."
        } else {
            "Tidy operation already in progress."
        };
        Answer::empty().warn(text).accepted()
    }

    /// Called where secret ids grow in number, so that mounts whose users never tidy stay small.
    pub(super) fn tidy_now_and_then(&self, now: Timestamp) {
        if now.as_second() - self.last_tidy.load(Ordering::Relaxed) >= INTERVAL {
            self.start_tidy(now);
        }
    }

    fn start_tidy(&self, now: Timestamp) -> bool {
        if self.tidying.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.last_tidy.store(now.as_second(), Ordering::Relaxed);
        let (store, running) = (self.store.clone(), Running(self.tidying.clone()));
        tokio::spawn(async move {
            let _running = running;
            match sweep(&store, now).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "removed secret ids that had expired or lost their role"),
                Err(error) => tracing::warn!(error = telemetry::chain(&error), "cannot tidy secret ids"),
            }
        });
        true
    }
}

/// Says that the clean-up is over, however it ends.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Removes what had expired by `now` or has no role; answers how many there were.
pub(super) async fn sweep(store: &Store, now: Timestamp) -> Result<usize, Error> {
    let mut living = HashSet::new();
    let mut removed = 0;
    let mut after: Option<String> = None;
    loop {
        let page: Vec<(String, SecretId)> = store.view.page("secret/", after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(removed) };
        after = Some(last.clone());
        // Roles are read after their secret ids: one that is made meanwhile is not taken for a lost one.
        if page.iter().any(|(key, _)| !living.contains(uid(key))) {
            living = roles(store).await?;
        }
        for (key, secret) in page {
            let lost = !living.contains(uid(&key));
            if (lost || secret.is_expired(now)) && remove(store, &key).await? {
                removed += 1;
            }
        }
    }
}

async fn remove(store: &Store, key: &str) -> Result<bool, Error> {
    let Some((secret, version)) = store.view.get::<SecretId>(key).await? else { return Ok(false) };
    let hash = key.rsplit('/').next().unwrap_or_default().to_owned();
    let place = Place { uid: uid(key).to_owned(), hash };
    store.replace(&place, &secret, None, version).await
}

/// The part of `secret/UID/HASH` that names the role.
fn uid(key: &str) -> &str {
    key.split('/').nth(1).unwrap_or_default()
}

async fn roles(store: &Store) -> Result<HashSet<String>, Error> {
    let mut found = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let page: Vec<(String, Role)> = store.view.page("id/", after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        found.extend(page.into_iter().map(|(_, role)| role.uid));
    }
}
