//! Presets: what a role's users may do, said in one word, so that nobody has to write statements.

use super::{Error, Kind};

/// What the users of a preset may do with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read every table.
    ReadOnly,
    /// Read and change the rows of every table.
    ReadWrite,
    /// Make, change and drop objects, which all users of the preset own together.
    OwnerOfSchema,
}

impl Access {
    /// Every value of the field `preset` with its meaning.
    const NAMES: &[(&str, Self)] =
        &[("readonly", Self::ReadOnly), ("readwrite", Self::ReadWrite), ("owner-of-schema", Self::OwnerOfSchema)];
}

/// A preset for one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset<'a> {
    /// What its users may do.
    pub access: Access,
    /// Where.
    pub schema: &'a str,
    /// Whether users have a password; without one the statements must set none.
    pub password: bool,
}

impl<'a> Preset<'a> {
    /// The preset of these fields of a role.
    ///
    /// # Errors
    /// [`Kind::Config`] naming the field.
    pub fn new(name: &str, schema: &'a str, password: bool) -> Result<Self, Error> {
        let known = || Access::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let access = Access::NAMES.iter().find(|(known, _)| *known == name).map(|(_, access)| *access);
        let access =
            access.ok_or_else(|| Error::config("preset", format!("{name:?} is not known: use {}", known())))?;
        let odd = |c: char| c.is_control() || matches!(c, '\'' | '"' | '`' | '\\' | '$' | '{' | '}');
        if schema.is_empty() || schema.len() > 63 || schema.contains(odd) {
            let problem =
                format!("{schema:?}: a preset needs a name of 1 to 63 bytes without quotes, backslash, $ and braces");
            return Err(Error::new(Kind::Config, format!("schema: {problem}")));
        }
        Ok(Self { access, schema, password })
    }
}

/// For drivers without presets.
pub fn no_presets(_: &Preset<'_>) -> Option<Vec<String>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_fields_are_named() {
        assert_eq!(Preset::new("owner-of-schema", "Über uns", true).unwrap().access, Access::OwnerOfSchema);
        let unknown = Preset::new("admin", "public", true).unwrap_err();
        assert!(
            unknown.message().starts_with("preset: \"admin\"") && unknown.message().contains("readwrite"),
            "{unknown}"
        );
        for schema in ["", "a'b", "$lessor$", "{{name}}", "a\nb", &"x".repeat(64)] {
            assert!(Preset::new("readonly", schema, true).unwrap_err().message().starts_with("schema: "), "{schema}");
        }
    }
}
