//! What a pass sees of role and connection, and what it says in the status.

use super::endpoint::Endpoint;
use super::held::Held;
use super::plan;
use super::sync::Pass;
use crate::api::condition::{self, DEGRADED, READY, ROTATING, Statement};
use crate::operator::error::Error;

impl Pass<'_> {
    /// Where the database of a role (its name in the engine) is, as far as role and connection can be seen.
    pub(super) fn endpoint(&self, role: &str) -> Endpoint {
        let (namespace, name) = role.split_once('.').unwrap_or_default();
        let role = self.context.roles.get(namespace, name);
        let connection = role.and_then(|role| self.context.connections.get(namespace, &role.spec.connection_ref.name));
        connection
            .and_then(|connection| connection.spec.connection_url.as_deref().map(Endpoint::parse))
            .unwrap_or_default()
    }

    /// A role that can be seen and is not ready says more about the cause than the engine's refusal would.
    pub(super) fn require_role(&self, role: &str) -> Result<(), Error> {
        let (namespace, name) = role.split_once('.').unwrap_or_default();
        let role = self.context.roles.get(namespace, name);
        let ready = role.as_ref().and_then(|role| role.status.as_ref());
        let ready = ready.and_then(|status| condition::get(&status.conditions, READY));
        match ready.filter(|ready| ready.status != "True") {
            Some(ready) => {
                let message = format!("spec.roleRef: DatabaseRole {namespace}/{name} is not ready: {}", ready.message);
                Err(Error::waiting("RoleNotReady", message))
            }
            None => Ok(()),
        }
    }

    /// Says in time that a role's longest life is too short for a change of users without an outage.
    pub(super) fn foresee(&mut self, held: &Held) {
        let roles = std::iter::once(&self.tenant.role).chain(held.additional.values().map(|lease| &lease.role));
        let problems: Vec<_> = roles
            .filter_map(|role| {
                let max_ttl = self.max_ttl_of(role)?;
                let what = self.what_takes_longer(max_ttl)?;
                let role = role.replacen('.', "/", 1);
                Some(format!(
                    "maxTTL of DatabaseRole {role} is {max_ttl} s, but {what}: users end before all consumers moved on"
                ))
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
