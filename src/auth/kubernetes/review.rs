//! The cluster's own judgement of a token: a TokenReview.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::base::Secret;
use crate::base::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::base::tls::ClientTls;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no review, or why it failed. The texts are for the log and hold nothing of any token.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read the CA of the Kubernetes API server from this pod")]
    Ca(#[source] std::io::Error),
    #[error("the Kubernetes API server cannot be reached for a TokenReview")]
    Unreachable(#[source] HttpError),
    #[error(
        "the Kubernetes API server refuses the TokenReview with {status}: {message} (the reviewer needs the ClusterRole \
         system:auth-delegator, and its token must not have expired)"
    )]
    Refused { status: StatusCode, message: String },
    #[error(
        "the Kubernetes API server refuses to show the namespace with {status}: {message} (the reviewer needs the right to get \
         namespaces)"
    )]
    Namespace { status: StatusCode, message: String },
    #[error("the Kubernetes API server cannot review tokens now: {status}: {message}")]
    Failing { status: StatusCode, message: String },
    #[error("the reviewer's token holds characters that no token has")]
    ReviewerToken,
    #[error("the answer of the Kubernetes API server cannot be read")]
    Answer(#[source] serde_json::Error),
    #[error("the cluster does not accept the token: {0}")]
    Unauthenticated(String),
    #[error("the token belongs to {0:?}, which is no ServiceAccount")]
    NotAServiceAccount(String),
    #[error("the token is valid for the audiences {valid:?}, not for {asked:?}")]
    Audience { asked: Vec<String>, valid: Vec<String> },
}

impl Error {
    /// Whether the same login may succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Ca(_) | Self::Unreachable(_) | Self::Failing { .. })
    }
}

/// A review to be asked for.
pub(super) struct Question<'a> {
    /// Base of the API's URLs.
    pub url: String,
    /// PEM.
    pub ca: Option<String>,
    /// What the API server is shown.
    pub reviewer: &'a Secret,
    pub token: &'a Secret,
    /// None for the API server's own.
    pub audiences: &'a [String],
}

/// Whom the cluster takes the token's bearer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Name and UID, for tokens that are bound to a pod.
    pub pod: Option<(String, String)>,
}

#[derive(Deserialize)]
struct TokenReview {
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    authenticated: bool,
    audiences: Vec<String>,
    error: String,
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

/// Asks for reviews; keeps its connections for as long as the CA stays the same.
#[derive(Default)]
pub(super) struct Reviewer {
    client: Mutex<Option<(Option<String>, Arc<HttpClient>)>>,
}

impl Reviewer {
    /// Has a token reviewed.
    pub async fn review(&self, question: Question<'_>) -> Result<Identity, Error> {
        let client = self.client(question.ca).map_err(Error::Unreachable)?;
        let bearer = bearer(question.reviewer)?;
        let json_type = HeaderValue::from_static("application/json");
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, bearer), (CONTENT_TYPE, json_type.clone()), (ACCEPT, json_type)]);
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": { "token": question.token.expose(), "audiences": question.audiences },
        });
        let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", question.url);
        let body = body.to_string().into_bytes();
        let request = HttpRequest { method: Method::POST, url, headers, body, timeout: TIMEOUT };
        let answer = client.send(request).await.map_err(Error::Unreachable)?;
        if !answer.status.is_success() {
            return Err(refusal(&answer));
        }
        let review: TokenReview = serde_json::from_slice(&answer.body).map_err(Error::Answer)?;
        judge(review.status, question.audiences)
    }

    /// The labels of a namespace.
    pub async fn labels(
        &self,
        url: &str,
        ca: Option<String>,
        reader: &Secret,
        namespace: &str,
    ) -> Result<BTreeMap<String, String>, Error> {
        #[derive(Deserialize)]
        struct Namespace {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default)]
            labels: BTreeMap<String, String>,
        }
        let client = self.client(ca).map_err(Error::Unreachable)?;
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, bearer(reader)?),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        // The cluster has vouched for the name, so it holds nothing that would have to be escaped.
        let url = format!("{url}/api/v1/namespaces/{namespace}");
        let request = HttpRequest { method: Method::GET, url, headers, body: Vec::new(), timeout: TIMEOUT };
        let answer = client.send(request).await.map_err(Error::Unreachable)?;
        if !answer.status.is_success() {
            return Err(match refusal(&answer) {
                Error::Refused { status, message } => Error::Namespace { status, message },
                other => other,
            });
        }
        let found: Namespace = serde_json::from_slice(&answer.body).map_err(Error::Answer)?;
        Ok(found.metadata.labels)
    }

    fn client(&self, ca: Option<String>) -> Result<Arc<HttpClient>, HttpError> {
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*kept
            && *known == ca
        {
            return Ok(client.clone());
        }
        let client = Arc::new(HttpClient::new(&ClientTls { ca_pem: ca.clone(), ..ClientTls::default() })?);
        *kept = Some((ca, client.clone()));
        Ok(client)
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| Error::ReviewerToken)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

fn refusal(answer: &HttpResponse) -> Error {
    #[derive(Deserialize)]
    struct Failure {
        message: String,
    }
    let status = answer.status;
    let message =
        serde_json::from_slice::<Failure>(&answer.body).map_or_else(|_| "no reason given".into(), |f| f.message);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Error::Failing { status, message }
    } else {
        Error::Refused { status, message }
    }
}

fn judge(status: Status, asked: &[String]) -> Result<Identity, Error> {
    if !status.authenticated {
        let reason = if status.error.is_empty() { "no reason given".to_owned() } else { status.error };
        return Err(Error::Unauthenticated(reason));
    }
    // An API server that knows no audiences answers none: then the token is for the API server, and not for us.
    if !asked.is_empty() && !asked.iter().any(|audience| status.audiences.contains(audience)) {
        return Err(Error::Audience { asked: asked.to_vec(), valid: status.audiences });
    }
    let User { username, uid, extra } = status.user;
    let account = username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let Some((namespace, name)) = account else { return Err(Error::NotAServiceAccount(username)) };
    let first = |key: &str| extra.get(key).and_then(|values| values.first()).filter(|value| !value.is_empty()).cloned();
    let pod = first("authentication.kubernetes.io/pod-name").zip(first("authentication.kubernetes.io/pod-uid"));
    Ok(Identity { namespace: namespace.to_owned(), name: name.to_owned(), uid, pod })
}
