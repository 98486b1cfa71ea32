//! `metadata/`: the settings of one path, what is noted with it, and the list of its versions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::store::{Change, Config, Metadata};
use super::{Versioned, custom, go_duration, moment};
use crate::secrets::kv;
use crate::wire::{Answer, Error, Fields};

/// Limits of `custom_metadata`: entries, bytes of a key, bytes of a value.
const CUSTOM_LIMITS: (usize, usize, usize) = (64, 128, 512);

const FIELDS: [&str; 5] =
    ["cas_required", "custom_metadata", "delete_version_after", "max_versions", "metadata_cas_required"];

impl Versioned {
    pub(super) async fn read_metadata(&self, path: &str) -> Result<Answer, Error> {
        let (metadata, _) = self.store.metadata(path).await?.ok_or_else(Error::not_found)?;
        Ok(Answer::data(describe(&metadata)))
    }

    /// A list with the metadata of each name, `{}` for folders.
    pub(super) async fn list_metadata(&self, folder: &str) -> Result<Answer, Error> {
        let mut answer = kv::list(self.store.view(), "metadata", folder).await?;
        let mut info = Map::new();
        let keys = answer.data.as_ref().and_then(|data| data["keys"].as_array().cloned()).unwrap_or_default();
        for name in keys.iter().filter_map(Value::as_str) {
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let found = if name.ends_with('/') { None } else { self.store.metadata(&path).await? };
            info.insert(name.to_owned(), found.map_or(json!({}), |(metadata, _)| describe(&metadata)));
        }
        if let Some(data) = &mut answer.data {
            data["key_info"] = info.into();
        }
        Ok(answer)
    }

    /// Creates or updates; fields that are left out stay as they are.
    pub(super) async fn write_metadata(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        if !FIELDS.iter().any(|name| fields.has(name)) {
            return Ok(Answer::empty());
        }
        let custom = fields.has("custom_metadata").then(|| custom_metadata(fields)).transpose()?;
        loop {
            let (config, _) = self.store.config().await?;
            let found = self.store.metadata(path).await?;
            check_and_set(fields, &config, found.as_ref().map(|(metadata, _)| metadata))?;
            let (mut metadata, seen) = found.unwrap_or_else(|| (Metadata::new(self.clock.now()), 0));
            settings(&mut metadata, fields)?;
            if let Some(custom) = &custom {
                metadata.custom =
                    custom.iter().map(|(key, value)| (key.clone(), value.clone().unwrap_or_default())).collect();
            }
            validate(&metadata.custom)?;
            if self.put(path, metadata, seen).await? {
                return ignored(fields, &config);
            }
        }
    }

    /// Updates only; null resets a field, and takes an entry out of `custom_metadata`.
    pub(super) async fn patch_metadata(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        if !FIELDS.iter().any(|name| fields.as_map().contains_key(*name)) {
            return Ok(Answer::empty());
        }
        let custom = custom_metadata(fields)?;
        loop {
            let (config, _) = self.store.config().await?;
            let (mut metadata, seen) = self.store.metadata(path).await?.ok_or_else(Error::not_found)?;
            check_and_set(fields, &config, Some(&metadata))?;
            reset_nulls(&mut metadata, fields);
            settings(&mut metadata, fields)?;
            for (key, value) in &custom {
                match value {
                    Some(value) => drop(metadata.custom.insert(key.clone(), value.clone())),
                    None => drop(metadata.custom.remove(key)),
                }
            }
            validate(&metadata.custom)?;
            if self.put(path, metadata, seen).await? {
                return ignored(fields, &config);
            }
        }
    }

    async fn put(&self, path: &str, mut metadata: Metadata, seen: u64) -> Result<bool, Error> {
        metadata.updated = self.clock.now();
        metadata.metadata_version += 1;
        let change = Change { metadata: Some(&metadata), added: None, removed: &[] };
        Ok(self.store.commit(path, seen, change).await?)
    }

    /// The path with all its versions, for good.
    pub(super) async fn delete_metadata(&self, path: &str) -> Result<Answer, Error> {
        loop {
            let Some((metadata, seen)) = self.store.metadata(path).await? else { return Ok(Answer::empty()) };
            let numbers: Vec<u64> = metadata.versions.keys().copied().collect();
            let change = Change { metadata: None, added: None, removed: &numbers };
            if self.store.commit(path, seen, change).await? {
                return Ok(Answer::empty());
            }
        }
    }
}

fn describe(metadata: &Metadata) -> Value {
    let versions: Map<String, Value> = metadata
        .versions
        .iter()
        .map(|(number, version)| {
            let row = json!({
                "created_time": version.created.to_string(),
                "deletion_time": moment(version.deletion),
                "destroyed": version.destroyed,
            });
            (number.to_string(), row)
        })
        .collect();
    json!({
        "versions": versions,
        "current_version": metadata.current,
        "current_metadata_version": metadata.metadata_version,
        "oldest_version": metadata.oldest,
        "created_time": metadata.created.to_string(),
        "updated_time": metadata.updated.to_string(),
        "max_versions": metadata.max_versions,
        "cas_required": metadata.cas_required,
        "metadata_cas_required": metadata.metadata_cas_required,
        "delete_version_after": go_duration(i64::try_from(metadata.delete_version_after).unwrap_or(i64::MAX)),
        "custom_metadata": custom(metadata),
    })
}

fn settings(metadata: &mut Metadata, fields: &Fields) -> Result<(), Error> {
    if let Some(max) = fields.count("max_versions")? {
        metadata.max_versions = max;
    }
    if let Some(required) = fields.bool("cas_required")? {
        metadata.cas_required = required;
    }
    if let Some(required) = fields.bool("metadata_cas_required")? {
        metadata.metadata_cas_required = required;
    }
    if let Some(after) = fields.seconds("delete_version_after")? {
        metadata.delete_version_after = after;
    }
    Ok(())
}

fn reset_nulls(metadata: &mut Metadata, fields: &Fields) {
    let is_null = |name: &str| fields.as_map().get(name).is_some_and(Value::is_null);
    if is_null("max_versions") {
        metadata.max_versions = 0;
    }
    if is_null("cas_required") {
        metadata.cas_required = false;
    }
    if is_null("metadata_cas_required") {
        metadata.metadata_cas_required = false;
    }
    if is_null("delete_version_after") {
        metadata.delete_version_after = 0;
    }
    if is_null("custom_metadata") {
        metadata.custom.clear();
    }
}

fn check_and_set(fields: &Fields, config: &Config, metadata: Option<&Metadata>) -> Result<(), Error> {
    let required = config.metadata_cas_required || metadata.is_some_and(|metadata| metadata.metadata_cas_required);
    let problem = match (fields.count("metadata_cas")?, metadata) {
        (None, _) if required => "metadata check-and-set parameter required for this call",
        (Some(number), None) if number != 0 => "metadata_cas must be 0 when creating new metadata",
        (Some(number), Some(metadata)) if number != metadata.metadata_version => {
            "metadata check-and-set parameter does not match the current version"
        }
        _ => return Ok(()),
    };
    Err(Error::bad_request(problem))
}

/// What the mount requires cannot be switched off for one path.
fn ignored(fields: &Fields, config: &Config) -> Result<Answer, Error> {
    let mut answer = Answer::empty();
    for (name, mandated) in
        [("cas_required", config.cas_required), ("metadata_cas_required", config.metadata_cas_required)]
    {
        if mandated && fields.bool(name)? == Some(false) {
            answer = answer
                .warn(format!("{name:?} set to false, but is mandated by backend config. This value will be ignored."));
        }
    }
    Ok(answer)
}

/// The entries of `custom_metadata`; `None` is a null.
fn custom_metadata(fields: &Fields) -> Result<BTreeMap<String, Option<String>>, Error> {
    let wrong = || Error::bad_request("custom_metadata validation failed: expected an object of strings");
    match fields.value("custom_metadata") {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => {
            let fields = Fields::from(entries.clone());
            entries.keys().map(|key| Ok((key.clone(), fields.string(key).map_err(|_| wrong())?))).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn validate(custom: &BTreeMap<String, String>) -> Result<(), Error> {
    let (entries, key_limit, value_limit) = CUSTOM_LIMITS;
    let failed = |problem: String| Err(Error::bad_request(format!("custom_metadata validation failed: {problem}")));
    if custom.len() > entries {
        return failed(format!("payload must contain at most {entries} keys, provided {}", custom.len()));
    }
    for (key, value) in custom {
        let (key_length, value_length) = (key.len(), value.len());
        if key_length == 0 || key_length > key_limit {
            return failed(format!("length of key {key:?} is {key_length} but must be 0 < len(key) <= {key_limit}"));
        }
        if value_length == 0 || value_length > value_limit {
            return failed(format!(
                "length of value for key {key:?} is {value_length} but must be 0 < len(value) <= {value_limit}"
            ));
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return failed(format!("key {key:?} or its value contains unprintable characters"));
        }
    }
    Ok(())
}
