//! `sys/leases/…`: leases looked up, listed, prolonged and revoked (vault-api.md 1.6).

use serde_json::{Value, json};

use crate::base::telemetry;
use crate::engine::core::Core;
use crate::engine::lease::Stuck;
use crate::engine::lease::revoke::Wait;
use crate::engine::request::Reply;
use crate::wire::{Answer, Envelope, Error, Fields, Operation};

/// Irrevocable leases in an answer that asked for no other number.
const SHOWN: usize = 10_000;

impl Core {
    pub(super) async fn sys_leases(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        let (action, rest) = path.split_once('/').unwrap_or((path, ""));
        match (operation, action) {
            (Operation::Write, "lookup") => self.lookup_lease(&lease_id(rest, fields)?).await,
            (Operation::List, "lookup") => Ok(Reply::answer(Answer::keys(self.leases.list(rest).await?)?)),
            (Operation::Write, "renew") => self.renew_lease(&lease_id(rest, fields)?, fields).await,
            (Operation::Write, "revoke") => {
                let id = lease_id(rest, fields)?;
                let wait = wait(fields)?;
                self.leases.revoke(&id, wait).await?;
                Ok(revoked(wait))
            }
            (Operation::Write, "revoke-prefix") => {
                let wait = wait(fields)?;
                self.leases.revoke_all(self.leases.below(rest).await?, wait).await?;
                Ok(revoked(wait))
            }
            (Operation::Write, "revoke-force") => {
                let left = self.leases.force(self.leases.below(rest).await?).await?;
                if left.is_empty() {
                    return Ok(Reply::Empty(204));
                }
                let text = "credentials of these leases could not be dropped and may be left in their database:";
                Ok(Reply::answer(Answer::empty().warn(format!("{text} {}", left.join(", ")))))
            }
            (Operation::Read, "count") => self.count_leases(fields).await,
            (Operation::Read, "") => self.irrevocable_leases(fields).await,
            (Operation::Write, "tidy") => Ok(self.tidy_leases()),
            (_, "lookup" | "renew" | "revoke" | "revoke-prefix" | "revoke-force" | "count" | "tidy") => {
                Err(Error::unsupported_operation())
            }
            _ => Err(Error::unsupported_path()),
        }
    }

    /// 202 with a warning, as in Vault: it goes on in the background and logs what it did.
    fn tidy_leases(&self) -> Reply {
        let leases = self.leases.clone();
        tokio::spawn(async move {
            match leases.tidy().await {
                Ok(tidied) => {
                    tracing::info!(
                        owners = tidied.owners,
                        leases = tidied.forgotten,
                        "the leases' indexes were tidied"
                    );
                }
                Err(error) => tracing::warn!(error = telemetry::chain(&error), "tidying the leases stopped"),
            }
        });
        let warning = "Tidy operation successfully started. Any information from the operation will be printed to the server logs.";
        let envelope = Envelope { warnings: Some(vec![warning.to_owned()]), ..Envelope::default() };
        Reply::Accepted(Box::new(envelope))
    }

    async fn lookup_lease(&self, id: &str) -> Result<Reply, Error> {
        let invalid = || Error::bad_request("invalid lease");
        let (lease, _) = self.leases.get(id).await?.ok_or_else(invalid)?;
        Ok(Reply::answer(Answer::data(json!({
            "id": lease.id,
            "issue_time": lease.issued.to_string(),
            "expire_time": lease.expires.to_string(),
            "last_renewal": lease.last_renewal.map_or(Value::Null, |renewed| json!(renewed.to_string())),
            "renewable": lease.renewable,
            "ttl": lease.ttl(self.shared.clock.now()),
            "path": lease.id.rsplit_once('/').map_or("", |(path, _)| path),
        }))))
    }

    async fn renew_lease(&self, id: &str, fields: &Fields) -> Result<Reply, Error> {
        let increment = fields.seconds("increment")?.unwrap_or(0);
        let renewed = self.leases.renew(id, increment).await?;
        let envelope = Envelope {
            lease_id: id.to_owned(),
            renewable: renewed.renewable,
            lease_duration: renewed.ttl,
            warnings: (!renewed.warnings.is_empty()).then_some(renewed.warnings),
            ..Envelope::default()
        };
        Ok(Reply::Envelope { envelope: Box::new(envelope), duplicate: false, delivery: None })
    }

    /// Leases whose credentials could not be dropped so far: Vault's "irrevocable" ones, which here are tried on and on.
    async fn irrevocable_leases(&self, fields: &Fields) -> Result<Reply, Error> {
        if fields.string("type")?.as_deref() != Some("irrevocable") {
            return Err(Error::not_found());
        }
        let limit = match fields.string("limit")?.as_deref() {
            None | Some("") => SHOWN,
            Some("none") => usize::MAX,
            Some(text) => text.parse().map_err(|_| Error::bad_request("limit must be 'none' or a number"))?,
        };
        let (stuck, total) = self.leases.stuck(limit).await?;
        let rows: Vec<_> =
            stuck.iter().map(|lease| json!({ "lease_id": lease.id, "error": lease.attempt.error })).collect();
        Ok(Reply::answer(Answer::data(json!({ "lease_count": total, "counts": by_mount(&stuck), "leases": rows }))))
    }

    async fn count_leases(&self, fields: &Fields) -> Result<Reply, Error> {
        if fields.string("type")?.as_deref() != Some("irrevocable") {
            return Err(Error::not_found());
        }
        let (stuck, total) = self.leases.stuck(usize::MAX).await?;
        Ok(Reply::answer(Answer::data(json!({ "lease_count": total, "counts": by_mount(&stuck) }))))
    }
}

/// How many of them each mount has.
fn by_mount(stuck: &[Stuck]) -> serde_json::Map<String, Value> {
    let mut counts = serde_json::Map::new();
    for lease in stuck {
        let mount = lease.id.split_once('/').map_or("", |(mount, _)| mount);
        let count = counts.entry(format!("{mount}/")).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or(0) + 1);
    }
    counts
}

fn lease_id(rest: &str, fields: &Fields) -> Result<String, Error> {
    let id = if rest.is_empty() { fields.string("lease_id")?.unwrap_or_default() } else { rest.to_owned() };
    let id = id.trim_matches('/').to_owned();
    if id.is_empty() { Err(Error::bad_request("lease_id must be specified")) } else { Ok(id) }
}

fn wait(fields: &Fields) -> Result<Wait, Error> {
    // Synchronous unless told otherwise: node-vault takes a 202 for an error.
    Ok(if fields.bool("sync")?.unwrap_or(true) { Wait::Sync } else { Wait::Later })
}

fn revoked(wait: Wait) -> Reply {
    Reply::Empty(if wait == Wait::Sync { 204 } else { 202 })
}
