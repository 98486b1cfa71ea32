//! Keeps a certificate up to date beside the server that shows it, wherever it comes from.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Error, Resolver};
use crate::base::clock::add;
use crate::base::shutdown::Shutdown;
use crate::base::telemetry::chain;
use crate::base::{Clock, Random, Timestamp};

/// After a failure, and between two looks at what others have done while an exchange goes on.
pub const LOOK: Duration = Duration::from_secs(30);
/// Between attempts to get the first certificate.
const RETRY: Duration = Duration::from_secs(1);

/// A way to a certificate.
#[async_trait]
pub trait Tend: Send {
    /// Looks, takes at most one step, and returns when to look again.
    ///
    /// # Errors
    /// When the cluster fails. What was shown is still shown, and trying again is right.
    async fn tend(&mut self) -> Result<Timestamp, Error>;

    /// What connections are shown.
    fn resolver(&self) -> Arc<Resolver>;
}

/// Tends a certificate.
pub struct Upkeep {
    tended: Box<dyn Tend>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Upkeep {
    /// Nothing is done yet.
    pub fn new(tended: impl Tend + 'static, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { tended: Box::new(tended), clock, random }
    }

    /// What connections are shown.
    pub fn resolver(&self) -> Arc<Resolver> {
        self.tended.resolver()
    }

    /// Tends the certificate until there is one to show; false when the process is to stop before.
    pub async fn begin(&mut self, shutdown: &Shutdown) -> bool {
        while self.resolver().shown().is_none() {
            let Err(error) = self.tended.tend().await else { continue };
            tracing::warn!(error = chain(&error), "no certificate yet, trying again");
            tokio::select! {
                () = self.clock.sleep(RETRY) => {}
                () = shutdown.requested() => return false,
            }
        }
        true
    }

    /// Tends the certificate until the process stops.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let next = self.tended.tend().await.unwrap_or_else(|error| {
                tracing::warn!(error = chain(&error), "cannot tend the certificate now, trying again");
                add(self.clock.now(), LOOK.mul_f64(self.random.jitter(0.2)))
            });
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                () = shutdown.requested() => return,
            }
        }
    }
}
