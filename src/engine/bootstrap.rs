//! The first start of an engine in a cluster: the Kubernetes login, the database mount and the operator's role, without any
//! root token being kept. Later starts find everything in place and change only what the configuration changed.

use serde_json::{Map, Value, json};

use super::core::Core;
use super::mount;
use crate::storage::cipher::Key;
use crate::wire::{Caller, Error, Fields, Operation, Request};

/// Name of the policy that the operator's tokens carry.
pub const OPERATOR_POLICY: &str = "lessor-operator";

/// The `bootstrap` stanza of the server's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The recovery key of a new engine, of which nobody is given shares.
    pub recovery_key: Option<RecoveryKey>,
    /// The Kubernetes login.
    pub kubernetes: Option<Kubernetes>,
    /// Where the database engine is mounted, `database`.
    pub database: Option<String>,
    /// A key-value engine, for dev mode.
    pub kv: Option<KeyValue>,
    /// Who the operator is.
    pub operator: Option<Operator>,
}

/// A recovery key that the configuration names; it is its own only share.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey(pub Key);

impl std::fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryKey(redacted)")
    }
}

/// A key-value engine that is mounted at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Where.
    pub path: String,
    /// 1, or 2: with versions.
    pub version: u8,
}

/// `kubernetes_auth { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// Mount path below `auth/`.
    pub path: String,
    /// URL of the API server.
    pub host: String,
}

/// `operator { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its login role.
    pub role: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// The ServiceAccount's namespace.
    pub namespace: String,
    /// Audience of its token; empty: any.
    pub audience: String,
}

/// What the operator may do: configure its mounts and logins, end workloads, and nothing with credentials or tokens.
fn operator_policy(plan: &Plan, operator: &Operator) -> String {
    let login = plan.kubernetes.as_ref().map_or("kubernetes", |kubernetes| &kubernetes.path);
    let database = plan.database.as_deref().unwrap_or("database");
    let all = r#"["create", "read", "update", "delete", "list"]"#;
    let mut text = String::new();
    for path in [
        format!("{database}/config/*"),
        format!("{database}/config"),
        format!("{database}/roles/*"),
        format!("{database}/roles"),
        format!("{database}/static-roles/*"),
        format!("{database}/static-roles"),
        format!("auth/{login}/role/*"),
        format!("auth/{login}/role"),
        "sys/policies/acl/lessor-role-*".to_owned(),
        "sys/policies/password/lessor-role-*".to_owned(),
    ] {
        text.push_str(&format!("path {path:?} {{ capabilities = {all} }}\n"));
    }
    // The operator must not widen its own login.
    text.push_str(&format!("path \"auth/{login}/role/{}\" {{ capabilities = [\"read\"] }}\n", operator.role));
    for path in ["reset", "rotate-role", "rotate-root"] {
        text.push_str(&format!("path \"{database}/{path}/*\" {{ capabilities = [\"update\"] }}\n"));
    }
    for path in ["sys/leases/lookup", "sys/leases/renew", "sys/leases/revoke"] {
        text.push_str(&format!("path {path:?} {{ capabilities = [\"update\"] }}\n"));
    }
    for (path, capability) in [("lookup", "list"), ("revoke-prefix", "update")] {
        let path = format!("sys/leases/{path}/{database}/creds/*");
        text.push_str(&format!("path {path:?} {{ capabilities = [{capability:?}, \"sudo\"] }}\n"));
    }
    text.push_str("path \"sys/lessor/*\" { capabilities = [\"create\", \"read\", \"update\", \"list\", \"sudo\"] }\n");
    text
}

impl Core {
    /// Carries out the plan; what is there already stays.
    ///
    /// # Errors
    /// What mounts, methods and the store say.
    pub async fn bootstrap(&self, plan: &Plan) -> Result<(), Error> {
        if let Some(path) = &plan.database {
            self.mount_once(path, json!({ "type": "database" })).await?;
        }
        if let Some(KeyValue { path, version }) = &plan.kv {
            let kv = json!({ "type": format!("kv-v{version}"), "description": "key/value secret storage" });
            self.mount_once(path, kv).await?;
        }
        let Some(kubernetes) = &plan.kubernetes else { return Ok(()) };
        let name = mount::normal_path(&kubernetes.path)?;
        if self.methods.get(&name).is_none() {
            let entry = mount::new_entry(
                &kubernetes.path,
                true,
                &fields(json!({ "type": "kubernetes" })),
                &*self.shared.random,
            )?;
            self.methods.add(entry).await?;
        }
        self.write(&name, "config", json!({ "kubernetes_host": kubernetes.host })).await?;
        let Some(operator) = &plan.operator else { return Ok(()) };
        self.policies.put(OPERATOR_POLICY, &operator_policy(plan, operator)).await?;
        let role = json!({
            "bound_service_account_names": [operator.service_account],
            "bound_service_account_namespaces": [operator.namespace],
            "audience": operator.audience, "token_policies": [OPERATOR_POLICY],
            "token_ttl": "1h", "token_max_ttl": "24h",
        });
        self.write(&name, &format!("role/{}", operator.role), role).await
    }

    async fn mount_once(&self, path: &str, body: Value) -> Result<(), Error> {
        if self.mounts.get(&mount::normal_path(path)?).is_some() {
            return Ok(());
        }
        let entry = mount::new_entry(path, false, &fields(body), &*self.shared.random)?;
        let name = entry.path.clone();
        self.mounts.add(entry).await?;
        if let Some(mounted) = self.mounts.get(&name) {
            self.set_going(&mounted);
        }
        Ok(())
    }

    async fn write(&self, method: &str, path: &str, body: Value) -> Result<(), Error> {
        let mounted = self.methods.get(method).ok_or_else(Error::not_found)?;
        let request = Request {
            operation: Operation::Write,
            path: path.to_owned(),
            fields: fields(body),
            caller: Caller::default(),
        };
        mounted.plugin.handle(request).await.map(|_| ())
    }
}

fn fields(body: Value) -> Fields {
    match body {
        Value::Object(map) => map.into(),
        _ => Map::new().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policies::Access;

    #[test]
    fn the_operator_cannot_reach_credentials_or_its_own_role() {
        let plan = Plan { database: Some("database".into()), ..Plan::default() };
        let operator = Operator {
            role: "lessor-operator".into(),
            service_account: "op".into(),
            namespace: "lessor".into(),
            audience: "lessor".into(),
        };
        let access = Access::of(&[("operator", &operator_policy(&plan, &operator))]).unwrap();
        let none = Fields::default();
        assert_eq!(access.may_write("database/config/a.b", &none, None), (true, true));
        assert_eq!(access.may_write("auth/kubernetes/role/a.b", &none, None), (true, true));
        assert_eq!(access.may_write("auth/kubernetes/role/lessor-operator", &none, None), (false, false));
        assert!(!access.may(Operation::Read, "database/creds/a.b", &none, None));
        assert_eq!(access.may_write("database/static-roles/a.b", &none, None), (true, true));
        assert!(!access.may(Operation::Read, "database/static-creds/a.b", &none, None));
        assert_eq!(access.may_write("database/rotate-root/a.b", &none, None), (false, true));
        assert_eq!(access.may_write("sys/policies/password/default", &none, None), (false, false));
        assert_eq!(access.may_write("auth/token/create", &none, None), (false, false));
        assert_eq!(access.may_write("sys/policies/acl/default", &none, None), (false, false));
        assert!(access.has_sudo("sys/lessor/workloads/end"));
        assert!(access.may(Operation::List, "sys/leases/lookup/database/creds/a.b", &none, None));
        assert!(access.has_sudo("sys/leases/revoke-prefix/database/creds/a.b"));
        assert_eq!(access.may_write("sys/leases/revoke-prefix/auth", &none, None), (false, false));
    }
}
