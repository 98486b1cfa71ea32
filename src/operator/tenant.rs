//! The engine with a tenant's rights: a token of its own ServiceAccount, never the operator's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::error::Error;
use super::fence::{Fence, NotLeading};
use super::metrics::{self, Metrics};
use super::service_account::AccountTokens;
use crate::base::{Clock, Secret, Timestamp, clock};
use crate::client::{self, Client};
use crate::wire::Auth;

/// Who asks for a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// UID of the custom resource: it owns the leases.
    pub uid: String,
    /// Its namespace, which is the ServiceAccount's, too.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The ServiceAccount that it acts as.
    pub service_account: String,
    /// The login role at the engine.
    pub role: String,
}

struct Login {
    tenant: Tenant,
    client: Client,
    good_until: Timestamp,
}

/// Logins of tenants, kept while their tokens live.
pub struct Tenants {
    accounts: AccountTokens,
    engine: Client,
    mount: String,
    fence: Fence,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// By workload and role.
    logins: Mutex<HashMap<(String, String), Login>>,
}

impl Tenants {
    /// No logins yet. `engine` carries no token.
    pub fn new(
        accounts: AccountTokens,
        engine: Client,
        mount: String,
        fence: Fence,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { accounts, engine, mount, fence, metrics, clock, logins: Mutex::default() }
    }

    /// The engine as `tenant` may use it.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist, or the engine does not let it log in to the role.
    pub async fn client(&self, tenant: &Tenant) -> Result<Client, Error> {
        if !self.fence.is_open() {
            return Err(Error::waiting("NotLeading", NotLeading.to_string()));
        }
        if let Some(client) = self.known(tenant) {
            return Ok(client);
        }
        let auth = self.log_in(tenant).await?;
        let client = self.engine.with_token(Secret::new(auth.client_token));
        // A margin, so that no token ends between this check and its use.
        let good_until = clock::add_seconds(self.clock.now(), auth.lease_duration * 9 / 10);
        let login = Login { tenant: tenant.clone(), client: client.clone(), good_until };
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).insert(key(tenant), login);
        Ok(client)
    }

    /// Drops the logins: the engine denied one, or the object is gone.
    pub fn forget(&self, uid: &str) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).retain(|(owner, _), _| owner != uid);
    }

    fn known(&self, tenant: &Tenant) -> Option<Client> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let login = logins.get(&key(tenant))?;
        (login.tenant == *tenant && self.clock.now() < login.good_until).then(|| login.client.clone())
    }

    async fn log_in(&self, tenant: &Tenant) -> Result<Auth, Error> {
        let Tenant { uid, namespace, name, service_account, role } = tenant;
        let mut anew = false;
        loop {
            let token = self.accounts.get(namespace, service_account, anew).await?;
            let body = json!({ "role": role, "jwt": token.jwt.expose(), "workload_uid": uid, "workload_name": name });
            metrics::count(&self.metrics.tenant_logins);
            match self.engine.login(&self.mount, &body).await {
                Err(error) if error.status() == Some(403) && !token.fresh => anew = true,
                answer => return answer.map_err(|error| refusal(tenant, error)),
            }
        }
    }
}

fn key(tenant: &Tenant) -> (String, String) {
    (tenant.uid.clone(), tenant.role.clone())
}

/// A refused login in words that tell the two parties what to do.
fn refusal(tenant: &Tenant, error: client::Error) -> Error {
    let Tenant { namespace, service_account, role, .. } = tenant;
    let (role_namespace, role_name) = role.split_once('.').unwrap_or(("", role));
    match error.status() {
        Some(403) => Error::refused(
            "Denied",
            format!(
                "ServiceAccount {namespace}/{service_account} may not use the role {role_namespace}/{role_name}: \
                 name it in spec.allow of that role ({error})"
            ),
        ),
        // The engine knows no such login role: there is no such DatabaseRole, or it allows nobody.
        Some(400) => Error::waiting(
            "RoleNotUsable",
            format!(
                "spec.roleRef: the role {role_namespace}/{role_name} does not exist, is not Ready, or allows nobody \
                 in its spec.allow ({error})"
            ),
        ),
        _ => Error::engine(format!("cannot log in as ServiceAccount {namespace}/{service_account}"))(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> client::Error {
        client::Error::Api { path: "auth/kubernetes/login".into(), status, errors: vec![text.into()] }
    }

    #[test]
    fn a_refusal_names_both_parties_and_the_field() {
        let tenant = Tenant {
            uid: "u".into(),
            namespace: "shop".into(),
            name: "db".into(),
            service_account: "orders".into(),
            role: "infra.app.v1".into(),
        };
        let denied = refusal(&tenant, answer(403, "service account name not authorized"));
        assert_eq!(denied.reason(), "Denied");
        let story = denied.story();
        assert!(
            story.contains("shop/orders") && story.contains("infra/app.v1") && story.contains("spec.allow"),
            "{story}"
        );
        assert_eq!(refusal(&tenant, answer(400, "invalid role name")).reason(), "RoleNotUsable");
        assert_eq!(refusal(&tenant, answer(503, "sealed")).reason(), "EngineUnavailable");
    }
}
