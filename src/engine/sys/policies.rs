//! `sys/policies/acl` and the legacy `sys/policy`.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_policies_acl(
        &self,
        operation: Operation,
        name: &str,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        match operation {
            Operation::List if name.is_empty() => Ok(Reply::answer(Answer::keys(self.policies.names())?)),
            Operation::Read if !name.is_empty() => {
                let text = self.policies.text(name).ok_or_else(Error::not_found)?;
                Ok(Reply::answer(Answer::data(json!({ "name": name.to_lowercase(), "policy": text }))))
            }
            _ => self.change_policy(operation, name, fields).await,
        }
    }

    pub(super) async fn sys_policy(&self, operation: Operation, name: &str, fields: &Fields) -> Result<Reply, Error> {
        match operation {
            Operation::List | Operation::Read if name.is_empty() => {
                let names = self.policies.names();
                Ok(Reply::duplicated(Answer::data(json!({ "keys": names, "policies": names }))))
            }
            Operation::Read => {
                let text = self.policies.text(name).ok_or_else(Error::not_found)?;
                Ok(Reply::duplicated(Answer::data(json!({ "name": name.to_lowercase(), "rules": text }))))
            }
            _ => self.change_policy(operation, name, fields).await,
        }
    }

    async fn change_policy(&self, operation: Operation, name: &str, fields: &Fields) -> Result<Reply, Error> {
        match operation {
            Operation::Write if !name.is_empty() => {
                let text = fields.string("policy")?.or(fields.string("rules")?).filter(|text| !text.is_empty());
                let text = text.ok_or_else(|| Error::bad_request("'policy' parameter not supplied or empty"))?;
                self.policies.put(name, &text).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete if !name.is_empty() => {
                self.policies.delete(name).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}
