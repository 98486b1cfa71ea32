//! Holds docs/annotations.md against the catalog, both ways: a table row for each annotation, an annotation for each row.

use std::collections::BTreeSet;

use super::Family;
use super::catalog::{CATALOG, Setting};
use super::find::find;

const DOCUMENT: &str = include_str!("../../../docs/annotations.md");

/// The names in the first two columns of the tables about annotations.
fn documented() -> Vec<(Family, String)> {
    let (mut inside, mut names) = (false, Vec::new());
    for line in DOCUMENT.lines() {
        let cells: Vec<&str> = line.split('|').collect();
        inside = (inside && cells.len() > 4) || line.starts_with("| `lessor.dev/…` |");
        if !inside || line.starts_with("| `lessor.dev/…` |") || line.starts_with("|---") {
            continue;
        }
        for (cell, family) in [(cells[1], Family::Lessor), (cells[2], Family::Vault)] {
            names.extend(cell.split('`').skip(1).step_by(2).map(|name| (family, name.to_owned())));
        }
    }
    names
}

#[test]
fn every_annotation_has_its_row() {
    let documented: BTreeSet<String> =
        documented().into_iter().map(|(family, name)| format!("{}{name}", family.prefix())).collect();
    let known = CATALOG.iter().filter(|entry| entry.setting != Setting::Nothing);
    for (family, name) in
        known.flat_map(|entry| [Family::Lessor, Family::Vault].map(|family| (family, entry.spelling(family))))
    {
        let named = |placeholder: &str| format!("{}{}", family.prefix(), name.replace('*', placeholder));
        let told =
            name.is_empty() || ["NAME", "KEY"].iter().any(|placeholder| documented.contains(&named(placeholder)));
        assert!(told, "{} has no row in docs/annotations.md", named("NAME"));
    }
}

#[test]
fn every_row_is_an_annotation() {
    let documented = documented();
    assert!(documented.len() > 100, "{}", documented.len());
    for (family, name) in documented {
        assert!(find(family, &name).is_some(), "{}{name} is in docs/annotations.md and nowhere else", family.prefix());
    }
}

#[test]
fn every_row_says_which_side_it_is_on() {
    let refused = DOCUMENT.split("## What does not").nth(1).unwrap_or_default();
    for entry in CATALOG.iter().filter(|entry| matches!(entry.setting, Setting::Unsupported(_))) {
        let name = entry.spelling(Family::Vault).replace('*', "KEY");
        assert!(refused.contains(&format!("`{name}`")), "{name} has no effect, and the table of those lacks it");
    }
}
