//! `completion`: the lines that a shell needs.

use super::super::completion::{install_for, script};
use super::super::grammar::{Command, Flag, Shared, ask, exactly};
use super::super::session::Session;
use super::super::{Failure, Outcome};

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "completion",
    operands: "SHELL",
    arity: exactly(1),
    summary: "Prints what switches completion on in bash or zsh.",
    about: "    completion bash >> ~/.bashrc\nor let it change the shell's own file: with -install, and back with -uninstall. \
            -autocomplete-install without any command does so for the shells that have such a file.",
    flags: &[
        Flag::switch("install", "Adds the lines to ~/.bashrc or ~/.zshrc."),
        Flag::switch("uninstall", "Removes them again."),
    ],
    shared: Shared::Nothing,
    run: ask!(completion),
}];

async fn completion(session: &Session<'_>) -> Outcome {
    let shell = session.argument(0);
    let on = session.values.on("install");
    if on || session.values.on("uninstall") {
        install_for(shell, on, session.program, session.around).map_err(Failure::local)?;
        return Ok(0);
    }
    let program =
        std::env::current_exe().map_err(|error| Failure::local(format!("cannot find this program: {error}")))?;
    session.around.print(&script(shell, &program, &session.program.name).map_err(Failure::local)?);
    Ok(0)
}
