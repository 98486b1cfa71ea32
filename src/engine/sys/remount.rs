//! `sys/remount`: a mount under another path, with everything that it stores (vault-api.md 1.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::lease::revoke::Wait;
use crate::engine::mount::{self, Mounted, Table};
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Kind, Operation};

/// What became of the moves since the engine was unsealed, by id.
#[derive(Default)]
pub(in crate::engine) struct Moves(Mutex<HashMap<String, Move>>);

#[derive(Clone)]
struct Move {
    from: String,
    to: String,
    succeeded: bool,
}

impl Moves {
    fn note(&self, id: &str, done: Move) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), done);
    }

    fn get(&self, id: &str) -> Option<Move> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl Core {
    pub(super) async fn sys_remount(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        match (operation, path.strip_prefix("status/")) {
            (Operation::Write, None) if path.is_empty() => self.remount(fields).await,
            (Operation::Read, Some(id)) => {
                let found = self.moves.get(id).ok_or_else(|| {
                    Error::new(Kind::NotFound, format!("no remount has the id {id:?} since the engine was unsealed"))
                })?;
                let status = if found.succeeded { "success" } else { "failure" };
                Ok(Reply::duplicated(Answer::data(json!({
                    "migration_id": id,
                    "migration_info": { "source_mount": found.from, "target_mount": found.to, "status": status },
                }))))
            }
            (_, Some(_)) => Err(Error::unsupported_operation()),
            _ if path.is_empty() => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    /// Moves at once: only the leases have to be revoked, whose ids begin with the old path.
    async fn remount(&self, fields: &Fields) -> Result<Reply, Error> {
        let (from, to) = (normal("from", fields)?, normal("to", fields)?);
        let id = self.shared.random.uuid();
        let moved = match (from.strip_prefix("auth/"), to.strip_prefix("auth/")) {
            (Some(from), Some(to)) => self.move_login(from, to).await,
            (None, None) => self.move_secrets(&from, &to).await,
            _ => return Err(Error::bad_request("cannot move a mount between auth/ and the secrets engines")),
        };
        let succeeded = moved.is_ok();
        self.moves.note(&id, Move { from, to, succeeded });
        moved?;
        let warning = "Mount move has been completed. Leases of the old path were revoked.";
        Ok(Reply::duplicated(Answer::data(json!({ "migration_id": id })).warn(warning)))
    }

    async fn move_secrets(&self, from: &str, to: &str) -> Result<(), Error> {
        super::mounts::check_reserved("remount", from)?;
        super::mounts::check_reserved("remount something at", to)?;
        self.check_free(to)?;
        let mounted = movable(&self.mounts, from, to)?;
        self.mounts.taint(from, true).await?;
        let ids = self.leases.below(from).await?;
        if let Err(error) = self.leases.revoke_all(ids, Wait::Sync).await {
            // Its credentials stay where they are: so does the mount.
            self.mounts.taint(from, false).await?;
            return Err(error);
        }
        {
            let _no_namespace_comes = self.shared.directory.hold().await;
            self.check_free(to)?;
            self.mounts.relocate(from, to).await?;
        }
        mounted.plugin.close().await;
        if let Some(mounted) = self.mounts.get(to) {
            self.set_going(&mounted);
        }
        Ok(())
    }

    async fn move_login(&self, from: &str, to: &str) -> Result<(), Error> {
        movable(&self.methods, from, to)?;
        // Tokens know the path that made them, so none may be made there any more.
        self.methods.taint(from, true).await?;
        self.end_tokens_of(from).await?;
        self.methods.relocate(from, to).await
    }
}

fn normal(name: &str, fields: &Fields) -> Result<String, Error> {
    mount::normal_path(&fields.required(name)?)
}

fn movable<P: ?Sized>(table: &Table<P>, from: &str, to: &str) -> Result<Arc<Mounted<P>>, Error> {
    let mounted = table.get(from).ok_or_else(|| Error::bad_request(format!("no matching mount at {from:?}")))?;
    let taken = |other: &str| other != from && (to.starts_with(other) || other.starts_with(to));
    if to == from || table.all().iter().any(|other| taken(&other.entry.path)) {
        return Err(Error::bad_request(format!("path already in use at {to:?}")));
    }
    Ok(mounted)
}
