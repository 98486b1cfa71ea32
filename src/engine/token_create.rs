//! What a new token is: made from another token (`auth/token/create…`), by a login, or root.

use serde_json::Value;

use super::core::Core;
use super::identity::Mount;
use super::policies;
use super::request::{Incoming, Reply};
use super::session::Session;
use super::token::{Kind, Token};
use super::token_role::Role;
use crate::auth::token_params::normal_policies;
use crate::auth::{Alias, LeaseOwner, Login, TokenType};
use crate::base::{Secret, Timestamp, duration, glob};
use crate::wire::{Error, Fields};

/// Who asks for a token, and where.
struct Maker<'a> {
    parent: &'a Token,
    sudo: bool,
    /// Whether there are root tokens here: not in a namespace.
    has_root: bool,
    role: Option<&'a Role>,
    fields: &'a Fields,
}

impl Core {
    /// `create`, `create-orphan` and, with a role, `create/ROLE`.
    pub(super) async fn create_token(
        &self,
        incoming: &Incoming,
        fields: &Fields,
        session: &Session,
        role: Option<&str>,
    ) -> Result<Reply, Error> {
        let parent = &session.found.token;
        if parent.kind == Kind::Batch {
            return Err(Error::bad_request("batch tokens cannot create more tokens"));
        }
        if parent.num_uses != 0 {
            return Err(Error::bad_request("restricted use token cannot generate child tokens"));
        }
        let role = match role {
            Some(name) => {
                let unknown = || Error::bad_request(format!("unknown role {name}"));
                Some((name, self.tokens.role(name).await?.ok_or_else(unknown)?.0))
            }
            None => None,
        };
        let sudo = session.is_root() || session.has_sudo(&incoming.path);
        // Policies, identity and workloads of another namespace mean nothing in this one.
        let stranger =
            Token { policies: Vec::new(), entity_id: String::new(), owner: LeaseOwner::Token, ..parent.clone() };
        let parent = if session.is_from_above() { &stranger } else { parent };
        let has_root = self.place.is_root();
        let maker = Maker { parent, sudo, has_root, role: role.as_ref().map(|(_, role)| role), fields };
        let mut token = maker.token(incoming.path.ends_with("/create-orphan"))?;
        token.parent = (!token.orphan).then(|| session.found.hash.clone());
        let suffix = role.as_ref().map_or("", |(_, role)| role.path_suffix.as_str());
        token.path = format!("{}/{suffix}", incoming.path).trim_end_matches('/').to_owned();
        token.role = role.as_ref().map(|(name, _)| (*name).to_owned()).unwrap_or_default();
        if let Some(alias) = maker.entity_alias()? {
            token.entity_id = self.identity.of_login(&Mount::tokens(), &alias, &[]).await?.id.clone();
        }
        let id = maker.id()?;
        if id.is_some() && token.kind == Kind::Batch {
            return Err(Error::bad_request("batch tokens cannot have \"id\" set"));
        }
        let mut warnings: Vec<_> = token
            .policies
            .iter()
            .filter(|name| !self.policies.exists(name))
            .map(|name| format!("Policy {name:?} does not exist"))
            .collect();
        let made = self.tokens.create(token, id, self.shared.settings.limits).await?;
        warnings.extend(made.warnings);
        let entity = self.entity_of(&made.token).await?;
        let auth = made.token.auth(Some(&made.id), made.token.creation_ttl);
        Ok(Reply::auth(entity.iter().fold(auth, |auth, entity| entity.complete(auth)), warnings))
    }
}

impl Maker<'_> {
    /// Everything but parent, path and role.
    fn token(&self, orphan: bool) -> Result<Token, Error> {
        let (fields, parent) = (self.fields, self.parent);
        let kind = self.kind()?;
        let uses = fields.int("num_uses")?.unwrap_or(0);
        if uses < 0 {
            return Err(Error::bad_request("number of uses cannot be negative"));
        }
        let no_parent = fields.bool("no_parent")?.unwrap_or(false);
        let orphan = match self.role {
            Some(role) => role.orphan,
            None if no_parent && !self.sudo => {
                return Err(Error::bad_request("root or sudo privileges required to create orphan token"));
            }
            None => orphan || no_parent,
        };
        let bound_cidrs = match self.role {
            Some(role) => role.token_bound_cidrs.clone(),
            None if orphan => Vec::new(),
            None => parent.bound_cidrs.clone(),
        };
        let renewable = fields.bool("renewable")?.unwrap_or(true);
        let token = Token {
            kind,
            policies: self.policies()?,
            meta: fields.string_map("meta")?.unwrap_or_default(),
            display_name: display_name(fields.string("display_name")?),
            role_ttl: seconds(fields, "ttl")?.or(seconds(fields, "lease")?).unwrap_or(0),
            explicit_max_ttl: smaller(
                seconds(fields, "explicit_max_ttl")?,
                self.role.map(|r| r.token_explicit_max_ttl),
            ),
            period: smaller(self.period()?, self.role.map(|role| role.token_period)),
            num_uses: smaller(u64::try_from(uses).ok(), self.role.map(|role| role.token_num_uses))
                .try_into()
                .unwrap_or(i64::MAX),
            renewable: renewable && kind == Kind::Service && self.role.is_none_or(|role| role.renewable),
            orphan,
            entity_id: if orphan { String::new() } else { parent.entity_id.clone() },
            bound_cidrs,
            // What a workload makes of its login still belongs to the workload.
            owner: parent.owner.clone(),
            ..Token::blank(Timestamp::UNIX_EPOCH)
        };
        self.check(&token)?;
        Ok(token)
    }

    fn check(&self, token: &Token) -> Result<(), Error> {
        if token.kind == Kind::Batch {
            let set = [
                ("explicit_max_ttl", token.explicit_max_ttl > 0),
                ("num_uses", token.num_uses > 0),
                ("period", token.period > 0),
            ];
            if let Some((name, _)) = set.iter().find(|(_, set)| *set) {
                return Err(Error::bad_request(format!("batch tokens cannot have {name:?} set")));
            }
            if token.is_root() {
                return Err(Error::bad_request("batch tokens cannot be root tokens"));
            }
        }
        let endless = token.is_root() && token.role_ttl == 0 && token.explicit_max_ttl == 0 && token.period == 0;
        if endless && self.parent.expires.is_some() {
            return Err(Error::bad_request("expiring root tokens cannot create non-expiring root tokens"));
        }
        Ok(())
    }

    /// The name of the caller that the token is made for; the role says which ones may be named.
    fn entity_alias(&self) -> Result<Option<Alias>, Error> {
        let Some(name) = self.fields.string("entity_alias")?.filter(|name| !name.is_empty()) else { return Ok(None) };
        let only = || Error::bad_request("'entity_alias' is only allowed in combination with token role");
        let allowed = self.role.ok_or_else(only)?.allowed_entity_aliases.iter().flatten();
        if !allowed.clone().any(|pattern| glob::matches(pattern, &name.to_lowercase())) {
            return Err(Error::bad_request("invalid 'entity_alias' value"));
        }
        Ok(Some(Alias { name, ..Alias::default() }))
    }

    /// A role may fix the type, or say what it is unless the caller wishes otherwise.
    fn kind(&self) -> Result<Kind, Error> {
        let wish = self.fields.string("type")?.unwrap_or_default();
        match (self.role.map(|role| role.token_type), wish.as_str()) {
            (Some(TokenType::Batch), _) | (Some(TokenType::DefaultBatch), "") => Ok(Kind::Batch),
            (Some(TokenType::Service), _) | (_, "" | "service") => Ok(Kind::Service),
            (_, "batch") => Ok(Kind::Batch),
            _ => Err(Error::bad_request("invalid 'token_type' value")),
        }
    }

    fn period(&self) -> Result<Option<u64>, Error> {
        let period = seconds(self.fields, "period")?.filter(|period| *period > 0);
        if period.is_some() && !self.sudo {
            return Err(Error::bad_request("root or sudo privileges required to create periodic token"));
        }
        Ok(period)
    }

    /// An id that the caller chooses.
    fn id(&self) -> Result<Option<Secret>, Error> {
        let Some(id) = self.fields.secret("id")?.filter(|id| !id.is_empty()) else { return Ok(None) };
        if !self.sudo {
            return Err(Error::bad_request("root or sudo privileges required to specify token id"));
        }
        let text = id.expose();
        if ["s.", "b.", "hvs.", "hvb."].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(Error::bad_request("custom token ID cannot have the 's.', 'b.', 'hvs.' or 'hvb.' prefix"));
        }
        if text.contains('.') {
            return Err(Error::bad_request("custom token ID cannot have a '.' in the value"));
        }
        Ok(Some(id))
    }

    fn policies(&self) -> Result<Vec<String>, Error> {
        let (fields, parent) = (self.fields, self.parent);
        let no_default = fields.bool("no_default_policy")?.unwrap_or(false);
        let asked = normal_policies(fields.string_list("policies")?.unwrap_or_default());
        let mut policies = match self.role.filter(|role| role.decides_policies()) {
            Some(role) => role.policies(asked, &parent.policies, no_default)?,
            None => self.child_policies(asked, no_default)?,
        };
        if policies.iter().any(|policy| policy == policies::WRAPPING) {
            return Err(Error::bad_request(format!("cannot assign policy {:?}", policies::WRAPPING)));
        }
        if policies.iter().any(|policy| policy == "root") {
            if !self.has_root {
                return Err(Error::bad_request("root tokens may not be created from a non-root namespace"));
            }
            if !parent.is_root() {
                return Err(Error::bad_request("root tokens may not be created without parent token being root"));
            }
            policies = vec!["root".into()];
        }
        Ok(policies)
    }

    /// Without a role that decides, a child has the policies of its parent or fewer, unless its maker may choose.
    fn child_policies(&self, asked: Vec<String>, no_default: bool) -> Result<Vec<String>, Error> {
        let parent = &self.parent.policies;
        if asked.is_empty() && parent.is_empty() && self.sudo {
            // From another namespace, whose policies are not those of this one.
            return Ok(without_default(vec!["default".into()], no_default));
        }
        if asked.is_empty() {
            return Ok(without_default(parent.clone(), no_default));
        }
        if !self.sudo && !asked.iter().all(|policy| parent.contains(policy)) {
            return Err(Error::bad_request("child policies must be subset of parent"));
        }
        let mut policies = asked;
        if self.sudo || parent.iter().any(|policy| policy == "default") {
            policies.push("default".into());
        }
        Ok(without_default(policies, no_default))
    }
}

fn without_default(mut policies: Vec<String>, strip: bool) -> Vec<String> {
    policies.retain(|policy| !strip || policy != "default");
    normal_policies(policies)
}

/// The smaller of two limits of which 0 is unset.
fn smaller(asked: Option<u64>, role: Option<u64>) -> u64 {
    [asked, role].into_iter().flatten().filter(|limit| *limit > 0).min().unwrap_or(0)
}

/// Durations of token creation: the error is Go's bare text, without the field's name (the golden answers have it so).
fn seconds(fields: &Fields, name: &str) -> Result<Option<u64>, Error> {
    match fields.value(name).and_then(Value::as_str) {
        Some(text) => duration::parse_seconds(text).map(Some).map_err(Error::bad_request),
        None => fields.seconds(name),
    }
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

/// The token of a login, before its TTL is known. Where the role leaves its type open, `mount_type` says it.
pub(super) fn from_login(login: Login, path: &str, mount_type: TokenType) -> Token {
    let wish = match (mount_type, login.token.token_type) {
        (TokenType::Service | TokenType::Batch, _) | (_, TokenType::Default) => mount_type,
        (_, role) => role,
    };
    let kind = match wish {
        TokenType::Batch | TokenType::DefaultBatch => Kind::Batch,
        TokenType::Default | TokenType::Service | TokenType::DefaultService => Kind::Service,
    };
    Token {
        kind,
        policies: login.token.policies(),
        path: path.to_owned(),
        meta: login.metadata,
        display_name: login.display_name,
        role_ttl: login.token.token_ttl,
        role_max_ttl: login.token.token_max_ttl,
        explicit_max_ttl: login.token.token_explicit_max_ttl,
        period: login.token.token_period,
        num_uses: i64::try_from(login.token.token_num_uses).unwrap_or(i64::MAX),
        renewable: kind == Kind::Service,
        bound_cidrs: login.token.token_bound_cidrs,
        owner: login.owner,
        ..Token::blank(Timestamp::UNIX_EPOCH)
    }
}

/// A root token: does everything, never expires.
pub(super) fn root(now: Timestamp) -> Token {
    Token {
        policies: vec!["root".into()],
        path: "auth/token/root".into(),
        display_name: "root".into(),
        renewable: false,
        ..Token::blank(now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::from(value.as_object().unwrap().clone())
    }

    fn made(body: Value, parent: &[&str], sudo: bool) -> Result<Token, String> {
        let policies = parent.iter().map(|name| (*name).to_owned()).collect();
        let parent = Token { policies, ..Token::blank(Timestamp::UNIX_EPOCH) };
        let fields = fields(body);
        let maker = Maker { parent: &parent, sudo, has_root: true, role: None, fields: &fields };
        maker.id().and_then(|_| maker.token(false)).map_err(|error| error.to_string())
    }

    #[test]
    fn display_names_are_cleaned() {
        assert_eq!(display_name(Some("x y".into())), "token-x-y");
        assert_eq!(display_name(None), "token");
    }

    #[test]
    fn policies_of_a_child_are_a_subset_unless_its_maker_may_choose() {
        let parent = ["default", "p"];
        let policies = |body, sudo| made(body, &parent, sudo).map(|token| token.policies);
        let error = policies(json!({ "policies": ["other"] }), false).unwrap_err();
        assert_eq!(error, "child policies must be subset of parent");
        assert_eq!(policies(json!({ "policies": ["other"] }), true).unwrap(), ["default", "other"]);
        assert_eq!(policies(json!({}), false).unwrap(), parent);
        assert_eq!(policies(json!({ "no_default_policy": true }), false).unwrap(), ["p"]);
        assert_eq!(made(json!({ "policies": ["p"] }), &["p"], false).unwrap().policies, ["p"], "default is not added");
        assert_eq!(made(json!({}), &["p"], true).unwrap().policies, ["p"], "nor when it inherits");
        let root = policies(json!({ "policies": ["root"] }), true).unwrap_err();
        assert_eq!(root, "root tokens may not be created without parent token being root");
        let wrapping = policies(json!({ "policies": ["response-wrapping"] }), true).unwrap_err();
        assert_eq!(wrapping, "cannot assign policy \"response-wrapping\"");
    }

    #[test]
    fn some_wishes_need_sudo() {
        for (body, what) in [
            (json!({ "period": "1h" }), "create periodic token"),
            (json!({ "no_parent": true }), "create orphan token"),
            (json!({ "id": "mine" }), "specify token id"),
        ] {
            let error = made(body.clone(), &["p"], false).unwrap_err();
            assert_eq!(error, format!("root or sudo privileges required to {what}"));
            assert!(made(body, &["p"], true).is_ok());
        }
    }

    #[test]
    fn a_batch_token_is_nothing_that_would_have_to_be_stored() {
        let batch = |name: &str, value: Value| made(json!({ "type": "batch", name: value }), &["p"], true);
        assert_eq!(batch("num_uses", json!(1)).unwrap_err(), "batch tokens cannot have \"num_uses\" set");
        assert_eq!(batch("period", json!("1h")).unwrap_err(), "batch tokens cannot have \"period\" set");
        assert_eq!(batch("period", json!("0s")).unwrap().kind, Kind::Batch, "as the command line sends it");
        assert!(!batch("ttl", json!("1h")).unwrap().renewable);
        assert_eq!(
            made(json!({ "type": "batch" }), &["root"], true).unwrap_err(),
            "batch tokens cannot be root tokens"
        );
        assert_eq!(made(json!({ "type": "x" }), &["p"], true).unwrap_err(), "invalid 'token_type' value");
    }

    #[test]
    fn the_role_or_the_mount_says_what_a_login_makes() {
        use TokenType::{Batch, DefaultBatch, DefaultService, Service};
        let open = TokenType::Default;
        for (mount, role, kind) in [
            (open, open, Kind::Service),
            (DefaultService, Batch, Kind::Batch),
            (DefaultBatch, open, Kind::Batch),
            (DefaultBatch, Service, Kind::Service),
            (Service, Batch, Kind::Service),
            (Batch, Service, Kind::Batch),
        ] {
            let login = Login {
                display_name: String::new(),
                metadata: Default::default(),
                alias: None,
                groups: Vec::new(),
                token: crate::auth::TokenParams { token_type: role, ..Default::default() },
                owner: Default::default(),
            };
            assert_eq!(from_login(login, "auth/a/login", mount).kind, kind, "{mount:?} {role:?}");
        }
    }
}
