//! DatabaseRoles: into the engine's role, its policy, and the login of the ServiceAccounts that it allows.

use std::time::Duration;

use async_trait::async_trait;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::allow::{self, Bounds, Labelled};
use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, describe, namespace_of};
use super::{drift, leases};
use crate::api::condition::{self, READY};
use crate::api::names::{engine_name, role_policy};
use crate::api::{DatabaseRole, DatabaseRoleSpec, DatabaseRoleStatus};

/// How often a role is compared with the engine.
const RESYNC: Duration = Duration::from_secs(300);
/// How long a workload's login lives, whole seconds. Leases outlive it: they belong to the workload.
const TOKEN_TTL: u64 = 3600;
/// How long a login can be renewed, whole seconds.
const TOKEN_MAX_TTL: u64 = 86_400;

#[async_trait]
impl Kind for DatabaseRole {
    type Status = DatabaseRoleStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        let namespace = namespace_of(self);
        let name = engine_name(&namespace, &self.name_any());
        let parts = Parts { name: &name, context };
        let role = role(&self.spec, &namespace)?;
        let bounds = match allow::bounds(&self.spec.allow, &namespace, labelled(context).as_deref()) {
            Ok(bounds) => bounds,
            Err(error) => {
                // What cannot be expressed lets nobody in, whoever was let in before.
                parts.remove(&parts.login_path()).await?;
                return Err(error);
            }
        };
        // Rights are taken away even while the connection is not usable, so all of this comes first.
        parts.put(&parts.role_path(), &role).await?;
        parts
            .put(&parts.policy_path(), &json!({ "policy": policy(&context.database_mount, &name).to_string() }))
            .await?;
        if bounds.is_empty() {
            parts.remove(&parts.login_path()).await?;
        } else {
            parts.put(&parts.login_path(), &login(&bounds, &name, &context.audience)).await?;
        }
        status.allowed_namespaces = i32::try_from(bounds.namespaces()).ok();
        status.engine_name = Some(name.clone());
        require_connection(context, &namespace, &self.spec.connection_ref.name)?;
        Ok(Done {
            reason: "Configured",
            message: match bounds.namespaces() {
                0 => format!("the engine has the role as {name:?}; spec.allow names nobody who may use it"),
                1 => format!("the engine has the role as {name:?}, for ServiceAccounts of 1 namespace"),
                many => format!("the engine has the role as {name:?}, for ServiceAccounts of {many} namespaces"),
            },
            next: RESYNC.mul_f64(context.random.jitter(0.1)),
        })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        let name = engine_name(&namespace_of(self), &self.name_any());
        let parts = Parts { name: &name, context };
        parts.remove(&parts.login_path()).await?;
        leases::revoke_role(context, &name).await?;
        // With what was leased since; Vault takes no notice of the parameter.
        parts.remove(&format!("{}?cascade=true", parts.role_path())).await?;
        parts.remove(&parts.policy_path()).await
    }

    fn give_up(&self, _: &Context) -> String {
        let name = engine_name(&namespace_of(self), &self.name_any());
        format!("the engine may still have the role {name:?} and its login: they are removed as soon as it answers")
    }
}

/// The parts of one role in the engine.
struct Parts<'a> {
    name: &'a str,
    context: &'a Context,
}

impl Parts<'_> {
    fn role_path(&self) -> String {
        format!("{}/roles/{}", self.context.database_mount, self.name)
    }

    fn policy_path(&self) -> String {
        format!("sys/policies/acl/{}", role_policy(self.name))
    }

    fn login_path(&self) -> String {
        format!("auth/{}/role/{}", self.context.auth_mount, self.name)
    }

    /// Writes what the engine does not have yet; the read is cheaper than a write that goes to disk.
    async fn put(&self, path: &str, body: &Value) -> Result<(), Error> {
        let answer = self.context.session.read(path).await;
        let found = answer.map_err(Error::engine(format!("cannot read {path} from the engine")))?;
        let data = found.and_then(|envelope| envelope.data);
        if data.is_some_and(|data| !drift::differs(body, &data)) {
            return Ok(());
        }
        let answer = self.context.session.write(path, body).await;
        answer.map(drop).map_err(Error::engine(format!("cannot write {path} to the engine")))
    }

    async fn remove(&self, path: &str) -> Result<(), Error> {
        self.context.session.delete(path).await.map_err(Error::engine(format!("cannot remove {path} from the engine")))
    }
}

fn labelled(context: &Context) -> Option<Vec<Labelled>> {
    let namespaces = context.namespaces.as_ref()?.state();
    Some(namespaces.iter().map(|namespace| (namespace.name_any(), namespace.labels().clone())).collect())
}

fn require_connection(context: &Context, namespace: &str, name: &str) -> Result<(), Error> {
    let field = "spec.connectionRef.name";
    let Some(connection) = context.connections.get(namespace, name) else {
        let message = format!("{field}: there is no DatabaseConnection {namespace}/{name}");
        return Err(Error::waiting("ConnectionNotFound", message));
    };
    let ready = connection.status.as_ref().and_then(|status| condition::get(&status.conditions, READY));
    if ready.is_some_and(|ready| ready.status == "True") {
        return Ok(());
    }
    let cause = ready.map_or("it was not looked at yet", |ready| ready.message.as_str());
    let connection = describe(&*connection);
    Err(Error::waiting("ConnectionNotReady", format!("{field}: {connection} is not ready: {cause}")))
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

/// What a workload may do: ask for a user of this role, and keep or end what it has. As JSON, so that no name needs quoting.
fn policy(mount: &str, name: &str) -> Value {
    json!({ "path": {
        format!("{mount}/creds/{name}"): { "capabilities": ["read"] },
        "sys/leases/renew": { "capabilities": ["update"] },
        "sys/leases/revoke": { "capabilities": ["update"] },
    } })
}

/// The body of `auth/kubernetes/role/…`.
fn login(bounds: &Bounds, name: &str, audience: &str) -> Value {
    json!({
        "bound_service_account_names": bounds.names,
        "bound_service_account_namespaces": bounds.namespaces,
        "bound_service_accounts": bounds.accounts,
        "audience": audience,
        "token_policies": [role_policy(name)],
        "token_ttl": TOKEN_TTL,
        "token_max_ttl": TOKEN_MAX_TTL,
        "lease_owner": "workload",
    })
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
            (&body["db_name"], &body["default_ttl"], &body["max_ttl"]),
            (&json!("shop.app"), &json!(90), &json!(86_400))
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

    #[test]
    fn the_policy_reaches_one_role_only() {
        let text = policy("database", "shop.app").to_string();
        assert!(text.contains("\"database/creds/shop.app\":{\"capabilities\":[\"read\"]}"), "{text}");
        assert!(!text.contains('*'));
    }

    #[test]
    fn the_login_role_makes_leases_the_workloads() {
        let bounds = Bounds { names: vec!["web".into()], namespaces: vec!["a".into()], accounts: Vec::new() };
        let body = login(&bounds, "shop.app", "lessor");
        assert_eq!(body["lease_owner"], "workload");
        assert_eq!(body["token_policies"], json!(["lessor-role-shop.app"]));
        assert_eq!(body["audience"], "lessor");
    }
}
