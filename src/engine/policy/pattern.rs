//! The paths of rules: exact ones, prefixes that end in `*`, and `+` for any one segment; which of several wins.

use std::cmp::{Ordering, Reverse};

/// The path of a rule. The order is Vault's priority: of two patterns that match a path, the greater one rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Without the final `*`.
    text: String,
    prefix: bool,
    /// Where the first `+` segment or the final `*` stands; `None` for an exact path.
    wildcard: Option<usize>,
    plus_segments: usize,
}

impl Pattern {
    /// Reads the path of a rule; a leading slash is dropped, as paths begin behind `/v1/`.
    ///
    /// # Errors
    /// Vault's words for `+*`.
    pub fn parse(path: &str) -> Result<Self, String> {
        if path.contains("+*") {
            return Err(format!("path {path:?}: invalid use of wildcards ('+*' is forbidden)"));
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let (text, prefix) = path.strip_suffix('*').map_or((path, false), |text| (text, true));
        Ok(Self::of(text.to_owned(), prefix))
    }

    /// The pattern of one path.
    pub fn of_path(path: &str) -> Self {
        Self { text: path.to_owned(), prefix: false, wildcard: None, plus_segments: 0 }
    }

    fn of(text: String, prefix: bool) -> Self {
        let (mut at, mut first, mut plus_segments) = (0, None, 0);
        for segment in text.split('/') {
            if segment == "+" {
                plus_segments += 1;
                first = first.or(Some(at));
            }
            at += segment.len() + 1;
        }
        let wildcard = first.or(prefix.then_some(text.len()));
        Self { text, prefix, wildcard, plus_segments }
    }

    /// The pattern for paths that are in lower case from that segment on.
    pub fn in_any_case(&self, from: usize) -> Self {
        Self::of(lower_from(&self.text, from), self.prefix)
    }

    /// The one path that an exact pattern means.
    pub fn exact(&self) -> Option<&str> {
        self.wildcard.is_none().then_some(&self.text)
    }

    /// As it was written, without the final `*`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the pattern means this path among others.
    pub fn matches(&self, path: &str) -> bool {
        if self.plus_segments == 0 {
            return if self.prefix { path.starts_with(&self.text) } else { path == self.text };
        }
        let mut rest = Some(path);
        let mut wanted = self.text.split('/').peekable();
        while let Some(segment) = wanted.next() {
            let Some(path) = rest else { return false };
            if wanted.peek().is_none() && self.prefix {
                return path.starts_with(segment);
            }
            let (head, tail) = path.split_once('/').map_or((path, None), |(head, tail)| (head, Some(tail)));
            if segment != "+" && segment != head {
                return false;
            }
            rest = tail;
        }
        rest.is_none()
    }

    /// Whether the pattern means paths strictly inside `mount/`, beginning with the mount's own segments.
    pub fn reaches_into(&self, mount: &str) -> bool {
        let mut wanted = self.text.split('/');
        mount.trim_end_matches('/').split('/').all(|own| wanted.next().is_some_and(|w| w == "+" || w == own))
            && wanted.next().is_some()
    }

    fn priority(&self) -> (usize, Reverse<bool>, Reverse<usize>, usize, &str) {
        let first = self.wildcard.unwrap_or(usize::MAX);
        (first, Reverse(self.prefix), Reverse(self.plus_segments), self.text.len(), &self.text)
    }
}

/// A path whose segments are in lower case, but for the first ones.
fn lower_from(path: &str, from: usize) -> String {
    let segments = path.split('/').enumerate();
    let lower = |(at, segment): (usize, &str)| if at < from { segment.to_owned() } else { segment.to_lowercase() };
    segments.map(lower).collect::<Vec<_>>().join("/")
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.priority().cmp(&other.priority())
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
