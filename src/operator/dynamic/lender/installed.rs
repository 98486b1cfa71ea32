//! The installed engine lends, always with the tenant's own rights; leases are the object's there.

use std::future::Future;

use async_trait::async_trait;

use super::{Lender, Renewal};
use crate::api::condition::{self, READY};
use crate::base::Secret;
use crate::client::{self, Client};
use crate::operator::context::Context;
use crate::operator::dynamic::content::Credential;
use crate::operator::dynamic::endpoint::Endpoint;
use crate::operator::dynamic::held::fingerprint;
use crate::operator::dynamic::order::Order;
use crate::operator::dynamic::record::{LeaseId, LeaseRecord};
use crate::operator::error::Error;
use crate::operator::tenant::Tenant;

/// The engine that was installed with the operator.
pub struct Installed<'a> {
    /// Shared.
    pub context: &'a Context,
}

#[async_trait]
impl Lender for Installed<'_> {
    fn require(&self, order: &Order) -> Result<(), Error> {
        let (namespace, name) = order.tenant.role.split_once('.').unwrap_or_default();
        let role = self.context.roles.get(namespace, name);
        let ready = role.as_ref().and_then(|role| role.status.as_ref());
        let ready = ready.and_then(|status| condition::get(&status.conditions, READY));
        match ready.filter(|ready| ready.status != "True") {
            Some(ready) => {
                let message = format!("spec.roleRef: DatabaseRole {namespace}/{name} is not ready: {}", ready.message);
                Err(Error::waiting("RoleNotReady", message))
            }
            None => Ok(()),
        }
    }

    fn endpoint(&self, order: &Order) -> Endpoint {
        let (namespace, name) = order.tenant.role.split_once('.').unwrap_or_default();
        let role = self.context.roles.get(namespace, name);
        let connection = role.and_then(|role| self.context.connections.get(namespace, &role.spec.connection_ref.name));
        connection
            .and_then(|connection| connection.spec.connection_url.as_deref().map(Endpoint::parse))
            .unwrap_or_default()
    }

    async fn issue(&self, order: &Order) -> Result<(LeaseRecord, Credential), Error> {
        issue(self.context, &order.tenant, order.ttl).await
    }

    async fn renew(&self, tenant: &Tenant, lease: &LeaseRecord) -> Result<Renewal, Error> {
        let id = lease.id.expose();
        match call(self.context, tenant, |client| async move { client.renew_lease(id, Some(lease.ttl)).await }).await? {
            Ok(envelope) if envelope.lease_duration > 0 => Ok(Renewal::Prolonged(envelope.lease_duration)),
            Ok(_) => Ok(Renewal::Ended),
            Err(error) if error.is_lease_ended() => Ok(Renewal::Ended),
            Err(error) => Err(Error::engine(format!("cannot renew the lease of user {:?}", lease.username))(error)),
        }
    }

    async fn revoke(&self, tenant: &Tenant, lease: &LeaseRecord) -> Result<(), Error> {
        let id = lease.id.expose();
        let answer = call(self.context, tenant, |client| async move { client.revoke_lease(id, false).await }).await?;
        answer.map_err(Error::engine(format!("cannot revoke the lease of user {:?}", lease.username)))
    }

    async fn ended(&self, _: &LeaseRecord) {}

    fn longest_life(&self, lease: &LeaseRecord) -> Option<u64> {
        let (namespace, name) = lease.role.split_once('.')?;
        self.context.roles.get(namespace, name)?.spec.max_ttl.seconds("maxTTL").ok()
    }

    fn limit(&self, lease: &LeaseRecord) -> String {
        format!("maxTTL of DatabaseRole {}", lease.role.replacen('.', "/", 1))
    }
}

/// Calls the engine as `tenant`, with another login when the engine does not know the token any more.
///
/// # Errors
/// When the tenant cannot log in; the engine's own answer is inside.
pub async fn call<T, F: Future<Output = Result<T, client::Error>>>(
    context: &Context,
    tenant: &Tenant,
    request: impl Fn(Client) -> F,
) -> Result<Result<T, client::Error>, Error> {
    let client = context.tenants.client(tenant).await?;
    let answer = request(client.clone()).await;
    if !answer.as_ref().is_err_and(client::Error::is_denied) {
        return Ok(answer);
    }
    Ok(request(context.tenants.client_after(tenant, &client).await?).await)
}

async fn issue(context: &Context, tenant: &Tenant, ttl: Option<u64>) -> Result<(LeaseRecord, Credential), Error> {
    let mut path = format!("{}/creds/{}", context.database_mount, tenant.role);
    if let Some(ttl) = ttl {
        path.push_str(&format!("?ttl={ttl}"));
    }
    let path = path.as_str();
    let what = || format!("cannot get a database user of role {:?}", tenant.role);
    // The lease begins no later than this, so its end is not taken for later than it is.
    let issued = condition::whole_seconds(context.clock.now());
    let answer = call(context, tenant, |client| async move { client.read(path).await }).await?;
    let envelope = answer.map_err(Error::engine(what()))?.unwrap_or_default();
    let text = |key: &str| envelope.data.as_ref().and_then(|data| data[key].as_str()).map(str::to_owned);
    let (Some(username), Some(password), false) = (text("username"), text("password"), envelope.lease_id.is_empty())
    else {
        return Err(Error::waiting(
            "EngineRefused",
            format!("{}: the answer lacks username, password or lease", what()),
        ));
    };
    let credential = Credential { username: username.clone(), password: Secret::new(password) };
    let lease = LeaseRecord {
        fingerprint: fingerprint(&envelope.lease_id, &credential),
        id: LeaseId::new(envelope.lease_id),
        username,
        issued,
        ttl: envelope.lease_duration,
        renewable: envelope.renewable,
        role: tenant.role.clone(),
        service_account: tenant.service_account.clone(),
        requested_ttl: ttl,
        lent: None,
    };
    Ok((lease, credential))
}
