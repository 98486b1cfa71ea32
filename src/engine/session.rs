//! Whose token a request came with, and what it may do.

use std::borrow::Cow;
use std::sync::Arc;

use super::core::Core;
use super::identity::entity::Entity;
use super::policies::Access;
use super::request::Incoming;
use super::token::{Found, Token};
use super::wrapping;
use crate::auth;
use crate::base::Secret;
use crate::wire::{Caller, Error, Guard, Kind, Operation};

/// A caller whose token was found.
pub(super) struct Session {
    pub(super) found: Found,
    pub(super) entity: Option<Arc<Entity>>,
    access: Arc<Access>,
    above: Option<Above>,
}

/// A request that policies are to judge.
struct Asked<'a> {
    session: &'a Session,
    incoming: &'a Incoming,
    guard: Guard,
}

/// The namespace of a token that acts in one below.
struct Above {
    core: Arc<Core>,
    /// What paths of the request's namespace begin with there: `team/`.
    lead: String,
}

impl Session {
    /// Where the token belongs: above `here`, or there.
    pub(super) fn home<'a>(&'a self, here: &'a Core) -> &'a Core {
        self.above.as_ref().map_or(here, |above| &above.core)
    }

    /// Whether the token belongs to a namespace above that of the request.
    pub(super) fn is_from_above(&self) -> bool {
        self.above.is_some()
    }

    /// A path as the token's policies name it: they are about their own namespace and those below.
    fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match &self.above {
            None => Cow::Borrowed(path),
            Some(above) => Cow::Owned(format!("{}{path}", above.lead)),
        }
    }

    /// Whether everything is allowed.
    pub(super) fn is_root(&self) -> bool {
        self.access.is_root()
    }

    /// Whether paths that are root-protected are open.
    pub(super) fn has_sudo(&self, path: &str) -> bool {
        self.access.has_sudo(&self.path(path))
    }

    /// Whether anything at or below a mount may be reached.
    pub(super) fn reaches(&self, mount: &str) -> bool {
        self.access.reaches(&self.path(mount))
    }

    /// The capabilities of a path.
    pub(super) fn capabilities(&self, path: &str) -> Vec<String> {
        self.access.capabilities(&self.path(path.strip_prefix('/').unwrap_or(path)))
    }

    /// Every rule about this namespace: its path, whether it means all that begins so, and its capabilities.
    pub(super) fn rules(&self) -> Vec<(String, bool, Vec<String>)> {
        let Some(above) = &self.above else { return self.access.rules() };
        let below = |(path, prefix, capabilities): (String, bool, Vec<String>)| match path.strip_prefix(&above.lead) {
            Some(rest) => Some((rest.to_owned(), prefix, capabilities)),
            None if prefix && above.lead.starts_with(&path) => Some((String::new(), true, capabilities)),
            None => None,
        };
        self.access.rules().into_iter().filter_map(below).collect()
    }
}

impl Core {
    pub(super) async fn session(&self, incoming: &Incoming) -> Result<Session, Error> {
        let token = incoming.token.as_ref().ok_or_else(Error::denied)?;
        let above = self.above(token)?;
        let home = above.as_ref().map_or(self, |above| &above.core);
        let mut found = home.tokens.find(token).await?.ok_or_else(Error::denied)?;
        if !auth::cidr::admits(&found.token.bound_cidrs, incoming.address) {
            return Err(Error::denied());
        }
        let entity = home.entity_of(&found.token).await?;
        if let Some(entity) = &entity {
            // The token may name one that was merged into this.
            found.token.entity_id.clone_from(&entity.id);
        }
        let access = home.access_with(&found.token, entity.as_ref());
        Ok(Session { found, entity, access, above })
    }

    /// Where a token belongs, if that is above this namespace. One from anywhere else is as good as unknown here.
    fn above(&self, token: &Secret) -> Result<Option<Above>, Error> {
        let id = self.shared.directory.id_of(token);
        if id == self.place.id {
            return Ok(None);
        }
        let core = self.shared.directory.core(id).ok_or_else(Error::denied)?;
        let lead = self.place.path.strip_prefix(&core.place.path).ok_or_else(Error::denied)?.to_owned();
        Ok(Some(Above { core, lead }))
    }

    /// What a token may do: by its own policies, and by those of its entity.
    pub(super) async fn access_of(&self, token: &Token) -> Result<Arc<Access>, Error> {
        Ok(self.access_with(token, self.entity_of(token).await?.as_ref()))
    }

    fn access_with(&self, token: &Token, entity: Option<&Arc<Entity>>) -> Arc<Access> {
        match entity.filter(|entity| !entity.identity_policies().is_empty()) {
            Some(with) => self.policies.access(&with.all_policies(&token.policies), entity),
            None => self.policies.access(&token.policies, entity),
        }
    }

    /// The entity of a token; a token whose entity is gone or disabled is good for nothing.
    pub(super) async fn entity_of(&self, token: &Token) -> Result<Option<Arc<Entity>>, Error> {
        if token.entity_id.is_empty() {
            return Ok(None);
        }
        let entity = self.identity.get(&token.entity_id).await?.filter(|entity| !entity.disabled);
        entity.map(Some).ok_or_else(Error::denied)
    }

    /// The token of a request that may come without one.
    pub(super) async fn optional_session(&self, incoming: &Incoming) -> Result<Option<Session>, Error> {
        if incoming.token.is_none() { Ok(None) } else { self.session(incoming).await.map(Some) }
    }

    pub(super) async fn authorize(&self, session: &Session, incoming: &Incoming, guard: Guard) -> Result<(), Error> {
        if session.is_root() {
            return Ok(());
        }
        if matches!(guard, Guard::Open | Guard::Looked) {
            return Ok(());
        }
        // Most routes take no notice of a slash at the end, which therefore leads past no rule about the path without it.
        let (path, bare) = (incoming.path.as_str(), incoming.path.trim_end_matches('/'));
        let is_ruled = bare != path && session.access.has_rule(&session.path(bare));
        let asked = Asked { session, incoming, guard };
        let may = self.allows(&asked, &session.access, path).await?
            && (!is_ruled || self.allows(&asked, &session.access, bare).await?)
            && self.allows_every_spelling(&asked, bare).await?;
        if may { Ok(()) } else { Err(Error::listed(Kind::Denied, "permission denied")) }
    }

    /// Whether the policies allow a request also where they name what it asks about in another spelling.
    async fn allows_every_spelling(&self, asked: &Asked<'_>, path: &str) -> Result<bool, Error> {
        let Some(spelling) = self.spelling(path).await? else { return Ok(true) };
        let session = asked.session;
        let lead = session.above.as_ref().map_or(0, |above| above.lead.matches('/').count());
        let any_case = spelling.lower_from.map(|from| session.access.in_any_case(lead + from));
        let access = any_case.as_ref().unwrap_or(&session.access);
        let named = session.path(&spelling.path);
        let is_ruled = access.has_rule(&named) || access.has_rule(&format!("{named}/"));
        Ok(!is_ruled || self.allows(asked, access, &spelling.path).await?)
    }

    /// Whether the policies allow a request if this is its path.
    async fn allows(&self, asked: &Asked<'_>, access: &Access, path: &str) -> Result<bool, Error> {
        let Asked { session, incoming, guard } = asked;
        let Incoming { operation, fields, .. } = incoming;
        let named = session.path(path);
        let wrap = wrapping::wanted(incoming)?;
        let allowed = match operation {
            // Asking the plug-in costs a read, so only where the answer matters.
            Operation::Write => match access.may_write(&named, fields, wrap) {
                (true, true) => true,
                (false, false) => false,
                (create, update) => {
                    if self.exists(path, session).await? {
                        update
                    } else {
                        create
                    }
                }
            },
            operation => access.may(*operation, &named, fields, wrap),
        };
        Ok(allowed && (*guard != Guard::Sudo || access.has_sudo(&named)))
    }

    /// Whether a write would update something. What has no notion of it (`sys`, tokens) counts as existing, as in Vault.
    pub(super) async fn exists(&self, path: &str, session: &Session) -> Result<bool, Error> {
        if let Some(path) = path.strip_prefix("cubbyhole/") {
            return Ok(session.home(self).tokens.kept(&session.found.hash, path).await?.is_some());
        }
        if let Some(role) = path.strip_prefix("auth/token/roles/") {
            return Ok(self.tokens.role(role).await?.is_some());
        }
        if ["sys/", "auth/token/", "identity/"].iter().any(|own| path.starts_with(own)) {
            return Ok(true);
        }
        if let Some(path) = path.strip_prefix("auth/") {
            return match self.methods.route(path) {
                Some((mounted, rest)) => mounted.plugin.exists(rest).await,
                None => Ok(false),
            };
        }
        match self.mounts.route(path) {
            Some((mounted, rest)) => mounted.plugin.exists(rest).await,
            None => Ok(false),
        }
    }
}

pub(super) fn caller(incoming: &Incoming, session: &Session) -> Caller {
    Caller {
        display_name: session.found.token.display_name.clone(),
        entity_id: session.found.token.entity_id.clone(),
        address: incoming.address,
        certificates: incoming.certificates.clone(),
    }
}
