//! Finds annotations in the catalog, and for an unknown one what was probably meant.

use super::catalog::{CATALOG, Family, Setting};

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
    let candidates =
        CATALOG.iter().filter(|entry| !matches!(entry.setting, Setting::Unsupported(_) | Setting::Nothing));
    let nearest = candidates
        .filter_map(|entry| {
            let known = entry.spelling(family);
            if known.is_empty() {
                return None;
            }
            let Some(stem) = known.strip_suffix('*') else { return Some((distance(name, known), known.to_owned())) };
            // The file's name may be anything: only what stands before it is compared.
            let dashes = name.match_indices('-').map(|(at, _)| at + 1).chain([name.len()]);
            dashes
                .map(|end| (distance(&name[..end], stem), format!("{stem}{}", or_name(&name[end..]))))
                .min_by_key(|(away, _)| *away)
        })
        .min_by_key(|(away, _)| *away)?;
    (nearest.0 <= 2.max(name.len() / 4)).then(|| format!("{}{}", family.prefix(), nearest.1))
}

fn or_name(file: &str) -> &str {
    if file.is_empty() { "NAME" } else { file }
}

/// How many characters must be inserted, removed or replaced to turn one text into the other.
pub fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::catalog::LATER;
    use super::*;

    #[test]
    fn the_longest_name_wins_and_files_are_cut_off() {
        assert_eq!(find(Family::Lessor, "secret-db"), Some((Setting::Secret, Some("db"))));
        assert_eq!(find(Family::Lessor, "template-db-main"), Some((Setting::Template, Some("db-main"))));
        assert_eq!(find(Family::Lessor, "template-file-db"), Some((LATER, Some("db"))));
        assert_eq!(find(Family::Lessor, "secret-hash-app"), Some((Setting::Nothing, Some("app"))), "the operator's");
        assert_eq!(find(Family::Vault, "agent-inject"), Some((Setting::Inject, None)));
        assert_eq!(find(Family::Vault, "agent-inject-secret-x"), Some((Setting::Secret, Some("x"))));
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

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("role", "role"), 0);
    }
}
