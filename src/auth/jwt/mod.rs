//! Login with a signed token (type `jwt`), or with a browser by way of an OpenID provider (`oidc`): one method under two names
//! (vault-api.md 2.5).

mod callback;
mod claims;
mod config;
mod device;
mod keyring;
mod oidc;
mod page;
mod pending;
mod provider;
mod role;
mod routes;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use self::claims::Claims;
use self::config::Config;
use self::keyring::Keyring;
use self::pending::Pending;
use self::role::{Role, RoleType};
use super::objects::Objects;
use super::{Alias, LeaseOwner, Login, Method, Outcome, Renewal, Setup, Spec, cidr, role_name};
use crate::base::{Clock, Random, Secret};
use crate::storage::{Version, View};
use crate::wire::{Answer, Error, Fields, Operation, Request, Route};

/// Registers the method.
pub const SPEC: Spec = Spec { kind: "jwt", open };

/// Registers it under its other name.
pub const OIDC: Spec = Spec { kind: "oidc", open };

fn open(setup: Setup) -> Arc<dyn Method> {
    Arc::new(Jwt {
        roles: Objects::new(setup.view.clone(), "role/"),
        view: setup.view,
        clock: setup.clock,
        random: setup.random,
        mount: setup.mount,
        pending: Pending::default(),
        keyring: RwLock::default(),
    })
}

struct Jwt {
    view: View,
    roles: Objects<Role>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    mount: String,
    pending: Pending,
    /// Of the configuration of that version.
    keyring: RwLock<Option<(Version, Arc<Keyring>)>>,
}

#[async_trait]
impl Method for Jwt {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        use Operation::{List, Read, Write};
        let (fields, address) = (&request.fields, request.caller.address);
        let answer = match (&request.segments()[..], request.operation) {
            (["login"], Write) => return self.login(fields, address).await.map(Outcome::login),
            (["oidc", "callback"], Read) => return self.callback(fields, address).await,
            (["oidc", "callback"], Write) => return self.callback_form(fields, address).await,
            (["oidc", "poll"], Write) => return self.poll(fields, address).await.map(Outcome::login),
            (["oidc", "auth_url"], Write) => self.auth_url(fields, address).await,
            (["config"], Read) => {
                let config = self.view.get::<Config>("config").await?.ok_or_else(Error::not_found)?.0;
                Ok(Answer::data(config.describe()))
            }
            (["config"], Write) => self.configure(fields).await,
            (["role"], List) => self.roles.list().await,
            (["role", name], operation) => self.roles.answer(operation, &role_name::normal(name)?, fields).await,
            (["login" | "config" | "role"] | ["oidc", "auth_url" | "callback" | "poll"], _) => {
                Err(Error::unsupported_operation())
            }
            _ => Err(Error::unsupported_path()),
        };
        answer.map(Outcome::Answer)
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["role", name] => self.roles.has(name).await,
            _ => Ok(true),
        }
    }

    async fn check_renewal(&self, renewal: &Renewal<'_>) -> Result<Option<Vec<String>>, Error> {
        let name = renewal.metadata.get("role").map(String::as_str).unwrap_or_default();
        match self.roles.get(name).await? {
            Some(_) => Ok(None),
            None => Err(Error::bad_request(format!("role {name} does not exist during renewal"))),
        }
    }
}

impl Jwt {
    /// Takes a configuration once its keys were seen, so that a wrong address is found now and not at the first login.
    async fn configure(&self, fields: &Fields) -> Result<Answer, Error> {
        let config = Config::from_fields(fields)?;
        let mut answer = Answer::empty();
        if let Err(error) = Keyring::new(config.clone(), self.clock.clone()).check().await {
            if !config.skip_jwks_validation {
                return Err(error);
            }
            answer = answer.warn(error.to_string());
        }
        if config.provider_config.as_object().is_some_and(|settings| !settings.is_empty()) {
            answer = answer.warn("provider_config is kept and shown; claims are taken from tokens and userinfo alone");
        }
        self.view.put("config", &config).await?;
        Ok(answer)
    }

    /// The keys of the present configuration.
    async fn keyring(&self) -> Result<Arc<Keyring>, Error> {
        let stored = self.view.get::<Config>("config").await?;
        let (config, version) = stored.ok_or_else(|| Error::bad_request("could not load configuration"))?;
        if let Some((known, keyring)) = &*self.keyring.read().unwrap_or_else(PoisonError::into_inner)
            && *known == version
        {
            return Ok(keyring.clone());
        }
        let keyring = Arc::new(Keyring::new(config, self.clock.clone()));
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Some((version, keyring.clone()));
        Ok(keyring)
    }

    async fn named_role(&self, fields: &Fields, config: &Config) -> Result<(String, Role), Error> {
        let asked = fields.string("role")?.filter(|name| !name.is_empty());
        let asked = asked.or_else(|| Some(config.default_role.clone()).filter(|name| !name.is_empty()));
        let asked = asked.ok_or_else(|| Error::bad_request("missing role"))?;
        let unknown = || Error::bad_request(format!("role {asked:?} could not be found"));
        let name = role_name::normal(&asked).map_err(|_| unknown())?;
        let role = self.roles.get(&name).await?.ok_or_else(unknown)?;
        Ok((name, role))
    }

    async fn login(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        let keyring = self.keyring().await?;
        let (name, role) = self.named_role(fields, keyring.config()).await?;
        if role.role_type == RoleType::Oidc {
            return Err(Error::bad_request("role with oidc role_type is not allowed"));
        }
        let jwt = fields.string("jwt")?.map(|jwt| Secret::from(jwt.trim())).filter(|jwt| !jwt.is_empty());
        let jwt = jwt.ok_or_else(|| Error::bad_request("missing token"))?;
        if !cidr::admits(&role.token.token_bound_cidrs, address) {
            return Err(Error::denied());
        }
        let found = keyring.verify(&jwt).await?;
        let issuer = keyring.issuer().await?;
        claims::check_times(&found, &role, self.clock.now())
            .and_then(|()| claims::check_binding(&found, &role, issuer.as_deref()))
            .map_err(|why| Error::bad_request(format!("error validating token: {why}")))?;
        self.identified(&name, role, &found)
    }

    /// The login of who the claims tell of, if the role lets him in.
    fn identified(&self, name: &str, role: Role, found: &Claims) -> Result<Login, Error> {
        claims::check_bound(found, &role)
            .map_err(|why| Error::bad_request(format!("error validating claims: {why}")))?;
        let identity = claims::identify(found, &role).map_err(Error::bad_request)?;
        let mut metadata = identity.metadata.clone();
        metadata.insert("role".to_owned(), name.to_owned());
        Ok(Login {
            display_name: format!("{}-{}", self.mount, identity.user),
            metadata,
            alias: Some(Alias { name: identity.user, metadata: identity.metadata }),
            groups: identity.groups,
            token: role.token,
            owner: LeaseOwner::Token,
        })
    }
}

#[cfg(test)]
mod tests;
