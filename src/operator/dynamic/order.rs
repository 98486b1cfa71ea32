//! What an object asks for: a user of a role in the installed engine, or one from a path of another.

use kube::ResourceExt;

use crate::api::dynamic_secret::RoleRef;
use crate::api::{AdditionalUser, DynamicDatabaseSecret};
use crate::operator::error::Error;
use crate::operator::external::place::{EngineName, Place};
use crate::operator::kind::namespace_of;
use crate::operator::tenant::Tenant;

use super::sync::seconds;

/// A user that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who asks. Its role is that of the installed engine, or stands for the place.
    pub tenant: Tenant,
    /// Where another engine is asked.
    pub place: Option<Place>,
    /// The TTL that is asked for, whole seconds.
    pub ttl: Option<u64>,
}

impl Order {
    /// The first user of an object.
    ///
    /// # Errors
    /// [`Error::Refused`] where the spec says neither role nor engine, which the schema refuses.
    pub fn first(object: &DynamicDatabaseSecret) -> Result<Self, Error> {
        let spec = &object.spec;
        let ttl = spec.ttl.as_ref().map(|ttl| seconds(ttl, "spec.ttl")).transpose()?;
        match place(object, spec.mount.as_deref(), spec.path.as_deref()) {
            Some(place) => Ok(Self::at(object, place.with(spec.params.clone(), spec.method))),
            None => Self::of(object, spec.role_ref.as_ref(), "spec.roleRef", ttl),
        }
    }

    /// An additional user of an object.
    ///
    /// # Errors
    /// As [`Order::first`].
    pub fn additional(object: &DynamicDatabaseSecret, user: &AdditionalUser) -> Result<Self, Error> {
        let field = format!("spec.additionalUsers.{}", user.name);
        let ttl = user.ttl.as_ref().map(|ttl| seconds(ttl, &format!("{field}.ttl"))).transpose()?;
        let mount = user.mount.as_deref().or(object.spec.mount.as_deref());
        match place(object, mount, user.path.as_deref()) {
            Some(place) => Ok(Self::at(object, place)),
            None => Self::of(object, user.role_ref.as_ref(), &format!("{field}.roleRef"), ttl),
        }
    }

    fn of(
        object: &DynamicDatabaseSecret,
        role: Option<&RoleRef>,
        field: &str,
        ttl: Option<u64>,
    ) -> Result<Self, Error> {
        let missing = || Error::refused("InvalidSpec", format!("{field} is missing"));
        let role = role.ok_or_else(missing)?.engine_name(&namespace_of(object));
        Ok(Self { tenant: tenant(object, role), place: None, ttl })
    }

    fn at(object: &DynamicDatabaseSecret, place: Place) -> Self {
        Self { tenant: tenant(object, place.identity()), place: Some(place), ttl: None }
    }
}

fn place(object: &DynamicDatabaseSecret, mount: Option<&str>, path: Option<&str>) -> Option<Place> {
    let engine = EngineName::referred(object.spec.engine_ref.as_ref()?, &namespace_of(object));
    Some(Place::new(engine, mount, path?))
}

/// Whom the object acts as.
fn tenant(object: &DynamicDatabaseSecret, role: String) -> Tenant {
    Tenant {
        uid: object.uid().unwrap_or_default(),
        name: object.name_any(),
        service_account: object.spec.service_account_name.clone(),
        role,
        namespace: namespace_of(object),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> DynamicDatabaseSecret {
        let mut spec = spec;
        spec["destination"] = json!({ "name": "db" });
        serde_json::from_value(json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "DynamicDatabaseSecret",
            "metadata": { "name": "db", "namespace": "shop", "uid": "u" }, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn a_role_is_of_the_installed_engine_and_a_path_of_another() {
        let order = Order::first(&object(json!({ "roleRef": { "name": "app" }, "ttl": "1m" }))).unwrap();
        assert_eq!((order.tenant.role.as_str(), order.ttl, order.place), ("shop.app", Some(60), None));
        let path = object(json!({
            "engineRef": { "name": "vault", "namespace": "platform" }, "mount": "db", "path": "creds/app",
            "additionalUsers": [{ "name": "owner", "path": "creds/owner" }],
        }));
        let order = Order::first(&path).unwrap();
        assert_eq!(order.tenant.role, "platform/vault:db/creds/app");
        let owner = Order::additional(&path, &path.spec.additional_users[0]).unwrap();
        assert_eq!(owner.place.unwrap().request().0, "db/creds/owner");
        assert!(Order::first(&object(json!({}))).unwrap_err().story().contains("spec.roleRef"));
    }
}
