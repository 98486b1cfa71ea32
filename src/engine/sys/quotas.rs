//! `sys/quotas`, and `sys/quotas/lease-count`: how many leases may exist at once below a mount or a role.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::quota::Quota;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_quotas(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        let quotas = &self.shared.quotas;
        let (kind, name) = path.split_once('/').unwrap_or((path, ""));
        match kind {
            "rate-limit" => return self.sys_rate_limits(operation, name, fields).await,
            "config" if name.is_empty() => return self.sys_quota_settings(operation, fields).await,
            "lease-count" => {}
            _ => return Err(Error::unsupported_path()),
        }
        match operation {
            Operation::List if name.is_empty() => Ok(Reply::answer(Answer::keys(quotas.names().await)?)),
            Operation::Read if !name.is_empty() => {
                let (quota, used) = quotas.get(name).await.ok_or_else(Error::not_found)?;
                Ok(Reply::answer(Answer::data(json!({
                    "name": name, "type": "lease-count", "path": quota.path, "max_leases": quota.max_leases,
                    "counter": used, "role": "",
                }))))
            }
            Operation::Write if !name.is_empty() => {
                let quota = self.read_quota(name, fields).await?;
                quotas.put(name, quota).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete if !name.is_empty() => {
                quotas.delete(name).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// The quota that a write asks for; fields that it leaves out stay as they are.
    async fn read_quota(&self, name: &str, fields: &Fields) -> Result<Quota, Error> {
        let before = self.shared.quotas.get(name).await.map(|(quota, _)| quota);
        let path = fields.string("path")?.map(|path| path.trim_start_matches('/').to_owned());
        let path = path.or(before.as_ref().map(|quota| quota.path.clone())).unwrap_or_default();
        if !path.is_empty() && !self.has_mount(&path) {
            return Err(Error::bad_request(format!("path: nothing is mounted at {path:?}")));
        }
        let max = fields.int("max_leases")?.map(|max| u64::try_from(max).unwrap_or(0));
        let max_leases = max.or(before.map(|quota| quota.max_leases)).filter(|max| *max > 0);
        let max_leases = max_leases.ok_or_else(|| Error::bad_request("max_leases must be a number above 0"))?;
        Ok(Quota { path, max_leases })
    }

    /// Whether secrets engines can be at or below a path: it lies in a mount, here or in a namespace, or is a namespace.
    fn has_mount(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        match self.shared.directory.split(&folder) {
            Some((space, rest)) => rest.is_empty() || space.core.mounts.route(rest).is_some(),
            None => self.mounts.route(&folder).is_some(),
        }
    }
}
