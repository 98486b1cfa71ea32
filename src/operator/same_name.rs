//! DatabaseRole and StaticDatabaseRole of one name: the engine keeps one role of a name, which is the older object's.

use kube::ResourceExt;

use super::context::Context;
use super::error::Error;
use super::kind::{describe, namespace_of};
use super::watched::Object;
use crate::api::{DatabaseRole, StaticDatabaseRole};

/// The DatabaseRole that has the name of a StaticDatabaseRole in the engine, if it is the older one, or as old.
pub fn holder_before_static(context: &Context, role: &StaticDatabaseRole) -> Option<String> {
    let other = context.roles.get(&namespace_of(role), &role.name_any())?;
    (!is_older(role, &*other)).then(|| describe(&*other))
}

/// The StaticDatabaseRole that has the name of a DatabaseRole in the engine, if it is the older one.
pub fn holder_before(context: &Context, role: &DatabaseRole) -> Option<String> {
    let other = context.static_roles.get(&namespace_of(role), &role.name_any())?;
    is_older(&*other, role).then(|| describe(&*other))
}

/// Refuses a role whose name another object has.
///
/// # Errors
/// [`Error::Refused`] naming `holder`.
pub fn refuse_second(holder: Option<String>) -> Result<(), Error> {
    let Some(holder) = holder else { return Ok(()) };
    let message = format!("metadata.name: the engine has this name for {holder} already: make a role of another name");
    Err(Error::refused("NameTaken", message))
}

fn is_older(one: &impl Object, other: &impl Object) -> bool {
    match (&one.meta().creation_timestamp, &other.meta().creation_timestamp) {
        (Some(one), Some(other)) => one.0 < other.0,
        // Only an object that is gone, and cleaned up after later, has none.
        (one, other) => one.is_some() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(kind: &str, created: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": kind,
            "metadata": { "name": "app", "namespace": "shop", "creationTimestamp": created }, "spec": spec,
        })
    }

    #[test]
    fn the_older_object_keeps_the_name_and_a_tie_has_one_winner() {
        let role = |created: &str| -> DatabaseRole {
            let spec = json!({ "connectionRef": { "name": "pg" }, "preset": "readonly" });
            serde_json::from_value(object("DatabaseRole", created, &spec)).unwrap()
        };
        let account = |created: &str| -> StaticDatabaseRole {
            let spec = json!({ "connectionRef": { "name": "pg" }, "username": "app", "rotationPeriod": "1h" });
            serde_json::from_value(object("StaticDatabaseRole", created, &spec)).unwrap()
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert!(is_older(&account(early), &role(late)) && !is_older(&role(late), &account(early)));
        assert!(!is_older(&account(late), &role(early)));
        assert!(!is_older(&account(early), &role(early)), "of two that are as old the DatabaseRole has the name");
        let error = refuse_second(Some("DatabaseRole shop/app".into())).unwrap_err();
        assert!(error.needs_change() && error.story().contains("DatabaseRole shop/app"), "{}", error.story());
    }
}
