//! Version 1: one value for each path, overwritten in place.

use serde_json::Value;

use super::Data;
use crate::base::duration;
use crate::storage::View;
use crate::wire::{Answer, Error, Keep, Operation, Request};

/// Where the values are, below the mount's own storage.
pub(super) const FOLDER: &str = "plain";

/// A mount of version 1.
pub(super) struct Plain {
    view: View,
}

impl Plain {
    pub(super) fn new(view: View) -> Self {
        Self { view }
    }

    pub(super) async fn answer(&self, request: &Request) -> Result<Answer, Error> {
        let path = request.path.as_str();
        match request.operation {
            Operation::List => super::list(&self.view, FOLDER, path).await,
            _ if path.is_empty() => Err(Error::unsupported_operation()),
            Operation::Read => {
                let (data, _) = self.view.get::<Data>(&key(path)).await?.ok_or_else(Error::not_found)?;
                let keep = keep(&data);
                Ok(Answer::data(data.into()).keep(keep))
            }
            Operation::Write => {
                let data = request.fields.as_map();
                if data.is_empty() {
                    return Err(Error::bad_request("missing data fields"));
                }
                self.view.put(&key(path), data).await?;
                Ok(Answer::empty())
            }
            Operation::Delete => {
                self.view.delete(&key(path)).await?;
                Ok(Answer::empty())
            }
            Operation::Patch | Operation::Help => Err(Error::unsupported_operation()),
        }
    }

    pub(super) async fn exists(&self, path: &str) -> Result<bool, Error> {
        Ok(self.view.get::<Data>(&key(path)).await?.is_some())
    }
}

pub(super) fn key(path: &str) -> String {
    format!("{FOLDER}/{path}")
}

/// Whoever writes a secret may say with `ttl` (or, as of old, `lease`) how long its readers should keep it.
fn keep(data: &Data) -> Keep {
    let seconds = match data.get("ttl").or_else(|| data.get("lease")) {
        Some(Value::String(text)) => duration::parse_seconds(text).ok(),
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    };
    seconds.map_or(Keep::MountDefault, Keep::Seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_writer_says_how_long_a_secret_is_kept() {
        let keep = |data: Value| keep(data.as_object().unwrap());
        assert_eq!(keep(json!({ "k": "v" })), Keep::MountDefault);
        assert_eq!(keep(json!({ "ttl": "1h", "lease": "2h" })), Keep::Seconds(3600));
        assert_eq!(keep(json!({ "lease": 60 })), Keep::Seconds(60));
        assert_eq!(keep(json!({ "ttl": "soon" })), Keep::MountDefault);
    }
}
