//! The agent at work: keeps a token, the secrets and the files current until it is told to stop, then gives all back.

mod carry;
mod session;

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, watch};

use super::config::Target;
use super::exec::Supervisor;
use super::live::Live;
use super::login::{Remembered, Session};
use super::notify::Notifier;
use super::proxy::Proxy;
use super::ready::State;
use super::renderer::{Pass, Renderer};
use super::secrets::Secrets;
use super::{Context, Error, command, state_file};
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
    notifier: Notifier,
    supervisor: Supervisor,
    proxy: Option<Proxy>,
    live: Option<Live>,
    sessions: u64,
    /// Replaced sessions, kept while leases in use depend on their tokens.
    replaced: Vec<(Session, Timestamp)>,
    remembered: Remembered,
    login_due: Timestamp,
    login_failures: u32,
    render_due: Option<Timestamp>,
    state: watch::Sender<State>,
    /// Whether the state file is behind.
    state_changed: bool,
}

impl Worker {
    /// Everything is to be done yet.
    pub fn new(
        context: Arc<Context>,
        client: Client,
        renderer: Renderer,
        state: watch::Sender<State>,
        proxy: Option<Proxy>,
    ) -> Self {
        let now = context.clock.now();
        Self {
            secrets: Secrets::new(Arc::clone(&context)),
            notifier: Notifier::new(Arc::clone(&context)),
            supervisor: Supervisor::new(Arc::clone(&context)),
            context,
            client,
            renderer,
            proxy,
            live: None,
            sessions: 0,
            replaced: Vec::new(),
            remembered: Remembered::default(),
            login_due: now,
            login_failures: 0,
            render_due: Some(now),
            state,
            state_changed: false,
        }
    }

    /// Works until `shutdown`, until the supervised process ends, or until everything is written if only that was wanted.
    /// The answer is the code to end with. Of `signals`, SIGHUP reads templates and secrets anew; a supervised process gets
    /// all of them instead.
    ///
    /// # Errors
    /// What makes going on pointless before everything was written once, or being stopped before that; afterwards the agent
    /// keeps what it has.
    pub async fn run(mut self, shutdown: &Shutdown, mut signals: mpsc::Receiver<Signal>) -> Result<u8, Error> {
        self.take_over();
        let deadline = start_deadline(Arc::clone(&self.context), self.state.subscribe());
        // Here, and not where the worker waits: an engine that does not answer must not keep the container of a process that
        // has ended.
        let ended = self.supervisor.ended();
        let outcome = tokio::select! {
            outcome = self.work(&mut signals) => Some(outcome),
            error = deadline => Some(Err(error)),
            code = ended => Some(Ok(code)),
            () = shutdown.requested() => None,
        };
        match outcome {
            // Leases and token stay alive: whoever asked for a single run uses what was written.
            Some(Ok(code)) if self.context.config.exit_after_auth => Ok(code),
            // The application still works with what was written, and the next agent goes on with it.
            Some(Err(error)) if self.state.borrow().written && self.context.config.state_file.is_some() => {
                self.supervisor.stop().await;
                self.leave_state();
                Err(error)
            }
            Some(outcome) => {
                self.supervisor.stop().await;
                self.leave().await;
                outcome
            }
            None => {
                let State { written, cause, .. } = self.state.borrow().clone();
                let code = self.supervisor.stop().await;
                self.leave().await;
                // An error, so that Kubernetes keeps the end of the log, which says why nothing was written.
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                let unready = || Error::NotReady(format!("told to stop before every file was written{cause}"));
                if written { Ok(code) } else { Err(unready()) }
            }
        }
    }

    async fn work(&mut self, signals: &mut mpsc::Receiver<Signal>) -> Result<u8, Error> {
        loop {
            if self.render_due.is_some_and(|due| due <= self.context.clock.now()) {
                self.render().await?;
            }
            self.tend_session().await?;
            self.tend_secrets().await?;
            self.leave_state();
            self.retire().await;
            self.watch_ends();
            if self.context.config.exit_after_auth && self.state.borrow().written && self.live.is_some() {
                return Ok(0);
            }
            let next = self.next();
            if next.is_some_and(|next| next <= self.context.clock.now()) {
                continue;
            }
            tokio::select! {
                () = self.context.clock.sleep_until(next.unwrap_or(Timestamp::MAX)) => {}
                Some(signal) = signals.recv() => self.signalled(signal),
            }
        }
    }

    fn next(&self) -> Option<Timestamp> {
        let now = self.context.clock.now();
        let session = match &self.live {
            None => self.context.config.auth.is_some().then_some(self.login_due),
            Some(live) => live.due,
        };
        let online = self.live.is_some();
        let secrets = self.secrets.due().filter(|_| online);
        let retirement = self.secrets.retirement_due().filter(|_| online);
        // A session that secrets still depend on waits for them, not for the clock.
        let tokens = self.replaced.iter().map(|(_, due)| *due).filter(|due| *due > now).min();
        let ends = self.secrets.next_end(now);
        [session, secrets, retirement, tokens, ends, self.render_due].into_iter().flatten().min()
    }

    fn signalled(&mut self, signal: Signal) {
        if self.context.config.exec.is_some() {
            self.supervisor.signal(signal);
        } else if signal == Signal::HUP {
            self.reload();
        }
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
        let mut pass = self.renderer.pass();
        self.render_due = pass.later;
        let written_before = self.state.borrow().written;
        if !written_before && !pass.errors.is_empty() {
            return Err(pass.errors.swap_remove(0));
        }
        for error in pass.errors.iter().chain(&pass.tolerated) {
            tracing::error!(error = telemetry::chain(error), "keeping the file as it was");
            self.render_due = Some(add(self.context.clock.now(), WRITE_RETRY));
        }
        self.tell(&pass).await?;
        // Who asks for no secret still waits for the token: in a file, or behind the local API.
        let logged_in = self.context.config.auth.is_none() || self.live.is_some();
        if pass.missing.is_empty() && pass.errors.is_empty() && logged_in {
            self.secrets.keep_only(&pass.asked);
            self.renderer.keep_only(&pass.asked);
            if !written_before {
                self.supervisor.adopt(self.renderer.variables()).await?;
                tracing::info!("everything is written");
                self.state.send_modify(|state| (state.written, state.cause) = (true, None));
            }
        }
        pass.missing.into_iter().for_each(|query| self.secrets.want(query));
        Ok(())
    }

    /// Tells everybody of what has changed. A file that is new, and no newer one, has no listeners yet but its command.
    async fn tell(&mut self, pass: &Pass) -> Result<(), Error> {
        let Context { clock, random, config } = &*self.context;
        let (mut files, mut variables) = (false, false);
        for change in &pass.changed {
            let template = self.renderer.config(change.template);
            if let Some(wanted) = &template.command
                && let Err(problem) = command::run(wanted, &**clock, &**random).await
            {
                tracing::error!(template = template.name, problem, "the command failed");
            }
            if change.replaced {
                self.notifier.changed(change.template, template);
                let is_variable = matches!(template.target, Target::Variable(_));
                (files, variables) = (files | !is_variable, variables | is_variable);
            }
        }
        if variables && self.supervisor.runs() {
            return self.supervisor.adopt(self.renderer.variables()).await;
        }
        if files && config.exec.is_some() {
            self.supervisor.files_changed();
        }
        Ok(())
    }

    /// Notes what stands in the way, for whoever asks.
    fn trouble(&self, cause: String) {
        self.state.send_modify(|state| state.cause = Some(cause));
    }

    /// The agent is ready as long as what it has written works, whatever state the engine is in.
    fn watch_ends(&self) {
        let token = self.live.as_ref().filter(|live| !live.session.workload_leases).and_then(|live| live.ends);
        let ended = self.secrets.ended(self.context.clock.now(), token).map(|query| query.path().to_owned());
        self.state.send_if_modified(|state| {
            let changed = state.ended != ended;
            if changed {
                match &ended {
                    Some(path) => tracing::error!(path, "a credential in use has ended and could not be replaced"),
                    None => tracing::info!("every credential in use works again"),
                }
            }
            state.ended = ended;
            changed
        });
    }

    /// Revokes what the agent holds: leases first, since those of a workload outlive its token. Where that is not wanted they
    /// stay, as the application may be about to end only just now; the workload's end ends them.
    async fn leave(&mut self) {
        let clock = Arc::clone(&self.context.clock);
        let farewell = async {
            let Some(live) = self.live.take() else { return };
            if live.session.workload_leases && !self.context.config.revoke_on_shutdown {
                live.session.give_back().await;
                tracing::info!("gave back the token; leases end with the workload");
                return;
            }
            if let Some(proxy) = &self.proxy {
                proxy.leave(&live.session.client).await;
            }
            let (revoked, failed) = self.secrets.revoke_all(&live.session.client).await;
            for (session, _) in self.replaced.drain(..) {
                session.give_back().await;
            }
            live.session.give_back().await;
            tracing::info!(revoked, failed, "gave back leases and token");
            if let Some(path) = self.context.config.state_file.as_ref().filter(|_| failed == 0) {
                state_file::remove(path);
            }
        };
        tokio::select! {
            () = farewell => {}
            () = clock.sleep(LEAVE_DEADLINE) => tracing::warn!("stopped before everything was given back"),
        }
    }
}

/// Returns when the first writing has taken too long, otherwise never.
async fn start_deadline(context: Arc<Context>, state: watch::Receiver<State>) -> Error {
    let Some(after) = context.config.start_timeout else { return std::future::pending().await };
    context.clock.sleep(after).await;
    let State { written, cause, .. } = state.borrow().clone();
    if written {
        return std::future::pending().await;
    }
    Error::Deadline { after, cause: cause.unwrap_or_else(|| "the engine has not answered yet".to_owned()) }
}
