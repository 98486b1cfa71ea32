//! The watch of rotations: a password that somebody has changed at the engine by hand is noticed within seconds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kube::ResourceExt;

use super::observed::Observed;
use crate::api::StaticDatabaseRole;
use crate::api::names::engine_name;
use crate::operator::configuration;
use crate::operator::context::Context;
use crate::operator::kind::namespace_of;

/// How often each role is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How many roles are looked at at the same time.
const CONCURRENCY: usize = 4;

/// Compares every static role of the engine with its object's status, for ever, and wakes the objects that are behind.
pub async fn watch_rotations(context: Arc<Context>) {
    loop {
        context.clock.sleep(LOOK.mul_f64(context.random.jitter(0.1))).await;
        let behind: Vec<Option<String>> = stream::iter(context.static_roles.all())
            .map(|role| {
                let context = &context;
                async move { is_behind(context, &role).await.then(|| role.uid().unwrap_or_default()) }
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let behind: Vec<String> = behind.into_iter().flatten().collect();
        if !behind.is_empty() {
            context.static_roles.wake(|role| role.uid().is_some_and(|uid| behind.contains(&uid)));
        }
    }
}

/// Whether the engine tells something else than the status. What it cannot tell is the reconciler's to find out.
async fn is_behind(context: &Context, role: &StaticDatabaseRole) -> bool {
    let Some(status) = &role.status else { return false };
    if role.metadata.deletion_timestamp.is_some() || status.last_rotation.is_none() {
        return false;
    }
    let name = engine_name(&namespace_of(role), &role.name_any());
    let path = format!("{}/static-roles/{name}", context.database_mount);
    match configuration::read(context, &path).await {
        Ok(Some(found)) => differs(&Observed::read(&found), status),
        // Somebody has removed it.
        Ok(None) => true,
        Err(_) => false,
    }
}

fn differs(observed: &Observed, status: &crate::api::StaticDatabaseRoleStatus) -> bool {
    observed.last != status.last_rotation.as_ref().map(|last| last.0) || observed.username != status.username
}
