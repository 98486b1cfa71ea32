//! What is fetched from an OpenID provider: its description, its keys, tokens for codes, and what it knows of a user.

use std::time::Duration;

use base64::Engine as _;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::jws::Key;
use crate::base::Secret;
use crate::base::http::{HttpClient, HttpError, HttpRequest};
use crate::base::tls::ClientTls;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing came of it. The texts hold neither codes nor tokens.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the keys could not be fetched a moment ago: they are asked for again in a few seconds")]
    Resting,
    #[error("cannot reach {url}")]
    Unreachable { url: String, source: HttpError },
    #[error("{url} answers {status}")]
    Status { url: String, status: StatusCode },
    #[error("the answer of {url} cannot be read")]
    Unreadable { url: String, source: serde_json::Error },
    #[error("the provider calls itself {theirs:?}, not {ours:?} as configured")]
    Issuer { ours: String, theirs: String },
    #[error("the provider refuses the code: {0}")]
    Refused(String),
    #[error("the provider's description names no device_authorization_endpoint")]
    NoDevices,
    #[error("the provider's answer holds no ID token")]
    NoIdToken,
    #[error("the token holds characters that no token has")]
    Token,
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Resting => true,
            Self::Unreachable { source, .. } => source.retryable(),
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }
}

/// What `/.well-known/openid-configuration` says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Description {
    pub issuer: String,
    pub jwks_uri: String,
    #[serde(default)]
    pub authorization_endpoint: String,
    #[serde(default)]
    pub token_endpoint: String,
    #[serde(default)]
    pub userinfo_endpoint: String,
    #[serde(default)]
    pub device_authorization_endpoint: String,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

/// What a code is good for.
#[derive(Deserialize)]
pub(super) struct Tokens {
    id_token: Option<Secret>,
    pub access_token: Option<Secret>,
}

impl Tokens {
    /// The token that says who it is.
    pub fn id(&self) -> Result<&Secret, Error> {
        self.id_token.as_ref().ok_or(Error::NoIdToken)
    }
}

/// The login of a device that has no browser of its own.
#[derive(Deserialize)]
pub(super) struct Device {
    pub device_code: Secret,
    #[serde(default)]
    pub user_code: String,
    /// Google calls them `…_url`.
    #[serde(default, alias = "verification_url")]
    pub verification_uri: String,
    /// With the user's code in it.
    #[serde(default, alias = "verification_url_complete")]
    pub verification_uri_complete: String,
    /// Seconds between two questions.
    #[serde(default)]
    pub interval: u64,
}

/// Who the engine is to the provider.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub id: &'a str,
    pub secret: &'a str,
}

/// A code on its way back to who gave it.
pub(super) struct Exchange<'a> {
    pub code: &'a Secret,
    pub redirect_uri: &'a str,
    pub verifier: &'a Secret,
}

/// Kubernetes gives its keys to nobody who does not ask for their own type.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, application/jwk-set+json");

/// A client of one server, that is checked against one authority.
pub(super) struct Http(HttpClient);

impl Http {
    /// With `ca` as PEM; empty for the system's authorities.
    ///
    /// # Errors
    /// When the authority is unusable.
    pub fn new(ca: &str) -> Result<Self, HttpError> {
        let ca_pem = (!ca.is_empty()).then(|| ca.to_owned());
        HttpClient::new(&ClientTls { ca_pem, ..ClientTls::default() }).map(Self)
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, bytes::Bytes), Error> {
        headers.insert(ACCEPT, ACCEPTED);
        let request = HttpRequest { method, url: url.to_owned(), headers, body, timeout: TIMEOUT };
        let answer = self.0.send(request).await;
        let answer = answer.map_err(|source| Error::Unreachable { url: url.to_owned(), source })?;
        Ok((answer.status, answer.body))
    }

    async fn get(&self, url: &str, headers: HeaderMap) -> Result<bytes::Bytes, Error> {
        match self.send(Method::GET, url, headers, Vec::new()).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, _) => Err(Error::Status { url: url.to_owned(), status }),
        }
    }

    /// The provider's description of itself.
    pub async fn describe(&self, issuer: &str) -> Result<Description, Error> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let body = self.get(&url, HeaderMap::new()).await?;
        let found: Description = serde_json::from_slice(&body).map_err(|source| Error::Unreadable { url, source })?;
        if found.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err(Error::Issuer { ours: issuer.to_owned(), theirs: found.issuer });
        }
        Ok(found)
    }

    /// A published set of keys.
    pub async fn keys(&self, url: &str) -> Result<Vec<Key>, Error> {
        let body = self.get(url, HeaderMap::new()).await?;
        Key::from_jwks(&body).map_err(|source| Error::Unreadable { url: url.to_owned(), source })
    }

    /// Gives a code back for tokens.
    pub async fn exchange(
        &self,
        provider: &Description,
        client: Client<'_>,
        exchange: Exchange<'_>,
    ) -> Result<Tokens, Error> {
        let form = vec![
            ("grant_type", "authorization_code"),
            ("code", exchange.code.expose()),
            ("redirect_uri", exchange.redirect_uri),
            ("code_verifier", exchange.verifier.expose()),
        ];
        let url = &provider.token_endpoint;
        let (status, body) = self.ask_as(client, provider, url, form).await?;
        if status.is_client_error() {
            return Err(Error::Refused(reason(&body).unwrap_or_else(|| status.to_string())));
        }
        tokens(url, status, &body)
    }

    /// Begins the login of a device: where a person is to go, and what the device asks with until then.
    pub async fn begin_device(&self, provider: &Description, client: Client<'_>, scope: &str) -> Result<Device, Error> {
        let url = &provider.device_authorization_endpoint;
        if url.is_empty() {
            return Err(Error::NoDevices);
        }
        let (status, body) = self.ask_as(client, provider, url, vec![("scope", scope)]).await?;
        if status.is_client_error() {
            return Err(Error::Refused(reason(&body).unwrap_or_else(|| status.to_string())));
        }
        if !status.is_success() {
            return Err(Error::Status { url: url.clone(), status });
        }
        serde_json::from_slice(&body).map_err(|source| Error::Unreadable { url: url.clone(), source })
    }

    /// The tokens of a device's login, or the word for why there are none so far (RFC 8628, 3.5).
    pub async fn poll_device(
        &self,
        provider: &Description,
        client: Client<'_>,
        code: &Secret,
    ) -> Result<Result<Tokens, String>, Error> {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let form = vec![("grant_type", grant), ("device_code", code.expose())];
        let url = &provider.token_endpoint;
        let (status, body) = self.ask_as(client, provider, url, form).await?;
        match reason(&body).filter(|_| status.is_client_error()) {
            Some(word) => Ok(Err(word)),
            None => tokens(url, status, &body).map(Ok),
        }
    }

    /// Sends a form as the client that the provider knows.
    async fn ask_as(
        &self,
        client: Client<'_>,
        provider: &Description,
        url: &str,
        mut form: Vec<(&str, &str)>,
    ) -> Result<(StatusCode, bytes::Bytes), Error> {
        let methods = &provider.token_endpoint_auth_methods_supported;
        let basic = methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if basic {
            let pair = format!("{}:{}", encode(client.id), encode(client.secret));
            let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, sensitive(&basic)?);
        } else {
            form.extend([("client_id", client.id), ("client_secret", client.secret)]);
        }
        self.send(Method::POST, url, headers, query(&form).into_bytes()).await
    }

    /// What the provider tells of a user besides the ID token.
    pub async fn user(&self, url: &str, token: &Secret) -> Result<Map<String, Value>, Error> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, sensitive(&format!("Bearer {}", token.expose()))?)]);
        let body = self.get(url, headers).await?;
        serde_json::from_slice(&body).map_err(|source| Error::Unreadable { url: url.to_owned(), source })
    }
}

fn tokens(url: &str, status: StatusCode, body: &[u8]) -> Result<Tokens, Error> {
    if !status.is_success() {
        return Err(Error::Status { url: url.to_owned(), status });
    }
    // serde's own text would quote the answer.
    serde_json::from_slice(body).map_err(|_| Error::NoIdToken)
}

/// The `error` of OAuth's error answers: one of a few words.
fn reason(body: &[u8]) -> Option<String> {
    let error = serde_json::from_slice::<Value>(body).ok()?.get("error")?.as_str()?.to_owned();
    error.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(error)
}

fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Pairs as a query or a form.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}
