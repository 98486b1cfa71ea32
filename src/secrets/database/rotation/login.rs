//! Proof by login: whether a user of the database gets in with a password.

use std::sync::Arc;

use serde_json::json;

use crate::base::{Random, Secret};
use crate::drivers::{self, Kind, Spec, sql};
use crate::wire::Fields;

/// What a login has shown.
pub(super) enum Login {
    /// The password holds.
    Works,
    /// The database was asked and does not let the user in.
    Refused(drivers::Error),
    /// The database could not be asked.
    Unknown(drivers::Error),
}

/// Logs in over a connection's fields, but as `username`, on a connection of its own.
pub(super) async fn attempt(
    spec: &'static Spec,
    mut fields: Fields,
    username: &str,
    password: &Secret,
    random: Arc<dyn Random>,
) -> Login {
    if let Err(error) = check_template(&fields) {
        return Login::Unknown(error);
    }
    fields.set("username", json!(username));
    fields.set("password", json!(password.expose()));
    let driver = match drivers::open(spec, drivers::Settings { fields, random }) {
        Ok(driver) => driver,
        Err(error) => return Login::Unknown(error),
    };
    let verified = driver.verify().await;
    driver.close().await;
    match verified {
        Ok(()) => Login::Works,
        Err(error) if error.kind() == Kind::Refused => Login::Refused(error),
        Err(error) => Login::Unknown(error),
    }
}

/// Refuses a URL with a login of its own, by which anybody's password would seem to work.
///
/// # Errors
/// [`Kind::Config`] that says what to write instead.
pub(super) fn check_template(fields: &Fields) -> Result<(), drivers::Error> {
    let Some(url) = fields.string("connection_url")? else { return Ok(()) };
    let half = url.contains("{{password}}") && !url.contains("{{username}}");
    if half || !sql::inline_passwords(&url).is_empty() {
        let problem = "it must have {{username}} and {{password}} in place of a user and a password of its own, so that \
                       passwords can be changed and logins tried";
        return Err(drivers::Error::config("connection_url", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_login_of_its_own_proves_nothing() {
        for (url, good) in [
            ("postgresql://{{username}}:{{password}}@h/db", true),
            ("postgresql://h/db", true),
            ("postgresql://admin:{{password}}@h/db", false),
            ("postgresql://admin:canary@h/db", false),
            ("host=h user=admin password=canary", false),
        ] {
            let mut fields = Fields::default();
            fields.set("connection_url", json!(url));
            let checked = check_template(&fields);
            assert_eq!(checked.is_ok(), good, "{url}");
            assert!(!checked.is_err_and(|error| error.message().contains("canary")));
        }
        assert!(check_template(&Fields::default()).is_ok());
    }
}
