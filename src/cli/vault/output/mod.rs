//! How answers look: tables for people, JSON and YAML for programs, one field for scripts.

pub mod columns;
pub mod secret;
pub mod value;

use serde::Serialize;

pub use columns::{columns, header, pairs};
pub use secret::Secret;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// With two blanks of indentation, as Vault prints it.
    Json,
    /// The same as YAML.
    Yaml,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            // "pretty" is Vault's table with rulers between parts that ours does not have.
            "" | "table" | "pretty" | "raw" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "yaml" | "yml" => Ok(Self::Yaml),
            _ => Err("Invalid output format: use table, json or yaml".to_owned()),
        }
    }
}

impl Format {
    /// A value for programs, with a line break at its end; nothing for a table, which each command makes itself.
    ///
    /// # Errors
    /// When the value cannot be written in this format.
    pub fn render(self, value: &impl Serialize) -> Result<Option<String>, String> {
        match self {
            Self::Table => Ok(None),
            Self::Json => {
                let text = serde_json::to_string_pretty(value);
                text.map(|text| Some(text + "\n")).map_err(|error| format!("cannot write JSON: {error}"))
            }
            Self::Yaml => serde_yaml::to_string(value).map(Some).map_err(|error| format!("cannot write YAML: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_get_json_or_yaml() {
        let value = json!({ "b": [1, "x"], "a": null });
        let render = |name: &str| name.parse::<Format>().unwrap().render(&value).unwrap();
        assert_eq!(render("json").unwrap(), "{\n  \"a\": null,\n  \"b\": [\n    1,\n    \"x\"\n  ]\n}\n");
        assert_eq!(render("yaml").unwrap(), "a: null\nb:\n- 1\n- x\n");
        assert_eq!(render("table"), None);
        assert!("xml".parse::<Format>().is_err());
    }
}
