//! Generated user names: the driver's shape, or a template that keeps enough of its random part to tell users apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::template::username as render;
use crate::base::{Clock, Random};
use crate::drivers::{Spec, UsernameShape, sql};
use crate::wire::Error;

/// How many random characters a name must keep.
const RANDOM_KEPT: usize = 8;

/// A display name and a role's name as long as they come in practice.
const LONG_NAME: &str = "kubernetes-a-namespace-of-some-length-a-service-account-of-some-length";

/// A new user name.
///
/// # Errors
/// 400 when the template fails, or makes a name that is too long or unsafe inside statements.
pub(super) fn make(
    template: &str,
    spec: &Spec,
    display_name: &str,
    role_name: &str,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<String, Error> {
    if template.is_empty() {
        return Ok(shaped(&spec.username, display_name, role_name, &**clock, &**random));
    }
    let name = render(template, display_name, role_name, clock, random)
        .map_err(|error| Error::bad_request(error.to_string()).caused_by(error))?;
    if name.len() > spec.username.max {
        // Cutting it would cut its random part, and with it what keeps two users apart.
        return Err(Error::bad_request(format!(
            "username_template makes a name of {} characters, the database takes {}: use truncate in it, as in \
             {{{{.RoleName | truncate 8}}}}",
            name.len(),
            spec.username.max
        )));
    }
    sql::check_value("username", &name).map_err(|error| Error::bad_request(error.message()))?;
    Ok(name)
}

/// Checks a template when it is written, as Vault does by rendering it without names, and that no name, however long its
/// parts, loses what is random in it. For a role that is known, its own name counts.
///
/// The answer is a warning about names that will be too long for the database.
///
/// # Errors
/// 400 that says what is wrong and what to write instead.
pub(super) fn check(
    template: &str,
    spec: &Spec,
    role_name: Option<&str>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Option<String>, Error> {
    if template.is_empty() {
        return Ok(None);
    }
    let invalid = |error: Error| Error::bad_request(format!("invalid username template: {error}"));
    make(template, spec, "", role_name.unwrap_or_default(), clock, random).map_err(invalid)?;
    let role_name = role_name.unwrap_or(LONG_NAME);
    let kept = random_kept(template, role_name, clock).map_err(invalid)?;
    if kept < RANDOM_KEPT {
        return Err(invalid(Error::bad_request(format!(
            "of its random characters {kept} remain in names whose other parts are long, {RANDOM_KEPT} are needed to tell users \
             apart (the time alone does not): put at least {{{{random {RANDOM_KEPT}}}}} into it and truncate the other parts, \
             not the whole, as in v-{{{{.DisplayName | truncate 8}}}}-{{{{.RoleName | truncate 8}}}}-{{{{random 20}}}}"
        ))));
    }
    let longest = render(template, LONG_NAME, role_name, clock, random).map_or(0, |name| name.len());
    Ok((longest > spec.username.max).then(|| {
        format!(
            "username_template: with long display or role names it makes names of {longest} characters; the database takes {}, \
             and longer ones are refused when a credential is asked for: truncate .DisplayName and .RoleName in it",
            spec.username.max
        )
    }))
}

/// How many random characters tell two names apart: those that the template draws and that change the name, but no more than
/// there are places of the name that change.
fn random_kept(template: &str, role_name: &str, clock: &Arc<dyn Clock>) -> Result<usize, Error> {
    let drawn = Arc::new(AtomicUsize::new(0));
    let rendered = |draw: Draw| {
        drawn.store(0, Ordering::Relaxed);
        let random: Arc<dyn Random> = Arc::new(Probe { drawn: drawn.clone(), draw });
        render(template, LONG_NAME, role_name, clock, &random)
            .map_err(|error| Error::bad_request(error.to_string()).caused_by(error))
    };
    let first = rendered(Draw::Same)?;
    let mut counted = 0;
    for place in 0..drawn.load(Ordering::Relaxed) {
        if rendered(Draw::OtherAt(place))? != first {
            counted += 1;
        }
    }
    let mut changing = vec![false; first.len()];
    for turn in 1..8 {
        let other = rendered(Draw::Turned(turn))?;
        for ((changes, a), b) in changing.iter_mut().zip(first.bytes()).zip(other.bytes()) {
            *changes |= a != b;
        }
    }
    Ok(changing.iter().filter(|changes| **changes).count().min(counted))
}

/// What a [`Probe`] draws: `0` everywhere, or something else in one place or in all.
#[derive(Clone, Copy)]
enum Draw {
    Same,
    OtherAt(usize),
    Turned(usize),
}

/// Draws what the check wants to see, and counts the characters.
struct Probe {
    drawn: Arc<AtomicUsize>,
    draw: Draw,
}

impl Probe {
    fn digit(&self) -> char {
        let place = self.drawn.fetch_add(1, Ordering::Relaxed);
        let digit = match self.draw {
            Draw::Same => 0,
            Draw::OtherAt(other) => u8::from(place == other),
            Draw::Turned(turn) => u8::try_from((place * 3 + turn) % 10).unwrap_or(0),
        };
        char::from(b'0' + digit)
    }
}

impl Random for Probe {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill_with(|| self.digit() as u8);
    }

    fn base62(&self, length: usize) -> String {
        (0..length).map(|_| self.digit()).collect()
    }

    fn uuid(&self) -> String {
        // Version and variant are not random.
        "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".chars().map(|c| if c == 'x' { self.digit() } else { c }).collect()
    }
}

/// `v-<display>-<role>-<random>-<unix time>`.
fn shaped(
    shape: &UsernameShape,
    display_name: &str,
    role_name: &str,
    clock: &dyn Clock,
    random: &dyn Random,
) -> String {
    let safe = |text: &str, length: usize| -> String {
        let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
        text.chars().take(length).map(clean).collect()
    };
    let separator = shape.separator;
    let mut name = shape.prefix.to_owned();
    for part in [safe(display_name, shape.display_name), safe(role_name, shape.role_name)] {
        if !part.is_empty() {
            name.push(separator);
            name.push_str(&part);
        }
    }
    format!("{name}{separator}{}{separator}{}", random.base62(shape.random), clock.now().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;
    use crate::drivers;

    fn checked(template: &str, max: usize, role: Option<&str>) -> Result<Option<String>, String> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(crate::base::Timestamp::UNIX_EPOCH));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let mut spec = drivers::TABLE[0];
        spec.username.max = max;
        check(template, &spec, role, &clock, &random).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_keeps_its_random_part_at_every_length_limit() {
        for template in [
            "",
            "{{random 8}}",
            "{{uuid | truncate 12}}",
            "{{random 20 | uppercase | truncate 16}}",
            "v{{random 10 | sha256 | truncate 14}}",
        ] {
            assert_eq!(checked(template, 16, None), Ok(None), "{template}");
        }
        let whole = "v-{{.DisplayName | truncate 8}}-{{.RoleName | truncate 8}}-{{random 20}}-{{unix_time}}";
        assert_eq!(checked(whole, 63, None), Ok(None));
        assert_eq!(checked("{{printf \"%s-%s\" (random 10) .RoleName | truncate 30}}", 30, None), Ok(None));
    }

    #[test]
    fn names_that_would_lose_it_are_refused_with_what_to_write_instead() {
        for (template, kept) in [
            ("app", 0),
            ("app-{{unix_time}}-{{unix_time_millis}}", 0),
            ("app-{{random 7}}", 7),
            ("{{random 20 | truncate 4}}", 4),
            // Much hash of little randomness, and little hash of much.
            ("{{random 3 | sha256 | truncate 30}}", 3),
            ("{{random 20 | sha256 | truncate 5}}", 5),
            ("{{printf \"v-%s-%s-%s\" .DisplayName .RoleName (random 20) | truncate 63}}", 0),
            ("{{uuid | truncate 6}}", 6),
        ] {
            let problem = checked(template, 63, None).unwrap_err();
            assert!(problem.contains(&format!("of its random characters {kept} remain")), "{template}: {problem}");
            assert!(problem.contains("{{random 20}}"), "{problem}");
        }
        for (template, expected) in [
            ("{{random 20}}", "the database takes 16: use truncate"),
            ("{{.Nosuch}}", "Nosuch"),
            ("'{{random 9}}", "'\\''"),
        ] {
            let problem = checked(template, 16, None).unwrap_err();
            assert!(problem.starts_with("invalid username template: ") && problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn names_that_may_be_too_long_are_warned_of_and_refused_for_a_role_that_makes_them_so() {
        let template = "{{.DisplayName}}-{{.RoleName}}-{{random 10}}";
        assert!(checked(template, 63, None).unwrap().unwrap().contains("the database takes 63"));
        assert!(checked(template, 63, Some("app")).unwrap().is_some());
        assert!(checked(template, 63, Some(LONG_NAME)).unwrap_err().contains("the database takes 63"));
        assert_eq!(checked("{{.RoleName}}-{{random 10}}", 32, Some("app")), Ok(None));
    }
}
