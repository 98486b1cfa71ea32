//! The worker's token: logins, renewals, and the care of what depends on a token.

use super::super::live::Live;
use super::super::login::{Session, login};
use super::super::schedule::Backoff;
use super::super::{Context, Error};
use super::Worker;
use crate::base::clock::add;
use crate::base::telemetry;

impl Worker {
    pub(super) async fn tend_session(&mut self) -> Result<(), Error> {
        let now = self.context.clock.now();
        let due = match &self.live {
            None => Some(self.login_due),
            Some(live) => live.due,
        };
        if due.is_none_or(|due| due > now) {
            return Ok(());
        }
        match &mut self.live {
            Some(live) if live.renews => {
                live.renew(&self.context).await;
                self.state_changed = true;
                Ok(())
            }
            _ => self.log_in().await,
        }
    }

    async fn log_in(&mut self) -> Result<(), Error> {
        let Context { clock, random, config } = &*self.context;
        let Some(auth) = &config.auth else {
            // Nothing needs a token: callers of the local API bring theirs.
            self.login_due = crate::base::Timestamp::MAX;
            return Ok(());
        };
        match login(&self.client, auth, &self.context, &mut self.remembered).await {
            Ok(session) => {
                tracing::info!(mount = auth.mount, life = session.life.map(|life| life.as_secs()), "logged in");
                let written = session.write_to(&auth.sinks).await;
                self.login_failures = 0;
                self.begin(session);
                match written {
                    Err(error) if self.state.borrow().written => {
                        tracing::error!(error = telemetry::chain(&error), "the sink keeps the token before");
                        Ok(())
                    }
                    outcome => outcome,
                }
            }
            Err(error) if auth.exit_on_error => Err(Error::Login(error)),
            Err(error) => {
                self.login_failures += 1;
                let backoff = Backoff { min: auth.min_backoff, max: auth.max_backoff };
                self.login_due = backoff.next(clock.now(), self.login_failures, &**random);
                if let Some(live) = &mut self.live {
                    live.due = Some(self.login_due);
                }
                let (attempt, error) = (self.login_failures, telemetry::chain(&error));
                tracing::warn!(attempt, error, "cannot log in, trying again");
                self.trouble(format!("cannot log in: {error}"));
                Ok(())
            }
        }
    }

    pub(super) fn begin(&mut self, session: Session) {
        self.sessions += 1;
        self.state_changed = true;
        // Leases die with the token that asked for them, unless the engine says that they belong to the workload.
        self.secrets.session_changed(!session.workload_leases);
        if !self.state.borrow().written {
            self.render_due = Some(self.context.clock.now());
        }
        if let Some(proxy) = &self.proxy {
            proxy.use_session(&session, self.sessions);
        }
        if let Some(old) = self.live.replace(Live::new(session, self.sessions, &self.context)) {
            let end = add(self.context.clock.now(), self.context.config.revoke_grace);
            self.replaced.push((old.session, end));
        }
    }

    pub(super) async fn tend_secrets(&mut self) -> Result<(), Error> {
        let Some(live) = &self.live else { return Ok(()) };
        if self.secrets.due().is_none_or(|due| due > self.context.clock.now()) {
            return Ok(());
        }
        let client = live.session.client.clone();
        let tended = self.secrets.tend(&client, live.number, &self.renderer).await?;
        if tended.changed {
            self.render_due = Some(self.context.clock.now());
        }
        self.state_changed |= tended.changed || tended.renewed;
        if let Some(problem) = tended.problem {
            self.trouble(problem);
        }
        // A refusal may be the policy's or mean that the token is dead; only the second calls for a login.
        if tended.denied && client.read("auth/token/lookup-self").await.is_err_and(|error| error.is_denied()) {
            tracing::warn!("the token is no longer accepted, logging in again");
            self.live = None;
            self.login_due = self.context.clock.now();
        }
        Ok(())
    }

    pub(super) async fn retire(&mut self) {
        let Some(live) = &self.live else { return };
        let client = live.session.client.clone();
        self.secrets.retire(&client).await;
        let now = self.context.clock.now();
        if self.secrets.any_older_than(live.number) && !live.session.workload_leases {
            return;
        }
        let (over, kept) = std::mem::take(&mut self.replaced).into_iter().partition(|(_, due)| *due <= now);
        self.replaced = kept;
        for (session, _) in over {
            session.give_back().await;
        }
    }
}
