//! Login with a name and a password of an LDAP directory (vault-api.md 2.6).

mod config;
mod directory;
mod filter;
mod login;
mod names;
mod people;
mod rotation;
mod routes;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use self::config::Config;
use self::login::Person;
use self::people::{Group, User};
use super::objects::{Object as _, Objects};
use super::token_params::normal_policies;
use super::{Alias, LeaseOwner, Login, Method, Names, Outcome, Renewal, Setup, Spec, TokenParams, cidr};
use crate::base::Random;
use crate::wire::{Answer, Error, Fields, Operation, Request, Route};

/// Registers the method.
pub const SPEC: Spec = Spec { kind: "ldap", open };

/// The name under which the one configuration is stored.
const ONLY: &str = "config";

fn open(setup: Setup) -> Arc<dyn Method> {
    Arc::new(LdapMethod {
        configs: Objects::new(setup.view.clone(), ""),
        users: Objects::new(setup.view.clone(), "user/"),
        groups: Objects::new(setup.view, "group/"),
        random: setup.random,
        mount: setup.mount,
        rotating: Default::default(),
    })
}

struct LdapMethod {
    configs: Objects<Config>,
    users: Objects<User>,
    groups: Objects<Group>,
    random: Arc<dyn Random>,
    mount: String,
    /// One at a time changes the account's password.
    rotating: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Method for LdapMethod {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        use Operation::{List, Read, Write};
        let (operation, fields) = (request.operation, &request.fields);
        if let (Some(name), Write) = (login_name(&request.path), operation) {
            return self.login(name, fields, request.caller.address).await.map(Outcome::login);
        }
        let answer = match (request.path.split_once('/').unwrap_or((&request.path, "")), operation) {
            // Before it is written it has its defaults, as in Vault.
            (("config", ""), Read) => {
                let config = self.configs.get(ONLY).await?.unwrap_or_default();
                Ok(Answer::data(config.describe().into()))
            }
            (("config", ""), Write) => self.configs.answer(operation, ONLY, fields).await,
            (("config", "rotate-root"), Write) => self.rotate_root().await,
            (("config", "rotate-root"), _) => Err(Error::unsupported_operation()),
            (("users", ""), List) => self.users.list().await,
            (("groups", ""), List) => self.groups.list().await,
            (("config" | "users" | "groups", ""), _) | (("login", _), _) => Err(Error::unsupported_operation()),
            // Names of people and groups may hold anything.
            (("users", name), operation) => self.users.answer(operation, &self.normal(name).await?, fields).await,
            (("groups", name), operation) => self.groups.answer(operation, &self.normal(name).await?, fields).await,
            _ => Err(Error::unsupported_path()),
        };
        answer.map(Outcome::Answer)
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split_once('/') {
            Some(("users", name)) => Ok(self.users.get(&self.normal(name).await?).await?.is_some()),
            Some(("groups", name)) => Ok(self.groups.get(&self.normal(name).await?).await?.is_some()),
            _ => Ok(true),
        }
    }

    async fn names(&self, path: &str) -> Result<Names, Error> {
        let in_any_case = !self.configs.get(ONLY).await?.unwrap_or_default().case_sensitive_names;
        Ok(match path.split_once('/') {
            Some((folder @ ("users" | "groups"), name)) => {
                Names { path: format!("{folder}/{}", self.normal(name).await?), in_any_case }
            }
            _ => Names { path: path.to_owned(), in_any_case: false },
        })
    }

    // Whatever the configuration says: a spelling more must not be five guesses more.
    fn login_name(&self, request: &Request) -> Option<String> {
        login_name(&request.path).map(names::folded)
    }

    async fn check_renewal(&self, renewal: &Renewal<'_>) -> Result<Option<Vec<String>>, Error> {
        let config = self.config().await?;
        if config.binddn.is_empty() || config.bindpass.is_empty() {
            // Only people themselves could ask the directory, and their password is not kept.
            return Ok(None);
        }
        let name = renewal.metadata.get("username").map(String::as_str).unwrap_or_default();
        let person = login::find(&config, name, None).await?;
        let (token, groups) = self.entitled(&config, name, &person).await?;
        renewal.check_policies(Some(&token)).map(|()| Some(groups))
    }
}

/// The name in the path of a login.
fn login_name(path: &str) -> Option<&str> {
    path.strip_prefix("login/").filter(|name| !name.is_empty())
}

impl LdapMethod {
    async fn config(&self) -> Result<Config, Error> {
        self.configs.get(ONLY).await?.ok_or_else(|| Error::bad_request("ldap backend not configured"))
    }

    /// A name as it is stored.
    async fn normal(&self, name: &str) -> Result<String, Error> {
        Ok(self.configs.get(ONLY).await?.unwrap_or_default().normal(name))
    }

    async fn login(&self, name: &str, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        let config = self.config().await?;
        let password = fields.secret("password")?.unwrap_or_default();
        // Servers take a name without a password for nobody in particular, and agree.
        if password.is_empty() && config.deny_null_bind {
            return Err(Error::bad_request(
                "password cannot be of zero length when passwordless binds are being denied",
            ));
        }
        let person = login::find(&config, name, Some(&password)).await?;
        let (token, groups) = self.entitled(&config, name, &person).await?;
        if !cidr::admits(&token.token_bound_cidrs, address) {
            return Err(Error::denied());
        }
        Ok(Login {
            display_name: format!("{}-{name}", self.mount),
            metadata: [("username".to_owned(), config.normal(name))].into(),
            alias: Some(Alias { name: person.alias, metadata: [("name".to_owned(), config.normal(name))].into() }),
            groups,
            token,
            owner: LeaseOwner::Token,
        })
    }

    /// What token a person gets, and its groups: the directory's, and those that are noted here.
    async fn entitled(
        &self,
        config: &Config,
        name: &str,
        person: &Person,
    ) -> Result<(TokenParams, Vec<String>), Error> {
        let user = self.users.get(&config.normal(name)).await?.unwrap_or_default();
        let mut groups: Vec<_> = person.groups.iter().chain(&user.groups).map(|group| config.normal(group)).collect();
        groups.sort();
        groups.dedup();
        let mut token = config.token.clone();
        token.token_policies.extend(user.policies);
        for group in &groups {
            token.token_policies.extend(self.groups.get(group).await?.unwrap_or_default().policies);
        }
        token.token_policies = normal_policies(token.token_policies);
        Ok((token, groups))
    }
}
