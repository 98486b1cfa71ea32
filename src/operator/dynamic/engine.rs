//! Credentials and leases at the engine, always with the tenant's own rights.

use std::future::Future;

use super::content::Credential;
use super::held::fingerprint;
use super::record::{LeaseId, LeaseRecord};
use crate::base::Secret;
use crate::client::{self, Client};
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::tenant::Tenant;

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lives for so many more seconds.
    Prolonged(u64),
    /// The engine knows the lease no more, or it is at its end.
    Ended,
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

/// Makes a database user.
///
/// # Errors
/// When the tenant may not, or the engine or the database do not.
pub async fn issue(context: &Context, tenant: &Tenant, ttl: Option<u64>) -> Result<(LeaseRecord, Credential), Error> {
    let mut path = format!("{}/creds/{}", context.database_mount, tenant.role);
    if let Some(ttl) = ttl {
        path.push_str(&format!("?ttl={ttl}"));
    }
    let path = path.as_str();
    let what = || format!("cannot get a database user of role {:?}", tenant.role);
    // The lease begins no later than this, so its end is not taken for later than it is.
    let issued = crate::api::condition::whole_seconds(context.clock.now());
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
    };
    Ok((lease, credential))
}

/// Prolongs a lease by the time that it was first given for.
///
/// # Errors
/// When the engine cannot be asked or the tenant may not; the lease lives on to its present end then.
pub async fn renew(context: &Context, tenant: &Tenant, lease: &LeaseRecord) -> Result<Renewal, Error> {
    let id = lease.id.expose();
    match call(context, tenant, |client| async move { client.renew_lease(id, Some(lease.ttl)).await }).await? {
        Ok(envelope) if envelope.lease_duration > 0 => Ok(Renewal::Prolonged(envelope.lease_duration)),
        // 400 is how the engine says that the lease is unknown, expired, or past its longest life.
        Ok(_) => Ok(Renewal::Ended),
        Err(error) if error.status() == Some(400) && !is_database_trouble(&error) => Ok(Renewal::Ended),
        Err(error) => Err(Error::engine(format!("cannot renew the lease of user {:?}", lease.username))(error)),
    }
}

/// Vault answers 400, too, when the database refuses to prolong the user; the lease lives on then.
fn is_database_trouble(error: &client::Error) -> bool {
    error.to_string().contains("failed to renew entry") && !error.to_string().contains("past the max TTL")
}

/// Ends a lease. The engine records that durably and drops the user when the database lets it.
///
/// # Errors
/// When the engine cannot be asked.
pub async fn revoke(context: &Context, tenant: &Tenant, lease: &LeaseRecord) -> Result<(), Error> {
    let id = lease.id.expose();
    let answer = call(context, tenant, |client| async move { client.revoke_lease(id, false).await }).await?;
    answer.map_err(Error::engine(format!("cannot revoke the lease of user {:?}", lease.username)))
}
