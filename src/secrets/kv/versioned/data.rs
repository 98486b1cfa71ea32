//! `data/` and `subkeys/`: versions written, patched and read.

use serde_json::{Map, Value, json};

use super::store::{Change, Config, Metadata};
use super::{Versioned, describe};
use crate::secrets::kv::Data;
use crate::storage::Version as Stored;
use crate::wire::{Answer, Error, Fields};

/// The latest version that a path must have for a write to be accepted.
struct CheckAndSet(Option<u64>);

impl CheckAndSet {
    fn read(fields: &Fields) -> Result<Self, Error> {
        let Some(options) = object(fields, "options")? else { return Ok(Self(None)) };
        if !options.contains_key("cas") {
            return Ok(Self(None));
        }
        let wrong = || Error::bad_request("error parsing check-and-set parameter");
        // Null stands for 0, as it does in Go.
        let number = Fields::from(options).int("cas").map_err(|_| wrong())?.unwrap_or(0);
        // No version is negative, and none has the highest number either.
        Ok(Self(Some(u64::try_from(number).unwrap_or(u64::MAX))))
    }

    fn check(&self, config: &Config, metadata: &Metadata) -> Result<(), Error> {
        match self.0 {
            None if config.cas_required || metadata.cas_required => {
                Err(Error::bad_request("check-and-set parameter required for this call"))
            }
            Some(number) if number != metadata.current => {
                Err(Error::bad_request("check-and-set parameter did not match the current version"))
            }
            _ => Ok(()),
        }
    }
}

impl Versioned {
    pub(super) async fn read(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        self.read_version(path, fields, "data", Value::Object).await
    }

    /// The names of what a version holds, without the values.
    pub(super) async fn subkeys(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        let depth = fields.count("depth")?.unwrap_or(0);
        let strip = |data: Data| Value::Object(without_values(data, depth, 1));
        self.read_version(path, fields, "subkeys", strip).await
    }

    /// One version under `name`, as `shape` shows it, beside its metadata; 404 with the metadata alone when it is gone.
    async fn read_version(
        &self,
        path: &str,
        fields: &Fields,
        name: &str,
        shape: impl FnOnce(Data) -> Value,
    ) -> Result<Answer, Error> {
        let wanted = fields.int("version")?.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
        loop {
            let (metadata, seen) = self.store.metadata(path).await?.ok_or_else(Error::not_found)?;
            let number = wanted.unwrap_or(metadata.current);
            let version = metadata.versions.get(&number).ok_or_else(Error::not_found)?;
            let mut answer = json!({ name: null, "metadata": describe(&metadata, number, version) });
            if version.is_gone(self.clock.now()) {
                return Ok(Answer::data(answer).missing());
            }
            if let Some(data) = self.store.data(path, seen, number).await? {
                answer[name] = shape(data);
                return Ok(Answer::data(answer));
            }
        }
    }

    pub(super) async fn write(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        let data = object(fields, "data")?.ok_or_else(no_data)?;
        let cas = CheckAndSet::read(fields)?;
        loop {
            let (config, _) = self.store.config().await?;
            let found = self.store.metadata(path).await?;
            let (metadata, seen) = found.unwrap_or_else(|| (Metadata::new(self.clock.now()), 0));
            cas.check(&config, &metadata)?;
            if let Some(answer) = self.add(path, metadata, seen, &config, &data).await? {
                return Ok(answer);
            }
        }
    }

    /// Merges what was sent into the latest version (RFC 7396) and makes the result the next one.
    pub(super) async fn patch(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        let patch = Value::Object(object(fields, "data")?.ok_or_else(no_data)?);
        let cas = CheckAndSet::read(fields)?;
        loop {
            let (metadata, seen) = self.store.metadata(path).await?.ok_or_else(Error::not_found)?;
            let (config, _) = self.store.config().await?;
            cas.check(&config, &metadata)?;
            let number = metadata.current;
            let version = metadata.versions.get(&number).ok_or_else(Error::not_found)?;
            if version.is_gone(self.clock.now()) {
                return Ok(Answer::data(describe(&metadata, number, version)).missing());
            }
            let Some(data) = self.store.data(path, seen, number).await? else { continue };
            let mut data = Value::Object(data);
            json_patch::merge(&mut data, &patch);
            let Value::Object(data) = data else { return Err(no_data()) };
            if let Some(answer) = self.add(path, metadata, seen, &config, &data).await? {
                return Ok(answer);
            }
        }
    }

    /// Adds a version; nothing if somebody else has written meanwhile.
    async fn add(
        &self,
        path: &str,
        mut metadata: Metadata,
        seen: Stored,
        config: &Config,
        data: &Data,
    ) -> Result<Option<Answer>, Error> {
        let now = self.clock.now();
        let deletion = metadata.deletion(config, now);
        let added = metadata.add(now, deletion, config.max_versions);
        let change = Change { metadata: Some(&metadata), added: Some((added.number, data)), removed: &added.dropped };
        if !self.store.commit(path, seen, change).await? {
            return Ok(None);
        }
        let version = &metadata.versions[&added.number];
        Ok(Some(Answer::data(describe(&metadata, added.number, version))))
    }
}

fn no_data() -> Error {
    Error::bad_request("no data provided")
}

fn object(fields: &Fields, name: &str) -> Result<Option<Data>, Error> {
    match fields.value(name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(_) => Err(Error::bad_request(format!("error converting input for field {name:?}: expected an object"))),
    }
}

/// Every value replaced by null, down to `depth` (0: all the way); what lies deeper is not even named.
fn without_values(data: Data, depth: u64, level: u64) -> Map<String, Value> {
    let strip = |value: Value| match value {
        Value::Object(inner) if !inner.is_empty() && (depth == 0 || level < depth) => {
            Value::Object(without_values(inner, depth, level + 1))
        }
        _ => Value::Null,
    };
    data.into_iter().map(|(key, value)| (key, strip(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subkeys_hold_no_value_at_any_depth() {
        let data = json!({ "a": 1, "b": { "c": "secret", "d": { "e": [1] } }, "f": {}, "g": [{ "h": "secret" }] });
        let strip = |depth| Value::Object(without_values(data.as_object().unwrap().clone(), depth, 1));
        assert_eq!(strip(0), json!({ "a": null, "b": { "c": null, "d": { "e": null } }, "f": null, "g": null }));
        assert_eq!(strip(1), json!({ "a": null, "b": null, "f": null, "g": null }));
        assert_eq!(strip(2), json!({ "a": null, "b": { "c": null, "d": null }, "f": null, "g": null }));
    }
}
