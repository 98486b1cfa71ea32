//! Booleans as Go's `ParseBool` takes them, since they come from variables and annotations written for Go programs.

/// `1`, `t`, `T`, `true`, `TRUE`, `True` and their opposites; anything else is neither.
pub fn parse(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn takes_what_go_takes_and_nothing_else() {
        assert_eq!(["1", "t", "TRUE", "True"].map(parse), [Some(true); 4]);
        assert_eq!(["0", "f", "FALSE", "False"].map(parse), [Some(false); 4]);
        assert_eq!(["yes", "", "tRUE", " true"].map(parse), [None; 4]);
    }
}
