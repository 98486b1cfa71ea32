//! The agent at work: keeps a token, the secrets and the files current until it is told to stop, then gives all back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::login::{Session, login};
use super::renderer::Renderer;
use super::schedule::{self, Backoff};
use super::secrets::Secrets;
use super::{Context, Error, command, write};
use crate::base::clock::add;
use crate::base::shutdown::Shutdown;
use crate::base::{Timestamp, telemetry};
use crate::client::Client;

/// How long the agent takes at most to give everything back; pods are given 30 s by default.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);
/// When files that could not be written are tried again.
const WRITE_RETRY: Duration = Duration::from_secs(10);

/// A session with its times.
struct Live {
    session: Session,
    number: u64,
    /// When it must be renewed or replaced; never for a token without an end.
    due: Option<Timestamp>,
    ends: Option<Timestamp>,
    renews: bool,
    failures: u32,
}

/// The one task that does everything, step by step.
pub struct Worker {
    context: Arc<Context>,
    client: Client,
    renderer: Renderer,
    secrets: Secrets,
    live: Option<Live>,
    sessions: u64,
    /// Replaced sessions, kept while leases in use depend on their tokens.
    replaced: Vec<(Session, Timestamp)>,
    login_due: Timestamp,
    login_failures: u32,
    render_due: Option<Timestamp>,
    ready: watch::Sender<bool>,
}

impl Worker {
    /// Everything is to be done yet.
    pub fn new(context: Arc<Context>, client: Client, renderer: Renderer, ready: watch::Sender<bool>) -> Self {
        let now = context.clock.now();
        Self {
            secrets: Secrets::new(Arc::clone(&context)),
            context,
            client,
            renderer,
            live: None,
            sessions: 0,
            replaced: Vec::new(),
            login_due: now,
            login_failures: 0,
            render_due: Some(now),
            ready,
        }
    }

    /// Works until `shutdown`, or until everything is written if only that was wanted. A message on `reload` reads
    /// templates and secrets anew.
    ///
    /// # Errors
    /// What makes going on pointless before everything was written once; afterwards the agent keeps what it has.
    pub async fn run(mut self, shutdown: &Shutdown, mut reload: mpsc::Receiver<()>) -> Result<(), Error> {
        let outcome = tokio::select! {
            outcome = self.work(&mut reload) => Some(outcome),
            () = shutdown.requested() => None,
        };
        match outcome {
            // Leases and token stay alive: whoever asked for a single run uses what was written.
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.leave().await;
                Err(error)
            }
            None => {
                self.leave().await;
                Ok(())
            }
        }
    }

    async fn work(&mut self, reload: &mut mpsc::Receiver<()>) -> Result<(), Error> {
        loop {
            if self.render_due.is_some_and(|due| due <= self.context.clock.now()) {
                self.render().await?;
            }
            self.tend_session().await?;
            self.tend_secrets().await?;
            self.retire().await;
            if self.context.config.exit_after_auth && *self.ready.borrow() && self.live.is_some() {
                return Ok(());
            }
            let next = self.next();
            if next.is_some_and(|next| next <= self.context.clock.now()) {
                continue;
            }
            tokio::select! {
                () = self.context.clock.sleep_until(next.unwrap_or(Timestamp::MAX)) => {}
                Some(()) = reload.recv() => self.reload(),
            }
        }
    }

    fn next(&self) -> Option<Timestamp> {
        let now = self.context.clock.now();
        let session = match &self.live {
            None => Some(self.login_due),
            Some(live) => live.due,
        };
        let online = self.live.is_some();
        let secrets = self.secrets.due().filter(|_| online);
        let retirement = self.secrets.retirement_due().filter(|_| online);
        // A session that secrets still depend on waits for them, not for the clock.
        let tokens = self.replaced.iter().map(|(_, due)| *due).filter(|due| *due > now).min();
        [session, secrets, retirement, tokens, self.render_due].into_iter().flatten().min()
    }

    fn reload(&mut self) {
        tracing::info!("reading templates and secrets anew");
        for error in self.renderer.reload() {
            tracing::error!(error = telemetry::chain(&error), "keeping the template as it was");
        }
        self.secrets.reread();
        self.render_due = Some(self.context.clock.now());
    }

    async fn render(&mut self) -> Result<(), Error> {
        self.render_due = None;
        let mut pass = self.renderer.pass();
        let written_before = *self.ready.borrow();
        if !written_before && !pass.errors.is_empty() {
            return Err(pass.errors.swap_remove(0));
        }
        for error in &pass.errors {
            tracing::error!(error = telemetry::chain(error), "keeping the file as it was");
            self.render_due = Some(add(self.context.clock.now(), WRITE_RETRY));
        }
        for changed in &pass.commands {
            if let Err(problem) = command::run(&changed.words, changed.timeout, &*self.context.clock).await {
                tracing::error!(template = changed.template, problem, "the command failed");
            }
        }
        if pass.missing.is_empty() && pass.errors.is_empty() {
            self.secrets.keep_only(&pass.asked);
            self.renderer.keep_only(&pass.asked);
            if !written_before {
                tracing::info!("every file is written");
                self.ready.send_replace(true);
            }
        }
        pass.missing.into_iter().for_each(|query| self.secrets.want(query));
        Ok(())
    }

    async fn tend_session(&mut self) -> Result<(), Error> {
        let now = self.context.clock.now();
        let due = match &self.live {
            None => Some(self.login_due),
            Some(live) => live.due,
        };
        if due.is_none_or(|due| due > now) {
            return Ok(());
        }
        match &self.live {
            Some(live) if live.renews => {
                self.renew().await;
                Ok(())
            }
            _ => self.log_in().await,
        }
    }

    async fn log_in(&mut self) -> Result<(), Error> {
        let Context { clock, random, config } = &*self.context;
        match login(&self.client, &config.auth).await {
            Ok(session) => {
                tracing::info!(mount = config.auth.mount, life = session.life.map(|life| life.as_secs()), "logged in");
                for sink in &config.auth.sinks {
                    let token = session.client.token().map_or("", |token| token.expose());
                    write::replace(&sink.path, token.as_bytes(), sink.mode, true).map_err(|source| Error::File {
                        verb: "write",
                        path: sink.path.clone(),
                        source,
                    })?;
                }
                self.login_failures = 0;
                self.begin(session);
                Ok(())
            }
            Err(error) if config.auth.exit_on_error => Err(Error::Login(error)),
            Err(error) => {
                self.login_failures += 1;
                let backoff = Backoff { min: config.auth.min_backoff, max: config.auth.max_backoff };
                self.login_due = backoff.next(clock.now(), self.login_failures, &**random);
                if let Some(live) = &mut self.live {
                    live.due = Some(self.login_due);
                }
                let attempt = self.login_failures;
                tracing::warn!(attempt, error = telemetry::chain(&error), "cannot log in, trying again");
                Ok(())
            }
        }
    }

    fn begin(&mut self, session: Session) {
        let Context { clock, random, config } = &*self.context;
        let now = clock.now();
        self.sessions += 1;
        let live = Live {
            number: self.sessions,
            due: session.life.map(|life| schedule::renewal(now, life, &**random)),
            ends: session.life.map(|life| add(now, life)),
            renews: session.renewable,
            failures: 0,
            session,
        };
        // Leases die with the token that asked for them, unless the engine says that they belong to the workload.
        self.secrets.session_changed(!live.session.workload_leases);
        if let Some(old) = self.live.replace(live) {
            self.replaced.push((old.session, add(now, config.revoke_grace)));
        }
    }

    async fn renew(&mut self) {
        let Context { clock, random, .. } = &*self.context;
        let Some(live) = &mut self.live else { return };
        let answer = live.session.client.renew_self(live.session.life.map(|life| life.as_secs())).await;
        let now = clock.now();
        match answer {
            Ok(auth) => {
                let life = Duration::from_secs(auth.lease_duration);
                live.failures = 0;
                live.ends = Some(add(now, life));
                if live.session.life.is_some_and(|granted| life < granted) {
                    tracing::info!(left = life.as_secs(), "the token cannot be extended further, logging in again");
                    (live.renews, live.due) = (false, Some(now));
                } else {
                    live.due = Some(schedule::renewal(now, life, &**random));
                }
            }
            Err(error) => {
                let error_text = telemetry::chain(&error);
                if error.retryable() && live.ends.is_none_or(|ends| ends > now) {
                    live.failures += 1;
                    let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };
                    live.due = Some(backoff.next(now, live.failures, &**random));
                    tracing::warn!(attempt = live.failures, error = error_text, "cannot renew the token, trying again");
                } else {
                    tracing::warn!(error = error_text, "cannot renew the token, logging in again");
                    (live.renews, live.due) = (false, Some(now));
                }
            }
        }
    }

    async fn tend_secrets(&mut self) -> Result<(), Error> {
        let Some(live) = &self.live else { return Ok(()) };
        if self.secrets.due().is_none_or(|due| due > self.context.clock.now()) {
            return Ok(());
        }
        let client = live.session.client.clone();
        let tended = self.secrets.tend(&client, live.number, &self.renderer).await?;
        if tended.changed {
            self.render_due = Some(self.context.clock.now());
        }
        // A refusal may be the policy's or mean that the token is dead; only the second calls for a login.
        if tended.denied && client.read("auth/token/lookup-self").await.is_err_and(|error| error.is_denied()) {
            tracing::warn!("the token is no longer accepted, logging in again");
            self.live = None;
            self.login_due = self.context.clock.now();
        }
        Ok(())
    }

    async fn retire(&mut self) {
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
            give_back(&session).await;
        }
    }

    /// Revokes what the agent holds: leases first, since those of a workload outlive its token.
    async fn leave(&mut self) {
        let clock = Arc::clone(&self.context.clock);
        let farewell = async {
            let Some(live) = self.live.take() else { return };
            let (revoked, failed) = self.secrets.revoke_all(&live.session.client).await;
            for (session, _) in self.replaced.drain(..) {
                give_back(&session).await;
            }
            give_back(&live.session).await;
            tracing::info!(revoked, failed, "gave back leases and token");
        };
        tokio::select! {
            () = farewell => {}
            () = clock.sleep(LEAVE_DEADLINE) => tracing::warn!("stopped before everything was given back"),
        }
    }
}

async fn give_back(session: &Session) {
    if session.own
        && let Err(error) = session.client.revoke_self().await
    {
        tracing::debug!(error = telemetry::chain(&error), "cannot revoke a token");
    }
}
