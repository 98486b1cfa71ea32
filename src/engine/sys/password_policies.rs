//! `sys/policies/password`: how passwords are made.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Kind, Operation};

impl Core {
    /// LIST; GET, PUT and DELETE `NAME`; GET `NAME/generate`: a password by that policy, which is not kept.
    pub(super) async fn sys_password_policies(
        &self,
        operation: Operation,
        path: &str,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (operation, &segments[..]) {
            (Operation::List, []) => Ok(Reply::answer(Answer::keys(self.passwords.list().await?)?)),
            (Operation::Read, [name]) => {
                let text = self.passwords.get(name).await?.ok_or_else(Error::not_found)?;
                Ok(Reply::answer(Answer::data(json!({ "policy": text }))))
            }
            (Operation::Write, [name]) => {
                let text = fields.string("policy")?.filter(|text| !text.trim().is_empty());
                let text = text.ok_or_else(|| Error::bad_request("missing policy"))?;
                let warning = self.passwords.put(name, &text).await?;
                Ok(Reply::answer(warning.into_iter().fold(Answer::empty(), Answer::warn)))
            }
            (Operation::Delete, [name]) => {
                self.passwords.delete(name).await?;
                Ok(Reply::Empty(204))
            }
            (Operation::Read, [name, "generate"]) => {
                let missing = || Error::new(Kind::NotFound, format!("policy {name:?} does not exist"));
                self.passwords.get(name).await?.ok_or_else(missing)?;
                let password = self.passwords.generate(name, &*self.shared.random).await?;
                Ok(Reply::answer(Answer::data(json!({ "password": password.expose() }))))
            }
            (_, [] | [_] | [_, "generate"]) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }
}
