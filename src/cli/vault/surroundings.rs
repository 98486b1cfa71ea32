//! What a command finds around it: variables, terminal, clock, randomness. Tests bring their own.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::{Clock, Random};

/// Looks up an environment variable.
pub type Variables = Box<dyn Fn(&str) -> Option<String>>;

/// The process around a command.
pub struct Surroundings {
    /// The environment.
    pub variables: Variables,
    /// Standard input.
    pub input: RefCell<Box<dyn Read>>,
    /// Standard output.
    pub output: RefCell<Box<dyn Write>>,
    /// Standard error.
    pub error: RefCell<Box<dyn Write>>,
    /// Whether somebody sits there who can be asked.
    pub input_is_terminal: bool,
    /// Whether somebody reads the output, and no program.
    pub output_is_terminal: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Whether something could not be printed.
    pub lost: Cell<bool>,
}

/// The names and versions of this program.
#[derive(Debug, Clone)]
pub struct Program {
    /// How it was called: `lessor`, or `vault`.
    pub name: String,
    /// Its own version.
    pub version: &'static str,
    /// The version of Vault whose API it speaks, as `sys/health` tells it.
    pub api_version: &'static str,
}

impl Program {
    /// The program as the first argument names it: `vault` whatever the folder, and `lessor` otherwise.
    pub fn called(argument: Option<&std::ffi::OsStr>, version: &'static str, api_version: &'static str) -> Self {
        let stem = argument.map(PathBuf::from).and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let name = stem.filter(|stem| stem == "vault").unwrap_or_else(|| "lessor".to_owned());
        Self { name, version, api_version }
    }

    /// Whether it stands in for Vault's own program.
    pub fn is_vault(&self) -> bool {
        self.name == "vault"
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            variables: Box::new(|name| std::env::var(name).ok()),
            input: RefCell::new(Box::new(io::stdin())),
            output: RefCell::new(Box::new(io::stdout())),
            error: RefCell::new(Box::new(io::stderr())),
            input_is_terminal: io::stdin().is_terminal(),
            output_is_terminal: io::stdout().is_terminal(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            lost: Cell::new(false),
        }
    }

    /// The variable of this name under the first of our prefixes that has it: `LESSOR_`, `BAO_`, `VAULT_`. Empty is unset.
    pub fn variable(&self, suffix: &str) -> Option<String> {
        let named = ["LESSOR_", "BAO_", "VAULT_"].iter().map(|prefix| format!("{prefix}{suffix}"));
        named.into_iter().find_map(|name| (self.variables)(&name).filter(|value| !value.is_empty()))
    }

    /// The user's folder.
    pub fn home(&self) -> Option<PathBuf> {
        (self.variables)("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
    }

    /// Writes to standard output as it is. A reader that has gone away is no error, as for other programs in a pipe; a full disk
    /// is one.
    pub fn print(&self, text: &str) {
        let mut output = self.output.borrow_mut();
        match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.say(&format!("cannot write to standard output: {error}"));
                self.lost.set(true);
            }
            _ => {}
        }
    }

    /// Whether something that was to be printed could not be written.
    pub fn output_is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Writes a line to standard error. When even that cannot be written, nothing is left to do.
    pub fn say(&self, text: &str) {
        let mut error = self.error.borrow_mut();
        let _ = writeln!(error, "{text}").and_then(|()| error.flush());
    }

    /// Everything that comes on standard input.
    ///
    /// # Errors
    /// When it cannot be read, or is no text.
    pub fn read_input(&self) -> Result<String, String> {
        let mut text = String::new();
        let read = self.input.borrow_mut().read_to_string(&mut text);
        read.map_err(|error| format!("cannot read standard input: {error}"))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_name_comes_from_the_last_part_of_the_path() {
        let name = |argument: &str| Program::called(Some(OsStr::new(argument)), "0", "1").name;
        assert_eq!((name("/usr/local/bin/vault").as_str(), name("vault").as_str()), ("vault", "vault"));
        assert_eq!((name("/usr/bin/lessor").as_str(), name("kubectl-lessor").as_str()), ("lessor", "lessor"));
    }
}
