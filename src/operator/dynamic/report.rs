//! What a pass says in the status.

use super::held::Held;
use super::plan;
use super::record::LeaseRecord;
use super::sync::Pass;
use crate::api::condition::{self, DEGRADED, ROTATING, Statement};

impl Pass<'_> {
    /// Says in time that a role's longest life is too short for a change of users without an outage.
    pub(super) fn foresee(&mut self, held: &Held) {
        let leases: Vec<&LeaseRecord> = held.lease.iter().chain(held.additional.values()).collect();
        let problems: Vec<_> = leases
            .into_iter()
            .filter_map(|lease| {
                let longest = self.longest_life(lease)?;
                let what = self.what_takes_longer(longest)?;
                let limit = self.limit(lease);
                Some(format!("{limit} is {longest} s, but {what}: users end before all consumers moved on"))
            })
            .collect();
        self.problems.extend(problems.into_iter().map(|message| ("MaxTTLTooShort", message)));
    }

    /// What does not fit into the life of a user, if anything does not.
    fn what_takes_longer(&self, max_ttl: u64) -> Option<String> {
        if self.object.spec.restart.is_none() {
            let short = plan::too_short(max_ttl, self.grace);
            return short.then(|| format!("spec.rotation.grace is {} s", self.grace));
        }
        let seen = self.status.restart.as_ref().and_then(|restart| restart.last_duration).is_some();
        let guessed = self.declared_rollout.is_none() && !seen;
        let rollout = self.known_rollout().filter(|rollout| plan::too_slow(max_ttl, *rollout, guessed))?;
        Some(format!("a rollout of spec.restart takes about {rollout} s, and a user has to live for two of them"))
    }

    /// Fills what the status says of the whole.
    pub(super) fn report(&mut self, held: &Held) {
        let generation = self.object.metadata.generation;
        let now = self.now();
        if let Some(lease) = &held.lease {
            self.status.username = Some(lease.username.clone());
        }
        let messages: Vec<&str> = self.problems.iter().map(|(_, message)| message.as_str()).collect();
        let message = messages.join("; ");
        let degraded = match self.problems.first() {
            Some((reason, _)) => Statement { kind: DEGRADED, holds: true, reason, message: &message },
            None => Statement { kind: DEGRADED, holds: false, reason: "AsExpected", message: "" },
        };
        condition::set(&mut self.status.conditions, &degraded, generation, now);
        let users: Vec<&str> = held.previous.iter().map(|old| old.lease.username.as_str()).collect();
        let message = if users.is_empty() { String::new() } else { format!("still alive: {}", users.join(", ")) };
        let reason = if users.is_empty() { "NothingToReplace" } else { "OldUsersRemain" };
        let rotating = Statement { kind: ROTATING, holds: !users.is_empty(), reason, message: &message };
        condition::set(&mut self.status.conditions, &rotating, generation, now);
    }
}
