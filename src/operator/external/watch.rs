//! What happens without the operator: leases that somebody has ended at another engine are noticed, and their objects woken; logins
//! of objects that are gone are ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kube::{Api, ResourceExt};

use super::ledger::Entry;
use super::tokens::{self, Sight};
use crate::api::DynamicDatabaseSecret;
use crate::operator::context::Context;
use crate::operator::dynamic::lender;

/// How often leases are looked at: a lost user is to be replaced within 30 s.
const LOOK: Duration = Duration::from_secs(15);
/// Every how many rounds logins are looked for whose object is gone.
const SWEEP: u32 = 4;
/// How many at the same time.
const CONCURRENCY: usize = 8;
/// The wait after the logins could not be read: there may be none, and nothing to look at.
const UNREADABLE: Duration = Duration::from_secs(60);

/// Looks at the leases of all objects for ever. `namespaces` are those that are watched; none is all.
pub async fn run(context: Arc<Context>, namespaces: Vec<String>) {
    let (mut rounds, mut wait) = (0u32, LOOK);
    loop {
        context.clock.sleep(wait.mul_f64(context.random.jitter(0.2))).await;
        wait = match context.external.ledger.all().await {
            Ok(entries) => {
                round(&context, &entries).await;
                if rounds.is_multiple_of(SWEEP) {
                    sweep(&context, &namespaces, &entries).await;
                }
                rounds = rounds.wrapping_add(1);
                LOOK
            }
            Err(error) => {
                tracing::warn!(error = %error.story(), "cannot see which logins at other engines there are");
                UNREADABLE
            }
        };
    }
}

/// Ends logins whose object nobody has cleaned up after.
async fn sweep(context: &Context, namespaces: &[String], entries: &[Entry]) {
    for entry in entries {
        let known = context
            .secrets
            .get(&entry.namespace, &entry.name)
            .is_some_and(|object| object.uid().as_ref() == Some(&entry.uid));
        if known || !(namespaces.is_empty() || namespaces.contains(&entry.namespace)) {
            continue;
        }
        let api: Api<DynamicDatabaseSecret> = Api::namespaced(context.kube.clone(), &entry.namespace);
        // A watch may lag.
        let gone = match api.get_opt(&entry.name).await {
            Ok(found) => found.is_none_or(|object| object.uid().as_ref() != Some(&entry.uid)),
            Err(_) => false,
        };
        if gone && let Err(error) = lender::end(context, entry).await {
            tracing::warn!(engine = %entry.engine, error = %error.story(), "the login of a deleted object cannot be ended yet");
        }
    }
}

async fn round(context: &Context, entries: &[Entry]) {
    let delivered = |entry: &Entry| {
        let object = context.secrets.get(&entry.namespace, &entry.name)?;
        if object.uid().as_ref() != Some(&entry.uid) {
            return None;
        }
        let lease = entry.lease.as_ref()?;
        holds(&object, &lease.id.reference()).then(|| (entry.clone(), lease.id.clone()))
    };
    let looks = entries.iter().filter_map(delivered).map(|(entry, id)| async move {
        let reach = context.external.reach_of(context, &entry).await;
        let Ok(client) = context.external.clients.client(&reach) else { return };
        if tokens::look(&client.with_token(entry.token.clone()), id.expose()).await == Sight::Gone {
            tracing::info!(engine = %entry.engine, lease = id.reference(), "a lease was ended at its engine");
            context.suspect(entry.uid.clone());
            context.secrets.wake_one(&entry.namespace, &entry.name);
        }
    });
    stream::iter(looks).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
}

/// Whether the credential of that lease is the one that is delivered now.
fn holds(object: &DynamicDatabaseSecret, reference: &str) -> bool {
    let Some(status) = &object.status else { return false };
    let leases = status.lease.iter().chain(status.additional_users.iter().map(|user| &user.lease));
    object.metadata.deletion_timestamp.is_none() && leases.into_iter().any(|lease| lease.reference == reference)
}
