//! The session in use and its times: renewed while that gives its full life back, replaced after that.

use std::time::Duration;

use super::Context;
use super::login::Session;
use super::schedule::{self, Backoff};
use crate::base::clock::add;
use crate::base::{Timestamp, telemetry};

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

/// A session with its times.
pub struct Live {
    pub session: Session,
    /// Counts up with each login.
    pub number: u64,
    /// When it must be renewed or replaced; never for a token without an end.
    pub due: Option<Timestamp>,
    /// Whether it is renewed then; otherwise a login replaces it.
    pub renews: bool,
    /// When the engine forgets it; never for a token without an end.
    pub ends: Option<Timestamp>,
    failures: u32,
}

impl Live {
    /// A session that begins here.
    pub fn new(session: Session, number: u64, context: &Context) -> Self {
        let now = context.clock.now();
        // A renewal gives the whole life again, however little of it is left.
        let left = session.left.or(session.life);
        Self {
            number,
            due: left.map(|left| schedule::renewal(now, left, &*context.random)),
            ends: left.map(|left| add(now, left)),
            renews: session.renewable,
            failures: 0,
            session,
        }
    }

    /// Renews the token. Afterwards it is due later, or due now and no longer to be renewed.
    pub async fn renew(&mut self, context: &Context) {
        let answer = self.session.client.renew_self(self.session.life.map(|life| life.as_secs())).await;
        let now = context.clock.now();
        match answer {
            Ok(auth) => {
                let life = Duration::from_secs(auth.lease_duration);
                self.failures = 0;
                self.ends = Some(add(now, life));
                self.due = Some(schedule::renewal(now, life, &*context.random));
                if self.session.life.is_some_and(|granted| life < granted) {
                    tracing::info!(left = life.as_secs(), "the token cannot be extended further, logging in again");
                    (self.renews, self.due) = (false, Some(now));
                }
            }
            Err(error) if error.retryable() && self.ends.is_none_or(|ends| ends > now) => {
                self.failures += 1;
                self.due = Some(BACKOFF.next(now, self.failures, &*context.random));
                let (attempt, error) = (self.failures, telemetry::chain(&error));
                tracing::warn!(attempt, error, "cannot renew the token, trying again");
            }
            Err(error) => {
                tracing::warn!(error = telemetry::chain(&error), "cannot renew the token, logging in again");
                (self.renews, self.due) = (false, Some(now));
            }
        }
    }
}
