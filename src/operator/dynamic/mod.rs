//! DynamicDatabaseSecrets: a credential asked for as the tenant, written into a Secret, renewed, replaced in time, revoked.
//!
//! What is true stands in the Secret (credential and leases, `record.rs`) and at the engine; the status adds the times of
//! renewals. So a restarted operator, a repeated look or a lost status make no new credential.

mod additional;
mod borrow;
pub(super) mod content;
pub(super) mod destination;
pub(super) mod endpoint;
mod first;
mod formats;
mod held;
mod inventory;
pub(super) mod lender;
mod order;
mod plan;
pub(super) mod record;
mod refresh;
mod report;
mod rotation;
mod sync;

use async_trait::async_trait;
use kube::ResourceExt;
use serde_json::json;

use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, Validity, describe};
use crate::api::{DynamicDatabaseSecret, DynamicDatabaseSecretStatus};

#[async_trait]
impl Kind for DynamicDatabaseSecret {
    type Status = DynamicDatabaseSecretStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        sync::Pass::new(self, context, status)?.run().await
    }

    fn may_begin_early(&self) -> bool {
        // Its leases are owned by its UID, and end when the comparison finds no object of that UID.
        self.spec.engine_ref.is_none()
    }

    fn validity(&self) -> Option<Validity> {
        let status = self.status.as_ref()?;
        let leases = status.lease.iter().chain(status.additional_users.iter().map(|user| &user.lease));
        let first = leases.min_by_key(|lease| lease.expires.0)?;
        Some(Validity { expires: first.expires.0, ttl: first.ttl })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        let uid = self.uid().unwrap_or_default();
        context.rollouts.board.forget(&uid);
        if uses_other_engines(self) {
            for stray in lender::strays(context, &uid, &[]).await? {
                stray.end(context).await?;
            }
        }
        if self.spec.engine_ref.is_some() {
            // What is left at the installed engine from before, it is told when it is next compared with the cluster.
            return Ok(());
        }
        // Ends every lease that this object owns, also one whose Secret was never written or is gone already.
        let body = json!({ "uids": [uid], "logins": context.logins });
        let answer = context.session.write("sys/lessor/workloads/end", &body).await;
        answer.map(drop).map_err(Error::engine(format!("cannot revoke the leases of {}", describe(self))))
    }

    fn give_up(&self, _: &Context) -> String {
        let user = self.status.as_ref().and_then(|status| status.username.as_deref()).unwrap_or("(none known)");
        format!(
            "database user {user} could not be revoked yet: it is dropped as soon as the engine and the database can, \
             at the latest when its lease ends"
        )
    }

    fn is_taken_over_by_namesake(&self) -> bool {
        // Leases are owned by this object's UID.
        false
    }
}

/// Whether an object has, or may have, leases of other engines than the installed one.
fn uses_other_engines(object: &DynamicDatabaseSecret) -> bool {
    object.spec.engine_ref.is_some()
        || object.status.as_ref().is_some_and(|status| {
            let pending = status.pending_revocations.iter().map(|pending| &pending.lease);
            status.lease.iter().chain(pending).any(|lease| lease.engine.is_some())
        })
}
