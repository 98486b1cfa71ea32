//! The login of a role: which ServiceAccounts the engine lets in, and the one path that they may read.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::allow::{self, Bounds, Labelled};
use super::configuration;
use super::context::Context;
use super::error::Error;
use super::kind::describe;
use crate::api::condition::{self, READY};
use crate::api::names::role_policy;
use crate::api::role::Allowed;

/// How long a workload's login lives, whole seconds. Leases outlive it: they belong to the workload.
const TOKEN_TTL: u64 = 3600;
/// How long a login can be renewed, whole seconds.
const TOKEN_MAX_TTL: u64 = 86_400;

/// The login role and the policy of one role, both named by it.
pub struct LoginRole<'a> {
    /// What the role is called in the engine.
    pub name: &'a str,
    /// The engine.
    pub context: &'a Context,
}

impl LoginRole<'_> {
    /// Lets in whom `allow` names and nobody else, and returns of how many namespaces they are. `own` is the role's
    /// namespace, `path` what they may read.
    ///
    /// # Errors
    /// See [`allow::bounds`]; then nobody is let in.
    pub async fn admit(&self, allow: &[Allowed], own: &str, path: &str) -> Result<usize, Error> {
        let bounds = match allow::bounds(allow, own, labelled(self.context).as_deref()) {
            Ok(bounds) => bounds,
            Err(error) => {
                // What cannot be expressed lets nobody in, whoever was let in before.
                self.bar().await?;
                return Err(error);
            }
        };
        let policy = json!({ "policy": policy(path).to_string() });
        configuration::put(self.context, &self.policy_path(), &policy).await?;
        if bounds.is_empty() {
            self.bar().await?;
        } else {
            let login = login(&bounds, self.name, &self.context.audience);
            configuration::put(self.context, &self.login_path(), &login).await?;
        }
        Ok(bounds.namespaces())
    }

    /// Lets nobody in any more.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn bar(&self) -> Result<(), Error> {
        configuration::remove(self.context, &self.login_path()).await
    }

    /// Removes the policy, once nobody is let in.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn remove_policy(&self) -> Result<(), Error> {
        configuration::remove(self.context, &self.policy_path()).await
    }

    fn policy_path(&self) -> String {
        format!("sys/policies/acl/{}", role_policy(self.name))
    }

    fn login_path(&self) -> String {
        format!("auth/{}/role/{}", self.context.auth_mount, self.name)
    }
}

/// `for ServiceAccounts of 2 namespaces`, for messages.
pub fn for_whom(namespaces: usize) -> String {
    match namespaces {
        0 => "; spec.allow names nobody who may use it".to_owned(),
        1 => ", for ServiceAccounts of 1 namespace".to_owned(),
        many => format!(", for ServiceAccounts of {many} namespaces"),
    }
}

/// A connection that can be seen to be ready.
///
/// # Errors
/// [`Error::Waiting`] with what its own condition says.
pub fn require_connection(context: &Context, namespace: &str, name: &str) -> Result<(), Error> {
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

fn labelled(context: &Context) -> Option<Vec<Labelled>> {
    let namespaces = context.namespaces.as_ref()?.state();
    Some(namespaces.iter().map(|namespace| (namespace.name_any(), namespace.labels().clone())).collect())
}

/// What a workload may do: read its credential, and keep or end what it has. As JSON, so that no name needs quoting.
fn policy(path: &str) -> Value {
    json!({ "path": {
        path: { "capabilities": ["read"] },
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
    fn the_policy_reaches_one_role_only() {
        let text = policy("database/creds/shop.app").to_string();
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
