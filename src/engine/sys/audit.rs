//! `sys/audit`, `sys/audit-hash` and `sys/config/auditing/request-headers` (vault-api.md 1.7).

use serde_json::{Map, Value, json};

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_audit(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        match operation {
            Operation::Read if path.is_empty() => {
                let row = |record: crate::engine::audit::Record| {
                    let row = json!({
                        "type": record.kind, "description": record.description, "options": record.options,
                        "local": record.local, "path": record.path,
                    });
                    (record.path, row)
                };
                let rows: Map<_, _> = self.shared.audits.records().into_iter().map(row).collect();
                Ok(Reply::duplicated(Answer::data(rows.into())))
            }
            Operation::Write if !path.is_empty() => {
                self.shared.audits.enable(path, fields).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete if !path.is_empty() => {
                self.shared.audits.disable(path).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }

    pub(super) fn sys_audit_hash(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        if operation != Operation::Write {
            return Err(Error::unsupported_operation());
        }
        let input = fields.secret("input")?.filter(|input| !input.is_empty());
        let input = input.ok_or_else(|| Error::bad_request("the \"input\" parameter is empty"))?;
        let hash = self.shared.audits.hash(path, input.expose())?;
        Ok(Reply::duplicated(Answer::data(json!({ "hash": hash }))))
    }

    pub(super) async fn sys_audited_headers(
        &self,
        operation: Operation,
        name: &str,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        let headers = self.shared.audits.headers();
        let row = |(name, hmac): (&String, &bool)| (name.clone(), json!({ "hmac": hmac }));
        match operation {
            Operation::Read | Operation::List if name.is_empty() => {
                let rows: Map<_, Value> = headers.iter().map(row).collect();
                Ok(Reply::duplicated(Answer::data(json!({ "headers": rows }))))
            }
            Operation::Read => {
                let found = headers.get_key_value(&name.to_lowercase());
                let found = found.ok_or_else(|| Error::bad_request("Could not find header in config"))?;
                Ok(Reply::duplicated(Answer::data(Map::from_iter([row(found)]).into())))
            }
            Operation::Write if !name.is_empty() => {
                self.shared.audits.set_header(name, Some(fields.bool("hmac")?.unwrap_or(false))).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete if !name.is_empty() => {
                self.shared.audits.set_header(name, None).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}
