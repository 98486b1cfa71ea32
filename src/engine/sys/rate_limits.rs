//! `sys/quotas/rate-limit` and `sys/quotas/config`: how many requests an address may send (vault-api.md 1.9).

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::rate_limit::RateLimit;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_rate_limits(
        &self,
        operation: Operation,
        name: &str,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        let limits = &self.shared.rate_limits;
        match operation {
            Operation::List if name.is_empty() => Ok(Reply::answer(Answer::keys(limits.names())?)),
            _ if name.is_empty() || name.contains('/') => Err(Error::unsupported_path()),
            Operation::Read => {
                let limit = limits.get(name).ok_or_else(Error::not_found)?;
                Ok(Reply::answer(Answer::data(json!({
                    "name": name, "type": "rate-limit", "path": limit.path, "rate": number(limit.rate),
                    "interval": limit.interval, "block_interval": limit.block_interval, "role": limit.role,
                }))))
            }
            Operation::Write => {
                limits.put(name, self.read_rate_limit(name, fields)?).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete => {
                limits.delete(name).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// The quota that a write asks for; fields that it leaves out stay as they are.
    fn read_rate_limit(&self, name: &str, fields: &Fields) -> Result<RateLimit, Error> {
        let before = self.shared.rate_limits.get(name);
        let path = fields.string("path")?.map(|path| path.trim_start_matches('/').to_owned());
        let path = path.or(before.as_ref().map(|limit| limit.path.clone())).unwrap_or_default();
        if !path.is_empty() && !self.is_served(&path) {
            return Err(Error::bad_request(format!("path: nothing is mounted at {path:?}")));
        }
        let rate = match fields.string("rate")? {
            Some(text) => text.parse::<f64>().ok(),
            None => before.as_ref().map(|limit| limit.rate),
        };
        let rate = rate.filter(|rate| rate.is_finite() && *rate > 0.0);
        let rate = rate.ok_or_else(|| Error::bad_request("'rate' is invalid: it must be a number above 0"))?;
        let interval = fields.seconds("interval")?.filter(|interval| *interval > 0);
        let role = fields.string("role")?.unwrap_or_default();
        if !role.is_empty() {
            return Err(Error::bad_request("role: quotas of single login roles are not offered: leave it out"));
        }
        Ok(RateLimit {
            path,
            rate,
            interval: interval.or(before.as_ref().map(|limit| limit.interval)).unwrap_or(1),
            block_interval: fields
                .seconds("block_interval")?
                .or(before.as_ref().map(|limit| limit.block_interval))
                .unwrap_or(0),
            role,
        })
    }

    /// Whether anything answers at or below a path, here or in a namespace.
    fn is_served(&self, path: &str) -> bool {
        match self.shared.directory.split(&format!("{}/", path.trim_end_matches(['/', '*']))) {
            Some((space, rest)) => rest.is_empty() || space.core.serves(rest.trim_end_matches('/')),
            None => self.serves(path),
        }
    }

    fn serves(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches(['/', '*']));
        match path.split_once('/') {
            Some(("auth", rest)) => {
                rest.starts_with("token")
                    || self.methods.route(rest).is_some()
                    || self.methods.route(&folder[5..]).is_some()
            }
            _ => {
                matches!(path.split('/').next(), Some("sys" | "auth"))
                    || self.mounts.route(path).or(self.mounts.route(&folder)).is_some()
            }
        }
    }

    pub(super) async fn sys_quota_settings(&self, operation: Operation, fields: &Fields) -> Result<Reply, Error> {
        let mut settings = self.shared.rate_limits.settings();
        match operation {
            Operation::Read => Ok(Reply::answer(Answer::data(json!({
                "enable_rate_limit_audit_logging": settings.enable_rate_limit_audit_logging,
                "enable_rate_limit_response_headers": settings.enable_rate_limit_response_headers,
                "rate_limit_exempt_paths": settings.rate_limit_exempt_paths,
            })))),
            Operation::Write => {
                if let Some(flag) = fields.bool("enable_rate_limit_audit_logging")? {
                    settings.enable_rate_limit_audit_logging = flag;
                }
                if let Some(flag) = fields.bool("enable_rate_limit_response_headers")? {
                    settings.enable_rate_limit_response_headers = flag;
                }
                if let Some(paths) = fields.comma_list("rate_limit_exempt_paths")? {
                    settings.rate_limit_exempt_paths = paths;
                }
                self.shared.rate_limits.set(settings).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}

/// Whole numbers without a fraction: clients compare the answer with what they sent.
fn number(rate: f64) -> serde_json::Value {
    if rate.fract() == 0.0 && rate < 1e15 { json!(rate as u64) } else { json!(rate) }
}
