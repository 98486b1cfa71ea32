//! The command line: the commands of Vault's users, and the roles of this program beside them.
//!
//! Commands (`vault/`) are read by Go's rules for flags, as Vault's program reads them; roles (`args.rs`) are read in the usual
//! grammar, and may be written with one dash, too. `operator` is both: followed by a command's word it is Vault's, otherwise the
//! reconciler.

pub mod args;
pub mod ask;
pub mod vault;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};

pub use args::{Cli, Command};
use vault::serve::Serve;
use vault::{Prepared, Program, Role, Run, Surroundings, Values, completion, find, group_help, overview, prepare};

/// A line that was read.
pub enum Line {
    /// A role of this program.
    Role(Box<Cli>),
    /// A command that asks an engine.
    Ask(&'static vault::Command, Box<Values>),
    /// The engine itself.
    Serve(Box<Serve>),
    /// Everything is printed; the process ends with this code.
    Ended(u8),
}

/// Unknown words end with this code, as the shell's own for a command that is not there.
const UNKNOWN: u8 = 127;

/// Reads the arguments, without the program's name.
pub fn read(arguments: &[OsString], program: &Program, around: &Surroundings) -> Line {
    if let Some(line) = (around.variables)("COMP_LINE") {
        return complete(&line, arguments, around);
    }
    let words: Vec<String> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match words.first().map(|word| word.trim_start_matches('-')) {
        None => {
            around.say(&overview(program, &roles()));
            return Line::Ended(UNKNOWN);
        }
        Some("h" | "help") => {
            around.print(&overview(program, &roles()));
            return Line::Ended(0);
        }
        Some("v" | "V" | "version") => {
            return command(&["version".to_owned()], program, around).unwrap_or(Line::Ended(1));
        }
        Some(word @ ("autocomplete-install" | "autocomplete-uninstall")) if words[0].starts_with('-') => {
            return autocomplete(word == "autocomplete-install", program, around);
        }
        Some(_) => {}
    }
    if arguments.iter().all(|argument| argument.to_str().is_some())
        && let Some(line) = command(&words, program, around)
    {
        return line;
    }
    unless_command(arguments, &words, program, around)
}

/// The line as a command, if it begins with the name of one.
fn command(words: &[String], program: &Program, around: &Surroundings) -> Option<Line> {
    let (found, used) = find(words)?;
    Some(match prepare(found, words[used..].iter().cloned(), program, around) {
        Prepared::Ended(code) => Line::Ended(code),
        Prepared::Ready(found, values) if matches!(found.run, Run::Serve) => {
            match Serve::read(found, &values, around) {
                Ok(serve) => Line::Serve(Box::new(serve)),
                Err(problem) => {
                    around.say(&problem);
                    Line::Ended(1)
                }
            }
        }
        Prepared::Ready(found, values) => Line::Ask(found, values),
    })
}

/// A role, a word that commands stand below, or nothing that we know.
fn unless_command(arguments: &[OsString], words: &[String], program: &Program, around: &Surroundings) -> Line {
    let first = words[0].as_str();
    let depth = (1..=words.len()).rev().find(|depth| vault::is_group(&words[..*depth].join(" ")));
    let group = depth.map(|depth| words[..depth].join(" "));
    let below = words.get(depth.unwrap_or(0));
    let role = first.starts_with('-') || roles().iter().any(|role| role.name == first);
    // `vault operator` alone is Vault's; so is a word behind it that is none of the reconciler's flags.
    let meant_group = program.is_vault() || below.is_some_and(|word| !word.starts_with('-'));
    match group {
        Some(group) if !role || meant_group => {
            let asked = below.is_some_and(|word| matches!(word.as_str(), "-h" | "-help" | "--help"));
            let text = group_help(&group, program);
            if asked {
                around.print(&text);
                return Line::Ended(0);
            }
            around.say(&text);
            Line::Ended(1)
        }
        _ if role => {
            match Cli::try_parse_from(std::iter::once("lessor".into()).chain(arguments.iter().map(double_dash))) {
                Ok(cli) => Line::Role(Box::new(cli)),
                Err(error) => {
                    // Nothing is left to do when even the message cannot be written.
                    let _ = error.print();
                    if let (Some(group), false) = (group, error.use_stderr()) {
                        around.print(&format!("\n{}", group_help(&group, program)));
                    }
                    Line::Ended(u8::from(error.use_stderr()))
                }
            }
        }
        _ => {
            around.say(&format!("{first:?} is no command.\n\n{}", overview(program, &roles())));
            Line::Ended(UNKNOWN)
        }
    }
}

/// Long options with one dash get their second one; `-h`, `-`, and negative numbers stay.
fn double_dash(argument: &OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument.clone() };
    let mut letters = text.chars();
    let long = letters.next() == Some('-')
        && letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '-');
    if long { format!("-{text}").into() } else { argument.clone() }
}

/// What help and completion tell about the roles.
fn roles() -> Vec<Role> {
    let root = Cli::command();
    let described = root.get_subcommands().map(|role| Role {
        name: role.get_name().to_owned(),
        about: role.get_about().map(ToString::to_string).unwrap_or_default(),
        flags: role.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect(),
    });
    described.collect()
}

/// The shell asks: it sets COMP_LINE, and passes the word that is being typed as the second argument.
fn complete(line: &str, arguments: &[OsString], around: &Surroundings) -> Line {
    let point = (around.variables)("COMP_POINT").and_then(|point| point.parse::<usize>().ok());
    let typed = point.and_then(|point| line.get(..point)).unwrap_or(line);
    let word = arguments.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    for found in completion::answer(typed, word, &roles()) {
        around.print(&format!("{found}\n"));
    }
    Line::Ended(0)
}

/// `-autocomplete-install`: for each shell that has a start-up file.
fn autocomplete(on: bool, program: &Program, around: &Surroundings) -> Line {
    match completion::install(on, program, around) {
        Ok(()) => Line::Ended(0),
        Err(problem) => {
            around.say(&problem);
            Line::Ended(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::vault::testing::around;
    use super::*;

    fn program(name: &str) -> Program {
        Program { name: name.into(), version: "0.1.0", api_version: "1.18.0" }
    }

    fn line(name: &str, text: &str) -> Line {
        let arguments: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        read(&arguments, &program(name), &around(&[], "").0)
    }

    fn kind(name: &str, text: &str) -> String {
        match line(name, text) {
            Line::Role(cli) => format!("role {:?}", cli.command).split('(').next().unwrap_or_default().to_owned(),
            Line::Ask(command, _) => command.name.to_owned(),
            Line::Serve(_) => "serve".to_owned(),
            Line::Ended(code) => format!("ended {code}"),
        }
    }

    #[test]
    fn operator_is_the_reconciler_until_a_commands_word_follows() {
        assert_eq!(kind("lessor", "operator"), "role Operator");
        assert_eq!(kind("lessor", "operator --listen=[::]:1 -identity=a"), "role Operator");
        assert_eq!(kind("lessor", "operator init -status"), "operator init");
        assert_eq!(kind("lessor", "operator frobnicate"), "ended 1");
        assert_eq!(kind("vault", "operator"), "ended 1");
        assert_eq!(kind("vault", "operator seal"), "operator seal");
    }

    #[test]
    fn roles_and_commands_stand_side_by_side() {
        assert_eq!(kind("lessor", "server --config f.hcl --log-level=debug"), "serve");
        assert_eq!(kind("lessor", "dev --listen 127.0.0.1:0"), "serve");
        assert_eq!(kind("lessor", "orphans database/pg --remove"), "role Orphans");
        assert_eq!(kind("lessor", "crds -check crds"), "role Crds");
        assert_eq!(kind("lessor", "lease list --stuck"), "lease list");
        assert_eq!(kind("lessor", "kv"), "ended 1");
        assert_eq!(kind("lessor", "kv -h"), "ended 0");
        assert_eq!(kind("lessor", "frobnicate"), "ended 127");
        assert_eq!(kind("lessor", "-version"), "version");
        assert_eq!(kind("lessor", ""), "ended 127");
        assert_eq!(kind("lessor", "read -help"), "ended 0");
        assert_eq!(kind("lessor", "read"), "ended 1");
    }

    #[test]
    fn the_shell_gets_words() {
        let (around, printed) = around(&[("COMP_LINE", "lessor token l"), ("COMP_POINT", "14")], "");
        let arguments: Vec<OsString> = ["lessor", "l", "token"].map(OsString::from).to_vec();
        assert!(matches!(read(&arguments, &program("lessor"), &around), Line::Ended(0)));
        assert_eq!(printed.output(), "lookup\n");
    }
}
