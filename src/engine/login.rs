//! Logins: the method says who it is, the lock-out whether he may still try, and the token is made.

use std::net::IpAddr;
use std::sync::Arc;

use super::core::Core;
use super::lockout::{Config, Who};
use super::request::{Incoming, Reply};
use super::token::Token;
use super::token_create::from_login;
use super::{identity, mount};
use crate::auth::{Login, LoginMount, Method, Outcome, Renewal};
use crate::wire::{Caller, Error, Kind, Request};

impl Core {
    /// The method that answers `path` without a token, and the rest of the path.
    pub(super) fn login_path(&self, path: &str) -> Option<(Arc<mount::Mounted<dyn Method>>, String)> {
        let (mounted, rest) = self.methods.route(path.strip_prefix("auth/")?)?;
        let open = !mounted.entry.tainted && mounted.plugin.is_login(rest);
        open.then(|| (mounted, rest.to_owned()))
    }

    pub(super) async fn login(
        &self,
        mounted: &mount::Mounted<dyn Method>,
        path: String,
        incoming: Incoming,
    ) -> Result<Reply, Error> {
        let caller =
            Caller { address: incoming.address, certificates: incoming.certificates.clone(), ..Caller::default() };
        let request = Request { operation: incoming.operation, path, fields: incoming.fields, caller };
        let config = &mounted.entry.tuning.user_lockout_config;
        let name = mounted.plugin.login_name(&request);
        let who = name.map(|name| Who { accessor: mounted.entry.accessor.clone(), name });
        let outcome = match &who {
            Some(who) => {
                self.lockouts.admit(who, config).await?;
                let outcome = mounted.plugin.handle(request).await;
                self.note_outcome(who, config, &outcome).await?;
                outcome?
            }
            None => mounted.plugin.handle(request).await?,
        };
        self.outcome(outcome, (&incoming.path, incoming.address), &mounted.entry).await
    }

    async fn note_outcome(&self, who: &Who, config: &Config, outcome: &Result<Outcome, Error>) -> Result<(), Error> {
        match outcome {
            Err(error) if error.kind() == Kind::Credentials => self.lockouts.failed(who.clone(), config).await,
            Ok(Outcome::Login(_)) => self.lockouts.succeeded(who, config),
            _ => Ok(()),
        }
    }

    /// What a method's answer comes to, for who asked at `path` from `address`.
    pub(super) async fn outcome(
        &self,
        outcome: Outcome,
        (path, address): (&str, Option<IpAddr>),
        mount: &mount::Entry,
    ) -> Result<Reply, Error> {
        match outcome {
            Outcome::Answer(answer) => Ok(Reply::answer(answer)),
            Outcome::Login(mut login) => {
                login.token.bind(address)?;
                self.make_token(*login, path, mount).await
            }
            Outcome::Page(status, html) => Ok(Reply::Page(status, html)),
        }
    }

    async fn make_token(&self, mut login: Login, path: &str, mount: &mount::Entry) -> Result<Reply, Error> {
        login.owner = login.owner.through(LoginMount {
            path: format!("auth/{}", mount.path.trim_end_matches('/')),
            accessor: mount.accessor.clone(),
        });
        let entity = match &login.alias {
            Some(alias) => {
                let (mount, groups) = (identity::Mount::of(mount), &login.groups);
                Some(self.identity.of_login(&mount, alias, groups).await?)
            }
            None => None,
        };
        let mut token = from_login(login, path, mount.token_type);
        if token.is_root() {
            return Err(Error::bad_request("auth methods cannot create root tokens"));
        }
        token.entity_id = entity.as_ref().map(|entity| entity.id.clone()).unwrap_or_default();
        let made = self.tokens.create(token, None, mount.limits(self.shared.settings.limits)).await?;
        if self.methods.get(&mount.path).is_none_or(|now| now.entry.uuid != mount.uuid || now.entry.tainted) {
            // It was removed while this login was under way, which may have been too late for the end of all its tokens.
            self.leases.end_token(&self.tokens.hash(&made.id)).await?;
            return Err(Error::denied());
        }
        let auth = made.token.auth(Some(&made.id), made.token.creation_ttl);
        let auth = entity.iter().fold(auth, |auth, entity| entity.complete(auth));
        Ok(Reply::auth(auth, made.warnings))
    }

    /// Counts a request with a token of this namespace.
    pub(super) async fn note_client(&self, token: &Token) {
        let mount = || match token.path.strip_prefix("auth/").and_then(|path| self.methods.route(path)) {
            Some((mounted, _)) => format!("auth/{}", mounted.entry.path),
            None => "auth/token/".to_owned(),
        };
        self.activity.note(token, mount).await;
    }

    /// Asks the method that made a token whether it may be prolonged; a token that another token made is nobody's to judge.
    pub(super) async fn check_renewal(&self, token: &Token, incoming: &Incoming) -> Result<(), Error> {
        let Some((mounted, _)) = token.path.strip_prefix("auth/").and_then(|path| self.methods.route(path)) else {
            return Ok(());
        };
        let caller =
            Caller { address: incoming.address, certificates: incoming.certificates.clone(), ..Caller::default() };
        let renewal = Renewal { metadata: &token.meta, policies: &token.policies, caller: &caller };
        if let Some(groups) = mounted.plugin.check_renewal(&renewal).await? {
            self.identity.note_groups(&token.entity_id, &mounted.entry.accessor, groups).await?;
        }
        Ok(())
    }
}
