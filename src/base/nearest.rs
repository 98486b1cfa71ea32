//! What a misspelt name was probably meant to be.

/// The one of `known` that is nearest to `name`, if any is near enough to be meant: one slip in up to five letters, two in
/// longer names, and one in four letters of very long ones.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (away, best) = known.into_iter().map(|known| (distance(name, known), known)).min_by_key(|(away, _)| *away)?;
    let limit = match name.len() {
        0..=2 => 0,
        3..=5 => 1,
        length => 2.max(length / 4),
    };
    (away <= limit).then_some(best)
}

/// How many characters must be inserted, removed or replaced to turn one text into the other.
fn distance(from: &str, to: &str) -> usize {
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
    use super::*;

    #[test]
    fn slips_are_forgiven_and_other_words_are_not() {
        let known = ["address", "ca_cert", "namespace"];
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("cacert", known), Some("ca_cert"));
        assert_eq!(nearest("token", known), None);
        assert_eq!(nearest("nope", ["not", "note"]), Some("note"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("address", []), None);
    }

    #[test]
    fn the_distance_counts_single_changes() {
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("a", "a")), (3, 3, 0));
    }
}
