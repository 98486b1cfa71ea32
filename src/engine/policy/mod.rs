//! ACL policies: Vault's policy texts, and what several of them allow together.

mod acl;
mod parse;
mod pattern;
mod rule;
mod template;

use pattern::Pattern;
use rule::Rule;

pub use acl::Acl;
pub use parse::plain_text;
pub use template::Lookup;

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
    /// Paths with `{{…}}` in them, which mean something only for a caller with an identity.
    templates: Vec<(String, Rule)>,
}

impl Policy {
    /// The name that tokens carry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules of the templates for a caller of whom `lookup` tells. A template that names nothing of it, or something that
    /// would stand for other paths than one, is no rule at all.
    fn expanded(&self, lookup: &Lookup<'_>) -> Vec<(Pattern, Rule)> {
        let expand = |(path, rule): &(String, Rule)| Some((template::expand(path, lookup)?, rule.clone()));
        self.templates.iter().filter_map(expand).collect()
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
