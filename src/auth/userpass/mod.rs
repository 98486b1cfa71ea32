//! Login with a user name and a password that the engine keeps (vault-api.md 2.6).

mod password;
mod routes;
mod user;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use self::password::Hasher;
use self::user::User;
use super::objects::{Object as _, Objects};
use super::{Alias, LeaseOwner, Login, Method, Outcome, Renewal, Setup, Spec, cidr, role_name};
use crate::wire::{Answer, Error, Fields, Operation, Request, Route};

/// Registers the method.
pub const SPEC: Spec = Spec { kind: "userpass", open };

fn open(setup: Setup) -> Arc<dyn Method> {
    let (hasher, users) = (Hasher::new(setup.random), Objects::new(setup.view, "user/"));
    Arc::new(Userpass { users, hasher, mount: setup.mount })
}

struct Userpass {
    users: Objects<User>,
    hasher: Hasher,
    mount: String,
}

#[async_trait]
impl Method for Userpass {
    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    async fn handle(&self, request: Request) -> Result<Outcome, Error> {
        use Operation::{List, Write};
        let fields = &request.fields;
        let answer = match (&request.segments()[..], request.operation) {
            (["login", name], Write) => {
                let name = role_name::normal(name)?;
                return self.login(&name, fields, request.caller.address).await.map(Outcome::login);
            }
            (["users"], List) => self.users.list().await,
            (["users", name], Write) => self.write(&role_name::normal(name)?, fields).await,
            (["users", name], operation) => self.users.answer(operation, &role_name::normal(name)?, fields).await,
            (["users", name, "password"], Write) => self.set_password(&role_name::normal(name)?, fields).await,
            (["users", name, "policies"], Write) => self.set_policies(&role_name::normal(name)?, fields).await,
            (["login", _] | ["users"] | ["users", _, "password" | "policies"], _) => {
                Err(Error::unsupported_operation())
            }
            _ => Err(Error::unsupported_path()),
        };
        answer.map(Outcome::Answer)
    }

    async fn exists(&self, path: &str) -> Result<bool, Error> {
        match path.split('/').collect::<Vec<_>>()[..] {
            ["users", name] => self.users.has(name).await,
            _ => Ok(true),
        }
    }

    fn login_name(&self, request: &Request) -> Option<String> {
        role_name::normal(request.path.strip_prefix("login/")?).ok()
    }

    async fn check_renewal(&self, renewal: &Renewal<'_>) -> Result<Option<Vec<String>>, Error> {
        let name = renewal.metadata.get("username").map(String::as_str).unwrap_or_default();
        let user = self.users.get(name).await?;
        renewal.check_policies(user.as_ref().map(|user| &user.token)).map(|()| None)
    }
}

impl Userpass {
    async fn login(&self, name: &str, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        let password = fields.secret("password")?.unwrap_or_default();
        if password.is_empty() {
            return Err(Error::bad_request("missing password"));
        }
        let user = self.users.get(name).await?;
        // An unknown name takes as long as a wrong password, so that names cannot be found out.
        let hash = user.as_ref().map(|user| user.hash.clone());
        let right = self.hasher.verify(password, hash).await?;
        let Some(user) = user.filter(|_| right) else {
            return Err(Error::credentials("invalid username or password"));
        };
        if !cidr::admits(&user.token.token_bound_cidrs, address) {
            return Err(Error::denied());
        }
        Ok(Login {
            display_name: format!("{}-{name}", self.mount),
            metadata: [("username".to_owned(), name.to_owned())].into(),
            alias: Some(Alias { name: name.to_owned(), ..Alias::default() }),
            groups: Vec::new(),
            token: user.token,
            owner: LeaseOwner::Token,
        })
    }

    /// Creates or changes a user; a new one needs a password.
    async fn write(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let hash = self.new_hash(fields).await?;
        if hash.is_none() && self.users.get(name).await?.is_none() {
            return Err(Error::bad_request("missing password"));
        }
        let change = |user: &mut User| {
            user.hash = hash.clone().unwrap_or_else(|| std::mem::take(&mut user.hash));
            user.merge(fields)
        };
        self.users.change(name, true, change).await.map(|_| Answer::empty())
    }

    async fn set_password(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let hash = self.new_hash(fields).await?.ok_or_else(|| Error::bad_request("missing password"))?;
        let change = |user: &mut User| {
            user.hash.clone_from(&hash);
            Ok(())
        };
        self.known(self.users.change(name, false, change).await?)
    }

    async fn set_policies(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let mut only = Fields::default();
        for field in ["policies", "token_policies"] {
            if let Some(value) = fields.value(field) {
                only.set(field, value.clone());
            }
        }
        self.known(self.users.change(name, false, |user| user.merge(&only)).await?)
    }

    fn known(&self, user: Option<User>) -> Result<Answer, Error> {
        user.map(|_| Answer::empty()).ok_or_else(|| Error::bad_request("username does not exist"))
    }

    /// The hash of the password that was sent, or the one that was sent in its place.
    async fn new_hash(&self, fields: &Fields) -> Result<Option<String>, Error> {
        let password = fields.secret("password")?.filter(|password| !password.is_empty());
        let hash = fields.string("password_hash")?.filter(|hash| !hash.is_empty());
        match (password, hash) {
            (Some(_), Some(_)) => Err(Error::bad_request("give \"password\" or \"password_hash\", not both")),
            (Some(password), None) => self.hasher.hash(password).await.map(Some),
            (None, Some(hash)) => password::check(&hash).map(|()| Some(hash)),
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
