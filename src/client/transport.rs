//! One call on the wire: URL, headers, the one redirect of a standby, and the retries of Vault's Go client.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::retryable_status;
use super::{ClientConfig, Error};
use crate::base::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use crate::base::tls::ClientTls;
use crate::base::{Clock, Random, Secret};
use crate::wire::{ErrorBody, WORKLOAD_HEADER};

/// What cannot stand in a path as it is; `/` separates segments and stays.
const ESCAPED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');
/// What cannot stand in ready-made parameters.
const ESCAPED_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// What is asked of the engine.
pub(super) struct Call<'a> {
    pub method: Method,
    /// Without `/v1/`, with its parameters.
    pub path: &'a str,
    pub body: Body<'a>,
    pub token: Option<&'a Secret>,
    /// `UID/NAME`.
    pub workload: Option<&'a str>,
    /// In place of the configured one.
    pub namespace: Option<&'a str>,
    /// Sent besides; they go before ours.
    pub headers: Option<&'a HeaderMap>,
}

/// What a call carries.
pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    /// Somebody else's request: its path is escaped already.
    Forwarded(&'a [u8]),
}

impl<'a> From<Option<&'a Value>> for Body<'a> {
    fn from(body: Option<&'a Value>) -> Self {
        body.map_or(Body::None, Body::Json)
    }
}

impl Call<'_> {
    /// The path as errors name it: a parameter may hold what nobody should read in a log.
    fn name(&self) -> String {
        self.path.split('?').next().unwrap_or_default().trim_matches('/').to_owned()
    }

    fn url(&self, base: &str) -> String {
        if matches!(self.body, Body::Forwarded(_)) {
            return format!("{base}/v1/{}", self.path);
        }
        let (path, query) = self.path.split_once('?').unwrap_or((self.path, ""));
        let mut url = format!("{base}/v1/{}", utf8_percent_encode(path.trim_start_matches('/'), ESCAPED));
        if !query.is_empty() {
            let _ = write!(url, "?{}", utf8_percent_encode(query, ESCAPED_QUERY));
        }
        url
    }
}

pub(super) struct Transport {
    http: HttpClient,
    config: ClientConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Transport {
    pub fn new(mut config: ClientConfig, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, Error> {
        config.address = config.address.trim_end_matches('/').to_owned();
        let scheme = config.address.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("http" | "https")) || config.address.parse::<http::Uri>().is_err() {
            let problem = format!("engine address {:?} is no http:// or https:// URL", config.address);
            return Err(Error::Config(problem, None));
        }
        if let Some(namespace) = &config.namespace
            && HeaderValue::from_str(namespace).is_err()
        {
            return Err(Error::Config(format!("engine namespace {namespace:?} cannot be sent as a header"), None));
        }
        let prepared = HttpClient::through(&config.tls, config.proxies.clone()).and_then(|http| match scheme {
            Some("https") => http.prepare_tls().map(|()| http),
            _ => Ok(http),
        });
        let http =
            prepared.map_err(|error| Error::Config(format!("TLS to the engine at {}", config.address), Some(error)))?;
        Ok(Self { http, config, clock, random })
    }

    pub fn address(&self) -> &str {
        &self.config.address
    }

    pub fn tls(&self) -> &ClientTls {
        &self.config.tls
    }

    /// Sends until there is an answer that repeating would not change.
    pub async fn send(&self, call: &Call<'_>) -> Result<HttpResponse, Error> {
        let mut attempt = 0;
        loop {
            let outcome = self.attempt(call).await;
            let again = match &outcome {
                Ok(response) => retryable_status(response.status.as_u16()),
                Err(Error::Transport { source, .. }) => {
                    matches!(source.kind(), HttpErrorKind::Connect | HttpErrorKind::Interrupted)
                }
                Err(_) => false,
            };
            if !again || attempt == self.config.max_retries {
                return outcome;
            }
            attempt += 1;
            // 1 to 1.5 s, as Vault's Go client waits.
            self.clock.sleep(Duration::from_millis(1250).mul_f64(self.random.jitter(0.2))).await;
        }
    }

    /// Sends once, and once more where a standby points to the active node.
    pub async fn attempt(&self, call: &Call<'_>) -> Result<HttpResponse, Error> {
        let url = call.url(&self.config.address);
        let response = self.exchange(call, url.clone()).await?;
        let redirected = matches!(
            response.status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        if !redirected {
            return Ok(response);
        }
        let target = response
            .headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| resolve(&url, location))
            .ok_or_else(|| problem(call, &response, "a redirect that leads nowhere or away from https"))?;
        self.exchange(call, target).await
    }

    async fn exchange(&self, call: &Call<'_>, url: String) -> Result<HttpResponse, Error> {
        let mut headers = HeaderMap::new();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        let namespace = call.namespace.or(self.config.namespace.as_deref());
        if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty())
            && let Ok(value) = HeaderValue::from_str(namespace)
        {
            headers.insert("x-vault-namespace", value);
        }
        if let Some(token) = call.token {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
                Error::Config("the token holds characters that no token has (a line break in its file?)".into(), None)
            })?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        if let Some(value) = call.workload.and_then(|workload| HeaderValue::from_str(workload).ok()) {
            headers.insert(WORKLOAD_HEADER, value);
        }
        let body = match call.body {
            Body::Json(body) => serde_json::to_vec(body).map_err(|_| unsendable(call))?,
            Body::Forwarded(bytes) => bytes.to_vec(),
            Body::None => Vec::new(),
        };
        if !body.is_empty() {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in call.headers.into_iter().flatten() {
            headers.insert(name.clone(), value.clone());
        }
        let request = HttpRequest { method: call.method.clone(), url, headers, body, timeout: self.config.timeout };
        self.http.send(request).await.map_err(|source| transport_error(call, source))
    }
}

fn transport_error(call: &Call<'_>, source: HttpError) -> Error {
    Error::Transport { path: call.name(), source }
}

fn unsendable(call: &Call<'_>) -> Error {
    Error::Config(format!("{}: the body cannot be written as JSON", call.name()), None)
}

/// Where a redirect leads; `None` for what is no URL and for a fall from https to http, which would bare the token.
fn resolve(from: &str, location: &str) -> Option<String> {
    let scheme = from.split_once("://")?.0;
    let target = if location.starts_with('/') && !location.starts_with("//") {
        let host = from.split_once("://")?.1.split('/').next()?;
        format!("{scheme}://{host}{location}")
    } else {
        location.to_owned()
    };
    let target_scheme = target.split_once("://")?.0;
    (target_scheme == "https" || scheme == "http" && target_scheme == "http").then_some(target)
}

/// The body as `T`.
pub(super) fn decode<T: DeserializeOwned>(call: &Call<'_>, response: &HttpResponse) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|error| {
        // serde_json's own text quotes values, and any value of an answer may be a secret.
        let what = match error.classify() {
            serde_json::error::Category::Data => "JSON of another shape",
            _ => "not JSON",
        };
        problem(call, response, &format!("{what}, line {} column {}", error.line(), error.column()))
    })
}

/// An answer with an error status as an error.
pub(super) fn refusal(call: &Call<'_>, response: &HttpResponse) -> Error {
    let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
    Error::Api { path: call.name(), status: response.status.as_u16(), errors: body.errors }
}

fn problem(call: &Call<'_>, response: &HttpResponse, problem: &str) -> Error {
    Error::Decode { path: call.name(), status: response.status.as_u16(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_but_for_its_slashes_and_parameters() {
        let call = |path, body| Call {
            method: Method::GET,
            path,
            body,
            token: None,
            workload: None,
            namespace: None,
            headers: None,
        };
        let url = |path| call(path, Body::None).url("http://h");
        assert_eq!(call("kv/a%20b?x=%2f", Body::Forwarded(b"")).url("http://h"), "http://h/v1/kv/a%20b?x=%2f");
        assert_eq!(url("kv/data/a b?version=2"), "http://h/v1/kv/data/a%20b?version=2");
        assert_eq!(url("/database/creds/app"), "http://h/v1/database/creds/app");
    }

    #[test]
    fn a_redirect_never_leaves_https() {
        assert_eq!(resolve("https://a/v1/x", "https://b/v1/x").as_deref(), Some("https://b/v1/x"));
        assert_eq!(resolve("https://a:1/v1//x", "/v1/x").as_deref(), Some("https://a:1/v1/x"));
        assert_eq!(resolve("https://a/v1/x", "http://b/v1/x"), None);
        assert_eq!(resolve("http://a/v1/x", "http://b/v1/x").as_deref(), Some("http://b/v1/x"));
        assert_eq!(resolve("http://a/v1/x", "//b"), None);
    }
}
