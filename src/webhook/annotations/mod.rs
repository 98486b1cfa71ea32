//! A pod's annotations, parsed once into what is to be injected; every mistake names its annotation and what to do.

mod catalog;
mod find;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;

pub use catalog::{Family, Setting};
pub use find::{distance, full_name};
use parser::Parser;
pub use value::auth_path;

/// What to put into a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Whose annotations asked for it.
    pub family: Family,
    /// The engine's login role, `NAMESPACE.NAME` for one that the operator made.
    pub role: String,
    /// What is written, by NAME.
    pub files: BTreeMap<String, File>,
    /// Whether the token is written as well, to the file `token`.
    pub token: bool,
    /// The containers that get the files; all of them if nothing was said.
    pub containers: Option<Vec<String>>,
    /// Where the containers find the files; without a slash at the end.
    pub mount_path: String,
    /// In place of the webhook's own settings.
    pub overrides: Overrides,
    /// Files are written once by an init container, and no agent stays.
    pub once: bool,
    /// Whether the pod's own init containers get the files, too: the agent starts before them.
    pub init_first: bool,
    /// Ends the agent at a refused login.
    pub exit_on_auth_error: bool,
    /// `trace`, `debug`, `info`, `warn`, `error` or `off`.
    pub log_level: Option<String>,
    /// `standard` or `json`.
    pub log_format: Option<String>,
    /// By `limits` or `requests` and the resource's name; `None` takes one away.
    pub resources: BTreeMap<(&'static str, &'static str), Option<String>>,
    /// The agent's user and group, where the pod or the image should not decide.
    pub run_as: (Option<i64>, Option<i64>),
    /// For the one who applied the pod: what was said without effect.
    pub warnings: Vec<String>,
}

/// What a pod may choose in place of the installation's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The engine.
    pub address: Option<String>,
    /// The engine's namespace.
    pub namespace: Option<String>,
    /// Where the login method is mounted, such as `auth/kubernetes`.
    pub auth_path: Option<String>,
    /// The agent's image.
    pub image: Option<String>,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Below the volume.
    pub destination: String,
    /// The whole template.
    pub template: String,
    /// Octal digits.
    pub mode: Option<String>,
    /// In place of `{{` and `}}`.
    pub delimiters: Option<(String, String)>,
    /// Whether a missing key is an error.
    pub missing_key_fails: bool,
}

/// One annotation that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// With its prefix.
    pub annotation: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.annotation, self.problem)
    }
}

/// Whose annotations opt the pod in, if it is opted in at all.
///
/// # Errors
/// When the opt-in is no boolean, or both families opt in.
pub fn opted_in(annotations: &BTreeMap<String, String>) -> Result<Option<Family>, Mistake> {
    let asks = |family: Family| {
        let name = family.opt_in();
        let asked = annotations.get(name).map(|text| value::flag(text)).transpose();
        asked.map(|asked| asked == Some(true)).map_err(|problem| Mistake { annotation: name.to_owned(), problem })
    };
    match (asks(Family::Lessor)?, asks(Family::Vault)?) {
        (true, true) => Err(Mistake {
            annotation: Family::Vault.opt_in().to_owned(),
            problem: format!("{} is true as well: use the annotations of one prefix", Family::Lessor.opt_in()),
        }),
        (true, false) => Ok(Some(Family::Lessor)),
        (false, true) => Ok(Some(Family::Vault)),
        (false, false) => Ok(None),
    }
}

impl Injection {
    /// Reads the annotations of a pod in `namespace` that [`opted_in`].
    ///
    /// # Errors
    /// Every mistake there is, not only the first.
    pub fn parse(
        family: Family,
        annotations: &BTreeMap<String, String>,
        namespace: &str,
    ) -> Result<Self, Vec<Mistake>> {
        let mut parser = Parser::new(family);
        for (annotation, text) in annotations {
            if let Some(name) = annotation.strip_prefix(family.prefix()) {
                parser.read(name, text, namespace);
            }
        }
        parser.finish()
    }
}
