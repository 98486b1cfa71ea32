//! Generated user names: the driver's shape, or the connection's template.

use std::sync::Arc;

use crate::base::template::username as render;
use crate::base::{Clock, Random};
use crate::drivers::{Spec, UsernameShape, sql};
use crate::wire::Error;

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
        .map_err(|error| Error::bad_request(format!("username_template: {error}")).caused_by(error))?;
    if name.len() > spec.username.max {
        // Cutting it would cut its random part, and with it what keeps two users apart.
        return Err(Error::bad_request(format!(
            "username_template makes a name of {} characters, the database takes {}: use truncate in it",
            name.len(),
            spec.username.max
        )));
    }
    sql::check_value("username", &name).map_err(|error| Error::bad_request(error.message()))?;
    Ok(name)
}

/// Checks a template when it is written, by rendering it once without names, as Vault does.
///
/// # Errors
/// 400 that says what is wrong.
pub(super) fn check(
    template: &str,
    spec: &Spec,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<(), Error> {
    make(template, spec, "", "", clock, random)
        .map(|_| ())
        .map_err(|error| Error::bad_request(format!("invalid username template: {error}")))
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
