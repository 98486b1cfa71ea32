//! `sys/…`: the engine's own API, one file per area.

mod builtin;
mod leases;
mod lessor;
mod metrics;
mod mounts;
mod password_policies;
mod policies;
mod quotas;

use super::core::{Core, Session};
use super::request::{Incoming, Reply};
use crate::wire::{Error, Fields, Operation};

/// Paths that need `sudo` besides the operation (vault-api.md section 1, mark R).
const SUDO: &[&str] = &[
    "auth/token/accessors",
    "auth/token/revoke-orphan",
    "sys/auth/",
    "sys/leases/lookup/",
    "sys/leases/revoke-force/",
    "sys/leases/revoke-prefix/",
    "sys/lessor/",
    "sys/quotas/",
    "sys/revoke-force/",
    "sys/revoke-prefix/",
];

/// Whether a token needs `sudo` for `path`, besides the operation's own capability.
pub(super) fn needs_sudo(path: &str, operation: Operation) -> bool {
    if path == "sys/leases/lookup" {
        return operation == Operation::List;
    }
    SUDO.iter().any(|sudo| path == *sudo || (sudo.ends_with('/') && path.starts_with(sudo)))
}

impl Core {
    pub(super) async fn sys(
        &self,
        path: &str,
        incoming: &Incoming,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        let operation = incoming.operation;
        let (area, rest) = path.split_once('/').unwrap_or((path, ""));
        match area {
            "mounts" => self.sys_mounts(operation, rest, fields).await,
            "auth" => self.sys_auth(operation, rest, fields).await,
            "policy" => self.sys_policy(operation, rest, fields).await,
            "policies" => match rest.split_once('/').unwrap_or((rest, "")) {
                ("acl", name) => self.sys_policies_acl(operation, name, fields).await,
                ("password", path) => self.sys_password_policies(operation, path, fields).await,
                _ => Err(Error::unsupported_path()),
            },
            "capabilities-self" => self.capabilities(operation, fields, &session.access),
            "leases" => self.sys_leases(operation, rest, fields).await,
            // The paths before Vault 0.8, which node-vault and spring-vault still call.
            "renew" | "revoke" | "revoke-prefix" | "revoke-force" => self.sys_leases(operation, path, fields).await,
            "internal" => match rest.strip_prefix("ui/mounts/") {
                Some(path) => self.mount_of(path, session),
                None => Err(Error::unsupported_path()),
            },
            "lessor" => self.sys_lessor(incoming, rest, fields, session).await,
            "metrics" if rest.is_empty() => self.sys_metrics(operation, fields).await,
            "quotas" => self.sys_quotas(operation, rest, fields).await,
            "wrapping" => self.sys_wrapping(rest, incoming, fields).await,
            _ => Err(Error::unsupported_path()),
        }
    }
}
