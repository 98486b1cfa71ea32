//! The agent at work: keeps a token, the secrets and the files current until it is told to stop, then gives all back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::live::Live;
use super::login::{Session, login};
use super::renderer::Renderer;
use super::schedule::Backoff;
use super::secrets::Secrets;
use super::{Context, Error, command};
use crate::base::clock::add;
use crate::base::shutdown::Shutdown;
use crate::base::{Timestamp, telemetry};
use crate::client::Client;

/// How long the agent takes at most to give everything back; pods are given 30 s by default.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);
/// When files that could not be written are tried again.
const WRITE_RETRY: Duration = Duration::from_secs(10);

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
    /// What makes going on pointless before everything was written once, or being stopped before that; afterwards the agent
    /// keeps what it has.
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
                let ready = *self.ready.borrow();
                self.leave().await;
                // An error, so that Kubernetes keeps the end of the log, which says why nothing was written.
                let unready = || Error::NotReady("told to stop before every file was written".to_owned());
                if ready { Ok(()) } else { Err(unready()) }
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
        match &mut self.live {
            Some(live) if live.renews => {
                live.renew(&self.context).await;
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
                let written = session.write_to(&config.auth.sinks);
                self.login_failures = 0;
                self.begin(session);
                match written {
                    Err(error) if *self.ready.borrow() => {
                        tracing::error!(error = telemetry::chain(&error), "the sink keeps the token before");
                        Ok(())
                    }
                    outcome => outcome,
                }
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
        self.sessions += 1;
        // Leases die with the token that asked for them, unless the engine says that they belong to the workload.
        self.secrets.session_changed(!session.workload_leases);
        if let Some(old) = self.live.replace(Live::new(session, self.sessions, &self.context)) {
            let end = add(self.context.clock.now(), self.context.config.revoke_grace);
            self.replaced.push((old.session, end));
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
            session.give_back().await;
        }
    }

    /// Revokes what the agent holds: leases first, since those of a workload outlive its token.
    async fn leave(&mut self) {
        let clock = Arc::clone(&self.context.clock);
        let farewell = async {
            let Some(live) = self.live.take() else { return };
            let (revoked, failed) = self.secrets.revoke_all(&live.session.client).await;
            for (session, _) in self.replaced.drain(..) {
                session.give_back().await;
            }
            live.session.give_back().await;
            tracing::info!(revoked, failed, "gave back leases and token");
        };
        tokio::select! {
            () = farewell => {}
            () = clock.sleep(LEAVE_DEADLINE) => tracing::warn!("stopped before everything was given back"),
        }
    }
}
