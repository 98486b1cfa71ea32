//! Finds annotations in the catalog, and for an unknown one what was probably meant.

use super::catalog::{CATALOG, Family, Setting};
use crate::base::nearest::nearest;

/// What the annotation `family.prefix() + name` sets, with the NAME of its file if it has one. The longest match wins, so
/// that `template-file-x` is not the template of a file called `file-x`.
pub fn find(family: Family, name: &str) -> Option<(Setting, Option<&str>)> {
    let mut best: Option<(usize, Setting, Option<&str>)> = None;
    for entry in CATALOG {
        let known = entry.spelling(family);
        let matched = match known.strip_suffix('*') {
            Some(stem) => name.strip_prefix(stem).filter(|file| !file.is_empty()).map(|file| (stem.len(), Some(file))),
            None => (!known.is_empty() && name == known).then_some((usize::MAX, None)),
        };
        if let Some((length, file)) = matched
            && best.is_none_or(|(longest, ..)| length > longest)
        {
            best = Some((length, entry.setting, file));
        }
    }
    best.map(|(_, setting, file)| (setting, file))
}

/// How to write the annotation of `setting` in this family, for messages; NAME stands for the file's.
pub fn full_name(family: Family, setting: Setting) -> String {
    let entry = CATALOG.iter().find(|entry| entry.setting == setting && !entry.spelling(family).is_empty());
    format!("{}{}", family.prefix(), entry.map(|entry| entry.spelling(family).replace('*', "NAME")).unwrap_or_default())
}

/// The known annotation nearest to `name`, if any is near enough to be meant; with NAME where a file's name belongs.
pub fn suggestion(family: Family, name: &str) -> Option<String> {
    // Theirs under our prefix: ours are the same without these.
    let name = match family {
        Family::Lessor => {
            let short = name.strip_prefix("agent-").unwrap_or(name);
            short.strip_prefix("inject-").unwrap_or(short)
        }
        Family::Vault => name,
    };
    let spellings = || {
        let meant = CATALOG.iter().filter(|entry| !matches!(entry.setting, Setting::Unsupported(_) | Setting::Nothing));
        meant.map(|entry| entry.spelling(family)).filter(|known| !known.is_empty())
    };
    let stems = || spellings().filter_map(|known| known.strip_suffix('*'));
    let whole = nearest(name, spellings().filter(|known| !known.ends_with('*')));
    // The NAME of a file may be anything: only what may stand before it is compared.
    let ends = name.match_indices('-').map(|(at, _)| at + 1).chain([name.len()]);
    let mut begun = ends.filter_map(|end| {
        let stem = nearest(&name[..end], stems())?;
        Some(format!("{stem}{}", if end == name.len() { "NAME" } else { &name[end..] }))
    });
    whole.map(str::to_owned).or_else(|| begun.next()).map(|near| format!("{}{near}", family.prefix()))
}

#[cfg(test)]
mod tests {
    use super::super::files::FileSetting;
    use super::*;

    #[test]
    fn the_longest_name_wins_and_files_are_cut_off() {
        let file = |setting, name| Some((Setting::File(setting), Some(name)));
        assert_eq!(find(Family::Lessor, "secret-db"), file(FileSetting::Secret, "db"));
        assert_eq!(find(Family::Lessor, "template-db-main"), file(FileSetting::Template, "db-main"));
        assert_eq!(find(Family::Lessor, "template-file-db"), file(FileSetting::TemplateFile, "db"));
        assert_eq!(find(Family::Lessor, "secret-hash-app"), Some((Setting::Nothing, Some("app"))), "the operator's");
        assert_eq!(find(Family::Vault, "agent-inject"), Some((Setting::Inject, None)));
        assert_eq!(find(Family::Vault, "agent-inject-secret-x"), file(FileSetting::Secret, "x"));
        assert_eq!(find(Family::Lessor, "secret-"), None);
        assert_eq!(find(Family::Lessor, ""), None);
        assert_eq!(find(Family::Lessor, "preserve-secret-case"), None, "the capitals are always kept");
    }

    #[test]
    fn a_slip_is_answered_with_the_name_that_was_meant() {
        for (wrong, right) in [
            ("rol", "lessor.dev/role"),
            ("secrt-db", "lessor.dev/secret-db"),
            ("agent-inject", "lessor.dev/inject"),
            ("agent-inject-secret-db", "lessor.dev/secret-db"),
            ("templates-db", "lessor.dev/template-db"),
            ("secret", "lessor.dev/secret-NAME"),
        ] {
            assert_eq!(suggestion(Family::Lessor, wrong).as_deref(), Some(right), "{wrong}");
        }
        assert_eq!(suggestion(Family::Lessor, "something-quite-different"), None);
    }
}
