//! `sys/…`: the engine's own API, one file per area.

mod audit;
mod builtin;
mod capabilities;
mod clusters;
mod config;
mod counters;
mod host;
mod in_flight;
mod leases;
mod lessor;
mod locked_users;
mod loggers;
mod metrics;
mod mounts;
mod namespaces;
mod password_policies;
mod plugins;
mod policies;
mod quotas;
mod rate_limits;
mod remount;
mod rotate;
pub(super) mod routes;
mod tools;
mod trace;
mod version_history;

pub(super) use self::in_flight::Flights;
pub(super) use self::remount::Moves;

use super::core::Core;
use super::request::{Incoming, Reply};
use super::seal;
use super::session::Session;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys(
        &self,
        path: &str,
        incoming: &Incoming,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        let operation = incoming.operation;
        if let Some(area) = seal::twin_area(path) {
            let answer = self.with_shares(area, operation, fields).await?;
            return Ok(answer.map_or(Reply::Empty(204), |answer| Reply::duplicated(Answer::data(answer))));
        }
        let (area, rest) = path.split_once('/').unwrap_or((path, ""));
        match area {
            // What follows is `Engine::seal`; there is no other node to step down for.
            "seal" | "step-down" if rest.is_empty() && operation == Operation::Write => Ok(Reply::Empty(204)),
            "rotate" | "key-status" => self.sys_rotate(operation, path, fields).await,
            "mounts" => self.sys_mounts(operation, rest, fields).await,
            "auth" => self.sys_auth(operation, rest, fields).await,
            "policy" => self.sys_policy(operation, rest, fields).await,
            "policies" => match rest.split_once('/').unwrap_or((rest, "")) {
                ("acl", name) => self.sys_policies_acl(operation, name, fields).await,
                ("password", path) => self.sys_password_policies(operation, path, fields).await,
                _ => Err(Error::unsupported_path()),
            },
            "capabilities" | "capabilities-self" | "capabilities-accessor" if rest.is_empty() => {
                self.sys_capabilities(area, operation, fields, session).await
            }
            "leases" => self.sys_leases(operation, rest, fields).await,
            // The paths before Vault 0.8, which node-vault and spring-vault still call.
            "renew" | "revoke" | "revoke-prefix" | "revoke-force" => self.sys_leases(operation, path, fields).await,
            "internal" => match rest.strip_prefix("ui/mounts/") {
                Some(path) => self.mount_of(path, session),
                None if rest == "ui/namespaces" => self.visible_namespaces(operation, session),
                None if rest == "ui/resultant-acl" => self.resultant_acl(operation, session),
                None => match rest.strip_prefix("counters/") {
                    Some(path) => self.sys_counters(operation, path, fields).await,
                    None => Err(Error::unsupported_path()),
                },
            },
            "locked-users" => self.sys_locked_users(operation, rest, fields).await,
            "audit" => self.sys_audit(operation, rest, fields).await,
            "audit-hash" => self.sys_audit_hash(operation, rest, fields),
            "config" => self.sys_config(operation, rest, fields).await,
            "host-info" if rest.is_empty() => self.sys_host_info(operation).await,
            "ha-status" if rest.is_empty() => self.sys_ha_status(operation).await,
            "in-flight-req" if rest.is_empty() => self.sys_in_flight(operation),
            "plugins" => self.sys_plugins(operation, rest),
            "remount" => self.sys_remount(operation, rest, fields).await,
            "version-history" if rest.is_empty() => self.sys_version_history(operation).await,
            "loggers" => self.sys_loggers(operation, rest, fields),
            "tools" => self.sys_tools(operation, rest, fields),
            "namespaces" => self.sys_namespaces(operation, rest, fields, session).await,
            "lessor" => self.sys_lessor(incoming, rest, fields, session).await,
            "metrics" if rest.is_empty() => self.sys_metrics(operation, fields).await,
            "quotas" => self.sys_quotas(operation, rest, fields).await,
            "wrapping" => self.sys_wrapping(rest, incoming, fields).await,
            _ => Err(Error::unsupported_path()),
        }
    }
}
