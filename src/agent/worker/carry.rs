//! The worker's state file: what it finds at its start, and what it leaves for the next agent.

use std::time::Duration;

use super::super::login::Session;
use super::super::state_file::{self, Left, LeftSession};
use super::Worker;
use crate::base::{Secret, telemetry};

impl Worker {
    /// Goes on where an earlier agent was cut off. Whether its token is still accepted shows at the first use.
    pub(super) fn take_over(&mut self) {
        let Some(path) = &self.context.config.state_file else { return };
        let Some(mut left) = state_file::read(path) else { return };
        let Some(saved) = left.session.take() else { return };
        let now = self.context.clock.now();
        let lives = saved.ends.is_none_or(|ends| ends > now);
        if !lives && !saved.workload_leases {
            // Its leases have ended with it.
            return;
        }
        if lives {
            let left_over = saved.ends.map(|ends| Duration::try_from(ends.duration_since(now)).unwrap_or_default());
            let LeftSession { renewable, own, workload_leases, .. } = saved;
            let client = self.client.with_token(Secret::new(saved.token));
            let life = saved.life.map(Duration::from_secs).or(left_over);
            // Its sinks have been written.
            self.begin(Session { client, life, left: left_over, renewable, own, workload_leases });
        }
        self.secrets.take_over(left, self.sessions, &self.renderer);
    }

    /// Writes down what the next agent needs, if that has changed.
    pub(super) fn leave_state(&mut self) {
        let Some(path) = self.context.config.state_file.as_ref().filter(|_| self.state_changed) else { return };
        let mut left = Left::default();
        if let Some(live) = &self.live {
            let Session { client, renewable, own, workload_leases, .. } = &live.session;
            left.session = client.token().map(|token| LeftSession {
                token: token.expose().to_owned(),
                ends: live.ends,
                life: live.session.life.map(|life| life.as_secs()),
                renewable: *renewable,
                own: *own,
                workload_leases: *workload_leases,
            });
        }
        self.secrets.leave(&mut left);
        match state_file::write(path, &left) {
            Ok(()) => self.state_changed = false,
            // Tried again with the next change; without the file a killed agent's successor begins anew.
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "cannot leave anything for the next agent"),
        }
    }
}
