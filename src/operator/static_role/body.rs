//! The body of `database/static-roles/…`, and whether the engine still has it.

use serde_json::{Value, json};

use crate::api::names::engine_name;
use crate::api::{Period, StaticDatabaseRoleSpec};
use crate::operator::drift;
use crate::operator::error::Error;

/// The engine's default grace of two accounts, seconds; the whole period where that is shorter.
const DEFAULT_GRACE: u64 = 3600;

/// The role as the engine should have it, without a password. `own_policy` is the name that a password policy of its own has
/// in the engine.
///
/// # Errors
/// [`Error::Refused`] naming the field.
pub fn role(spec: &StaticDatabaseRoleSpec, namespace: &str, own_policy: &str) -> Result<Value, Error> {
    let policy = spec.password_policy.as_ref();
    let policy = policy.map(|policy| policy.name.as_deref().unwrap_or(own_policy));
    let mut body = json!({
        "db_name": engine_name(namespace, &spec.connection_ref.name),
        "rotation_statements": spec.rotation_statements,
        "credential_type": "password",
        "credential_config": policy.map_or_else(|| json!({}), |name| json!({ "password_policy": name })),
        "verify_login": spec.verify_login,
    });
    let period = optional(spec.rotation_period.as_ref(), "spec.rotationPeriod")?;
    match &spec.rotation_schedule {
        Some(schedule) => {
            body["rotation_schedule"] = json!(schedule.split_whitespace().collect::<Vec<_>>().join(" "));
            let window = optional(spec.rotation_window.as_ref(), "spec.rotationWindow")?;
            body["rotation_window"] = json!(window.unwrap_or(0));
        }
        None => body["rotation_period"] = json!(period),
    }
    match &spec.usernames {
        Some(names) => {
            let grace = optional(spec.grace_period.as_ref(), "spec.gracePeriod")?;
            body["usernames"] = json!(names);
            body["grace_period"] = json!(grace.unwrap_or_else(|| period.unwrap_or(u64::MAX).min(DEFAULT_GRACE)));
        }
        None => body["username"] = json!(spec.username),
    }
    Ok(body)
}

/// How long the former one of two accounts keeps its password at least, whole seconds; `None` for a single account.
pub fn grace(spec: &StaticDatabaseRoleSpec) -> Option<u64> {
    role(spec, "", "").ok()?.get("grace_period")?.as_u64()
}

fn optional(period: Option<&Period>, field: &str) -> Result<Option<u64>, Error> {
    period.map(|period| period.seconds(field).map_err(|text| Error::refused("InvalidConfiguration", text))).transpose()
}

/// Whether the engine has something else than `body`. It leaves out what has its default.
pub fn differs(body: &Value, found: &Value) -> bool {
    let mut whole = json!({
        "rotation_statements": [], "credential_config": {}, "verify_login": true,
        "rotation_period": null, "rotation_schedule": null, "rotation_window": 0,
    });
    if let (Some(whole), Some(found)) = (whole.as_object_mut(), found.as_object()) {
        whole.extend(found.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    drift::differs(body, &whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(fields: Value) -> StaticDatabaseRoleSpec {
        let mut spec = json!({ "connectionRef": { "name": "pg" } });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn body(fields: Value) -> Value {
        role(&spec(fields), "shop", "own").unwrap()
    }

    #[test]
    fn one_account_has_a_period_and_no_grace() {
        assert_eq!(
            body(json!({ "username": "app", "rotationPeriod": "24h" })),
            json!({
                "db_name": "shop.pg", "username": "app", "rotation_period": 86_400, "rotation_statements": [],
                "credential_type": "password", "credential_config": {}, "verify_login": true,
            })
        );
    }

    #[test]
    fn two_accounts_have_the_grace_that_the_engine_would_give_them() {
        for (fields, expected) in [
            (json!({ "rotationPeriod": "24h" }), 3600),
            (json!({ "rotationPeriod": "1m" }), 60),
            (json!({ "rotationPeriod": "1m", "gracePeriod": "30s" }), 30),
            (json!({ "rotationSchedule": "0 3 * * SUN" }), 3600),
        ] {
            let mut fields = fields;
            fields["usernames"] = json!(["a", "b"]);
            assert_eq!(grace(&spec(fields.clone())), Some(expected), "{fields}");
            let body = body(fields.clone());
            assert_eq!((&body["usernames"], &body["grace_period"]), (&json!(["a", "b"]), &json!(expected)), "{fields}");
        }
    }

    #[test]
    fn a_policy_of_its_own_has_the_roles_name() {
        let of = |policy: Value| {
            body(json!({ "username": "app", "rotationPeriod": "1h", "passwordPolicy": policy }))["credential_config"]
                .clone()
        };
        assert_eq!(of(json!({ "name": "long" })), json!({ "password_policy": "long" }));
        assert_eq!(of(json!({ "policy": "length = 24" })), json!({ "password_policy": "own" }));
    }

    #[test]
    fn what_the_engine_leaves_out_is_compared_too() {
        let sent = body(json!({ "username": "app", "rotationPeriod": "1h" }));
        let same = json!({ "db_name": "shop.pg", "username": "app", "rotation_period": 3600,
            "rotation_statements": [], "credential_type": "password", "last_vault_rotation": null });
        assert!(!differs(&sent, &same));
        for (field, value) in [
            ("verifyLogin", json!(false)),
            ("passwordPolicy", json!({ "name": "long" })),
            ("rotationStatements", json!(["ALTER"])),
        ] {
            let mut fields = json!({ "username": "app", "rotationPeriod": "1h" });
            fields[field] = value;
            assert!(differs(&body(fields), &same), "{field}");
        }
        let scheduled = body(json!({ "username": "app", "rotationSchedule": "0  3 * * SUN", "rotationWindow": "2h" }));
        assert!(differs(&scheduled, &same));
        let mut cron = same.clone();
        cron.as_object_mut().unwrap().remove("rotation_period");
        cron["rotation_schedule"] = json!("0 3 * * SUN");
        assert!(differs(&scheduled, &cron), "the window is missing");
        cron["rotation_window"] = json!(7200);
        assert!(!differs(&scheduled, &cron));
        assert!(differs(&sent, &cron), "a schedule in place of the period");
    }
}
