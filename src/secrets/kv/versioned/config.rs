//! `config`: what holds for all paths of a mount.

use serde_json::{Value, json};

use super::{Versioned, go_duration};
use crate::wire::{Answer, Error, Fields};

const FIELDS: [&str; 4] = ["cas_required", "delete_version_after", "max_versions", "metadata_cas_required"];

impl Versioned {
    pub(super) async fn read_config(&self) -> Result<Answer, Error> {
        let (config, _) = self.store.config().await?;
        Ok(Answer::data(json!({
            "max_versions": config.max_versions,
            "cas_required": config.cas_required,
            "metadata_cas_required": config.metadata_cas_required,
            "delete_version_after": go_duration(config.delete_version_after),
        })))
    }

    /// Fields that are left out stay as they are.
    pub(super) async fn write_config(&self, fields: &Fields) -> Result<Answer, Error> {
        if !FIELDS.iter().any(|name| fields.has(name)) {
            return Ok(Answer::empty());
        }
        loop {
            let (mut config, seen) = self.store.config().await?;
            if let Some(max) = fields.count("max_versions")? {
                config.max_versions = max;
            }
            if let Some(required) = fields.bool("cas_required")? {
                config.cas_required = required;
            }
            if let Some(required) = fields.bool("metadata_cas_required")? {
                config.metadata_cas_required = required;
            }
            if let Some(after) = signed_seconds(fields, "delete_version_after")? {
                config.delete_version_after = after;
            }
            if self.store.put_config(&config, seen).await? {
                return Ok(Answer::empty());
            }
        }
    }
}

/// Seconds; any negative duration is -1.
fn signed_seconds(fields: &Fields, name: &str) -> Result<Option<i64>, Error> {
    let negative = match fields.value(name) {
        Some(Value::String(text)) => text.trim().starts_with('-'),
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number < 0.0),
        _ => false,
    };
    if negative {
        return Ok(Some(-1));
    }
    Ok(fields.seconds(name)?.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
}
