//! `sys/lessor/…`: what Lessor adds to Vault's API, where it cannot collide.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

/// How many stuck leases one answer shows.
const STUCK_SHOWN: usize = 1000;

impl Core {
    /// `GET workloads`: who owns leases. `PUT workloads/end` with `uids`: those are gone, revoke what they own.
    /// `GET leases/stuck`: revocations that do not get through, and why.
    pub(super) async fn sys_lessor(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        match (operation, path) {
            (Operation::Read | Operation::List, "workloads") => {
                let rows: Vec<_> = self
                    .leases
                    .workloads()
                    .await?
                    .into_iter()
                    .map(|(w, leases)| json!({ "uid": w.uid, "namespace": w.namespace, "name": w.name, "leases": leases }))
                    .collect();
                Ok(Reply::answer(Answer::data(json!({ "workloads": rows }))))
            }
            (Operation::Write, "workloads/end") => {
                let uids = fields.comma_list("uids")?.filter(|uids| !uids.is_empty());
                let uids = uids.ok_or_else(|| {
                    Error::bad_request("missing uids: name the workloads that have ended by their Kubernetes UIDs")
                })?;
                let ended = self.leases.end_workloads(&uids).await?;
                Ok(Reply::answer(Answer::data(json!({ "leases": ended }))))
            }
            (Operation::Read | Operation::List, "leases/stuck") => {
                let stuck = self.leases.stuck(STUCK_SHOWN).await?;
                let rows: Vec<_> = stuck
                    .into_iter()
                    .map(|s| {
                        json!({ "lease_id": s.id, "failures": s.attempt.failures, "error": s.attempt.error,
                            "next_attempt": s.next.to_string() })
                    })
                    .collect();
                Ok(Reply::answer(Answer::data(json!({ "leases": rows }))))
            }
            (_, "workloads" | "workloads/end" | "leases/stuck") => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }
}
