//! Login with a Kubernetes ServiceAccount token, reviewed by the cluster (vault-api.md 2.3).

mod claims;
mod config;
mod login;
mod review;
mod role;
mod routes;
mod selector;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use self::config::Config;
use self::review::Reviewer;
use self::role::Role;
use super::objects::Objects;
use super::{Method, Outcome, Setup, Spec, role_name};
use crate::base::Clock;
use crate::storage::View;
use crate::wire::{Answer, Error, Operation, Request, Route};

/// Registers the method.
pub const SPEC: Spec = Spec { kind: "kubernetes", open };

fn open(setup: Setup) -> Arc<dyn Method> {
    Arc::new(Kubernetes {
        roles: Objects::new(setup.view.clone(), "role/"),
        view: setup.view,
        clock: setup.clock,
        mount: setup.mount,
        reviewer: Reviewer::default(),
        pod: PodFiles::default(),
    })
}

/// What Kubernetes mounts into the pod that the engine runs in. Both rotate, so they are read for every review.
struct PodFiles {
    ca: PathBuf,
    token: PathBuf,
}

impl Default for PodFiles {
    fn default() -> Self {
        let folder = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self { ca: folder.join("ca.crt"), token: folder.join("token") }
    }
}

struct Kubernetes {
    view: View,
    roles: Objects<Role>,
    clock: Arc<dyn Clock>,
    mount: String,
    reviewer: Reviewer,
    pod: PodFiles,
}

#[async_trait]
impl Method for Kubernetes {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        let fields = &request.fields;
        let answer = match (&request.segments()[..], request.operation) {
            (["login"], Operation::Write) => {
                return self.login(fields, request.caller.address).await.map(Outcome::login);
            }
            (["config"], Operation::Read) => {
                Ok(Answer::data(self.config().await?.ok_or_else(Error::not_found)?.describe()))
            }
            (["config"], Operation::Write) => {
                let config = Config::from_fields(fields)?;
                config.check_ca(&self.pod).await?;
                self.view.put("config", &config).await?;
                Ok(Answer::empty())
            }
            (["role"], Operation::List) => self.roles.list().await,
            (["role", name], operation) => self.roles.answer(operation, &role_name::normal(name)?, fields).await,
            (["login" | "config" | "role"], _) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        };
        answer.map(Outcome::Answer)
    }

    async fn api_server(&self) -> Result<Option<String>, Error> {
        Ok(self.config().await?.map(|config| config.url()))
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["role", name] => self.roles.has(name).await,
            // The configuration is updated, never created, as in Vault.
            _ => Ok(true),
        }
    }
}

impl Kubernetes {
    async fn config(&self) -> Result<Option<Config>, Error> {
        Ok(self.view.get("config").await?.map(|(config, _)| config))
    }
}

#[cfg(test)]
mod tests;
