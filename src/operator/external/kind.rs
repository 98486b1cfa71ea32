//! CredentialEngines: whether the engine answers, and whether it lets their own login in.

use std::time::Duration;

use async_trait::async_trait;
use kube::Resource;

use super::place::EngineName;
use super::reach::Reach;
use super::{health, login};
use crate::api::condition::{self, READY};
use crate::api::{CredentialEngine, CredentialEngineStatus};
use crate::base::Secret;
use crate::client::Client;
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::kind::{Done, Kind};

/// How often an engine is looked at.
const LOOK: Duration = Duration::from_secs(30);

#[async_trait]
impl Kind for CredentialEngine {
    type Status = CredentialEngineStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    async fn sync(&self, context: &Context, status: &mut Self::Status) -> Result<Done, Error> {
        let name = EngineName::of(self);
        login::check(context, self)?;
        let reach = Reach::read(context, self).await?;
        context.external.note_reach(self, reach.clone());
        let state = context.external.clients.client(&reach.clone().outside_namespaces())?;
        status.version = health::check(&state, &name).await?;
        try_login(self, context, &context.external.clients.client(&reach)?, status).await?;
        Ok(Done {
            reason: "Usable",
            message: format!("the engine at {} answers", self.spec.address),
            next: LOOK.mul_f64(context.random.jitter(0.1)),
        })
    }

    async fn clean_up(&self, context: &Context) -> Result<(), Error> {
        context.external.forget(&EngineName::of(self));
        Ok(())
    }

    fn give_up(&self, _: &Context) -> String {
        "nothing of it stays behind".to_owned()
    }
}

/// Logs in where the object has a login of its own, and out again; once for each change, since a login may be counted.
async fn try_login(
    engine: &CredentialEngine,
    context: &Context,
    client: &Client,
    status: &mut CredentialEngineStatus,
) -> Result<(), Error> {
    let Some(login) = login::fixed(context, engine).await? else {
        status.secret_versions.clear();
        return Ok(());
    };
    let versions = login.versions.iter().cloned().collect();
    let proved = status.observed_generation == engine.meta().generation
        && status.secret_versions == versions
        && condition::get(&status.conditions, READY).is_some_and(|ready| ready.status == "True");
    if proved {
        return Ok(());
    }
    context.external.require_leadership()?;
    let auth = login::enter(engine, client, &login).await?;
    // One that cannot be given up ends by itself.
    let _ = client.with_token(Secret::new(auth.client_token)).revoke_self().await;
    status.secret_versions = versions;
    Ok(())
}
