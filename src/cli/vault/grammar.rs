//! What a command and its flags are: the one table that parsing, help and completion read.

use futures_util::future::LocalBoxFuture;

use super::Outcome;
use super::session::Session;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `-force`, `-force=false`.
    Switch,
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// `90`, `1h30m`.
    Duration,
    /// May be given several times.
    List,
    /// `key=value`, may be given several times.
    Pairs,
}

impl Kind {
    /// What stands behind the `=` in help texts; nothing for a switch.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Switch => "",
            Self::Text | Self::List => "<string>",
            Self::Number => "<int>",
            Self::Duration => "<duration>",
            Self::Pairs => "<key=value>",
        }
    }
}

/// A flag, written `-name=value`, `-name value`, or with two dashes.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Other spellings.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// All that it takes; empty: anything of its kind.
    pub choices: &'static [&'static str],
    /// One sentence or two.
    pub help: &'static str,
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, aliases: &[], kind, choices: &[], help }
    }

    /// On or off.
    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Switch, help)
    }

    /// Any text.
    pub const fn text(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Text, help)
    }

    /// A whole number.
    pub const fn number(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Number, help)
    }

    /// A duration.
    pub const fn duration(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Duration, help)
    }

    /// Several texts.
    pub const fn list(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::List, help)
    }

    /// Several `key=value`.
    pub const fn pairs(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Pairs, help)
    }

    /// The same flag with other spellings besides.
    #[must_use]
    pub const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The same flag for these texts only.
    #[must_use]
    pub const fn one_of(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    /// Whether it is written so.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// How many arguments follow the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arity {
    /// At least.
    pub least: usize,
    /// At most.
    pub most: usize,
}

/// Exactly `count` arguments.
pub const fn exactly(count: usize) -> Arity {
    Arity { least: count, most: count }
}

/// From `least` to `most` arguments.
pub const fn between(least: usize, most: usize) -> Arity {
    Arity { least, most }
}

/// `least` arguments or more.
pub const fn at_least(least: usize) -> Arity {
    Arity { least, most: usize::MAX }
}

/// Which flags a command has besides its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// It asks no engine.
    Nothing,
    /// It asks an engine and prints words only.
    Http,
    /// It can print its answer for programs, too.
    Format,
    /// It can also print one field of it.
    Field,
}

/// What a command does.
#[derive(Clone, Copy)]
pub enum Run {
    /// Work on one engine, or on nothing but texts.
    Ask(for<'a> fn(&'a Session<'a>) -> LocalBoxFuture<'a, Outcome>),
    /// Be a server: whoever called the command line brings it up.
    Serve,
}

/// A command.
pub struct Command {
    /// Its words: `kv metadata get`.
    pub name: &'static str,
    /// What follows the flags, for help: `PATH [K=V...]`.
    pub operands: &'static str,
    /// How many follow.
    pub arity: Arity,
    /// One line for lists of commands.
    pub summary: &'static str,
    /// More words, and examples; may be empty.
    pub about: &'static str,
    /// Flags of its own.
    pub flags: &'static [Flag],
    /// Flags that many have.
    pub shared: Shared,
    /// What it does.
    pub run: Run,
}

/// A command that asks an engine, and how it is done.
macro_rules! ask {
    ($run:path) => {
        $crate::cli::vault::grammar::Run::Ask(|session| Box::pin($run(session)))
    };
}
pub(super) use ask;
