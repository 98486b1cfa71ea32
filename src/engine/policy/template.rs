//! `{{identity.…}}` in the paths of policies.

use super::Pattern;

/// Tells what a name in a template stands for.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Whether a path holds a template.
pub(super) fn is_template(path: &str) -> bool {
    path.contains("{{")
}

/// The pattern that a path stands for, if everything in it can be told.
pub(super) fn expand(path: &str, lookup: &Lookup<'_>) -> Option<Pattern> {
    let (mut text, mut rest) = (String::new(), path);
    while let Some((before, tail)) = rest.split_once("{{") {
        let (name, after) = tail.split_once("}}")?;
        // A name that somebody chose for himself must not open more than its own path.
        let value = lookup(name.trim()).filter(|value| !value.is_empty() && !value.contains(['/', '*', '+']))?;
        text.push_str(before);
        text.push_str(&value);
        rest = after;
    }
    text.push_str(rest);
    Pattern::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_one_path_or_none() {
        let lookup = |name: &str| match name {
            "id" => Some("e1".to_owned()),
            "wide" => Some("a*".to_owned()),
            "deep" => Some("a/b".to_owned()),
            _ => None,
        };
        let expand = |path: &str| expand(path, &lookup);
        assert_eq!(expand("kv/{{ id }}/{{id}}"), Pattern::parse("kv/e1/e1").ok());
        assert_eq!(expand("kv/{{id}}/*"), Pattern::parse("kv/e1/*").ok());
        for path in ["kv/{{none}}", "kv/{{wide}}", "kv/{{deep}}", "kv/{{id"] {
            assert_eq!(expand(path), None, "{path}");
        }
    }
}
