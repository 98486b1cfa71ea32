//! The table of all commands, one file for each family.

mod audit;
mod completion;
mod data;
mod generate_root;
mod init;
mod kv;
mod kv_metadata;
mod kv_mount;
mod lease;
mod login;
mod login_oidc;
mod login_poll;
mod misc;
mod mounts;
mod mounts_change;
mod namespace;
mod operator;
mod plugin;
mod policy;
mod rekey;
mod status;
mod token;

use super::grammar::Command;
use super::serve;

/// Words that commands stand below.
pub const GROUPS: &[(&str, &str)] = &[
    ("audit", "Lists, enables and disables audit devices."),
    ("auth", "Lists, enables, tunes and disables login methods."),
    ("kv", "Reads and writes the key-value engine, with versions or without."),
    ("kv metadata", "Reads and writes what is known about a key and its versions."),
    ("lease", "Looks up, renews and revokes leases."),
    ("namespace", "Lists, creates and deletes namespaces."),
    ("operator", "Initialises, seals, unseals and rekeys an engine; alone, runs the Kubernetes operator."),
    ("plugin", "Lists the engines and login methods that are built in."),
    ("policy", "Reads and writes policies."),
    ("print", "Prints what commands would use."),
    ("secrets", "Lists, enables, tunes and disables secrets engines."),
    ("token", "Makes, looks up, renews and revokes tokens."),
];

const FAMILIES: &[&[Command]] = &[
    data::COMMANDS,
    login::COMMANDS,
    kv::COMMANDS,
    kv_metadata::COMMANDS,
    token::COMMANDS,
    lease::COMMANDS,
    policy::COMMANDS,
    mounts::COMMANDS,
    mounts_change::COMMANDS,
    audit::COMMANDS,
    init::COMMANDS,
    operator::COMMANDS,
    rekey::COMMANDS,
    generate_root::COMMANDS,
    namespace::COMMANDS,
    plugin::COMMANDS,
    status::COMMANDS,
    misc::COMMANDS,
    completion::COMMANDS,
    serve::COMMANDS,
];

/// Every command.
pub fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The command that a line begins with, and how many words its name takes.
pub fn find(line: &[impl AsRef<str>]) -> Option<(&'static Command, usize)> {
    let named = |command: &&Command| {
        let mut words = command.name.split(' ');
        let mut given = line.iter().map(AsRef::as_ref);
        words.all(|word| given.next() == Some(word))
    };
    let length = |command: &&Command| command.name.split(' ').count();
    all().filter(named).max_by_key(length).map(|command| (command, length(&command)))
}

/// Whether commands stand below these words.
pub fn is_group(name: &str) -> bool {
    GROUPS.iter().any(|(group, _)| *group == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_wins() {
        let name = |line: &[&str]| find(line).map(|(command, words)| (command.name, words));
        assert_eq!(name(&["kv", "metadata", "get", "-mount=a"]), Some(("kv metadata get", 3)));
        assert_eq!(name(&["kv", "get"]), Some(("kv get", 2)));
        assert_eq!(name(&["kv"]), None);
        assert_eq!(name(&["read", "kv"]), Some(("read", 1)));
        assert_eq!(name(&["operator", "--listen"]), None);
        assert_eq!(name(&["operator", "init"]), Some(("operator init", 2)));
    }

    #[test]
    fn names_are_unique_and_every_group_is_known() {
        let mut names: Vec<_> = all().map(|command| command.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in names {
            if let Some((group, _)) = name.rsplit_once(' ') {
                assert!(is_group(group), "{group}");
            }
        }
        for command in all() {
            let mut flags: Vec<_> = command
                .all_flags()
                .flat_map(|flag| std::iter::once(flag.name).chain(flag.aliases.iter().copied()))
                .collect();
            let count = flags.len();
            flags.sort_unstable();
            flags.dedup();
            assert_eq!(flags.len(), count, "{}: a flag twice", command.name);
        }
    }
}
