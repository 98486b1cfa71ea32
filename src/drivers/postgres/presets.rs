//! Presets on PostgreSQL: each schema has a group for each preset, which holds the privileges; users are only its members.
//!
//! Privileges granted to each user would add an entry to every table's row in the catalogue for every user that was ever
//! made. The group is made by the first user, and completed by later ones when tables were added meanwhile; where nothing is
//! missing nothing is written but the membership.
//!
//! Roles belong to the whole server, so the group's name holds the database: a user of one must not read another.

use super::literal;
use crate::drivers::preset::{Access, Preset};

/// Makes the user; a password only where it has one.
const USER: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
const USER_WITHOUT_PASSWORD: &str = "CREATE ROLE \"{{name}}\" LOGIN VALID UNTIL '{{expiration}}'";

/// Sees to the group and makes the user its member; one statement, which is sent whole because of the word END.
const GROUP: &str = include_str!("group.sql");

/// The creation statements that a preset stands for.
pub(super) fn statements(preset: &Preset<'_>) -> Vec<String> {
    let (kind, schema, tables, sequences) = match preset.access {
        Access::ReadOnly => ("readonly", "USAGE", "SELECT", "SELECT"),
        Access::ReadWrite => ("readwrite", "USAGE", "SELECT,INSERT,UPDATE,DELETE", "USAGE,SELECT"),
        Access::OwnerOfSchema => {
            ("owner", "USAGE,CREATE", "SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER", "USAGE,SELECT,UPDATE")
        }
    };
    let group = GROUP
        .replace("%kind%", &literal(kind))
        .replace("%schema%", &literal(preset.schema))
        .replace("%on_schema%", &literal(schema))
        .replace("%on_tables%", &literal(tables))
        .replace("%on_sequences%", &literal(sequences));
    let user = if preset.password { USER } else { USER_WITHOUT_PASSWORD };
    vec![user.to_owned(), group.trim().to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::sql;

    #[test]
    fn a_preset_is_two_statements_however_it_is_split() {
        for (name, password) in [("readonly", true), ("readwrite", true), ("owner-of-schema", false)] {
            let preset = Preset::new(name, "my app", password).unwrap();
            let blocks = statements(&preset);
            assert_eq!(sql::statements(&blocks, sql::has_end), blocks);
            assert_eq!(blocks[0].contains("{{password}}"), password);
            assert!(blocks[1].contains("target CONSTANT text := 'my app'") && blocks[1].contains("'{{name}}'"));
            for unfilled in ["%kind%", "%schema%", "%on_schema%", "%on_tables%", "%on_sequences%"] {
                assert!(!blocks[1].contains(unfilled), "{unfilled}");
            }
        }
    }
}
