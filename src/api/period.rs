//! A duration as users of Kubernetes write it: `30s`, `10m`, `1h30m`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::base::duration;

/// A duration in hours, minutes and seconds. Kept as its text, so that what was applied is what `kubectl get` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Period(String);

impl Period {
    /// The duration that `text` writes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whole seconds. `field` stands in the error.
    ///
    /// # Errors
    /// Only for text that the schema's pattern refuses.
    pub fn seconds(&self, field: &str) -> Result<u64, String> {
        duration::parse_seconds(&self.0).map_err(|problem| format!("{field}: {problem}"))
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The same units that CEL's duration() reads, so that rules can compare; no days therefore.
        json_schema!({ "type": "string", "pattern": r"^([0-9]{1,6}(\.[0-9]{1,3})?(h|m|s))+$", "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(Period::new("1h30m").seconds("spec.maxTTL"), Ok(5400));
        assert!(Period::new("soon").seconds("spec.maxTTL").unwrap_err().starts_with("spec.maxTTL: "));
    }
}
