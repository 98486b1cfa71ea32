//! The account at the engine, always with the tenant's own rights.

use serde_json::Value;

use crate::api::condition::whole_microseconds;
use crate::base::{Secret, Timestamp};
use crate::operator::context::Context;
use crate::operator::dynamic::content::Credential;
use crate::operator::dynamic::lender::call;
use crate::operator::error::Error;
use crate::operator::external;
use crate::operator::external::login::Caller;
use crate::operator::external::place::Place;
use crate::operator::tenant::Tenant;

/// The account that is handed out now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name and password.
    pub credential: Credential,
    /// When the password was made, or taken over.
    pub rotated: Option<Timestamp>,
    /// For how many seconds it is expected to stay, at least 1.
    pub ttl: u64,
}

/// Reads the account that the tenant asks for: of `place` at another engine, or of its role.
///
/// # Errors
/// When the tenant may not, or the engine cannot tell which password counts.
pub async fn read(context: &Context, tenant: &Tenant, place: Option<&Place>) -> Result<Account, Error> {
    match place {
        Some(place) => read_elsewhere(context, tenant, place).await,
        None => read_role(context, tenant).await,
    }
}

async fn read_elsewhere(context: &Context, tenant: &Tenant, place: &Place) -> Result<Account, Error> {
    let caller = Caller { namespace: &tenant.namespace, account: &tenant.service_account };
    let answer = external::account::read(context, &tenant.uid, caller, place).await?;
    let what = || format!("cannot read an account from {place}");
    let envelope = answer.map_err(Error::engine(what()))?;
    let incomplete = || {
        let message = format!("spec.path: {}: the answer lacks username or password", what());
        Error::waiting("EngineRefused", message)
    };
    envelope.as_ref().and_then(|envelope| account(envelope.data.as_ref()?)).ok_or_else(incomplete)
}

async fn read_role(context: &Context, tenant: &Tenant) -> Result<Account, Error> {
    let path = format!("{}/static-creds/{}", context.database_mount, tenant.role);
    let path = path.as_str();
    let answer = call(context, tenant, |client| async move { client.read(path).await }).await?;
    let role = tenant.role.replacen('.', "/", 1);
    let envelope = answer.map_err(|error| match error.status() {
        Some(403) => Error::refused(
            "Denied",
            format!(
                "spec.roleRef: ServiceAccount {}/{} may not read the password of the role {role}: is it a \
                 StaticDatabaseRole? ({error})",
                tenant.namespace, tenant.service_account
            ),
        ),
        Some(400) => Error::waiting(
            "RoleNotUsable",
            format!("spec.roleRef: StaticDatabaseRole {role} has no password to hand out: {error}"),
        ),
        _ => Error::engine(format!("cannot read the password of StaticDatabaseRole {role}"))(error),
    })?;
    let incomplete = || {
        let message = format!("the engine's answer for StaticDatabaseRole {role} lacks username or password");
        Error::waiting("EngineRefused", message)
    };
    envelope.as_ref().and_then(|envelope| account(envelope.data.as_ref()?)).ok_or_else(incomplete)
}

fn account(data: &Value) -> Option<Account> {
    let text = |key: &str| data[key].as_str().map(str::to_owned);
    Some(Account {
        credential: Credential { username: text("username")?, password: Secret::new(text("password")?) },
        rotated: text("last_vault_rotation").and_then(|text| text.parse().ok()).map(whole_microseconds),
        ttl: data["ttl"].as_u64().unwrap_or(0).max(1),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_engines_tell() {
        let read = account(&json!({
            "username": "app", "password": "canary", "ttl": 42, "last_vault_rotation": "2026-01-01T00:00:00.123456789Z",
        }))
        .unwrap();
        assert_eq!(read.rotated, Some("2026-01-01T00:00:00.123456Z".parse().unwrap()));
        assert_eq!((read.credential.username.as_str(), read.ttl), ("app", 42));
        assert!(!format!("{read:?}").contains("canary"));
        // Vault says 0 while it is at it.
        let rotating = account(&json!({ "username": "app", "password": "p", "ttl": 0 })).unwrap();
        assert_eq!((rotating.ttl, rotating.rotated), (1, None));
        assert_eq!(account(&json!({ "username": "app", "rsa_private_key": "k" })), None);
    }
}
