//! Login with a role id and a secret id (vault-api.md 2.4).

mod login;
mod role;
mod routes;
mod secret_id;
mod store;
mod tidy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use async_trait::async_trait;
use serde_json::json;

use self::role::{PARTS, Part, Role};
use self::store::Store;
use super::{Method, Outcome, Setup, Spec, role_name};
use crate::base::{Clock, Random};
use crate::wire::{Answer, Error, Fields, Kind, Operation, Request, Route};

/// Registers the method.
pub const SPEC: Spec = Spec { kind: "approle", open };

fn open(setup: Setup) -> Arc<dyn Method> {
    Arc::new(AppRole {
        store: Arc::new(Store::new(setup.view, setup.random.clone())),
        clock: setup.clock,
        random: setup.random,
        mount: setup.mount,
        tidying: Arc::new(AtomicBool::new(false)),
        last_tidy: AtomicI64::new(0),
    })
}

struct AppRole {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    mount: String,
    /// Whether a clean-up runs.
    tidying: Arc<AtomicBool>,
    /// When one was last started, in Unix seconds.
    last_tidy: AtomicI64,
}

#[async_trait]
impl Method for AppRole {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        let fields = &request.fields;
        let answer = match (&request.segments()[..], request.operation) {
            (["login"], Operation::Write) => {
                return self.login(fields, request.caller.address).await.map(Outcome::login);
            }
            (["login"], _) => Err(Error::unsupported_operation()),
            (["role"], Operation::List) => Answer::keys(self.store.names().await?),
            (["role", name], operation) => self.role(operation, &role_name::normal(name)?, fields).await,
            (["role", name, rest @ ..], operation) => {
                self.below_role(operation, &role_name::normal(name)?, rest, fields).await
            }
            (["tidy", "secret-id"], Operation::Write) => Ok(self.tidy()),
            (["role"] | ["tidy", "secret-id"], _) => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        };
        answer.map(Outcome::Answer)
    }

    fn login_name(&self, request: &Request) -> Option<String> {
        request.fields.string("role_id").ok().flatten().filter(|id| request.path == "login" && !id.is_empty())
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["role", name] => match role_name::normal(name) {
                Ok(name) => Ok(self.store.role(&name).await?.is_some()),
                Err(_) => Ok(false),
            },
            // What has no existence of its own is updated, never created.
            _ => Ok(true),
        }
    }
}

impl AppRole {
    async fn role(&self, operation: Operation, name: &str, fields: &Fields) -> Result<Answer, Error> {
        match operation {
            Operation::Read => {
                let role = self.store.role(name).await?.ok_or_else(Error::not_found)?;
                Ok(Answer::data(role.describe().into()))
            }
            Operation::Write => self.store.write(name, true, |role| role.merge(fields)).await,
            Operation::Delete => self.store.delete_role(name).await,
            _ => Err(Error::unsupported_operation()),
        }
    }

    async fn below_role(
        &self,
        operation: Operation,
        name: &str,
        rest: &[&str],
        fields: &Fields,
    ) -> Result<Answer, Error> {
        use Operation::{Delete, List, Write};
        match (rest, operation) {
            (["role-id"], operation) => self.role_id(operation, name, fields).await,
            (["secret-id"], Write) => self.new_secret_id(name, fields, None).await,
            (["custom-secret-id"], Write) => {
                let given = fields.required("secret_id")?;
                self.new_secret_id(name, fields, Some(given.into())).await
            }
            (["secret-id"], List) => {
                let role = self.known_role(name).await?;
                Answer::keys(self.store.accessors(&role).await?)
            }
            (["secret-id", "lookup"], Write) => self.lookup(name, fields).await,
            (["secret-id", "destroy"], Write | Delete) => self.destroy(name, fields).await,
            (["secret-id-accessor", "lookup"], Write) => self.lookup_accessor(name, fields).await,
            (["secret-id-accessor", "destroy"], Write | Delete) => self.destroy_accessor(name, fields).await,
            (["secret-id" | "custom-secret-id"] | ["secret-id" | "secret-id-accessor", "lookup" | "destroy"], _) => {
                Err(Error::unsupported_operation())
            }
            ([segment], operation) => {
                let part = PARTS.iter().find(|part| part.segment == *segment).ok_or_else(Error::unsupported_path)?;
                self.part(operation, name, part, fields).await
            }
            _ => Err(Error::unsupported_path()),
        }
    }

    /// One setting of a role under a path of its own.
    async fn part(&self, operation: Operation, name: &str, part: &Part, fields: &Fields) -> Result<Answer, Error> {
        match operation {
            Operation::Read => {
                let role = self.store.role(name).await?.ok_or_else(Error::not_found)?;
                Ok(Answer::data(part.describe(&role).into()))
            }
            Operation::Write if !part.read_only => {
                let chosen = part.choose(fields)?;
                self.store.write(name, false, |role| role.merge(&chosen)).await
            }
            Operation::Delete if !part.read_only => {
                if self.store.role(name).await?.is_none() {
                    return Ok(Answer::empty());
                }
                self.store.write(name, false, |role| role.merge(&part.reset())).await
            }
            _ => Err(Error::unsupported_operation()),
        }
    }

    async fn role_id(&self, operation: Operation, name: &str, fields: &Fields) -> Result<Answer, Error> {
        match operation {
            Operation::Read => {
                let role = self.store.role(name).await?.ok_or_else(Error::not_found)?;
                Ok(Answer::data(json!({ "role_id": role.role_id })))
            }
            Operation::Write => {
                let role_id = fields.required("role_id")?;
                self.store.write(name, false, |role| role.set_id(&role_id)).await
            }
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// A role that the caller named in a path below it.
    async fn known_role(&self, name: &str) -> Result<Role, Error> {
        let missing = || Error::new(Kind::NotFound, format!("role {name:?} does not exist"));
        self.store.role(name).await?.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests;
