//! `auth/token/…`: tokens made, looked up, prolonged and revoked over the API (vault-api.md 2.2).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::core::{Core, Session};
use super::request::{Incoming, Reply};
use super::token::{Found, Token};
use crate::auth::token_params::normal_policies;
use crate::auth::{LeaseOwner, Login};
use crate::base::{Secret, Timestamp};
use crate::wire::{Answer, Error, Fields, Kind, Operation};

const CREATE_FIELDS: &[&str] = &[
    "id",
    "policies",
    "meta",
    "no_parent",
    "no_default_policy",
    "renewable",
    "ttl",
    "lease",
    "explicit_max_ttl",
    "period",
    "display_name",
    "num_uses",
    "type",
    "entity_alias",
];

impl Core {
    pub(super) async fn token_api(
        &self,
        path: &str,
        incoming: &Incoming,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        use Operation::{List, Read, Write};
        match (incoming.operation, path) {
            (Write, "create") => self.create_token(fields, session, false).await,
            (Write, "create-orphan") => self.create_token(fields, session, true).await,
            (Read | Write, "lookup-self") => Ok(self.describe(&session.found, incoming.token.as_ref())),
            (Write, "lookup") => {
                let token = named_token(fields)?;
                let found = self.tokens.find(&token).await?.ok_or_else(|| Error::new(Kind::Denied, "bad token"))?;
                Ok(self.describe(&found, Some(&token)))
            }
            (Write, "lookup-accessor") => Ok(self.describe(&self.by_accessor(fields).await?, None)),
            (Write, "renew-self") => self.renew_token(&session.found, incoming.token.as_ref(), fields).await,
            (Write, "renew") => {
                let token = named_token(fields)?;
                let found = self.tokens.find(&token).await?.ok_or_else(|| Error::bad_request("token not found"))?;
                self.renew_token(&found, Some(&token), fields).await
            }
            (Write, "renew-accessor") => self.renew_token(&self.by_accessor(fields).await?, None, fields).await,
            (Write, "revoke-self") => self.end(&session.found.hash).await,
            (Write, "revoke") => self.end(&self.tokens.hash(&named_token(fields)?)).await,
            (Write, "revoke-accessor") => {
                let accessor = fields.required("accessor")?;
                match self.tokens.find_accessor(&accessor).await? {
                    Some(found) => self.end(&found.hash).await,
                    None => Ok(Reply::answer(Answer::empty().warn("No token found with this accessor"))),
                }
            }
            (Write, "revoke-orphan") => self.revoke_orphan(&named_token(fields)?).await,
            (List, "accessors") => Ok(Reply::answer(Answer::keys(self.tokens.accessors().await?)?)),
            (_, "create" | "create-orphan" | "lookup" | "lookup-self" | "lookup-accessor" | "renew" | "renew-self")
            | (_, "renew-accessor" | "revoke" | "revoke-self" | "revoke-accessor" | "revoke-orphan" | "accessors") => {
                Err(Error::unsupported_operation())
            }
            _ => Err(Error::unsupported_path()),
        }
    }

    async fn end(&self, hash: &str) -> Result<Reply, Error> {
        self.leases.end_token(hash).await?;
        Ok(Reply::Empty(204))
    }

    async fn revoke_orphan(&self, token: &Secret) -> Result<Reply, Error> {
        let found = self.tokens.find(token).await?;
        let found = found.ok_or_else(|| Error::bad_request("token to revoke not found"))?;
        for child in self.tokens.children(&found.hash).await? {
            self.tokens.orphan(&found.hash, &child).await?;
        }
        self.end(&found.hash).await
    }

    async fn by_accessor(&self, fields: &Fields) -> Result<Found, Error> {
        let accessor = fields.required("accessor")?;
        self.tokens.find_accessor(&accessor).await?.ok_or_else(|| Error::bad_request("invalid accessor"))
    }

    async fn renew_token(&self, found: &Found, token: Option<&Secret>, fields: &Fields) -> Result<Reply, Error> {
        let increment = fields.seconds("increment")?.unwrap_or(0);
        let limits = self.token_limits(&found.token.path);
        let (renewed, granted) = self.tokens.renew(found, increment, limits).await?;
        Ok(Reply::auth(renewed.auth(token, granted.ttl), granted.warning.into_iter().collect()))
    }

    /// The limits of the login mount that made a token.
    fn token_limits(&self, path: &str) -> super::ttl::Limits {
        let mounted = path.strip_prefix("auth/").and_then(|path| self.methods.route(path));
        mounted.map_or(self.settings.limits, |(mounted, _)| mounted.entry.limits(self.settings.limits))
    }

    async fn create_token(&self, fields: &Fields, session: &Session, orphan: bool) -> Result<Reply, Error> {
        let parent = &session.found;
        if parent.token.num_uses != 0 {
            return Err(Error::bad_request("restricted use token cannot generate child tokens"));
        }
        if fields.string("type")?.as_deref() == Some("batch") {
            return Err(Error::bad_request(
                "batch tokens are not supported: leave `type` out or set it to \"service\"",
            ));
        }
        let sudo = session.access.is_root() || session.access.has_sudo("auth/token/create");
        let no_parent = fields.bool("no_parent")?.unwrap_or(false);
        if no_parent && !sudo {
            return Err(Error::bad_request("root or sudo privileges required to create orphan token"));
        }
        let id = fields.secret("id")?.filter(|id| !id.is_empty());
        check_id(id.as_ref(), sudo)?;
        let policies = child_policies(fields, &parent.token, session.access.is_root() || sudo)?;
        let orphan = orphan || no_parent;
        let now = self.clock.now();
        let token = Token {
            parent: (!orphan).then(|| parent.hash.clone()),
            meta: fields.string_map("meta")?.unwrap_or_default(),
            path: "auth/token/create".into(),
            display_name: display_name(fields.string("display_name")?),
            role_ttl: seconds(fields, "ttl")?.or(seconds(fields, "lease")?).unwrap_or(0),
            explicit_max_ttl: seconds(fields, "explicit_max_ttl")?.unwrap_or(0),
            period: seconds(fields, "period")?.unwrap_or(0),
            num_uses: fields.int("num_uses")?.unwrap_or(0).max(0),
            renewable: fields.bool("renewable")?.unwrap_or(true),
            orphan,
            // What a workload makes of its login still belongs to the workload.
            owner: parent.token.owner.clone(),
            policies,
            ..blank(now)
        };
        let mut warnings: Vec<_> = token
            .policies
            .iter()
            .filter(|name| !self.policies.exists(name))
            .map(|name| format!("Policy {name:?} does not exist"))
            .collect();
        warnings.extend(fields.unrecognized(CREATE_FIELDS));
        let made = self.tokens.create(token, id, self.settings.limits).await?;
        warnings.extend(made.warnings);
        Ok(Reply::auth(made.token.auth(Some(&made.id), made.token.creation_ttl), warnings))
    }

    fn describe(&self, found: &Found, token: Option<&Secret>) -> Reply {
        let t = &found.token;
        let now = self.clock.now();
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("accessor", json!(t.accessor));
        set("creation_time", json!(t.created.as_second()));
        set("creation_ttl", json!(t.creation_ttl));
        set("display_name", json!(t.display_name));
        set("entity_id", json!(t.entity_id));
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
        set("type", json!("service"));
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

/// Durations of token creation: the error is Go's bare text, without the field's name (the golden answers have it so).
fn seconds(fields: &Fields, name: &str) -> Result<Option<u64>, Error> {
    match fields.value(name).and_then(Value::as_str) {
        Some(text) => crate::base::duration::parse_seconds(text).map(Some).map_err(Error::bad_request),
        None => fields.seconds(name),
    }
}

fn named_token(fields: &Fields) -> Result<Secret, Error> {
    fields.secret("token")?.filter(|token| !token.is_empty()).ok_or_else(|| Error::bad_request("missing token ID"))
}

fn check_id(id: Option<&Secret>, sudo: bool) -> Result<(), Error> {
    let Some(id) = id.map(Secret::expose) else { return Ok(()) };
    if !sudo {
        return Err(Error::bad_request("root or sudo privileges required to specify token id"));
    }
    if id.starts_with("s.") || id.starts_with("hvs.") || id.starts_with("b.") || id.starts_with("hvb.") {
        return Err(Error::bad_request("custom token ID cannot have the 's.', 'b.', 'hvs.' or 'hvb.' prefix"));
    }
    if id.contains('.') {
        return Err(Error::bad_request("custom token ID cannot have a '.' in the value"));
    }
    Ok(())
}

fn child_policies(fields: &Fields, parent: &Token, may_choose: bool) -> Result<Vec<String>, Error> {
    let no_default = fields.bool("no_default_policy")?.unwrap_or(false);
    let mut policies = match fields.string_list("policies")? {
        Some(policies) if !policies.is_empty() => normal_policies(policies),
        _ => parent.policies.clone(),
    };
    let root = policies.iter().any(|policy| policy == "root");
    if root && !parent.is_root() {
        return Err(Error::bad_request("root tokens may not be created without parent token being root"));
    }
    let subset = |policy: &String| parent.policies.contains(policy) || policy == "default";
    if !may_choose && !policies.iter().all(subset) {
        return Err(Error::bad_request("child policies must be subset of parent"));
    }
    if root {
        return Ok(vec!["root".into()]);
    }
    if !no_default {
        policies.push("default".into());
    }
    Ok(normal_policies(policies))
}

/// `token`, or `token-` and the wish with everything but letters, digits and `-` made a `-`.
fn display_name(wish: Option<String>) -> String {
    match wish.filter(|name| !name.is_empty()) {
        None => "token".into(),
        Some(name) => {
            let clean = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
            format!("token-{}", name.chars().map(clean).collect::<String>().trim_end_matches('-'))
        }
    }
}

fn blank(now: Timestamp) -> Token {
    Token {
        accessor: String::new(),
        parent: None,
        policies: Vec::new(),
        path: String::new(),
        meta: BTreeMap::new(),
        display_name: String::new(),
        created: now,
        creation_ttl: 0,
        expires: None,
        last_renewal: None,
        role_ttl: 0,
        role_max_ttl: 0,
        explicit_max_ttl: 0,
        period: 0,
        num_uses: 0,
        renewable: true,
        orphan: true,
        entity_id: String::new(),
        bound_cidrs: Vec::new(),
        owner: LeaseOwner::Token,
        revoking: false,
    }
}

/// The token of a login, before its TTL is known.
pub(super) fn from_login(login: Login, path: &str) -> Token {
    let mut policies = login.token.token_policies;
    if !login.token.token_no_default_policy {
        policies.push("default".into());
    }
    Token {
        policies: normal_policies(policies),
        path: path.to_owned(),
        meta: login.metadata,
        display_name: login.display_name,
        role_ttl: login.token.token_ttl,
        role_max_ttl: login.token.token_max_ttl,
        explicit_max_ttl: login.token.token_explicit_max_ttl,
        period: login.token.token_period,
        num_uses: i64::try_from(login.token.token_num_uses).unwrap_or(i64::MAX),
        bound_cidrs: login.token.token_bound_cidrs,
        owner: login.owner,
        ..blank(Timestamp::UNIX_EPOCH)
    }
}

/// A root token: does everything, never expires.
pub(super) fn root(now: Timestamp) -> Token {
    Token {
        policies: vec!["root".into()],
        path: "auth/token/root".into(),
        display_name: "root".into(),
        renewable: false,
        ..blank(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_are_cleaned() {
        assert_eq!(display_name(Some("x y".into())), "token-x-y");
        assert_eq!(display_name(None), "token");
    }

    #[test]
    fn policies_of_a_child_are_a_subset_unless_its_maker_is_root() {
        let fields = Fields::from(json!({"policies": ["other"]}).as_object().unwrap().clone());
        let parent = Token { policies: vec!["default".into(), "p".into()], ..blank(Timestamp::UNIX_EPOCH) };
        let error = child_policies(&fields, &parent, false).unwrap_err();
        assert_eq!(error.to_string(), "child policies must be subset of parent");
        assert_eq!(child_policies(&fields, &parent, true).unwrap(), ["default", "other"]);
        assert_eq!(child_policies(&Fields::default(), &parent, false).unwrap(), ["default", "p"]);
    }
}
