//! The command line of Vault: its grammar, its commands, and what they print, so that fingers and scripts carry over.
//!
//! | file | what |
//! |---|---|
//! | `grammar.rs`, `globals.rs`, `parse.rs` | what commands and flags are, and Go's rules to read them |
//! | `commands/` | one file for each family; `commands/mod.rs` is the table of all |
//! | `help.rs`, `completion.rs` | made from that table |
//! | `session.rs`, `request.rs`, `connect.rs` | one command's run against one engine |
//! | `pgp_keys.rs` | files with PGP keys, for the commands of shares |
//! | `output/` | tables, JSON, YAML, single fields |

mod body;
mod commands;
pub mod completion;
mod connect;
mod globals;
mod grammar;
mod help;
mod output;
mod parse;
mod pgp_keys;
mod prompt;
mod request;
pub mod serve;
mod session;
pub mod surroundings;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod token_file;
mod token_helper;

pub use commands::{find, is_group};
pub use connect::client_at;
pub use grammar::{Command, Run};
pub use help::{Role, group as group_help, overview};
pub use parse::Values;
pub use surroundings::{Program, Surroundings};

use parse::Misread;
use session::Session;

/// The code of a command that ran, or why it could not.
pub type Outcome = Result<u8, Failure>;

/// Why a command ends without having done what it was told. There is no secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 1: something here is wrong; 2: the engine refused, or does not have it; 0: what was to be done is done.
    pub code: u8,
    /// For standard error; empty for nothing.
    pub text: String,
}

impl Failure {
    /// Something here is wrong: flags, files, the terminal.
    pub fn local(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// The engine refused, or does not have it.
    pub fn server(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// Nothing is left to do.
    pub fn done() -> Self {
        Self { code: 0, text: String::new() }
    }
}

/// A line that was understood.
pub enum Prepared {
    /// Everything is printed; the process ends with this code.
    Ended(u8),
    /// A command with its flags.
    Ready(&'static Command, Box<Values>),
}

/// Reads the line of a command whose name takes the first `words` of it.
pub fn prepare(
    command: &'static Command,
    line: impl IntoIterator<Item = String>,
    program: &Program,
    around: &Surroundings,
) -> Prepared {
    let ended = |text: &str| {
        around.say(text);
        Prepared::Ended(1)
    };
    match parse::parse(command.all_flags(), line) {
        Err(Misread::Help) => {
            around.print(&help::command(command, program));
            Prepared::Ended(0)
        }
        Err(Misread::Wrong(text)) => ended(&format!("{text}\n\nSee '{} {} -help'.", program.name, command.name)),
        Ok(values) => match values.expect(command.arity) {
            Err(text) => ended(&format!("{text}\n\nSee '{} {} -help'.", program.name, command.name)),
            Ok(()) => {
                let late = values.late_flags();
                if !late.is_empty() {
                    around.say(&format!(
                        "Command flags must be provided before positional arguments. The following arguments will not be \
                         parsed as flags: {late:?}"
                    ));
                }
                Prepared::Ready(command, Box::new(values))
            }
        },
    }
}

/// Whether the answer can be printed: an engine's keys and tokens are answered once, so this is known before anything is asked.
fn printable(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    if command.shared == grammar::Shared::Nothing { Ok(()) } else { session.format().map(drop) }
}

/// Runs a command that asks an engine and returns the code that the process ends with.
pub async fn run(command: &Command, values: &Values, program: &Program, around: &Surroundings) -> u8 {
    let Run::Ask(run) = command.run else {
        around.say(&format!("{} is not run this way", command.name));
        return 1;
    };
    let session = Session::new(program, around, values);
    let outcome = match printable(command, &session) {
        Ok(()) => run(&session).await,
        wrong => wrong.map(|()| 1),
    };
    match outcome {
        // What nobody has got was not printed, and it may have been the only copy of a key.
        Ok(0) if around.output_is_lost() => 1,
        Ok(code) => code,
        Err(failure) => {
            if !failure.text.is_empty() {
                around.say(&failure.text);
            }
            failure.code
        }
    }
}
