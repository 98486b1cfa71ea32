//! Version 2: numbered versions of each path, soft deletion, check-and-set.
//!
//! `data.rs` writes, patches and reads versions, `versions.rs` deletes them and brings them back, `metadata.rs` and `config.rs`
//! keep settings, `store.rs` stores.

mod config;
mod data;
mod metadata;
pub(super) mod store;
mod versions;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::store::{Metadata, Store, Version};
use super::upgrade;
use crate::base::{Clock, Timestamp};
use crate::storage::View;
use crate::wire::{Answer, Error, Operation, Request};

/// The beginnings of this version's paths.
const AREAS: &[&str] = &["data", "delete", "destroy", "metadata", "subkeys", "undelete"];

/// A mount of version 2.
pub(super) struct Versioned {
    store: Store,
    clock: Arc<dyn Clock>,
    upgraded: OnceCell<()>,
}

impl Versioned {
    pub(super) fn new(view: View, clock: Arc<dyn Clock>) -> Self {
        Self { store: Store::new(view), clock, upgraded: OnceCell::new() }
    }

    /// Version 1 may have left values behind; requests wait until they are taken over.
    async fn upgraded(&self) -> Result<(), Error> {
        let run = || upgrade::run(self.store.view(), &self.store, self.clock.now());
        Ok(self.upgraded.get_or_try_init(run).await.map(|_| ())?)
    }

    pub(super) async fn answer(&self, request: &Request) -> Result<Answer, Error> {
        use Operation::{Delete, List, Patch, Read, Write};
        self.upgraded().await?;
        let (operation, fields) = (request.operation, &request.fields);
        let (area, path) = request.path.split_once('/').unwrap_or((&request.path, ""));
        match (operation, area) {
            (Read, "config") if path.is_empty() => self.read_config().await,
            (Write, "config") if path.is_empty() => self.write_config(fields).await,
            (_, "config") if path.is_empty() => Err(Error::unsupported_operation()),
            (List, "metadata") => super::list(self.store.view(), "metadata", path).await,
            (List, "detailed-metadata") => self.list_metadata(path).await,
            (_, area) if !AREAS.contains(&area) || path.is_empty() => Ok(invalid_path(operation, &request.path)),
            (Read, "data") => self.read(path, fields).await,
            (Write, "data") => self.write(path, fields).await,
            (Patch, "data") => self.patch(path, fields).await,
            (Delete, "data") => self.delete_latest(path).await,
            (Read, "subkeys") => self.subkeys(path, fields).await,
            (Write, "delete") => self.delete(path, fields).await,
            (Write, "undelete") => self.undelete(path, fields).await,
            (Write, "destroy") => self.destroy(path, fields).await,
            (Read, "metadata") => self.read_metadata(path).await,
            (Write, "metadata") => self.write_metadata(path, fields).await,
            (Patch, "metadata") => self.patch_metadata(path, fields).await,
            (Delete, "metadata") => self.delete_metadata(path).await,
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// A write below `data/` and `metadata/` creates where the path has no metadata; the other writes only change things.
    pub(super) async fn exists(&self, path: &str) -> Result<bool, Error> {
        self.upgraded().await?;
        match path.split_once('/') {
            Some(("data" | "metadata", path)) => Ok(self.store.metadata(path).await?.is_some()),
            _ => Ok(true),
        }
    }
}

/// 404 with the hint that sends users of version 1's paths to the right ones.
fn invalid_path(operation: Operation, path: &str) -> Answer {
    if AREAS.contains(&path) {
        let text = "Non-listing operations on the root of a K/V v2 mount are not supported.";
        return Answer::empty().warn(text).missing();
    }
    let command = match operation {
        Operation::Read | Operation::Help => "get",
        Operation::List => "list",
        Operation::Write => "put",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
    };
    let text =
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use.";
    Answer::empty()
        .warn(format!("{text} If using the Vault CLI, use 'vault kv {command}' for this operation."))
        .missing()
}

/// What an answer tells about one version.
fn describe(metadata: &Metadata, number: u64, version: &Version) -> Value {
    json!({
        "version": number,
        "created_time": version.created.to_string(),
        "deletion_time": moment(version.deletion),
        "destroyed": version.destroyed,
        "custom_metadata": custom(metadata),
    })
}

fn moment(moment: Option<Timestamp>) -> String {
    moment.map_or_else(String::new, |moment| moment.to_string())
}

fn custom(metadata: &Metadata) -> Value {
    if metadata.custom.is_empty() { Value::Null } else { json!(metadata.custom) }
}

/// Seconds as Go prints a duration: `0s`, `1m0s`, `3h25m19s`; -1 is `-1s`.
fn go_duration(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_does() {
        let printed = [0, -1, 59, 60, 12_319, 3600].map(go_duration);
        assert_eq!(printed, ["0s", "-1s", "59s", "1m0s", "3h25m19s", "1h0m0s"]);
    }
}
