//! StaticDatabaseSecrets: the password of a StaticDatabaseRole in a Secret, which follows every change of it.
//!
//! What is true stands in the Secret (whose password it is and when it was made, `record.rs`) and at the engine. The engine is
//! asked when the password was due to change, when the role says that it has changed, and when the Secret is not what was
//! written; so a repeated look, a restarted operator or a lost status change nothing.

mod engine;
mod plan;
mod record;
mod restart;
mod sync;

use async_trait::async_trait;
use kube::ResourceExt;

use super::context::Context;
use super::error::Error;
use super::kind::{Done, Kind, PasswordTimes};
use crate::api::{StaticDatabaseSecret, StaticDatabaseSecretStatus};

#[async_trait]
impl Kind for StaticDatabaseSecret {
    type Status = StaticDatabaseSecretStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        sync::Pass::new(self, context, status)?.run().await
    }

    fn password(&self) -> Option<PasswordTimes> {
        let status = self.status.as_ref()?;
        Some(PasswordTimes {
            changed: status.last_rotation.as_ref()?.0,
            due: status.next_rotation.as_ref().map(|next| next.0),
        })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        // The account is the role's, and Kubernetes removes the Secret with its owner.
        let uid = self.uid().unwrap_or_default();
        context.external.sessions.end(&uid).await;
        context.rollouts.board.forget(&uid);
        Ok(())
    }

    fn give_up(&self, _: &Context) -> String {
        "nothing of it stays behind".to_owned()
    }
}
