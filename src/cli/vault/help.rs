//! Help texts, made from the table of commands.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::commands::{self, GROUPS};
use super::globals::{FIELD, FORMAT, HTTP};
use super::grammar::{Command, Flag, Shared};
use super::surroundings::Program;

const WIDTH: usize = 80;

/// A role of this program that is no command of Vault's.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// One line.
    pub about: String,
    /// Its flags, with their dashes.
    pub flags: Vec<String>,
}

/// Commands that people use most, before the others.
const COMMON: &[&str] = &["read", "write", "delete", "list", "login", "server", "status", "unwrap"];

/// All commands and roles.
pub fn overview(program: &Program, roles: &[Role]) -> String {
    let mut entries: BTreeMap<&str, &str> = GROUPS.iter().copied().collect();
    for command in commands::all() {
        let first = command.name.split(' ').next().unwrap_or_default();
        entries.entry(first).or_insert(command.summary);
    }
    let mut text = format!("Usage: {} <command> [options] [arguments]\n\nCommon commands:\n", program.name);
    for name in COMMON {
        if let Some(summary) = entries.remove(name) {
            entry(&mut text, name, summary);
        }
    }
    text.push_str("\nOther commands:\n");
    for (name, summary) in entries {
        entry(&mut text, name, summary);
    }
    text.push_str("\nRoles in a cluster, and their tools:\n");
    for role in roles {
        entry(&mut text, &role.name, &role.about);
    }
    text + "\nEvery command tells its options with -help.\n"
}

fn entry(text: &mut String, name: &str, summary: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "    {name:<14} {summary}");
}

/// The commands below a word.
pub fn group(name: &str, program: &Program) -> String {
    let summary = GROUPS.iter().find(|(group, _)| *group == name).map_or("", |(_, summary)| summary);
    let mut text =
        format!("Usage: {} {name} <subcommand> [options] [args]\n\n  {summary}\n\nSubcommands:\n", program.name);
    let front = format!("{name} ");
    let mut entries = BTreeMap::new();
    for command in commands::all() {
        if let Some(rest) = command.name.strip_prefix(&front) {
            let (word, deeper) = rest.split_once(' ').map_or((rest, false), |(word, _)| (word, true));
            let nested = GROUPS.iter().find(|(group, _)| *group == format!("{front}{word}"));
            let summary = nested.filter(|_| deeper).map_or(command.summary, |(_, summary)| summary);
            entries.entry(word).or_insert(summary);
        }
    }
    for (word, summary) in entries {
        entry(&mut text, word, summary);
    }
    text
}

/// One command with all its flags.
pub fn command(command: &Command, program: &Program) -> String {
    let options = if command.all_flags().next().is_some() { " [options]" } else { "" };
    let operands = if command.operands.is_empty() { String::new() } else { format!(" {}", command.operands) };
    let mut text = format!("Usage: {} {}{options}{operands}\n\n", program.name, command.name);
    paragraph(&mut text, command.summary, 2);
    if !command.about.is_empty() {
        text.push('\n');
        for line in command.about.lines() {
            // Examples stand indented, as they are; other lines flow.
            match line.strip_prefix("    ") {
                Some(example) => {
                    let _ = writeln!(text, "      $ {} {example}", program.name);
                }
                None => paragraph(&mut text, line, 2),
            }
        }
    }
    section(&mut text, "Command options", command.flags);
    let (http, format, field): (&[Flag], &[Flag], &[Flag]) = match command.shared {
        Shared::Nothing => (&[], &[], &[]),
        Shared::Http => (HTTP, &[], &[]),
        Shared::Format => (HTTP, FORMAT, &[]),
        Shared::Field => (HTTP, FORMAT, FIELD),
    };
    let output: Vec<&Flag> = field.iter().chain(format).collect();
    section(&mut text, "Output options", output);
    section(&mut text, "HTTP options", http);
    text
}

fn section<'f>(text: &mut String, title: &str, flags: impl IntoIterator<Item = &'f Flag>) {
    let mut flags = flags.into_iter().peekable();
    if flags.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for flag in flags {
        let names: Vec<_> = std::iter::once(flag.name).chain(flag.aliases.iter().copied()).collect();
        let names = names.iter().map(|name| format!("-{name}")).collect::<Vec<_>>().join(", ");
        let value = flag.kind.placeholder();
        let _ = writeln!(text, "\n  {names}{}{value}", if value.is_empty() { "" } else { "=" });
        paragraph(text, flag.help, 6);
    }
}

fn paragraph(text: &mut String, words: &str, indent: usize) {
    let mut line = " ".repeat(indent);
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(if empty { "" } else { &line });
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program { name: "lessor".into(), version: "0.1.0", api_version: "1.18.0" }
    }

    #[test]
    fn every_command_explains_itself() {
        for known in commands::all() {
            let text = command(known, &program());
            assert!(!known.summary.is_empty() && known.summary.ends_with('.'), "{}", known.name);
            assert!(known.all_flags().all(|flag| !flag.help.is_empty()), "{}: a flag without words", known.name);
            assert!(text.starts_with(&format!("Usage: lessor {}", known.name)), "{text}");
            let long = text.lines().find(|line| line.chars().count() > WIDTH && !line.contains("$ lessor"));
            assert_eq!(long, None, "{}", known.name);
        }
    }

    #[test]
    fn groups_list_what_is_below_them() {
        let text = group("kv", &program());
        assert!(text.contains("\n    get ") && text.contains("\n    metadata "), "{text}");
        assert!(overview(&program(), &[]).contains("    read "));
    }
}
