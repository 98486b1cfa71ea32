//! The HTTP server of the engine: listeners, and the way from a request to [`Engine::handle`] and back.

pub mod answer;
pub mod ask;
pub mod config;
mod cors;
pub mod dev;
mod dev_tls;
pub mod error;
pub mod listen;
pub mod run;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::{Request, StatusCode, header};

use crate::base::Random;
use crate::engine::Engine;
use crate::engine::request::{Incoming, Reply};
use crate::wire::{Error, Kind};

/// How long a request may take to be sent (vault-api.md 0.1): without an end, callers without a token could fill the memory with
/// bodies that are never whole.
const SENDING: Duration = Duration::from_secs(90);

/// What every request needs.
#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    random: Arc<dyn Random>,
}

/// What a listener lets through without a token.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// `sys/metrics`.
    pub open_metrics: bool,
    /// Whether rekeying takes a token besides the shares.
    pub closed_rekey: bool,
    /// Whether generating a root token takes a token besides the shares.
    pub closed_generate_root: bool,
}

impl Access {
    /// Whether this listener leaves a path to its twin that takes a token.
    fn closes(&self, path: &str) -> bool {
        let rekeys = path.starts_with("sys/rekey/") || path.starts_with("sys/rekey-recovery-key/");
        // A backup takes a token wherever it is.
        (self.closed_rekey && rekeys && !path.ends_with("backup"))
            || (self.closed_generate_root && path.starts_with("sys/generate-root/"))
    }
}

/// The whole route list: everything below `/v1/` is the engine's to answer.
pub fn router(engine: Arc<Engine>, random: Arc<dyn Random>) -> Router {
    Router::new().fallback(serve).with_state(Shared { engine, random })
}

async fn serve(
    State(shared): State<Shared>,
    peer: Option<Extension<ConnectInfo<listen::Peer>>>,
    access: Option<Extension<Access>>,
    request: Request<Body>,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if let Some(clean) = cleaned(&path) {
        return redirect(&clean);
    }
    let cors = shared.engine.cors();
    if let Some(answer) = cors::answer(&cors, &request) {
        return answer;
    }
    let origin = cors::allowed(&cors, request.headers());
    let namespace = request.headers().get("x-vault-namespace").cloned();
    let id = shared.random.uuid();
    let access = access.map(|Extension(access)| access).unwrap_or_default();
    let asking = ask::read(request, peer.map(|Extension(ConnectInfo(peer))| peer), id.clone());
    let late = |_| Err(Error::bad_request(format!("the request was not sent within {} s", SENDING.as_secs())));
    let asked = tokio::time::timeout(SENDING, asking).await.unwrap_or_else(late);
    let counted = asked.as_ref().ok().and_then(|asked| Some((shared.engine.counted_path(asked)?, asked.address)));
    let result = match asked {
        Ok(incoming) if access.closes(&incoming.path) => Err(Error::silent(Kind::Unsupported)),
        Ok(incoming) => answered(shared.engine.clone(), access, incoming).await,
        Err(error) => Err(error),
    };
    let mut response = match result {
        Ok(reply) => answer::respond(reply, id),
        Err(error) => error::respond(&error, method.as_str(), &path),
    };
    if let Some(left) = counted.and_then(|(path, address)| shared.engine.quota_left(&path, address)) {
        answer::tell_quota(&mut response, left);
    }
    if let Some(origin) = origin {
        cors::allow(response.headers_mut(), &origin);
    }
    if let Some(namespace) = namespace {
        response.headers_mut().insert("x-vault-namespace", namespace);
    }
    response
}

/// Answers in a task of its own: a client that hangs up must not cut a change in two, of which the store has the one half
/// and memory lacks the other. What nobody waits for any more is dropped, and with it the lease that it holds.
async fn answered(engine: Arc<Engine>, access: Access, incoming: Incoming) -> Result<Reply, Error> {
    let answering = async move {
        match access.open_metrics && incoming.is_for_metrics() {
            true => engine.metrics(&incoming).await,
            false => engine.handle(incoming).await,
        }
    };
    let interrupted = |error| Error::internal("the request was interrupted").caused_by(error);
    tokio::spawn(answering).await.map_err(interrupted)?
}

/// The path without doubled slashes, if it has any.
fn cleaned(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let mut clean = String::with_capacity(path.len());
        for c in path.chars().filter(|c| c.is_ascii_graphic()) {
            if c != '/' || !clean.ends_with('/') {
                clean.push(c);
            }
        }
        clean
    })
}

fn redirect(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
}

#[cfg(test)]
mod path_tests {
    use super::*;

    #[test]
    fn doubled_slashes_are_cleaned() {
        assert_eq!(cleaned("/v1//sys///mounts").as_deref(), Some("/v1/sys/mounts"));
        assert_eq!(cleaned("/v1/sys/mounts"), None);
    }
}
