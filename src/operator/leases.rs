//! Leases of whole roles: what deleting a DatabaseRole or a DatabaseConnection does to the users that were made with it.

use serde_json::json;

use super::context::Context;
use super::error::Error;
use crate::api::names::engine_name;

/// Asks the engine to drop every user of a role. It records that durably and keeps trying, so this returns at once.
///
/// # Errors
/// When the engine cannot be asked.
pub async fn revoke_role(context: &Context, role: &str) -> Result<(), Error> {
    let path = format!("sys/leases/revoke-prefix/{}/creds/{role}", context.database_mount);
    let answer = context.session.write(&path, &json!({ "sync": false })).await;
    answer.map(drop).map_err(Error::engine(format!("cannot revoke the leases of role {role:?}")))
}

/// Drops every user that was made with a connection, and fails until none is left: then the connection may be removed.
///
/// # Errors
/// [`Error::Waiting`] names the roles whose leases remain.
pub async fn drain(context: &Context, namespace: &str, connection: &str) -> Result<(), Error> {
    let folder = format!("sys/leases/lookup/{}/creds", context.database_mount);
    let failed = || Error::engine("cannot list the leases of the engine");
    let prefix = engine_name(namespace, "");
    let mut left = Vec::new();
    for key in context.session.list(&format!("{folder}/")).await.map_err(failed())? {
        let role = key.trim_end_matches('/');
        let Some(name) = role.strip_prefix(&prefix) else { continue };
        // A role that is gone may have used this connection; its leases are on their way out already.
        let other = context.roles.get(namespace, name).is_some_and(|role| role.spec.connection_ref.name != connection);
        if other || context.session.list(&format!("{folder}/{role}/")).await.map_err(failed())?.is_empty() {
            continue;
        }
        revoke_role(context, role).await?;
        left.push(format!("{namespace}/{name}"));
    }
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("users of DatabaseRole {} are still being dropped", left.join(", "));
    Err(Error::waiting("LeasesRemain", message))
}
