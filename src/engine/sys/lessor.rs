//! `sys/lessor/…`: what Lessor adds to Vault's API, where it cannot collide.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::issuing::OWN;
use crate::engine::request::{Incoming, Reply};
use crate::engine::session::{Session, caller};
use crate::secrets::Outcome;
use crate::wire::{Answer, Error, Fields, Operation, Request};

/// How many stuck leases one answer shows.
const STUCK_SHOWN: usize = 1000;

impl Core {
    /// `GET workloads`: who owns leases; `GET workloads/<uid>`, `workloads/<namespace>/<name>`: which ones; `GET users/<username>`: who
    /// holds that user (`trace.rs`). `PUT workloads/end` with `uids`: those are gone, revoke what they own. With `logins` the first
    /// and the last are about whole clusters (`clusters.rs`).
    /// `GET leases/stuck`: revocations that do not get through, and why.
    /// `spares/<mount>/<role>`, `orphans/<mount>/<connection>`: what the mount's engine says of itself.
    pub(super) async fn sys_lessor(
        &self,
        incoming: &Incoming,
        path: &str,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        let operation = incoming.operation;
        if let Some((what @ ("spares" | "orphans"), rest)) = path.split_once('/') {
            return self.ask_mount(incoming, what, rest, fields, session).await;
        }
        match (operation, path) {
            (Operation::Read | Operation::List, "workloads") => self.workloads(fields).await,
            (Operation::Write, "workloads/end") => {
                let uids = fields.comma_list("uids")?.filter(|uids| !uids.is_empty());
                let uids = uids.ok_or_else(|| {
                    Error::bad_request("missing uids: name the workloads that have ended by their Kubernetes UIDs")
                })?;
                let ended = match fields.comma_list("logins")? {
                    Some(logins) => self.end_in_clusters(&uids, &logins).await?,
                    None => self.leases.end_workloads(&uids, None).await?,
                };
                Ok(Reply::answer(Answer::data(json!({ "leases": ended }))))
            }
            (Operation::Read | Operation::List, "leases/stuck") => {
                let (stuck, total) = self.leases.stuck(STUCK_SHOWN).await?;
                let rows: Vec<_> = stuck
                    .into_iter()
                    .map(|s| {
                        json!({ "lease_id": s.id, "failures": s.attempt.failures, "error": s.attempt.error,
                            "next_attempt": s.next.to_string() })
                    })
                    .collect();
                Ok(Reply::answer(Answer::data(json!({ "leases": rows, "total": total }))))
            }
            (_, "workloads" | "workloads/end" | "leases/stuck") => Err(Error::unsupported_operation()),
            (Operation::Read, _) => match path.split_once('/') {
                Some(("users", username)) if !username.is_empty() => self.holders_of_user(username).await,
                Some(("workloads", rest)) => match rest.split('/').collect::<Vec<_>>()[..] {
                    [uid] if !uid.is_empty() => self.users_of_uid(uid).await,
                    [namespace, name] => self.users_of_name(namespace, name).await,
                    _ => Err(Error::unsupported_path()),
                },
                _ => Err(Error::unsupported_path()),
            },
            _ => Err(Error::unsupported_path()),
        }
    }

    /// Passes a question on to the mount at the beginning of `path`.
    async fn ask_mount(
        &self,
        incoming: &Incoming,
        what: &str,
        path: &str,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        let missing = || Error::bad_request(format!("no secrets engine is mounted at the beginning of {path:?}"));
        let (mounted, name) = self.mounts.route(path).ok_or_else(missing)?;
        if !mounted.plugin.answers_sys_lessor() {
            return Err(Error::unsupported_path());
        }
        let request = Request {
            operation: incoming.operation,
            path: format!("{OWN}{what}/{name}"),
            fields: fields.clone(),
            caller: caller(incoming, session),
        };
        match mounted.plugin.handle(request).await? {
            Outcome::Answer(answer) => Ok(Reply::answer(answer)),
            Outcome::Lease(_) => Err(Error::internal("an engine offered a lease where none was asked for")),
        }
    }
}
