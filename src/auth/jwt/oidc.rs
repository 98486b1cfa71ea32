//! Login with a browser: where to send it, and what becomes of it when it comes back with a code.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde_json::{Value, json};

use super::claims::{self, Claims};
use super::config::{Config, ResponseMode};
use super::keyring::Keyring;
use super::pending::{Step, Waiting};
use super::provider::{Description, Exchange, Tokens, query};
use super::role::{CallbackMode, Role, RoleType};
use super::{Jwt, provider};
use crate::auth::Login;
use crate::base::{Secret, Timestamp, telemetry};
use crate::wire::{Answer, Error, Fields, Kind};

/// What the provider's word about the token itself is, and not about the user: `userinfo` cannot change it.
const OF_THE_TOKEN: &[&str] = &["iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "auth_time", "at_hash"];

/// The longest address and nonce of a client that are kept for a login that waits, in bytes: nobody needs a token to begin one.
const LONGEST: usize = 2048;

pub(super) fn failed(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Vault login failed. {why}"))
}

/// What a provider gave for a login.
pub(super) struct Brought {
    /// Good for tokens; empty where there is none.
    pub code: Secret,
    /// Where the provider gives it at once.
    pub id_token: Secret,
}

impl Jwt {
    /// Where the browser is to go. As in Vault the answer is empty when the role does not allow what is asked.
    pub(super) async fn auth_url(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Answer, Error> {
        let keyring = self.keyring().await?;
        if !keyring.config().has_provider() {
            return Err(Error::bad_request("'oidc_client_id' must be set for a login with a browser"));
        }
        let client_nonce = fields.secret("client_nonce")?.unwrap_or_default();
        let redirect_uri = fields.string("redirect_uri")?.unwrap_or_default();
        for (field, length) in [("redirect_uri", redirect_uri.len()), ("client_nonce", client_nonce.expose().len())] {
            if length > LONGEST {
                return Err(Error::bad_request(format!("{field:?} is longer than {LONGEST} bytes")));
            }
        }
        let (name, role) = self.named_role(fields, keyring.config()).await?;
        if role.role_type != RoleType::Oidc {
            return Err(Error::bad_request(format!("role {name:?} is not of type oidc")));
        }
        if role.callback_mode != CallbackMode::Client && client_nonce.is_empty() {
            return Err(Error::bad_request("missing client_nonce"));
        }
        let mut waiting = Waiting {
            role: name,
            redirect_uri: String::new(),
            nonce: self.random.base62(24).into(),
            verifier: self.random.base62(64).into(),
            client_nonce,
            mode: role.callback_mode,
            address,
            step: Step::Away,
        };
        if role.callback_mode == CallbackMode::Device {
            return self.begin_device(&keyring, &role, waiting).await;
        }
        if redirect_uri.is_empty() {
            return Err(Error::bad_request("missing redirect_uri"));
        }
        if !role.allows_redirect(&redirect_uri) {
            let role = waiting.role;
            tracing::warn!(role, redirect_uri, "a login asks for a redirect_uri that its role does not allow");
            return Ok(Answer::data(json!({ "auth_url": "" })));
        }
        waiting.redirect_uri = redirect_uri;
        let provider = keyring.provider().await?;
        let state = self.state();
        let mut answer = json!({ "auth_url": page(&provider, keyring.config(), &role, &state, &waiting) });
        if waiting.mode == CallbackMode::Direct {
            answer["state"] = json!(state);
            answer["poll_interval"] = json!(role.poll_interval(0));
        }
        self.pending.keep(state, waiting, self.clock.now());
        Ok(Answer::data(answer))
    }

    /// The name of a login, for the provider and for who began it.
    pub(super) fn state(&self) -> String {
        format!("st_{}", self.random.base62(24))
    }

    /// Ends a login with what the provider gave: who it is, if the role lets him in.
    pub(super) async fn conclude(&self, waiting: &Waiting, brought: &Brought) -> Result<Login, Error> {
        let keyring = self.keyring().await?;
        let provider = keyring.provider().await?;
        if brought.code.is_empty() {
            if brought.id_token.is_empty() {
                return Err(failed("No code or id_token received."));
            }
            let found = keyring.verify(&brought.id_token).await?;
            return self.identify(&keyring, &provider, waiting, found, None).await;
        }
        let tokens = exchange(&keyring, &provider, waiting, &brought.code).await?;
        self.with_tokens(&keyring, &provider, waiting, &tokens).await
    }

    /// The login of who the tokens are of.
    pub(super) async fn with_tokens(
        &self,
        keyring: &Keyring,
        provider: &Description,
        waiting: &Waiting,
        tokens: &Tokens,
    ) -> Result<Login, Error> {
        let found = keyring.verify(tokens.id().map_err(|error| failed(&error).caused_by(error))?).await?;
        self.identify(keyring, provider, waiting, found, Some(tokens)).await
    }

    async fn identify(
        &self,
        keyring: &Keyring,
        provider: &Description,
        waiting: &Waiting,
        mut found: Claims,
        tokens: Option<&Tokens>,
    ) -> Result<Login, Error> {
        let role = self.role_of(waiting).await?;
        let client_id = &keyring.config().oidc_client_id;
        let expected = Expected { client_id, issuer: &provider.issuer, waiting };
        expected.check(&found, &role, self.clock.now()).map_err(failed)?;
        if let Some(tokens) = tokens {
            self.add_user_info(keyring, provider, tokens, &mut found).await?;
        }
        if role.verbose_oidc_logging {
            let names: Vec<_> = found.keys().map(String::as_str).collect();
            tracing::debug!(role = waiting.role, claims = names.join(" "), "the claims of a login by their names");
        }
        self.identified(&waiting.role, role, &found)
    }

    /// The role of a login that waits.
    pub(super) async fn role_of(&self, waiting: &Waiting) -> Result<Role, Error> {
        self.roles.get(&waiting.role).await?.ok_or_else(|| failed("Role could not be found"))
    }

    /// What the provider tells of the user only when asked. Without it, a login has the claims of its token alone.
    async fn add_user_info(
        &self,
        keyring: &Keyring,
        provider: &Description,
        tokens: &Tokens,
        claims: &mut Claims,
    ) -> Result<(), Error> {
        let Some(token) = tokens.access_token.as_ref().filter(|_| !provider.userinfo_endpoint.is_empty()) else {
            return Ok(());
        };
        match keyring.http()?.user(&provider.userinfo_endpoint, token).await {
            Ok(told) if is_about(&told, claims) => {
                claims.extend(told.into_iter().filter(|(name, _)| !OF_THE_TOKEN.contains(&name.as_str())));
            }
            Ok(_) => return Err(failed("The provider tells of another user than the ID token.")),
            Err(error) => log_missing(&error),
        }
        Ok(())
    }
}

/// Whether userinfo tells of the user of the token: where neither names one, nobody knows (OpenID Connect Core, 5.3.2).
fn is_about(told: &Claims, token: &Claims) -> bool {
    token.get("sub").is_some_and(|user| user.is_string() && told.get("sub") == Some(user))
}

async fn exchange(
    keyring: &Keyring,
    provider: &Description,
    waiting: &Waiting,
    code: &Secret,
) -> Result<Tokens, Error> {
    let exchange = Exchange { code, redirect_uri: &waiting.redirect_uri, verifier: &waiting.verifier };
    let client = keyring.config().client();
    let tokens = keyring.http()?.exchange(provider, client, exchange).await;
    tokens.map_err(|error| unanswered(error, "exchanging oidc code"))
}

/// What a provider's failure means for a login.
pub(super) fn unanswered(error: provider::Error, doing: &str) -> Error {
    if error.retryable() {
        return Error::new(Kind::Upstream, "Vault login failed. The provider does not answer").caused_by(error);
    }
    failed(format!("Error {doing}: {error}")).caused_by(error)
}

fn log_missing(error: &provider::Error) {
    tracing::warn!(error = telemetry::chain(error), "a login goes without what the provider's userinfo would tell");
}

/// What the provider is asked for.
pub(super) fn scopes(role: &Role) -> String {
    let others = role.oidc_scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
    ["openid"].into_iter().chain(others).collect::<Vec<_>>().join(" ")
}

/// The address of the provider's page for one login.
fn page(provider: &Description, config: &Config, role: &Role, state: &str, waiting: &Waiting) -> String {
    let scopes = scopes(role);
    let hash = digest::digest(&digest::SHA256, waiting.verifier.expose().as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(hash);
    let max_age = role.max_age.to_string();
    let mut pairs = vec![("client_id", config.oidc_client_id.as_str())];
    if config.wants_code() {
        pairs.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
    }
    pairs.extend([
        ("nonce", waiting.nonce.expose()),
        ("redirect_uri", &waiting.redirect_uri),
        ("response_type", config.response_type()),
        ("scope", &scopes),
        ("state", state),
    ]);
    if config.oidc_response_mode == ResponseMode::FormPost {
        pairs.push(("response_mode", "form_post"));
    }
    if role.max_age > 0 {
        pairs.push(("max_age", &max_age));
    }
    let page = &provider.authorization_endpoint;
    format!("{page}{}{}", if page.contains('?') { "&" } else { "?" }, query(&pairs))
}

/// What an ID token must say to belong to the login that waited for it.
struct Expected<'a> {
    client_id: &'a str,
    issuer: &'a str,
    waiting: &'a Waiting,
}

impl Expected<'_> {
    fn check(&self, claims: &Claims, role: &Role, now: Timestamp) -> Result<(), String> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("iss") != self.issuer {
            return Err("invalid issuer (iss) claim".to_owned());
        }
        let audiences = claims::audiences(claims);
        claims::check_audience(&audiences, &[self.client_id.to_owned()])?;
        if audiences.len() > 1 && text("azp") != self.client_id {
            return Err("invalid authorized party (azp) claim".to_owned());
        }
        if !role.bound_audiences.is_empty() {
            claims::check_audience(&audiences, &role.bound_audiences)?;
        }
        if !role.bound_subject.is_empty() && role.bound_subject != text("sub") {
            return Err("invalid subject (sub) claim".to_owned());
        }
        // A device's login begins without one.
        if self.waiting.mode != CallbackMode::Device && text("nonce") != self.waiting.nonce.expose() {
            return Err("invalid nonce claim".to_owned());
        }
        claims::check_times(claims, role, now)?;
        if role.max_age > 0 {
            let since = claims.get("auth_time").and_then(Value::as_i64).ok_or("missing auth_time claim")?;
            let most = i64::try_from(role.max_age).unwrap_or(i64::MAX);
            let most = most.saturating_add(claims::leeway(role.clock_skew_leeway, 60));
            if now.as_second().saturating_sub(since) > most {
                return Err("the last authentication is older than max_age".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::objects::Object as _;

    fn waiting() -> Waiting {
        Waiting {
            role: "r".into(),
            redirect_uri: "http://localhost:8250/oidc/callback".into(),
            nonce: "n".into(),
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
            client_nonce: Secret::default(),
            mode: CallbackMode::Client,
            address: None,
            step: Step::Away,
        }
    }

    fn role(settings: Value) -> Role {
        let mut all = json!({ "user_claim": "sub", "allowed_redirect_uris": "u" });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let mut role = Role::default();
        role.merge(&all.as_object().unwrap().clone().into()).unwrap();
        role
    }

    #[test]
    fn the_page_is_asked_for_with_pkce() {
        let provider: Description = serde_json::from_value(json!({ "issuer": "https://i", "jwks_uri": "j",
            "authorization_endpoint": "https://i/auth?tenant=1" }))
        .unwrap();
        let role = role(json!({ "oidc_scopes": "openid,email", "max_age": "1h" }));
        let mut config = Config { oidc_client_id: "me".into(), ..Config::default() };
        let url = page(&provider, &config, &role, "st", &waiting());
        assert!(url.starts_with("https://i/auth?tenant=1&client_id=me&"), "{url}");
        // The example of RFC 7636, appendix B.
        assert!(url.contains("code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw%2DcM&"), "{url}");
        assert!(url.contains("scope=openid%20email&state=st&max_age=3600"), "{url}");
        (config.oidc_response_mode, config.oidc_response_types) = (ResponseMode::FormPost, vec!["id_token".into()]);
        let url = page(&provider, &config, &role, "st", &waiting());
        assert!(url.contains("response_type=id%5Ftoken") && url.contains("response_mode=form%5Fpost"), "{url}");
        assert!(!url.contains("code_challenge"), "there is no code to protect: {url}");
    }

    #[test]
    fn userinfo_counts_for_the_user_of_the_token_only() {
        let claims = |value: Value| value.as_object().unwrap().clone();
        for (told, token, same) in [
            (json!({ "sub": "a" }), json!({ "sub": "a" }), true),
            (json!({ "sub": "b" }), json!({ "sub": "a" }), false),
            (json!({}), json!({ "sub": "a" }), false),
            (json!({}), json!({}), false),
        ] {
            assert_eq!(is_about(&claims(told.clone()), &claims(token)), same, "{told}");
        }
    }

    #[test]
    fn an_id_token_must_belong_to_its_login() {
        let good =
            json!({ "iss": "i", "aud": "me", "sub": "s", "nonce": "n", "exp": 1000, "iat": 900, "auth_time": 800 });
        let waiting = waiting();
        let check = |changes: Value, settings: Value| {
            let mut token = good.as_object().unwrap().clone();
            token.extend(changes.as_object().unwrap().clone());
            let expected = Expected { client_id: "me", issuer: "i", waiting: &waiting };
            expected.check(&token, &role(settings), Timestamp::from_second(950).unwrap())
        };
        assert_eq!(check(json!({}), json!({})), Ok(()));
        assert_eq!(check(json!({ "aud": ["me", "x"], "azp": "me" }), json!({})), Ok(()));
        for (changes, settings, text) in [
            (json!({ "iss": "j" }), json!({}), "issuer"),
            (json!({ "aud": "other" }), json!({}), "audience"),
            (json!({ "aud": ["me", "x"] }), json!({}), "azp"),
            (json!({ "nonce": "other" }), json!({}), "nonce"),
            (json!({ "exp": 800 }), json!({}), "expired"),
            (json!({}), json!({ "bound_audiences": "x" }), "audience"),
            (json!({}), json!({ "bound_subject": "x" }), "subject"),
            (json!({}), json!({ "max_age": 60 }), "max_age"),
            (json!({ "auth_time": null }), json!({ "max_age": 60 }), "auth_time"),
        ] {
            let error = check(changes, settings).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
