//! What could not be carried over, or works in another way: for each a field of an object, and why.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something that the old object asked for is missing from the new ones; somebody has to decide.
    NotCarriedOver,
    /// Nothing is missing, but it works in another way.
    Differs,
}

/// One thing to know about one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The object, such as `VaultAuth shop/app`.
    pub object: String,
    /// The field's path, such as `spec.headers`.
    pub field: String,
    /// How much it matters.
    pub weight: Weight,
    /// Why, and what to do. It quotes no value of headers or parameters, which may be secrets.
    pub why: String,
}

impl Finding {
    /// The finding without its object, for a comment beside what became of it.
    pub fn note(&self) -> String {
        let weight = match self.weight {
            Weight::NotCarriedOver => "not carried over",
            Weight::Differs => "differs",
        };
        format!("{}: {weight}: {}", self.field, self.why.replace(['\n', '\r'], " "))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.note())
    }
}

/// All findings, each once.
#[derive(Debug, Clone, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Notes what is missing from the new objects.
    pub fn lost(&mut self, object: &str, field: impl Into<String>, why: impl Into<String>) {
        self.add(object, field.into(), Weight::NotCarriedOver, why.into());
    }

    /// Notes what works in another way.
    pub fn differs(&mut self, object: &str, field: impl Into<String>, why: impl Into<String>) {
        self.add(object, field.into(), Weight::Differs, why.into());
    }

    fn add(&mut self, object: &str, field: String, weight: Weight, why: String) {
        let finding = Finding { object: object.to_owned(), field, weight, why };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// All of them, in the order in which they were found.
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.0.iter().all(|finding| finding.weight != Weight::NotCarriedOver)
    }
}
