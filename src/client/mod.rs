//! The HTTP client of the engine's API, for operator, agent and CLI; it speaks to Vault and OpenBao as well.

mod config;
mod error;
#[cfg(test)]
pub mod testing;
mod transport;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::base::http::HttpResponse;
use crate::base::tls::ClientTls;
use crate::base::{Clock, Random, Secret};
use crate::wire::{Auth, Envelope, WrapInfo};
pub use config::{ClientConfig, parse_bool, read_ca_folder, token_from_env};
pub use error::Error;
use transport::{Body, Call, Transport};

/// Asks for a wrapped answer, with its life in seconds.
const WRAP_TTL: http::HeaderName = http::HeaderName::from_static("x-vault-wrap-ttl");

/// An engine's API as one token sees it. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    token: Option<Secret>,
    workload: Option<Arc<str>>,
    /// In place of the configured one.
    namespace: Option<Arc<str>>,
}

/// Somebody else's request, to be passed on as it is.
pub struct Forwarded {
    /// The method.
    pub method: Method,
    /// Behind `/v1/`, escaped, with its parameters.
    pub path: String,
    /// The headers that the engine should see, none of which is the token.
    pub headers: http::HeaderMap,
    /// As it came.
    pub body: bytes::Bytes,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.transport.address()).finish_non_exhaustive()
    }
}

/// An answer outside the envelope (`sys/health`, `sys/seal-status`, `sys/init` …), whatever its status.
#[derive(Debug, Clone, PartialEq)]
pub struct RawAnswer {
    /// The HTTP status, which carries the meaning for `sys/health`.
    pub status: u16,
    /// `null` where there was no body.
    pub body: Value,
}

impl Client {
    /// A client without a token.
    ///
    /// # Errors
    /// [`Error::Config`], when the address is no URL or a certificate is unusable.
    pub fn new(config: ClientConfig, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, Error> {
        Ok(Self {
            transport: Arc::new(Transport::new(config, clock, random)?),
            token: None,
            workload: None,
            namespace: None,
        })
    }

    /// The same client with another token. Cheap.
    #[must_use]
    pub fn with_token(&self, token: Secret) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    /// The same client whose leases belong to the workload `uid`, called `name`, as far as its login leaves that to requests.
    /// Cheap.
    #[must_use]
    pub fn for_workload(&self, uid: &str, name: &str) -> Self {
        Self { workload: Some(format!("{uid}/{name}").into()), ..self.clone() }
    }

    /// The same client without a token. Cheap.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same client in another namespace of the engine. Cheap.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..self.clone() }
    }

    /// Where requests go.
    pub fn address(&self) -> &str {
        self.transport.address()
    }

    /// The token that requests carry.
    pub fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// How TLS servers are checked.
    pub fn tls(&self) -> &ClientTls {
        self.transport.tls()
    }

    /// Reads `path`, which may end in `?key=value` parameters. `None` is 204: there is nothing to say.
    ///
    /// # Errors
    /// See [`Error`]; a missing object is `is_not_found`.
    pub async fn read(&self, path: &str) -> Result<Option<Envelope>, Error> {
        self.envelope(Method::GET, path, None).await
    }

    /// Lists the keys below `path`.
    ///
    /// # Errors
    /// See [`Error`]; an empty list is `is_not_found`.
    pub async fn list(&self, path: &str) -> Result<Option<Envelope>, Error> {
        self.envelope(Method::GET, &format!("{path}?list=true"), None).await
    }

    /// Writes `body`, an object, to `path`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write(&self, path: &str, body: &Value) -> Result<Option<Envelope>, Error> {
        self.envelope(Method::PUT, path, Some(body)).await
    }

    /// Deletes `path`; what is absent already is no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, path: &str) -> Result<Option<Envelope>, Error> {
        self.envelope(Method::DELETE, path, None).await
    }

    /// One attempt whose status is the caller's business, for paths that answer without an envelope.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Decode`] only.
    pub async fn raw(&self, method: Method, path: &str, body: Option<&Value>) -> Result<RawAnswer, Error> {
        let call = self.call(method, path, body.into());
        let response = self.transport.attempt(&call).await?;
        let status = response.status.as_u16();
        let body = if response.body.is_empty() { Value::Null } else { transport::decode(&call, &response)? };
        Ok(RawAnswer { status, body })
    }

    /// Logs in at an auth mount (`kubernetes`, or `auth/kubernetes`) with the method's parameters.
    ///
    /// # Errors
    /// See [`Error`]; a refused login is 400 or 403, depending on the method.
    pub async fn login(&self, mount: &str, parameters: &Value) -> Result<Auth, Error> {
        let mount = mount.trim_matches('/');
        let mount = mount.strip_prefix("auth/").unwrap_or(mount);
        let path = format!("auth/{mount}/login");
        let answer = self.without_token().write(&path, parameters).await?;
        auth_of(&path, answer)
    }

    /// Prolongs the token by `increment` seconds (`None`: by its own period or TTL).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn renew_self(&self, increment: Option<u64>) -> Result<Auth, Error> {
        let path = "auth/token/renew-self";
        let answer = self.write(path, &json!({ "increment": increment.unwrap_or(0) })).await?;
        auth_of(path, answer)
    }

    /// Ends the token, and with it every lease that it owns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_self(&self) -> Result<(), Error> {
        self.write("auth/token/revoke-self", &json!({})).await.map(drop)
    }

    /// Prolongs a lease by `increment` seconds (`None`: by its own TTL). The answer has the new `lease_duration`.
    ///
    /// # Errors
    /// See [`Error`]; an unknown or expired lease is 400.
    pub async fn renew_lease(&self, lease_id: &str, increment: Option<u64>) -> Result<Envelope, Error> {
        let path = "sys/leases/renew";
        let body = json!({ "lease_id": lease_id, "increment": increment.unwrap_or(0) });
        self.write(path, &body).await?.ok_or_else(|| incomplete(path, "no lease in the answer"))
    }

    /// Ends a lease. With `sync` the call returns when what was leased is gone.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_lease(&self, lease_id: &str, sync: bool) -> Result<(), Error> {
        self.write("sys/leases/revoke", &json!({ "lease_id": lease_id, "sync": sync })).await.map(drop)
    }

    /// Passes a request on; any status is an answer.
    ///
    /// # Errors
    /// [`Error::Transport`], when there is none.
    pub async fn forward(&self, request: &Forwarded) -> Result<HttpResponse, Error> {
        let body = Body::Forwarded(&request.body);
        let call = Call { headers: Some(&request.headers), ..self.call(request.method.clone(), &request.path, body) };
        self.transport.send(&call).await
    }

    /// Has the engine keep `data` for whoever shows the wrapping token that the answer holds, within `ttl` seconds.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn wrap(&self, data: &Value, ttl: u64) -> Result<WrapInfo, Error> {
        let path = "sys/wrapping/wrap";
        let headers = http::HeaderMap::from_iter([(WRAP_TTL, http::HeaderValue::from(ttl))]);
        let call = Call { headers: Some(&headers), ..self.call(Method::PUT, path, Body::Json(data)) };
        let envelope = self.answer(&call).await?;
        envelope.and_then(|envelope| envelope.wrap_info).ok_or_else(|| incomplete(path, "no wrap_info in the answer"))
    }

    fn call<'a>(&'a self, method: Method, path: &'a str, body: Body<'a>) -> Call<'a> {
        let namespace = self.namespace.as_deref();
        Call {
            method,
            path,
            body,
            token: self.token.as_ref(),
            workload: self.workload.as_deref(),
            namespace,
            headers: None,
        }
    }

    async fn envelope(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Envelope>, Error> {
        self.answer(&self.call(method, path, body.into())).await
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Option<Envelope>, Error> {
        let response = self.transport.send(call).await?;
        if response.status.is_success() {
            if response.body.is_empty() {
                return Ok(None);
            }
            return transport::decode(call, &response).map(Some);
        }
        if response.status == StatusCode::NOT_FOUND
            && let Ok(envelope) = transport::decode::<Envelope>(call, &response)
            && (envelope.data.is_some() || envelope.warnings.is_some())
        {
            // A deleted version of a KV secret: 404, but with its metadata.
            return Ok(Some(envelope));
        }
        Err(transport::refusal(call, &response))
    }
}

fn auth_of(path: &str, answer: Option<Envelope>) -> Result<Auth, Error> {
    answer.and_then(|envelope| envelope.auth).ok_or_else(|| incomplete(path, "no auth object in the answer"))
}

fn incomplete(path: &str, problem: &str) -> Error {
    Error::Decode { path: path.to_owned(), status: 200, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests;
