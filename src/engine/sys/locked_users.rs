//! `sys/locked-users`: who is locked out after failed logins, and opening the door again.

use serde_json::{Value, json};

use crate::engine::core::Core;
use crate::engine::lockout::Who;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_locked_users(
        &self,
        operation: Operation,
        path: &str,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        if path.is_empty() {
            return match operation {
                Operation::Read => Ok(Reply::answer(Answer::data(self.locked(fields.string("mount_accessor")?)))),
                _ => Err(Error::unsupported_operation()),
            };
        }
        // A name may hold slashes.
        let (accessor, rest) = path.split_once('/').ok_or_else(Error::unsupported_path)?;
        let name = rest.strip_prefix("unlock/").filter(|name| !name.is_empty()).ok_or_else(Error::unsupported_path)?;
        if operation != Operation::Write {
            return Err(Error::unsupported_operation());
        }
        self.lockouts.unlock(&Who { accessor: accessor.to_owned(), name: name.to_owned() }).await?;
        Ok(Reply::Empty(204))
    }

    fn locked(&self, accessor: Option<String>) -> Value {
        let wanted = accessor.filter(|accessor| !accessor.is_empty());
        let mut mounts = self.lockouts.by_mount();
        mounts.retain(|accessor, _| wanted.as_ref().is_none_or(|wanted| wanted == accessor));
        let total: usize = mounts.values().map(Vec::len).sum();
        let rows: Vec<_> = mounts
            .iter()
            .map(|(accessor, names)| {
                json!({ "mount_accessor": accessor, "counts": names.len(), "alias_identifiers": names })
            })
            .collect();
        let namespace = json!({ "namespace_id": self.place.shown_id(), "namespace_path": self.place.path, "counts": total,
                "mount_accessors": rows });
        json!({ "by_namespace": if total > 0 { vec![namespace] } else { Vec::new() }, "total": total })
    }
}
