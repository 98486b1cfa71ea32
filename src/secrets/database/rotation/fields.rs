//! The fields of `static-roles/…`: what a write means for the role that is there, and what a read shows.

use serde_json::{Map, Value, json};

use super::role::{Account, StaticRole};
use super::schedule::Schedule;
use super::timing::Timing;
use crate::base::Secret;
use crate::secrets::database::credential::{self, Wanted};
use crate::secrets::database::list;
use crate::wire::{Error, Fields};

/// The grace of two accounts when none is configured: an hour, or the whole period where that is shorter.
const DEFAULT_GRACE: u64 = 3600;

/// The account's present password, where the caller knows it.
pub(super) fn given_password(fields: &Fields) -> Result<Option<Secret>, Error> {
    let given = match fields.secret("password")? {
        Some(password) => Some(password),
        None => fields.secret("self_managed_password")?,
    };
    Ok(given.filter(|password| !password.is_empty()))
}

/// The role that a first write describes. Nothing is known of its passwords yet.
pub(super) fn create(fields: &Fields) -> Result<StaticRole, Error> {
    let names = usernames(fields)?;
    if names.is_empty() {
        return Err(Error::bad_request("username is a required field to create a static account"));
    }
    let missing = || Error::bad_request("rotation_period is required to create static accounts");
    let mut role = StaticRole {
        db_name: String::new(),
        accounts: names.into_iter().map(|username| Account { username, password: None }).collect(),
        active: 0,
        schedule: Schedule::merge(None, fields)?.ok_or_else(missing)?,
        grace_period: DEFAULT_GRACE,
        rotation_statements: Vec::new(),
        credential_type: "password".into(),
        credential_config: Map::new(),
        password_policy: String::new(),
        verify_login: true,
        timing: Timing::default(),
        pending: None,
        creating: false,
    };
    if let Schedule::Period(seconds) = role.schedule {
        role.grace_period = role.grace_period.min(seconds);
    }
    merge_rest(&mut role, fields)?;
    Ok(role)
}

/// Takes over the fields that were sent to a role that exists, and keeps the rest.
pub(super) fn merge(role: &mut StaticRole, fields: &Fields) -> Result<(), Error> {
    let names = usernames(fields)?;
    let differs = |(sent, account): (&String, &Account)| *sent != account.username;
    let complete = fields.has("usernames") && names.len() != role.accounts.len();
    if names.len() > role.accounts.len() || complete || names.iter().zip(&role.accounts).any(differs) {
        return Err(Error::bad_request("cannot update static account username"));
    }
    if let Some(schedule) = Schedule::merge(Some(role.schedule.clone()), fields)? {
        role.schedule = schedule;
    }
    merge_rest(role, fields)
}

fn merge_rest(role: &mut StaticRole, fields: &Fields) -> Result<(), Error> {
    if let Some(name) = fields.string("db_name")? {
        role.db_name = name;
    }
    if role.db_name.is_empty() {
        return Err(Error::bad_request("database name is a required field"));
    }
    if let Some(statements) = fields.string_list("rotation_statements")? {
        role.rotation_statements = statements.into_iter().filter(|statement| !statement.trim().is_empty()).collect();
    }
    if let Some(kind) = fields.string("credential_type")?.filter(|kind| !kind.is_empty()) {
        role.credential_type = kind;
    }
    if let Some(config) = credential::config(fields)? {
        role.credential_config = config;
    }
    if let Some(verify) = fields.bool("verify_login")? {
        role.verify_login = verify;
    }
    if let Some(seconds) = fields.seconds("grace_period")? {
        if role.accounts.len() < 2 {
            return Err(Error::bad_request("grace_period needs two accounts in usernames"));
        }
        role.grace_period = seconds;
    }
    check(role)
}

fn check(role: &mut StaticRole) -> Result<(), Error> {
    match Wanted::read(&role.credential_type, &role.credential_config)? {
        Wanted::Password { policy } => role.password_policy = policy,
        Wanted::RsaKey { .. } | Wanted::Certificate(_) => {
            return Err(Error::bad_request(format!("unsupported credential_type: {:?}", role.credential_type)));
        }
    }
    match role.schedule {
        Schedule::Period(seconds) if role.accounts.len() > 1 && role.grace_period > seconds => {
            Err(Error::bad_request("grace_period must not be longer than rotation_period"))
        }
        _ => Ok(()),
    }
}

/// `username`, or the two of `usernames`; none when neither was sent.
fn usernames(fields: &Fields) -> Result<Vec<String>, Error> {
    let single = fields.string("username")?.filter(|name| !name.is_empty());
    let Some(names) = fields.comma_list("usernames")?.filter(|names| !names.is_empty()) else {
        return Ok(single.into_iter().collect());
    };
    match &names[..] {
        [first, second] if first != second && !first.is_empty() && !second.is_empty() => {}
        _ => return Err(Error::bad_request("usernames must name exactly two different accounts")),
    }
    if single.is_some_and(|single| single != names[0]) {
        return Err(Error::bad_request("username must be the first of usernames, or be left out"));
    }
    Ok(names)
}

/// The answer of a read: everything but passwords.
pub(super) fn describe(role: &StaticRole) -> Value {
    let mut data = Map::new();
    let mut add = |name: &str, value: Value| data.insert(name.to_owned(), value);
    add("db_name", json!(role.db_name));
    add("username", json!(role.accounts.first().map(|account| &account.username)));
    if role.accounts.len() > 1 {
        let names: Vec<_> = role.accounts.iter().map(|account| &account.username).collect();
        add("usernames", json!(names));
        add("grace_period", json!(role.grace_period));
        add("active_username", json!(role.handed_out().map(|account| &account.username)));
    }
    add("rotation_statements", list(&role.rotation_statements));
    add("credential_type", json!(role.credential_type));
    if !role.credential_config.is_empty() {
        add("credential_config", json!(role.credential_config));
    }
    if !role.verify_login {
        add("verify_login", json!(false));
    }
    add("last_vault_rotation", json!(role.timing.last.map(|last| last.to_string())));
    if let Some(due) = role.timing.due {
        add("next_vault_rotation", json!(due.to_string()));
    }
    if role.timing.failures > 0 {
        add("rotation_failures", json!(role.timing.failures));
        add("rotation_error", json!(role.timing.error));
    }
    role.schedule.describe(&mut data);
    Value::Object(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone().into()
    }

    fn created(value: Value) -> Result<StaticRole, String> {
        create(&fields(value)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_first_write_needs_its_fields_in_vaults_words() {
        let full = json!({"username": "app", "db_name": "pg", "rotation_period": "24h"});
        for (missing, text) in [
            ("username", "username is a required field to create a static account"),
            ("db_name", "database name is a required field"),
            ("rotation_period", "rotation_period is required to create static accounts"),
        ] {
            let mut sent = full.clone();
            sent.as_object_mut().unwrap().remove(missing);
            assert_eq!(created(sent).err().as_deref(), Some(text));
        }
        for (field, value, text) in [
            ("credential_type", json!("x"), "invalid credential_type \"x\""),
            ("credential_type", json!("rsa_private_key"), "unsupported credential_type: \"rsa_private_key\""),
            (
                "credential_config",
                json!({"key_bits": 1}),
                "credential_config: \"key_bits\" is not known for credential_type \"password\": use password_policy",
            ),
            ("grace_period", json!(1), "grace_period needs two accounts in usernames"),
            ("usernames", json!(["app"]), "usernames must name exactly two different accounts"),
            ("usernames", json!(["app", "app"]), "usernames must name exactly two different accounts"),
            ("usernames", json!(["b", "app"]), "username must be the first of usernames, or be left out"),
        ] {
            let mut sent = full.clone();
            sent[field] = value;
            assert_eq!(created(sent).err().as_deref(), Some(text));
        }
    }

    #[test]
    fn a_partial_write_keeps_the_rest() {
        let mut role = created(json!({"username": "app", "db_name": "pg", "rotation_period": 60,
            "rotation_statements": "ALTER", "credential_config": {"password_policy": "long"}}))
        .ok()
        .unwrap();
        merge(&mut role, &fields(json!({"rotation_period": 90}))).unwrap();
        assert_eq!(
            describe(&role),
            json!({"db_name": "pg", "username": "app", "rotation_period": 90, "rotation_statements": ["ALTER"],
                "credential_type": "password", "credential_config": {"password_policy": "long"},
                "last_vault_rotation": null})
        );
        merge(&mut role, &fields(json!({"username": "app"}))).unwrap();
        for other in [json!({"username": "other"}), json!({"usernames": ["app", "other"]})] {
            let error = merge(&mut role, &fields(other)).unwrap_err();
            assert_eq!(error.to_string(), "cannot update static account username");
        }
    }

    #[test]
    fn two_accounts_have_a_grace_within_their_period() {
        let sent = |grace: Value, period: u64| json!({"usernames": "a,b", "db_name": "pg", "rotation_period": period, "grace_period": grace});
        assert_eq!(created(sent(Value::Null, 60)).ok().unwrap().grace_period, 60);
        assert_eq!(created(sent(Value::Null, 86_400)).ok().unwrap().grace_period, 3600);
        assert_eq!(created(sent(json!("30s"), 60)).ok().unwrap().grace_period, 30);
        assert!(created(sent(json!(61), 60)).is_err_and(|error| error.contains("grace_period")));
        let read = describe(&created(sent(json!(30), 60)).ok().unwrap());
        assert_eq!((&read["username"], &read["usernames"]), (&json!("a"), &json!(["a", "b"])));
        assert_eq!(read["active_username"], "a");
    }
}
