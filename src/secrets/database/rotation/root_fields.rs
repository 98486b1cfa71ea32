//! The fields of a connection that concern rotation: of its own password, and of the static roles over it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::login;
use super::schedule::Schedule;
use crate::base::Secret;
use crate::wire::{Error, Fields};

/// What a connection says of rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::secrets::database) struct RotationFields {
    schedule: Option<Schedule>,
    disabled: bool,
    /// Whether static roles are not rotated when they are made.
    pub(super) skips_import: bool,
}

impl RotationFields {
    /// The fields that are read here.
    pub(in crate::secrets::database) const NAMES: &[&str] = &[
        "rotation_period",
        "rotation_schedule",
        "rotation_window",
        "disable_automated_rotation",
        "skip_static_role_import_rotation",
    ];

    /// Takes over the fields that were sent and keeps the rest; a period of 0 without a schedule ends automatic rotation.
    ///
    /// # Errors
    /// 400 in Vault's words; also when a schedule is set for a connection whose password cannot be changed.
    pub(in crate::secrets::database) fn merge(&mut self, sent: &Fields, details: &Fields) -> Result<(), Error> {
        let ends = sent.seconds("rotation_period")? == Some(0)
            && sent.string("rotation_schedule")?.is_none_or(|expression| expression.trim().is_empty());
        self.schedule = if ends { None } else { Schedule::merge(self.schedule.take(), sent)? };
        if let Some(disabled) = sent.bool("disable_automated_rotation")? {
            self.disabled = disabled;
        }
        if let Some(skips) = sent.bool("skip_static_role_import_rotation")? {
            self.skips_import = skips;
        }
        match self.schedule() {
            Some(_) => root_login(details).map(drop),
            None => Ok(()),
        }
    }

    /// When the connection's own password is changed; `None` is only by hand.
    pub(super) fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref().filter(|_| !self.disabled)
    }

    /// Adds the fields of a read.
    pub(in crate::secrets::database) fn describe(&self, data: &mut Map<String, Value>) {
        data.insert("rotation_period".into(), json!(0));
        data.insert("rotation_schedule".into(), json!(""));
        data.insert("rotation_window".into(), json!(0));
        if let Some(schedule) = &self.schedule {
            schedule.describe(data);
        }
        data.insert("disable_automated_rotation".into(), json!(self.disabled));
        data.insert("skip_static_role_import_rotation".into(), json!(self.skips_import));
    }
}

/// User and password of a connection whose password can be changed.
///
/// # Errors
/// 400 that says what is missing.
pub(super) fn root_login(details: &Fields) -> Result<(String, Secret), Error> {
    let missing = |what: &str| Error::bad_request(format!("unable to rotate root credentials: {what}"));
    let username = details.string("username")?.filter(|username| !username.is_empty());
    let username = username.ok_or_else(|| missing("no username in configuration"))?;
    let password = details.secret("password")?.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| missing("no password in configuration"))?;
    login::check_template(details).map_err(|error| missing(error.message()).caused_by(error))?;
    Ok((username, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone().into()
    }

    fn details() -> Fields {
        fields(
            json!({"connection_url": "postgresql://{{username}}:{{password}}@h/db", "username": "u", "password": "p"}),
        )
    }

    fn merged(rotation: &RotationFields, sent: Value) -> RotationFields {
        let mut rotation = rotation.clone();
        rotation.merge(&fields(sent), &details()).unwrap();
        rotation
    }

    #[test]
    fn a_partial_write_keeps_the_rest_and_a_switch_suspends_the_schedule() {
        let daily = merged(&RotationFields::default(), json!({"rotation_period": "24h"}));
        assert_eq!(daily.schedule(), Some(&Schedule::Period(86_400)));
        assert_eq!(merged(&daily, json!({"allowed_roles": "*"})), daily);
        let off = merged(&daily, json!({"disable_automated_rotation": true}));
        assert_eq!(off.schedule(), None);
        assert_eq!(merged(&off, json!({"disable_automated_rotation": false})), daily);
        assert_eq!(merged(&daily, json!({"rotation_period": 0})), RotationFields::default());
        let mut read = Map::new();
        off.describe(&mut read);
        let expected = json!({"rotation_period": 86_400, "rotation_schedule": "", "rotation_window": 0,
            "disable_automated_rotation": true, "skip_static_role_import_rotation": false});
        assert_eq!(Value::Object(read), expected);
    }

    #[test]
    fn a_password_that_cannot_be_changed_has_no_schedule() {
        for (field, value, text) in [
            ("username", "", "no username in configuration"),
            ("password", "", "no password in configuration"),
            ("connection_url", "postgresql://u:canary@h/db", "{{username}} and {{password}}"),
        ] {
            let mut details = details();
            details.set(field, json!(value));
            let sent = fields(json!({"rotation_period": 60}));
            let error = RotationFields::default().merge(&sent, &details).unwrap_err().to_string();
            assert!(error.contains(text) && !error.contains("canary"), "{error}");
        }
    }
}
