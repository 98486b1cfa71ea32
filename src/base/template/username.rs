//! Vault's templates for user names: a role's and a token's name, with randomness and time.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gotmpl::Value;

use super::functions::{Functions, decode, hex, integer, length, map_text, sha256_hex, string};
use super::values::map_of;
use super::{Missing, Template, TemplateError, budget, layout};
use crate::base::{Clock, Random};

/// Renders a `username_template` with `.DisplayName` and `.RoleName`, the only two fields there are.
///
/// # Errors
/// Bad syntax, unknown fields and functions, and what a function refuses (`truncate 0`).
pub fn username(
    template: &str,
    display_name: &str,
    role_name: &str,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<String, TemplateError> {
    let functions = functions(clock, random);
    let data = map_of([("DisplayName", display_name.into()), ("RoleName", role_name.into())]);
    Template::parse("username_template", template, None, &functions)?.render(&data, Missing::Error)
}

/// Vault's and OpenBao's functions for names (vault-api.md 3.3).
fn functions(clock: &Arc<dyn Clock>, random: &Arc<dyn Random>) -> Functions {
    let mut set = Functions::none();
    transformations(&mut set);
    let source = Arc::clone(random);
    set.add("random", 1..=1, move |args| match length(args, 0)? {
        0 => Err("must ask for at least one character".to_owned()),
        count @ 1..=1024 => Ok(source.base62(count).into()),
        _ => Err("must ask for at most 1024 characters".to_owned()),
    });
    let source = Arc::clone(random);
    set.add("uuid", 0..=0, move |_| Ok(source.uuid().into()));
    let time = Arc::clone(clock);
    set.add("unix_time", 0..=0, move |_| Ok(time.now().as_second().to_string().into()));
    let time = Arc::clone(clock);
    set.add("unix_time_millis", 0..=0, move |_| Ok(time.now().as_millisecond().to_string().into()));
    let time = Arc::clone(clock);
    set.add("timestamp", 1..=1, move |args| Ok(layout::format(time.now(), &string(args, 0)?).into()));
    set
}

fn transformations(set: &mut Functions) {
    map_text(set, "uppercase", str::to_uppercase);
    map_text(set, "lowercase", str::to_lowercase);
    map_text(set, "sha256", |text| sha256_hex(text.as_bytes()));
    map_text(set, "base64", |text| STANDARD.encode(text));
    map_text(set, "hex", |text| hex(text.as_bytes()));
    set.add("decode_base64", 1..=1, |args| decode(STANDARD.decode(string(args, 0)?)));
    set.add("decode_hex", 1..=1, |args| decode(from_hex(&string(args, 0)?).ok_or(())));
    set.add("replace", 3..=3, |args| budget::replace(&string(args, 2)?, &string(args, 0)?, &string(args, 1)?));
    set.add("truncate", 2..=2, |args| {
        let most = at_least(args, 1)?;
        Ok(cut(&string(args, 1)?, most).into())
    });
    set.add("truncate_sha256", 2..=2, |args| {
        let most = at_least(args, 9)?;
        let text = string(args, 1)?;
        if text.len() <= most {
            return Ok(Value::from(text));
        }
        // Eight digits of the hash of what is cut off keep long names apart.
        let kept = cut(&text, most - 8);
        Ok(format!("{kept}{}", &sha256_hex(&text.as_bytes()[kept.len()..])[..8]).into())
    });
}

fn at_least(args: &[Value], least: i64) -> Result<usize, String> {
    let most = integer(args, 0)?;
    if most < least {
        return Err(format!("max length must be > {} but was {most}", least - 1));
    }
    length(args, 0)
}

/// At most `most` bytes, without cutting a character in two.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;

    fn name(template: &str) -> Result<String, TemplateError> {
        let now: Timestamp = "2026-03-04T15:06:07Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        username(template, "kubernetes-team-app", "My-Role", &clock, &random)
    }

    #[test]
    fn postgresqls_default_gives_vaults_shape() {
        let text = name(
            "{{ printf \"v-%s-%s-%s-%s\" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) \
             | truncate 63 }}",
        )
        .unwrap();
        let parts: Vec<_> = text.split('-').collect();
        assert!(text.starts_with("v-kubernet-My-Role-"), "{text}");
        assert_eq!((parts[4].len(), parts[5]), (20, "1772636767"));
    }

    #[test]
    fn every_function_does_what_vaults_does() {
        for (template, text) in [
            ("{{ .RoleName | lowercase | replace \"-\" \"_\" }}", "my_role"),
            ("{{ .RoleName | uppercase }}", "MY-ROLE"),
            ("{{ timestamp \"20060102150405\" }}", "20260304150607"),
            ("{{ unix_time_millis }}", "1772636767000"),
            ("{{ \"a\" | sha256 | truncate 6 }}", "ca9781"),
            ("{{ \"ab\" | base64 }}{{ \"YWI=\" | decode_base64 }}", "YWI=ab"),
            ("{{ \"ab\" | hex }}{{ \"6162\" | decode_hex }}", "6162ab"),
            ("{{ .DisplayName | truncate_sha256 12 }}", "kube8ab867b0"),
            ("{{ len (uuid) }}", "36"),
        ] {
            assert_eq!(name(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn unknown_names_and_bad_lengths_are_refused_with_their_place() {
        let message = |template| name(template).unwrap_err().to_string();
        assert_eq!(
            message("{{.DisplayName}}\n {{.Nope}}"),
            "template username_template:2:4: map has no entry for key: Nope"
        );
        assert_eq!(message("{{ nope }}"), "template username_template:1:4: function \"nope\" is not defined");
        assert!(message("{{ truncate 0 \"x\" }}").contains("max length must be > 0 but was 0"));
        assert!(message("{{ truncate_sha256 8 \"x\" }}").contains("max length must be > 8 but was 8"));
        assert!(message("{{ truncate 3 }}").contains("1 arguments, but it takes 2"));
    }
}
