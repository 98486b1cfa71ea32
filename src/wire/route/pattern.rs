//! The patterns of routes: which paths they mean, and which parts of them requests choose.

/// A part of a path that requests choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the pattern.
    pub name: &'static str,
    /// Whether it may hold slashes.
    pub many: bool,
}

fn parameter(segment: &'static str) -> Option<Parameter> {
    let one = segment.strip_prefix(':').map(|name| Parameter { name, many: false });
    one.or_else(|| segment.strip_prefix('*').map(|name| Parameter { name, many: true }))
}

/// The chosen parts of a pattern, in their order.
pub(super) fn parameters(pattern: &'static str) -> impl Iterator<Item = Parameter> {
    pattern.split('/').filter_map(parameter)
}

/// Whether a path, without slashes at its end, is one that a pattern means.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let (segment, wanted) = pattern.split_once('/').map_or((pattern, None), |(head, tail)| (head, Some(tail)));
    if segment.starts_with('*') {
        return match wanted {
            None => !path.is_empty(),
            Some(wanted) => path.match_indices('/').any(|(at, _)| at > 0 && matches(wanted, &path[at + 1..])),
        };
    }
    let (head, rest) = path.split_once('/').map_or((path, None), |(head, tail)| (head, Some(tail)));
    let fits = if segment.starts_with(':') { !head.is_empty() } else { segment == head };
    fits && match (wanted, rest) {
        (None, None) => true,
        (Some(wanted), Some(rest)) => matches(wanted, rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_as_many_segments_as_are_left() {
        for (pattern, path, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*path", "a/b/c", true),
            ("*path", "", false),
            ("a/*path", "a", false),
            ("*path/tune", "a/b/tune", true),
            ("*path/tune", "tune", false),
            ("*path/tune", "a/tune/b", false),
            ("*path/tune", "a/tune/tune", true),
            (":a/:b", "x/y", true),
            (":a/:b", "x/", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn parameters_are_named_in_their_order() {
        let found: Vec<_> = parameters("spares/*mount/role/:name").collect();
        assert_eq!(found, [Parameter { name: "mount", many: true }, Parameter { name: "name", many: false }]);
    }
}
