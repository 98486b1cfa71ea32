//! What the tests are told about their surroundings; a missing variable fails the test that needs it, it skips nothing.

/// The value of an environment variable that `make e2e` sets.
///
/// # Panics
/// When it is not set.
pub fn variable(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set: run these tests with `make e2e` (CONTRIBUTING.md)"),
    }
}

/// A name that no other test and no earlier run uses: `prefix` and eight random letters and digits in lower case.
pub fn unique(prefix: &str) -> String {
    use lessor::base::{Random as _, random::SystemRandom};
    format!("{prefix}-{}", SystemRandom.base62(8).to_lowercase())
}
