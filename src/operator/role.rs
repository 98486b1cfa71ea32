//! DatabaseRoles: into the engine's role, its policy, and the login of the ServiceAccounts that it allows.

use std::time::Duration;

use async_trait::async_trait;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, namespace_of};
use super::login_role::{LoginRole, for_whom, require_connection};
use super::{configuration, leases, same_name};
use crate::api::names::engine_name;
use crate::api::{DatabaseRole, DatabaseRoleSpec, DatabaseRoleStatus};

/// How often a role is compared with the engine.
const RESYNC: Duration = Duration::from_secs(300);

#[async_trait]
impl Kind for DatabaseRole {
    type Status = DatabaseRoleStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        same_name::refuse_second(same_name::holder_before(context, self))?;
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        let login = LoginRole { name: &name, context };
        let role = role(&self.spec, &namespace)?;
        // Rights are taken away even while the connection is not usable, so they come first.
        let path = format!("{}/creds/{name}", context.database_mount);
        let namespaces = login.admit(&self.spec.allow, &namespace, &path).await?;
        let unsaid = json!({ "preset": "", "spares": 0 });
        configuration::put_where_unsaid(context, &role_path(context, &name), &role, &unsaid).await?;
        status.allowed_namespaces = i32::try_from(namespaces).ok();
        status.engine_name = Some(name.clone());
        require_connection(context, &namespace, &self.spec.connection_ref.name)?;
        Ok(Done {
            reason: "Configured",
            message: format!("the engine has the role as {name:?}{}", for_whom(namespaces)),
            next: RESYNC.mul_f64(context.random.jitter(0.1)),
        })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        let name = engine_name(&namespace_of(self), &self.name_any());
        let login = LoginRole { name: &name, context };
        let is_ours = same_name::holder_before(context, self).is_none();
        if is_ours {
            login.bar().await?;
        }
        leases::revoke_role(context, &name).await?;
        // With what was leased since; Vault takes no notice of the parameter.
        configuration::remove(context, &format!("{}?cascade=true", role_path(context, &name))).await?;
        if is_ours { login.remove_policy().await } else { Ok(()) }
    }

    fn give_up(&self, _: &Context) -> String {
        let name = engine_name(&namespace_of(self), &self.name_any());
        format!("the engine may still have the role {name:?} and its login: they are removed as soon as it answers")
    }
}

fn role_path(context: &Context, name: &str) -> String {
    format!("{}/roles/{name}", context.database_mount)
}

/// The body of `database/roles/…`.
fn role(spec: &DatabaseRoleSpec, namespace: &str) -> Result<Value, Error> {
    let seconds = |period: &crate::api::Period, field: &str| {
        period.seconds(field).map_err(|problem| Error::refused("InvalidConfiguration", problem))
    };
    let mut body = json!({
        "db_name": engine_name(namespace, &spec.connection_ref.name),
        "revocation_statements": spec.revocation_statements,
        "renew_statements": spec.renew_statements,
        "rollback_statements": spec.rollback_statements,
        "default_ttl": seconds(&spec.default_ttl, "spec.defaultTTL")?,
        "max_ttl": seconds(&spec.max_ttl, "spec.maxTTL")?,
        "spares": spec.spares,
    });
    // Each takes the other's place in the engine, so only one is named.
    match spec.preset {
        Some(preset) => {
            body["preset"] = json!(preset);
            body["schema"] = json!(spec.schema.as_deref().unwrap_or("public"));
        }
        None => body["creation_statements"] = json!(spec.creation_statements),
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_stays_within_its_namespace_and_speaks_in_seconds() {
        let spec: DatabaseRoleSpec = serde_json::from_value(json!({
            "connectionRef": { "name": "app" }, "creationStatements": ["CREATE"], "defaultTTL": "1m30s",
        }))
        .unwrap();
        let body = role(&spec, "shop").unwrap();
        assert_eq!(
            (&body["db_name"], &body["default_ttl"], &body["max_ttl"], &body["spares"]),
            (&json!("shop.app"), &json!(90), &json!(86_400), &json!(0))
        );
    }

    #[test]
    fn a_preset_takes_the_place_of_statements() {
        let spec = |fields: Value| {
            let mut spec = json!({ "connectionRef": { "name": "app" } });
            spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            role(&serde_json::from_value(spec).unwrap(), "shop").unwrap()
        };
        let preset = spec(json!({ "preset": "owner-of-schema", "schema": "app" }));
        assert_eq!((&preset["preset"], &preset["schema"]), (&json!("owner-of-schema"), &json!("app")));
        assert_eq!(preset.get("creation_statements"), None);
        assert_eq!(spec(json!({ "preset": "readonly" }))["schema"], "public");
        let statements = spec(json!({ "creationStatements": ["CREATE"] }));
        assert_eq!((&statements["creation_statements"], statements.get("preset")), (&json!(["CREATE"]), None));
    }
}
