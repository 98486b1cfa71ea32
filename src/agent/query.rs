//! What templates ask of the engine, and how it is fetched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::template::{Value as Shown, from_json};
use crate::client::{Client, Error};
use crate::wire::Envelope;

/// One secret as a template names it; equal ones are fetched once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Query {
    /// `secret "path"`.
    Read(String),
    /// `secret "path" "key=value"`: a write with these parameters.
    Write(String, BTreeMap<String, String>),
    /// `secrets "path"`: the keys below a path.
    List(String),
}

impl Query {
    /// The arguments of `secret`.
    ///
    /// # Errors
    /// A parameter without `=`.
    pub fn secret(path: &str, parameters: &[String]) -> Result<Self, String> {
        let path = path.trim().trim_matches('/').to_owned();
        if path.is_empty() {
            return Err("the path is empty".to_owned());
        }
        if parameters.is_empty() {
            return Ok(Self::Read(path));
        }
        let pairs = parameters.iter().map(|pair| {
            let (key, value) = pair.split_once('=').ok_or("a parameter is not of the form key=value")?;
            Ok((key.to_owned(), value.to_owned()))
        });
        Ok(Self::Write(path, pairs.collect::<Result<_, String>>()?))
    }

    /// The path, for logs.
    pub fn path(&self) -> &str {
        let (Self::Read(path) | Self::Write(path, _) | Self::List(path)) = self;
        path.split('?').next().unwrap_or_default()
    }

    /// Asks the engine.
    ///
    /// # Errors
    /// The client's; also for answers without data.
    pub async fn fetch(&self, client: &Client) -> Result<Envelope, Error> {
        let answer = match self {
            Self::Read(path) => read(client, path).await?,
            Self::Write(path, parameters) => client.write(path, &json!(parameters)).await?,
            Self::List(path) => client.list(path).await?,
        };
        answer.filter(|envelope| envelope.data.is_some() || envelope.auth.is_some()).ok_or_else(|| Error::Api {
            path: self.path().to_owned(),
            status: 404,
            errors: vec!["there is no secret at this path".to_owned()],
        })
    }

    /// The answer as templates see it.
    pub fn shown(&self, envelope: &Envelope) -> Shown {
        if let Self::List(_) = self {
            let keys = envelope.data.as_ref().and_then(|data| data.get("keys"));
            return from_json(keys.unwrap_or(&Value::Null));
        }
        let mut shown = json!({
            "RequestID": envelope.request_id,
            "LeaseID": envelope.lease_id,
            "LeaseDuration": envelope.lease_duration,
            "Renewable": envelope.renewable,
            "Data": envelope.data,
            "Warnings": envelope.warnings,
        });
        if let Some(auth) = &envelope.auth {
            shown["Auth"] = json!({
                "ClientToken": auth.client_token,
                "Accessor": auth.accessor,
                "Policies": auth.policies,
                "Metadata": auth.metadata,
                "LeaseDuration": auth.lease_duration,
                "Renewable": auth.renewable,
            });
        }
        from_json(&shown)
    }
}

/// Reads a path; where it leads into a KV mount of version 2 without its `data/`, that is put in, as consul-template does.
async fn read(client: &Client, path: &str) -> Result<Option<Envelope>, Error> {
    let answer = client.read(path).await;
    let empty = match &answer {
        Ok(Some(envelope)) => envelope.data.is_none(),
        Ok(None) => true,
        Err(error) => error.is_not_found(),
    };
    match empty {
        true => match versioned(client, path).await {
            Some(inner) => client.read(&inner).await,
            None => answer,
        },
        false => answer,
    }
}

/// `kv/data/app` for `kv/app` if `kv/` is a KV mount of version 2.
async fn versioned(client: &Client, path: &str) -> Option<String> {
    let asked = path.split('?').next().unwrap_or_default();
    let mount = client.read(&format!("sys/internal/ui/mounts/{asked}")).await.ok()??.data?;
    let prefix = mount.get("path")?.as_str()?;
    let version = mount.get("options")?.get("version")?.as_str()?;
    let rest = path.strip_prefix(prefix)?;
    (version == "2" && !rest.starts_with("data/")).then(|| format!("{prefix}data/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_make_a_write() {
        assert_eq!(Query::secret("/a/b/", &[]), Ok(Query::Read("a/b".into())));
        let write = Query::secret("pki/issue/x", &["common_name=a=b".into()]).unwrap();
        assert_eq!(write, Query::Write("pki/issue/x".into(), [("common_name".into(), "a=b".into())].into()));
        assert!(Query::secret("a", &["nope".into()]).is_err());
        assert!(Query::secret(" / ", &[]).is_err());
    }
}
