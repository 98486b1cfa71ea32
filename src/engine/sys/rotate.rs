//! `sys/rotate`, `sys/rotate/config` and `sys/key-status`: the key that encrypts what is stored.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_rotate(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        match (operation, path) {
            (Operation::Write, "rotate" | "rotate/keyring") => {
                self.shared.keeper.barrier().rotate().await?;
                Ok(Reply::Empty(204))
            }
            (Operation::Read, "key-status") => {
                let status = self.shared.keeper.barrier().key_status()?;
                Ok(Reply::duplicated(Answer::data(json!({
                    "term": status.term, "install_time": status.installed.to_string(),
                    "encryptions": status.encryptions,
                }))))
            }
            (Operation::Read, "rotate/config") => {
                let rotation = self.shared.rotation.get();
                Ok(Reply::duplicated(Answer::data(json!({
                    "enabled": rotation.enabled, "max_operations": rotation.max_operations,
                    "interval": rotation.interval,
                }))))
            }
            (Operation::Write, "rotate/config") => {
                self.shared.rotation.put(fields).await?;
                Ok(Reply::Empty(204))
            }
            (_, "rotate" | "rotate/keyring" | "rotate/config" | "key-status") => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }
}
