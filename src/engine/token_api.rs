//! `auth/token/…`: tokens made, looked up, prolonged and revoked over the API (vault-api.md 2.2).

use serde_json::{Map, Value, json};

use super::core::Core;
use super::identity::entity::Entity;
use super::request::{Incoming, Reply};
use super::session::Session;
use super::token::{self, Found};
use crate::base::{Secret, telemetry};
use crate::wire::{Answer, Envelope, Error, Fields, Kind, Operation};

impl Core {
    pub(super) async fn token_api(
        &self,
        path: &str,
        incoming: &Incoming,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        use Operation::{List, Read, Write};
        if let Some(name) = path.strip_prefix("roles").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return self.token_roles(name.trim_matches('/'), incoming.operation, fields).await;
        }
        match (incoming.operation, path) {
            (Write, "create" | "create-orphan") => self.create_token(incoming, fields, session, None).await,
            (Write, _) if path.starts_with("create/") => {
                self.create_token(incoming, fields, session, path.strip_prefix("create/")).await
            }
            (Read | Write, "lookup-self") => {
                Ok(session.home(self).describe(&session.found, incoming.token.as_ref(), session.entity.as_deref()))
            }
            (Write, "lookup") => {
                let token = named_token(fields)?;
                let found = self.tokens.find(&token).await?.ok_or_else(|| Error::new(Kind::Denied, "bad token"))?;
                self.looked_up(&found, Some(&token)).await
            }
            (Write, "lookup-accessor") => self.looked_up(&self.by_accessor(fields).await?, None).await,
            (Write, "renew-self") => {
                session.home(self).renew_token(&session.found, incoming.token.as_ref(), incoming, fields).await
            }
            (Write, "renew") => {
                let token = named_token(fields)?;
                let found = self.tokens.find(&token).await?.ok_or_else(|| Error::bad_request("token not found"))?;
                self.renew_token(&found, Some(&token), incoming, fields).await
            }
            (Write, "renew-accessor") => {
                self.renew_token(&self.by_accessor(fields).await?, None, incoming, fields).await
            }
            (Write, "revoke-self") => self.end(&session.found).await,
            (Write, "revoke") => {
                let token = named_token(fields)?;
                match self.tokens.find(&token).await? {
                    Some(found) => self.end(&found).await,
                    // One that is being revoked already may have stopped half-way.
                    None => {
                        self.leases.end_token(&self.tokens.hash(&token)).await?;
                        Ok(Reply::Empty(204))
                    }
                }
            }
            (Write, "revoke-accessor") => {
                let accessor = fields.required("accessor")?;
                match self.tokens.find_accessor(&accessor).await? {
                    Some(found) => self.end(&found).await,
                    None => Ok(Reply::answer(Answer::empty().warn("No token found with this accessor"))),
                }
            }
            (Write, "revoke-orphan") => self.revoke_orphan(&named_token(fields)?).await,
            (Write, "tidy") => Ok(self.tidy_tokens()),
            (List, "accessors") => Ok(Reply::answer(Answer::keys(self.tokens.accessors().await?)?)),
            (_, "create" | "create-orphan" | "lookup" | "lookup-self" | "lookup-accessor" | "renew" | "renew-self")
            | (_, "renew-accessor" | "revoke" | "revoke-self" | "revoke-accessor" | "revoke-orphan" | "accessors") => {
                Err(Error::unsupported_operation())
            }
            (_, "tidy") => Err(Error::unsupported_operation()),
            (_, _) if path.starts_with("create/") => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    async fn end(&self, found: &Found) -> Result<Reply, Error> {
        if found.token.kind == token::Kind::Batch {
            return Err(Error::bad_request("batch tokens cannot be revoked"));
        }
        self.leases.end_token(&found.hash).await?;
        Ok(Reply::Empty(204))
    }

    /// 202 with a warning, as in Vault: it goes on in the background and logs what it did.
    fn tidy_tokens(&self) -> Reply {
        let tokens = self.tokens.clone();
        tokio::spawn(async move {
            match tokens.tidy().await {
                Ok(removed) => tracing::info!(removed, "the tokens' indexes were tidied"),
                Err(error) => tracing::warn!(error = telemetry::chain(&error), "tidying the tokens stopped"),
            }
        });
        let warning = "Tidy operation successfully started. Any information from the operation will be printed to the server logs.";
        let envelope = Envelope { warnings: Some(vec![warning.to_owned()]), ..Envelope::default() };
        Reply::Accepted(Box::new(envelope))
    }

    async fn revoke_orphan(&self, token: &Secret) -> Result<Reply, Error> {
        let found = self.tokens.find(token).await?;
        let found = found.ok_or_else(|| Error::bad_request("token to revoke not found"))?;
        if found.token.kind == token::Kind::Batch {
            return Err(Error::bad_request("batch tokens cannot be revoked"));
        }
        for child in self.tokens.children(&found.hash).await? {
            self.tokens.orphan(&found.hash, &child).await?;
        }
        self.end(&found).await
    }

    async fn by_accessor(&self, fields: &Fields) -> Result<Found, Error> {
        let accessor = fields.required("accessor")?;
        self.tokens.find_accessor(&accessor).await?.ok_or_else(|| Error::bad_request("invalid accessor"))
    }

    async fn renew_token(
        &self,
        found: &Found,
        token: Option<&Secret>,
        incoming: &Incoming,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        if found.token.kind == token::Kind::Batch {
            return Err(Error::bad_request("batch tokens cannot be renewed"));
        }
        self.check_renewal(&found.token, incoming).await?;
        let increment = fields.seconds("increment")?.unwrap_or(0);
        let limits = self.token_limits(&found.token.path);
        let (renewed, granted) = self.tokens.renew(found, increment, limits).await?;
        let entity = self.entity_of(&renewed).await?;
        let auth = entity.iter().fold(renewed.auth(token, granted.ttl), |auth, entity| entity.complete(auth));
        Ok(Reply::auth(auth, granted.warning.into_iter().collect()))
    }

    /// The limits of the login mount that made a token.
    fn token_limits(&self, path: &str) -> super::ttl::Limits {
        let mounted = path.strip_prefix("auth/").and_then(|path| self.methods.route(path));
        mounted.map_or(self.shared.settings.limits, |(mounted, _)| mounted.entry.limits(self.shared.settings.limits))
    }

    async fn looked_up(&self, found: &Found, token: Option<&Secret>) -> Result<Reply, Error> {
        let entity = self.identity.get(&found.token.entity_id).await?;
        Ok(self.describe(found, token, entity.as_deref()))
    }

    fn describe(&self, found: &Found, token: Option<&Secret>, entity: Option<&Entity>) -> Reply {
        let t = &found.token;
        let now = self.shared.clock.now();
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("accessor", json!(t.accessor));
        set("creation_time", json!(t.created.as_second()));
        set("creation_ttl", json!(t.creation_ttl));
        set("display_name", json!(t.display_name));
        set("entity_id", json!(entity.map_or(&t.entity_id, |entity| &entity.id)));
        set("expire_time", t.expires.map_or(Value::Null, |expires| json!(expires.to_string())));
        set("explicit_max_ttl", json!(t.explicit_max_ttl));
        set("id", json!(token.map_or("", Secret::expose)));
        set("issue_time", json!(t.created.to_string()));
        set("meta", if t.meta.is_empty() { Value::Null } else { json!(t.meta) });
        set("num_uses", json!(t.num_uses));
        set("orphan", json!(t.orphan));
        set("path", json!(t.path));
        set("policies", json!(t.policies));
        set("renewable", json!(t.renewable));
        set("ttl", json!(t.ttl(now)));
        set("type", json!(t.kind));
        if !self.place.is_root() {
            set("namespace_path", json!(self.place.path));
        }
        if !t.role.is_empty() {
            set("role", json!(t.role));
        }
        if let Some(entity) = entity.filter(|entity| !entity.identity_policies().is_empty()) {
            set("identity_policies", json!(entity.identity_policies()));
        }
        if t.period > 0 {
            set("period", json!(t.period));
        }
        if !t.bound_cidrs.is_empty() {
            set("bound_cidrs", json!(t.bound_cidrs));
        }
        if let Some(renewed) = t.last_renewal {
            set("last_renewal", json!(renewed.to_string()));
            set("last_renewal_time", json!(renewed.as_second()));
        }
        Reply::answer(Answer::data(data.into()))
    }
}

fn named_token(fields: &Fields) -> Result<Secret, Error> {
    fields.secret("token")?.filter(|token| !token.is_empty()).ok_or_else(|| Error::bad_request("missing token ID"))
}
