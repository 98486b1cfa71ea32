//! Which key-value engine a path belongs to, and of which version it is.

use serde_json::Value;

use super::super::grammar::Flag;
use super::super::request::{Ask, clean};
use super::super::session::Session;
use super::super::{Failure, output};

/// Where the engine is mounted, so that the argument is the key alone.
pub(super) const MOUNT: Flag =
    Flag::text("mount", "Where the engine is mounted; the argument is the key below it then.");

/// A key of a key-value engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The mount, without slashes around it.
    pub mount: String,
    /// The key below it.
    pub key: String,
    /// Whether the engine keeps versions.
    pub versioned: bool,
}

impl Place {
    /// What `kv get secret/a` and `kv get -mount=secret a` are about. An engine that cannot tell (404) is of version 1.
    pub async fn find(session: &Session<'_>) -> Result<Self, Failure> {
        let argument = clean(session.argument(0));
        let said = session.values.text("mount").map(clean);
        let asked = said.clone().unwrap_or_else(|| argument.clone());
        let ask = Ask::get(format!("sys/internal/ui/mounts/{asked}"));
        let reply = session.look(&ask).await?;
        if reply.status == 404 {
            let (mount, key) = argument.split_once('/').unwrap_or((&argument, ""));
            let place = said.map_or_else(|| (mount.to_owned(), key.to_owned()), |mount| (mount, argument.clone()));
            return Ok(Self { mount: place.0, key: place.1, versioned: false });
        }
        if !reply.is_success() {
            return Err(reply.refusal(&format!("Error making preflight request for {asked}")));
        }
        let data = &reply.body["data"];
        let mount = clean(data["path"].as_str().unwrap_or(&asked));
        let key = match said {
            Some(_) => argument,
            None => clean(argument.strip_prefix(&mount).unwrap_or(&argument)),
        };
        Ok(Self { versioned: is_versioned(data), mount, key })
    }

    /// The path of an endpoint of version 2: `data`, `metadata` …
    pub fn at(&self, endpoint: &str) -> String {
        clean(&format!("{}/{endpoint}/{}", self.mount, self.key))
    }

    /// The path of version 1.
    pub fn plain(&self) -> String {
        clean(&format!("{}/{}", self.mount, self.key))
    }

    /// What is read and written: `data/` where there are versions.
    pub fn data(&self) -> String {
        if self.versioned { self.at("data") } else { self.plain() }
    }

    /// What is listed.
    pub fn listed(&self) -> String {
        if self.versioned { self.at("metadata") } else { self.plain() }
    }

    /// Says that a command needs versions.
    pub fn must_be_versioned(&self, command: &str) -> Result<(), Failure> {
        if self.versioned {
            return Ok(());
        }
        let mount = &self.mount;
        Err(Failure::local(format!(
            "{command} is not offered by {mount}/, which keeps one version only (kv version 1)"
        )))
    }
}

fn is_versioned(mount: &Value) -> bool {
    mount["options"]["version"].as_str() == Some("2")
}

/// Path and version of a secret, above its table.
pub(super) fn path_header(title: &str, path: &str) -> String {
    output::header(title, &format!("{path}\n")) + "\n"
}

/// Rows of an object under a header, `None` for what has no rows.
pub(super) fn object_table(title: &str, object: &Value, without: &[&str]) -> String {
    let fields = object.as_object().into_iter().flatten().filter(|(key, _)| !without.contains(&key.as_str()));
    let rows = fields.map(|(key, value)| (key.clone(), output::value::field(key, value)));
    output::header(title, &output::pairs(rows))
}
