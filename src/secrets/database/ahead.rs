//! Passwords made and hashed before anybody asks, so that the half millisecond of hashing is not on a request's way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{Random, Secret};
use crate::drivers::{Driver, Error};
use crate::secrets::password_policy;

/// How many are kept.
const KEPT: usize = 32;

/// How many are left when more are made: then all of them are made in one go, so that hashing disturbs few of the requests
/// instead of each a little.
const LOW: usize = KEPT / 2;

/// A password and what the database keeps of it ([`Driver::prepare`]).
pub(super) struct Prepared {
    pub(super) password: Secret,
    pub(super) prepared: Option<Secret>,
}

/// The passwords of one connection. They are in memory only and used once.
pub(super) struct Ahead {
    driver: Arc<dyn Driver>,
    random: Arc<dyn Random>,
    ready: Mutex<Vec<Prepared>>,
    filling: AtomicBool,
}

impl Ahead {
    pub(super) fn new(driver: Arc<dyn Driver>, random: Arc<dyn Random>) -> Arc<Self> {
        Arc::new(Self { driver, random, ready: Mutex::default(), filling: AtomicBool::new(false) })
    }

    /// A password that was hashed ahead, or one that is hashed now.
    ///
    /// # Errors
    /// Only when the engine is stopping.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Prepared, Error> {
        let (ready, left) = {
            let mut kept = self.ready();
            (kept.pop(), kept.len())
        };
        if left < LOW {
            self.refill();
        }
        match ready {
            Some(ready) => Ok(ready),
            None => self.make().await,
        }
    }

    async fn make(&self) -> Result<Prepared, Error> {
        let password = password_policy::built_in(&*self.random);
        let prepared = self.driver.prepare(&password).await?;
        Ok(Prepared { password, prepared })
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Vec<Prepared>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One task at a time makes up what was taken.
    fn refill(self: &Arc<Self>) {
        if self.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let ahead = self.clone();
        tokio::spawn(async move {
            while ahead.ready().len() < KEPT
                && let Ok(made) = ahead.make().await
            {
                ahead.ready().push(made);
            }
            ahead.filling.store(false, Ordering::Release);
        });
    }
}
