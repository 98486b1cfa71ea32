//! ACL policies: Vault's policy texts, and what several of them allow together.

mod acl;
mod parse;
mod pattern;
mod rule;

use pattern::Pattern;
use rule::Rule;

pub use acl::Acl;
pub use parse::plain_text;

/// The text of the built-in policy `default` as a new engine gets it; its users may change it.
pub const DEFAULT: &str = include_str!("default.hcl");

/// What a request wants to do, as policies tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Vault's capabilities")]
pub enum Verb {
    Create,
    Read,
    Update,
    Patch,
    Delete,
    List,
}

/// A parsed policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    name: String,
    rules: Vec<(Pattern, Rule)>,
}

impl Policy {
    /// The name that tokens carry.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests;
