//! The engine with a tenant's rights: a token of its own ServiceAccount, never the operator's.

use std::sync::Arc;

use serde_json::json;

use super::error::Error;
use super::fence::{Fence, NotLeading};
use super::metrics::{self, Metrics};
use super::service_account::AccountTokens;
use super::slots::Slots;
use crate::base::{Clock, Secret, clock};
use crate::client::{self, Client};
use crate::wire::Auth;

/// For how long a login is used, whole seconds: so long a ServiceAccount that may not any more, or is gone, is still served.
const USED: u64 = 60;

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
    /// The login role at the installed engine. For another engine, what stands for the path there.
    pub role: String,
}

/// Logins of tenants, one for all objects that act as the same ServiceAccount for the same role: whose a lease is, each request
/// says.
pub struct Tenants {
    accounts: Arc<AccountTokens>,
    audiences: [String; 1],
    engine: Client,
    mount: String,
    fence: Fence,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// By namespace, ServiceAccount and role.
    logins: Slots<(String, String, String), Client>,
}

impl Tenants {
    /// No logins yet. `engine` carries no token and takes ServiceAccounts' tokens for `audience`.
    pub fn new(
        accounts: Arc<AccountTokens>,
        audience: String,
        engine: Client,
        mount: String,
        fence: Fence,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (audiences, logins) = ([audience], Slots::new(clock.clone()));
        Self { accounts, audiences, engine, mount, fence, metrics, logins, clock }
    }

    /// The engine as `tenant` may use it.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist, or the engine does not let it log in to the role.
    pub async fn client(&self, tenant: &Tenant) -> Result<Client, Error> {
        self.client_other_than(tenant, None).await
    }

    /// The same with another login than that of `denied`, which the engine has refused.
    ///
    /// # Errors
    /// As [`Tenants::client`].
    pub async fn client_after(&self, tenant: &Tenant, denied: &Client) -> Result<Client, Error> {
        self.client_other_than(tenant, Some(denied)).await
    }

    async fn client_other_than(&self, tenant: &Tenant, denied: Option<&Client>) -> Result<Client, Error> {
        if !self.fence.is_open() {
            return Err(Error::waiting("NotLeading", NotLeading.to_string()));
        }
        let Tenant { namespace, service_account, role, .. } = tenant;
        let key = (namespace.clone(), service_account.clone(), role.clone());
        let unwanted = |client: &Client| denied.is_some_and(|denied| denied.token() == client.token());
        let make = || async {
            let asked = self.clock.now();
            let auth = self.log_in(tenant).await?;
            let used = USED.min(auth.lease_duration / 2);
            Ok((self.engine.with_token(Secret::new(auth.client_token)), clock::add_seconds(asked, used)))
        };
        let (client, _) = self.logins.get(key, unwanted, make).await?;
        Ok(client.for_workload(&tenant.uid, &tenant.name))
    }

    async fn log_in(&self, tenant: &Tenant) -> Result<Auth, Error> {
        let Tenant { namespace, service_account, role, .. } = tenant;
        let mut anew = false;
        loop {
            let token = self.accounts.get(namespace, service_account, &self.audiences, anew).await?;
            let body = json!({ "role": role, "jwt": token.jwt.expose() });
            metrics::count(&self.metrics.tenant_logins);
            match self.engine.login(&self.mount, &body).await {
                Err(error) if error.status() == Some(403) && !token.fresh => anew = true,
                answer => return answer.map_err(|error| refusal(tenant, error)),
            }
        }
    }
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
