//! `sys/config/cors` and `sys/config/ui/headers`: what browsers are told (vault-api.md 0.1); `sys/config/state/sanitized`.

use serde_json::json;

use crate::engine::core::Core;
use crate::engine::cors::{Cors, STANDARD_HEADERS};
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_config(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        if path == "state/sanitized" {
            return match operation {
                Operation::Read => Ok(Reply::answer(Answer::data(self.shared.settings.shown.clone()))),
                _ => Err(Error::unsupported_operation()),
            };
        }
        if path == "cors" {
            return self.sys_cors(operation, fields).await;
        }
        for (area, audited) in [("auditing/request-headers", true), ("ui/headers", false)] {
            let Some(name) = path.strip_prefix(area).filter(|name| name.is_empty() || name.starts_with('/')) else {
                continue;
            };
            let name = name.trim_matches('/');
            return match audited {
                true => self.sys_audited_headers(operation, name, fields).await,
                false => self.sys_ui_headers(operation, name, fields).await,
            };
        }
        Err(Error::unsupported_path())
    }

    pub(super) async fn sys_cors(&self, operation: Operation, fields: &Fields) -> Result<Reply, Error> {
        match operation {
            Operation::Read => {
                let cors = self.shared.browsers.cors();
                let mut data = json!({ "enabled": cors.enabled });
                if cors.enabled {
                    let standard = STANDARD_HEADERS.iter().map(|name| (*name).to_owned());
                    let headers: Vec<_> = standard.chain(cors.allowed_headers.iter().cloned()).collect();
                    data["allowed_origins"] = json!(cors.allowed_origins);
                    data["allowed_headers"] = json!(headers);
                }
                Ok(Reply::duplicated(Answer::data(data)))
            }
            Operation::Write => {
                let allowed_origins = fields.comma_list("allowed_origins")?.filter(|origins| !origins.is_empty());
                let allowed_origins = allowed_origins
                    .ok_or_else(|| Error::bad_request("at least one origin or the wildcard must be provided"))?;
                if allowed_origins.len() > 1 && allowed_origins.iter().any(|origin| origin == "*") {
                    return Err(Error::bad_request(
                        "to allow all origins the '*' must be the only value for allowed_origins",
                    ));
                }
                let allowed_headers = fields.comma_list("allowed_headers")?.unwrap_or_default();
                self.shared.browsers.set_cors(Cors { enabled: true, allowed_origins, allowed_headers }).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete => {
                self.shared.browsers.set_cors(Cors::default()).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// Headers of the user interface: kept and answered; there is no interface that would send them.
    pub(super) async fn sys_ui_headers(
        &self,
        operation: Operation,
        name: &str,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        let mut headers = self.shared.browsers.ui_headers().await?;
        match operation {
            Operation::List if name.is_empty() => Ok(Reply::answer(Answer::keys(headers.keys().cloned().collect())?)),
            _ if name.is_empty() => Err(Error::unsupported_operation()),
            Operation::Read => {
                let values = headers.get(&name.to_lowercase()).ok_or_else(Error::not_found)?;
                let multiple = fields.bool("multivalue")?.unwrap_or(false);
                let data = if multiple { json!({ "values": values }) } else { json!({ "value": values.first() }) };
                Ok(Reply::answer(Answer::data(data)))
            }
            Operation::Write => {
                if name.to_lowercase().starts_with("x-vault-") {
                    return Err(Error::bad_request("X-Vault headers cannot be set"));
                }
                let values = fields.string_list("values")?.filter(|values| !values.is_empty());
                let values = values.ok_or_else(|| Error::bad_request("missing values"))?;
                headers.insert(name.to_lowercase(), values);
                self.shared.browsers.set_ui_headers(&headers).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete => {
                headers.remove(&name.to_lowercase());
                self.shared.browsers.set_ui_headers(&headers).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}
