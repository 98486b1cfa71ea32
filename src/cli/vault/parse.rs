//! Go's rules for flags: one dash or two, `=` or a space before the value, and everything before the first argument.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::grammar::{Arity, Flag, Kind};
use crate::base::boolean;
use crate::base::duration;
use crate::base::nearest::nearest;

/// What was given. There is no `Debug`, since any value may be a password.
#[derive(Default)]
pub struct Values {
    set: BTreeMap<&'static str, Vec<String>>,
    /// What follows the flags.
    pub arguments: Vec<String>,
    /// Whether the flags were ended by `--`, so that arguments may begin with a dash.
    ended: bool,
}

/// Why a line was not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Misread {
    /// `-h`, `-help` or `--help`.
    Help,
    /// A mistake, in words that quote no value.
    Wrong(String),
}

/// Reads what follows a command's name.
///
/// # Errors
/// See [`Misread`].
pub fn parse<'f>(
    flags: impl IntoIterator<Item = &'f Flag>,
    line: impl IntoIterator<Item = String>,
) -> Result<Values, Misread> {
    let flags: Vec<&Flag> = flags.into_iter().collect();
    let mut values = Values::default();
    let mut line = line.into_iter();
    while let Some(word) = line.next() {
        let name = match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
            Some("") if word == "--" => {
                values.ended = true;
                break;
            }
            None | Some("") => {
                values.arguments.push(word);
                break;
            }
            Some(name) => name,
        };
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let Some(flag) = flags.iter().find(|flag| flag.is(name)) else {
            if matches!(name, "h" | "help") {
                return Err(Misread::Help);
            }
            return Err(unknown(name, &flags));
        };
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => {
                line.next().ok_or_else(|| Misread::Wrong(format!("flag needs an argument: -{}", flag.name)))?
            }
        };
        check(flag, &value)?;
        values.set.entry(flag.name).or_default().push(value);
    }
    values.arguments.extend(line);
    Ok(values)
}

fn unknown(name: &str, flags: &[&Flag]) -> Misread {
    let known = flags.iter().flat_map(|flag| std::iter::once(flag.name).chain(flag.aliases.iter().copied()));
    let hint = nearest(name, known).map(|near| format!("; did you mean -{near}?")).unwrap_or_default();
    Misread::Wrong(format!("flag provided but not defined: -{name}{hint}"))
}

/// The value is not quoted: somebody may have put a password into the wrong place.
fn check(flag: &Flag, value: &str) -> Result<(), Misread> {
    let wrong = |must: &str| Err(Misread::Wrong(format!("invalid value for flag -{}: it must be {must}", flag.name)));
    match flag.kind {
        // Scripts and charts write flags whose value they do not have.
        Kind::Text if value.is_empty() => Ok(()),
        Kind::Switch if boolean::parse(value).is_none() => wrong("true or false"),
        Kind::Number if value.trim().parse::<i64>().is_err() => wrong("a whole number"),
        Kind::Duration if duration::parse_seconds(value).is_err() => {
            wrong("a duration such as \"1h30m\" or a number of seconds")
        }
        Kind::Pairs if !value.contains('=') => wrong("key=value"),
        Kind::Text if !flag.choices.is_empty() && !flag.choices.contains(&value) => {
            wrong(&format!("one of {}", flag.choices.join(", ")))
        }
        _ => Ok(()),
    }
}

impl Values {
    /// Whether the flag was given, with whatever value.
    pub fn has(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// The last value of a flag; an empty one counts.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.set.get(name)?.last().map(String::as_str)
    }

    /// Whether a switch is on.
    pub fn on(&self, name: &str) -> bool {
        self.text(name).and_then(boolean::parse).unwrap_or(false)
    }

    /// A switch that may be left alone.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).and_then(boolean::parse)
    }

    /// All values of a flag.
    pub fn list(&self, name: &str) -> &[String] {
        self.set.get(name).map_or(&[], Vec::as_slice)
    }

    /// All values of a flag, each cut at its commas.
    pub fn comma_list(&self, name: &str) -> Vec<String> {
        let parts = self.list(name).iter().flat_map(|value| value.split(','));
        parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// A duration in seconds.
    pub fn seconds(&self, name: &str) -> Option<u64> {
        duration::parse_seconds(self.text(name)?).ok()
    }

    /// `key=value` flags as an object.
    pub fn pairs(&self, name: &str) -> Map<String, Value> {
        let pairs = self.list(name).iter().filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
    }

    /// Says when there are too few or too many arguments.
    ///
    /// # Errors
    /// In Vault's words.
    pub fn expect(&self, arity: Arity) -> Result<(), String> {
        let got = self.arguments.len();
        let expected = if arity.least == arity.most {
            arity.least.to_string()
        } else if arity.most == usize::MAX {
            format!("at least {}", arity.least)
        } else {
            format!("{} to {}", arity.least, arity.most)
        };
        if got < arity.least {
            return Err(format!("Not enough arguments (expected {expected}, got {got})"));
        }
        if got > arity.most { Err(format!("Too many arguments (expected {expected}, got {got})")) } else { Ok(()) }
    }

    /// Arguments that somebody may have meant as flags: they stand behind the first argument, where Go reads none.
    pub fn late_flags(&self) -> Vec<&str> {
        let late = self.arguments.iter().filter(|word| !self.ended && word.len() > 1 && word.starts_with('-'));
        late.map(|word| word.split('=').next().unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar::{at_least, exactly};
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::switch("force", "").also(&["f"]),
        Flag::text("format", "").one_of(&["table", "json"]),
        Flag::text("field", ""),
        Flag::number("version", ""),
        Flag::duration("ttl", ""),
        Flag::list("policy", ""),
        Flag::pairs("metadata", ""),
    ];

    fn read(line: &str) -> Result<Values, Misread> {
        parse(FLAGS, line.split_whitespace().map(str::to_owned))
    }

    fn wrong(line: &str) -> String {
        match read(line) {
            Err(Misread::Wrong(text)) => text,
            Err(Misread::Help) => panic!("{line}: help"),
            Ok(_) => panic!("{line} was understood"),
        }
    }

    #[test]
    fn dashes_and_values_come_in_every_form() {
        for line in ["-format=json a", "--format=json a", "-format json a", "--format json a"] {
            let values = read(line).unwrap_or_else(|_| panic!("{line}"));
            assert_eq!((values.text("format"), &values.arguments[..]), (Some("json"), &["a".to_owned()][..]), "{line}");
        }
        let values = read("-f -policy=a -policy b -ttl=1h -version 3 -metadata=k=v=w p -").unwrap_or_default();
        assert!(values.on("force"));
        assert_eq!(values.list("policy"), ["a", "b"]);
        assert_eq!((values.seconds("ttl"), values.number("version")), (Some(3600), Some(3)));
        assert_eq!(values.pairs("metadata")["k"], "v=w");
        assert_eq!(values.arguments, ["p", "-"]);
    }

    #[test]
    fn a_switch_takes_its_value_after_an_equals_sign_only() {
        let values = read("-force=false x").unwrap_or_default();
        assert_eq!((values.on("force"), values.switch("force"), values.arguments.len()), (false, Some(false), 1));
        assert_eq!(read("-force false").unwrap_or_default().arguments, ["false"]);
    }

    #[test]
    fn flags_end_at_the_first_argument() {
        let values = read("secret/a -format=json -x").unwrap_or_default();
        assert_eq!(values.text("format"), None);
        assert_eq!(values.late_flags(), ["-format", "-x"]);
        let ended = read("-- -format=json").unwrap_or_default();
        assert_eq!((ended.arguments.len(), ended.late_flags().len()), (1, 0));
        assert_eq!(read("- -format=json").unwrap_or_default().arguments[0], "-");
    }

    #[test]
    fn mistakes_are_named_and_values_are_not() {
        assert_eq!(wrong("-fromat=json"), "flag provided but not defined: -fromat; did you mean -format?");
        assert_eq!(wrong("-xyzzy"), "flag provided but not defined: -xyzzy");
        assert_eq!(wrong("-field"), "flag needs an argument: -field");
        for line in ["-version=hunter2", "-ttl=hunter2", "-force=hunter2", "-format=hunter2", "-metadata=hunter2"] {
            let text = wrong(line);
            assert!(text.starts_with("invalid value for flag -") && !text.contains("hunter2"), "{text}");
        }
        assert_eq!(read("-h").err(), Some(Misread::Help));
        assert_eq!(read("a -h").map(|values| values.arguments.len()).ok(), Some(2));
    }

    #[test]
    fn arguments_are_counted_in_vaults_words() {
        let two = read("a b").unwrap_or_default();
        assert_eq!(two.expect(exactly(1)).unwrap_err(), "Too many arguments (expected 1, got 2)");
        assert_eq!(two.expect(at_least(3)).unwrap_err(), "Not enough arguments (expected at least 3, got 2)");
        assert_eq!(two.expect(exactly(2)), Ok(()));
    }
}
