//! The engine with a tenant's rights: a token of its own ServiceAccount, never the operator's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::error::{self, Error};
use crate::base::{Clock, Secret, Timestamp, clock};
use crate::client::{self, Client};

/// How long the ServiceAccount token lives, whole seconds: the shortest that Kubernetes gives. It is used at once.
const JWT_SECONDS: i64 = 600;

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
    kube: kube::Client,
    engine: Client,
    mount: String,
    audience: String,
    clock: Arc<dyn Clock>,
    /// By workload and role.
    logins: Mutex<HashMap<(String, String), Login>>,
}

impl Tenants {
    /// No logins yet. `engine` carries no token.
    pub fn new(kube: kube::Client, engine: Client, mount: String, audience: String, clock: Arc<dyn Clock>) -> Self {
        Self { kube, engine, mount, audience, clock, logins: Mutex::default() }
    }

    /// The engine as `tenant` may use it.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist, or the engine does not let it log in to the role.
    pub async fn client(&self, tenant: &Tenant) -> Result<Client, Error> {
        if let Some(client) = self.known(tenant) {
            return Ok(client);
        }
        let jwt = self.service_account_token(tenant).await?;
        let body = json!({
            "role": tenant.role, "jwt": jwt.expose(),
            "workload_uid": tenant.uid, "workload_name": tenant.name,
        });
        let auth = self.engine.login(&self.mount, &body).await.map_err(|error| refusal(tenant, error))?;
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

    async fn service_account_token(&self, tenant: &Tenant) -> Result<Secret, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.kube.clone(), &tenant.namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![self.audience.clone()]),
                expiration_seconds: Some(JWT_SECONDS),
                bound_object_ref: None,
            }),
            ..TokenRequest::default()
        };
        let account = format!("ServiceAccount {}/{}", tenant.namespace, tenant.service_account);
        let answer = accounts.create_token_request(&tenant.service_account, &PostParams::default(), &request).await;
        match answer {
            Ok(answer) => answer
                .status
                .and_then(|status| status.token)
                .map(Secret::new)
                .ok_or_else(|| Error::waiting("TokenMissing", format!("Kubernetes gave no token for {account}"))),
            Err(error) if error::is_not_found(&error) => Err(Error::refused(
                "ServiceAccountNotFound",
                format!("spec.serviceAccountName: {account} does not exist"),
            )),
            Err(error) => Err(Error::kube(format!("cannot get a token for {account}"))(error)),
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
