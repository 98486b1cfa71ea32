//! `version`, `print token`, `path-help`.

use serde_json::json;

use super::super::connect;
use super::super::grammar::{Command, Shared, ask, exactly};
use super::super::request::{Ask, clean};
use super::super::session::Session;
use super::super::surroundings::Program;
use super::super::{Failure, Outcome};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "version",
        operands: "",
        arity: exactly(0),
        summary: "Prints the version of this program.",
        about: "Called by the name vault it prints the version of Vault whose API it speaks.",
        flags: &[],
        shared: Shared::Nothing,
        run: ask!(version),
    },
    Command {
        name: "print token",
        operands: "",
        arity: exactly(0),
        summary: "Prints the token that commands use.",
        about: "",
        flags: &[],
        shared: Shared::Nothing,
        run: ask!(print_token),
    },
    Command {
        name: "path-help",
        operands: "PATH",
        arity: exactly(1),
        summary: "Prints the engine's words about a path.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(path_help),
    },
];

async fn version(session: &Session<'_>) -> Outcome {
    session.around.print(&format!("{}\n", version_line(session.program)));
    Ok(0)
}

/// Clients take the second word, and some read it as numbers and dots only.
fn version_line(program: &Program) -> String {
    match program.is_vault() {
        true => {
            let number = program.api_version.split('+').next().unwrap_or_default();
            format!("Vault v{number} (Lessor {})", program.version)
        }
        false => format!("Lessor v{}", program.version),
    }
}

async fn print_token(session: &Session<'_>) -> Outcome {
    let token = connect::token(session.around)?;
    session.around.print(&format!("{}\n", token.as_ref().map_or("", |token| token.expose())));
    Ok(0)
}

async fn path_help(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = Ask::get(&path).with("help", "1");
    let body = session.raw(&ask, &format!("Error retrieving help for {path}")).await?;
    let help = body["help"].as_str().or_else(|| body["data"]["help"].as_str());
    let help = help.ok_or_else(|| Failure::server(format!("No help for {path}")))?;
    session.show(&json!({ "help": help }), || format!("{}\n", help.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_word_is_a_version() {
        let line = |name: &str| {
            version_line(&Program { name: name.into(), version: "0.1.0", api_version: "1.18.0+lessor.0.1.0" })
        };
        assert_eq!(line("lessor"), "Lessor v0.1.0");
        assert_eq!(line("vault"), "Vault v1.18.0 (Lessor 0.1.0)");
    }
}
