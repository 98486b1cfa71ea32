//! Password policies: `sys/policies/password` in Vault's HCL or JSON, and the passwords that they describe.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::hcl::{self, Block, Document};
use crate::base::{Random, Secret};
use crate::storage::View;
use crate::wire::{Error, Kind};

/// The shortest and the longest password that a policy may ask for, as in Vault.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=100;

/// How often a password is drawn that has too few of something before it is put together instead.
const DRAWS: usize = 1000;

/// The policy of the name "": 20 characters that need no escaping in SQL, URLs and shells, about 119 random bits. At least one
/// of each class.
const BUILT_IN: (usize, [&str; 4]) =
    (20, ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "-"]);

/// Policies by name.
#[derive(Clone)]
pub struct PasswordPolicies(View);

/// How a policy is stored: as it was written.
#[derive(Serialize, Deserialize)]
struct Stored {
    policy: String,
}

impl PasswordPolicies {
    /// The policies in a view of their own.
    pub fn new(view: View) -> Self {
        Self(view)
    }

    /// The names of all policies.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.list("").await?)
    }

    /// A policy as it was written.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.0.get::<Stored>(name).await?.map(|(stored, _)| stored.policy))
    }

    /// Writes a policy (HCL, JSON, or either in base64), once it is known that passwords can be made by it. The answer is
    /// a warning, if there is something to warn of.
    ///
    /// # Errors
    /// 400 `invalid password policy: …`.
    pub async fn put(&self, name: &str, text: &str) -> Result<Option<String>, Error> {
        if name.is_empty() || name.contains('/') {
            return Err(Error::bad_request(format!("{name:?} is not a policy name: it must not hold a slash")));
        }
        let policy = plain_text(text).into_owned();
        let warning = Policy::parse(&policy)?.warning();
        self.0.put(name, &Stored { policy }).await?;
        Ok(warning)
    }

    /// Removes a policy; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        Ok(self.0.delete(name).await?)
    }

    /// A new password by the policy of that name; "" is the built-in one, which has at least one lower-case and one
    /// upper-case letter, a digit and a `-`, the last not at either end.
    ///
    /// # Errors
    /// 400 naming the policy when there is none of that name.
    pub async fn generate(&self, name: &str, random: &dyn Random) -> Result<Secret, Error> {
        Ok(self.policy(name).await?.generate(random))
    }

    /// The policy of that name, parsed, to make several passwords by.
    ///
    /// # Errors
    /// As [`PasswordPolicies::generate`].
    pub async fn policy(&self, name: &str) -> Result<Policy, Error> {
        if name.is_empty() {
            return Ok(Policy::built_in());
        }
        let missing = || {
            Error::bad_request(format!(
                "no password policy found: {name:?}: write sys/policies/password/{name}, or name another password_policy"
            ))
        };
        Policy::parse(&self.get(name).await?.ok_or_else(missing)?)
    }
}

/// A password by the policy of the name "", at once.
pub fn built_in(random: &dyn Random) -> Secret {
    Policy::built_in().generate(random)
}

fn plain_text(text: &str) -> Cow<'_, str> {
    let decoded = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// A parsed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    length: usize,
    /// What every rule may draw from, each character once.
    alphabet: Vec<char>,
    rules: Vec<Charset>,
    /// Whether a password may begin or end with `-`, which a command line takes for an option.
    dash_ends: bool,
}

/// A `rule "charset"`: so many of these.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Charset {
    chars: Vec<char>,
    min: usize,
}

impl Charset {
    fn is_met_by(&self, password: &str) -> bool {
        self.min == 0 || password.chars().filter(|c| self.chars.contains(c)).count() >= self.min
    }
}

impl Policy {
    fn built_in() -> Self {
        let (length, classes) = BUILT_IN;
        let rules = classes.iter().map(|class| Charset { chars: unique(class.chars()), min: 1 }).collect();
        Self { length, alphabet: unique(classes.concat().chars()), rules, dash_ends: false }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text)
            .and_then(Self::checked)
            .map_err(|problem| Error::listed(Kind::BadRequest, format!("invalid password policy: {problem}")))
    }

    fn read(text: &str) -> Result<Self, String> {
        let described = |error: hcl::Error| format!("failed to decode: {error}");
        let document = Document::parse(text).map_err(described)?;
        let root = document.root();
        refuse_unknown(&root, &["length", "rule"])?;
        let length = root.count("length").map_err(described)?.unwrap_or(0);
        let mut rules = Vec::new();
        for block in root.blocks("rule", 1).map_err(described)? {
            if block.label() != "charset" {
                return Err(format!("unrecognized rule type {:?}: only \"charset\" is known", block.label()));
            }
            refuse_unknown(&block, &["charset", "min-chars"])?;
            let chars: String = block.string("charset").map_err(described)?.unwrap_or_default();
            if chars.is_empty() {
                return Err(block.error("the charset of a rule must not be empty").to_string());
            }
            let min = block.count("min-chars").map_err(described)?.unwrap_or(0);
            rules.push(Charset { chars: unique(chars.chars()), min: usize::try_from(min).unwrap_or(usize::MAX) });
        }
        let alphabet = unique(rules.iter().flat_map(|rule| &rule.chars).copied());
        Ok(Self { length: usize::try_from(length).unwrap_or(usize::MAX), alphabet, rules, dash_ends: true })
    }

    fn checked(self) -> Result<Self, String> {
        let least = self.rules.iter().fold(0, |sum: usize, rule| sum.saturating_add(rule.min));
        if self.length == 0 {
            let mut problems = vec!["length must be > 0"];
            problems.extend(self.alphabet.is_empty().then_some("no charset specified"));
            return Err(listed(&problems));
        }
        if self.length < least {
            let length = self.length;
            return Err(format!("specified rules require at least {least} characters but {length} is specified"));
        }
        if self.alphabet.is_empty() {
            return Err(listed(&["no charset specified"]));
        }
        if self.alphabet.iter().any(|c| c.is_control() || (c.is_whitespace() && *c != ' ')) {
            return Err("non-printable character in charset".into());
        }
        if !LENGTHS.contains(&self.length) {
            return Err(format!("passwords must be between {} and {} characters", LENGTHS.start(), LENGTHS.end()));
        }
        Ok(self)
    }

    fn warning(&self) -> Option<String> {
        let unsafe_chars: String = self.alphabet.iter().filter(|c| matches!(c, '\'' | '"' | '`' | '\\')).collect();
        (!unsafe_chars.is_empty()).then(|| {
            format!(
                "the policy allows {unsafe_chars}, which can end a quoted text in SQL: a password for a database that holds \
                 one of these is thrown away and drawn again; leave them out"
            )
        })
    }

    /// A new password. Every one that meets the rules is equally likely, as long as the rules are not so narrow that drawing
    /// at random meets them less than once in a thousand times; then the characters that they ask for are drawn first.
    pub fn generate(&self, random: &dyn Random) -> Secret {
        for _ in 0..DRAWS {
            let mut password = Zeroizing::new(String::with_capacity(self.length * 4));
            password.extend((0..self.length).map(|_| pick(&self.alphabet, random)));
            if self.is_met_by(&password) {
                return Secret::new(std::mem::take(&mut *password));
            }
        }
        self.put_together(random)
    }

    fn is_met_by(&self, password: &str) -> bool {
        let ends = self.dash_ends || !(password.starts_with('-') || password.ends_with('-'));
        ends && self.rules.iter().all(|rule| rule.is_met_by(password))
    }

    /// The least of each rule, the rest of anything, in random order.
    fn put_together(&self, random: &dyn Random) -> Secret {
        let mut chars = Zeroizing::new(Vec::with_capacity(self.length));
        for rule in &self.rules {
            chars.extend((0..rule.min).map(|_| pick(&rule.chars, random)));
        }
        while chars.len() < self.length {
            chars.push(pick(&self.alphabet, random));
        }
        for last in (1..chars.len()).rev() {
            chars.swap(last, below(last + 1, random));
        }
        Secret::new(chars.iter().collect::<String>())
    }
}

/// Several problems as Vault prints them.
fn listed(problems: &[&str]) -> String {
    let what = if problems.len() == 1 { "error" } else { "errors" };
    let rows: String = problems.iter().map(|problem| format!("\t* {problem}\n")).collect();
    format!("{} {what} occurred:\n{rows}\n", problems.len())
}

fn refuse_unknown(block: &Block<'_>, known: &[&str]) -> Result<(), String> {
    match block.unknown(known).first() {
        None => Ok(()),
        // A misspelt min-chars would silently make weaker passwords.
        Some(key) => Err(block.error_at(key, format!("unknown key {key:?}: use {}", known.join(", "))).to_string()),
    }
}

/// Sorted, each once: a character that is listed twice is no likelier than the others.
fn unique(chars: impl Iterator<Item = char>) -> Vec<char> {
    let mut chars: Vec<_> = chars.collect();
    chars.sort_unstable();
    chars.dedup();
    chars
}

fn pick(chars: &[char], random: &dyn Random) -> char {
    chars[below(chars.len(), random)]
}

fn below(bound: usize, random: &dyn Random) -> usize {
    random.below(u32::try_from(bound).unwrap_or(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::base::random::SeededRandom;
    use crate::storage::memory::Memory;

    fn policies() -> PasswordPolicies {
        PasswordPolicies::new(View::new(Arc::new(Memory::default()), ""))
    }

    fn problem(text: &str) -> String {
        Policy::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn hcl_and_json_mean_the_same() {
        let hcl = Policy::parse(
            "length = 8\nrule \"charset\" { charset = \"abca\" min-chars = 2 }\nrule \"charset\" { charset = \"c1\" }",
        )
        .unwrap();
        let json = r#"{"length": 8, "rule": [{"charset": {"charset": "abc", "min-chars": 2}}, {"charset": {"charset": "1c"}}]}"#;
        assert_eq!(hcl, Policy::parse(json).unwrap());
        assert_eq!(hcl.alphabet, ['1', 'a', 'b', 'c']);
    }

    #[test]
    fn what_cannot_be_is_refused_in_vaults_words() {
        let rule = |length: i64, min: u32| {
            format!("length = {length}\nrule \"charset\" {{ charset = \"ab\" min-chars = {min} }}")
        };
        for (text, expected) in [
            (rule(0, 0), "length must be > 0"),
            (rule(5, 6), "specified rules require at least 6 characters but 5 is specified"),
            (rule(3, 0), "passwords must be between 4 and 100 characters"),
            (rule(101, 0), "passwords must be between 4 and 100 characters"),
            ("length = 8".into(), "no charset specified"),
            (rule(8, 0).replace("ab", ""), "line 2, column 6: the charset of a rule must not be empty"),
            (rule(8, 0).replace("ab", "a\\tb"), "non-printable character in charset"),
            (rule(8, 0).replace("\"charset\" {", "\"words\" {"), "unrecognized rule type \"words\""),
            (rule(8, 0).replace("min-chars", "min_chars"), "unknown key \"min_chars\""),
            (rule(-1, 0), "\"length\" must be a whole number"),
            ("length = ".into(), "failed to decode: line 1"),
        ] {
            let problem = problem(&text);
            assert!(problem.contains("* invalid password policy: ") && problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn every_rule_is_met_however_narrow() {
        let random = SeededRandom::new(1);
        for (length, rules) in [
            (4, vec![("a", 1), ("b", 1), ("c", 1), ("d", 1)]),
            (100, vec![("-", 60), ("abcdefghijklmnopqrstuvwxyz", 0)]),
            (20, vec![("abcdefghij", 5), ("ABCDEFGHIJ", 5), ("0123456789", 5), ("!#%", 5)]),
            (12, vec![("äöü€", 3), ("abc", 1)]),
        ] {
            let rules: String = rules
                .iter()
                .map(|(charset, min)| format!("rule \"charset\" {{ charset = \"{charset}\" min-chars = {min} }}\n"))
                .collect();
            let policy = Policy::parse(&format!("length = {length}\n{rules}")).unwrap();
            for _ in 0..20 {
                let password = policy.generate(&random);
                assert_eq!(password.expose().chars().count(), length);
                assert!(policy.is_met_by(password.expose()), "{rules}");
            }
        }
    }

    #[test]
    fn no_character_and_no_place_is_favoured() {
        let random = SeededRandom::new(2);
        // Listing a character twice must not make it likelier, and `y` beyond the least must be as likely as the others.
        let policy = Policy::parse(
            "length = 10\nrule \"charset\" { charset = \"xxyz\" }\nrule \"charset\" { charset = \"y\" min-chars = 1 }",
        )
        .unwrap();
        let mut counts = BTreeMap::<(usize, char), u32>::new();
        for _ in 0..3000 {
            for (place, c) in policy.generate(&random).expose().chars().enumerate() {
                *counts.entry((place, c)).or_default() += 1;
            }
        }
        assert_eq!(counts.len(), 30);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[tokio::test]
    async fn the_built_in_rule_has_every_class_and_no_dash_at_its_ends() {
        let (policies, random) = (policies(), SeededRandom::new(3));
        for _ in 0..200 {
            let password = policies.generate("", &random).await.unwrap();
            let text = password.expose();
            let has = |class: fn(char) -> bool| text.contains(class);
            assert_eq!(text.len(), 20);
            assert!(has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_digit()));
            assert!(text.contains('-') && !text.starts_with('-') && !text.ends_with('-'), "{text}");
        }
    }

    #[tokio::test]
    async fn policies_are_kept_as_written() {
        let (policies, random) = (policies(), SeededRandom::new(4));
        let text = "length = 6 rule \"charset\" { charset = \"abc\" }";
        assert_eq!(policies.put("abc", &STANDARD.encode(text)).await.unwrap(), None);
        assert_eq!(policies.get("abc").await.unwrap().as_deref(), Some(text));
        assert_eq!(policies.list().await.unwrap(), ["abc"]);
        let password = policies.generate("abc", &random).await.unwrap();
        assert!(password.expose().len() == 6 && password.expose().chars().all(|c| "abc".contains(c)));
        let quotes = text.replace("abc", "abc'");
        assert!(policies.put("quotes", &quotes).await.unwrap().unwrap().contains("allows '"));
        policies.put("quotes", "length = 1").await.unwrap_err();
        assert_eq!(policies.get("quotes").await.unwrap().unwrap(), quotes, "a refused write changes nothing");
        policies.delete("abc").await.unwrap();
        let unknown = policies.generate("abc", &random).await.unwrap_err();
        assert!(unknown.status() == 400 && unknown.to_string().contains("\"abc\""), "{unknown}");
        assert!(policies.put("a/b", text).await.is_err());
    }
}
