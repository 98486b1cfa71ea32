//! The command line: which role to run with which flags, read in Vault's grammar and in the usual one.

pub mod args;
pub mod ask;
pub mod who;

use std::ffi::OsString;

use clap::Parser as _;

pub use args::{Cli, Command};

/// Reads the arguments. `-config=FILE` is taken like `--config=FILE`, as Vault's users write it.
///
/// # Errors
/// A message for the user, help and version included; `use_stderr` says which.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments.into_iter().map(double_dash))
}

/// Long options with one dash get their second one; `-h`, `-`, and negative numbers stay.
fn double_dash(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let mut letters = text.chars();
    let long = letters.next() == Some('-')
        && letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '-');
    if long { format!("-{text}").into() } else { argument }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Cli {
        parse(line.split(' ').map(OsString::from)).unwrap()
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for line in ["lessor server -config=f.hcl", "lessor server --config f.hcl", "lessor server -config f.hcl"] {
            let Command::Server(server) = parsed(line).command else { panic!("{line}") };
            assert_eq!(server.config.to_str(), Some("f.hcl"));
        }
    }

    #[test]
    fn leases_and_orphans_are_asked_for() {
        let Command::Lease(lease) = parsed("lessor lease list -stuck").command else { panic!() };
        let args::LeaseCommand::List(list) = lease.command;
        assert!(list.stuck && list.prefix.is_empty());
        let Command::Orphans(orphans) = parsed("lessor orphans database/pg --remove").command else { panic!() };
        assert_eq!((orphans.connection.as_str(), orphans.remove), ("database/pg", true));
    }

    #[test]
    fn dev_mode_has_vaults_defaults() {
        let Command::Dev(dev) = parsed("lessor dev").command else { panic!() };
        assert_eq!(dev.listen.to_string(), "127.0.0.1:8200");
        let Command::Dev(dev) = parsed("lessor dev --listen 127.0.0.1:0 --root-token t").command else { panic!() };
        assert_eq!(dev.listen.port(), 0);
        assert_eq!(dev.root_token.as_deref(), Some("t"));
    }
}
