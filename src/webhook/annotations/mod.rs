//! A pod's annotations, parsed once into what is to be injected; every mistake names its annotation and what to do.

mod api;
mod catalog;
mod container;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod effects;
mod engine;
mod files;
mod find;
mod login;
mod mode;
mod parser;
mod reload;
mod rendering;
#[cfg(test)]
mod tests;
mod value;
mod variables;

use std::collections::BTreeMap;
use std::fmt;

pub use api::{Api, ApiSetting};
pub use catalog::{Family, Setting};
pub use container::{AgentContainer, ContainerSetting};
pub use engine::{Engine, EngineSetting};
pub use files::{Body, File, FileSetting};
pub use find::full_name;
pub use login::{Login, LoginSetting};
pub use mode::Mode;
use parser::Parser;
pub use reload::Reload;
pub use rendering::Rendering;
pub use value::auth_path;
pub use variables::Variable;

/// What to put into a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Whose annotations asked for it.
    pub family: Family,
    /// How the agent lives in the pod.
    pub mode: Mode,
    /// Whether the application waits for its files.
    pub waits: bool,
    /// Whether the pod's own init containers get the files, too: the agent starts before them.
    pub init_first: bool,
    /// The containers that get the files; all of them if nothing was said.
    pub containers: Option<Vec<String>>,
    /// Where containers find the files, without a slash at the end; each is a volume of its own.
    pub folders: Vec<String>,
    /// What is written, by NAME.
    pub files: BTreeMap<String, File>,
    /// What the application's environment gets.
    pub variables: Vec<Variable>,
    /// Whether the token is written as well, to the file `token`.
    pub token: bool,
    /// Whether the pod's containers see each other's processes.
    pub shares_processes: bool,
    /// Whether a changed variable restarts the application.
    pub restarts: bool,
    /// How templates are rendered.
    pub rendering: Rendering,
    /// How the agent logs in.
    pub login: Login,
    /// Where the engine is.
    pub engine: Engine,
    /// The agent's container.
    pub agent: AgentContainer,
    /// The engine's API in the pod.
    pub api: Api,
    /// For the one who applied the pod: what was said without effect.
    pub warnings: Vec<String>,
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
    /// Reads the annotations of a pod in `namespace` that [`opted_in`]. Without `native_sidecars`, which came with
    /// Kubernetes 1.29, the mode is [`Mode::Classic`] unless another is asked for.
    ///
    /// # Errors
    /// Every mistake there is, not only the first.
    pub fn parse(
        family: Family,
        annotations: &BTreeMap<String, String>,
        namespace: &str,
        native_sidecars: bool,
    ) -> Result<Self, Vec<Mistake>> {
        let mut parser = Parser::new(family);
        for (annotation, text) in annotations {
            if let Some(name) = annotation.strip_prefix(family.prefix()) {
                parser.read(name, text);
            }
        }
        parser.finish(namespace, native_sidecars)
    }

    /// A mistake in the annotation of this setting.
    pub fn mistake(&self, setting: Setting, problem: impl Into<String>) -> Mistake {
        Mistake { annotation: full_name(self.family, setting), problem: problem.into() }
    }
}
