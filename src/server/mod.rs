//! The HTTP server of the engine: listeners, and the way from a request to [`Engine::handle`] and back.

pub mod answer;
pub mod ask;
pub mod config;
mod cors;
pub mod dev;
mod dev_tls;
pub mod error;
pub mod listen;
pub mod rules;
pub mod run;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode, header};

pub use self::rules::{Access, Bounds, Rules};
use crate::base::Random;
use crate::engine::Engine;
use crate::engine::request::{Incoming, Reply};
use crate::wire::{Error, Kind};

/// What every request needs.
#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    random: Arc<dyn Random>,
}

/// Answers one request: everything below `/v1/` is the engine's to answer.
async fn answer_one(shared: Shared, rules: Rules, peer: Option<listen::Peer>, request: Request<Body>) -> Response {
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
    let Rules { access, bounds } = rules;
    let asking = ask::read(request, peer, id.clone(), bounds.body);
    let asked = within(bounds.body_within, asking).await;
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

/// What comes of `asking`, unless it takes longer than it may.
async fn within(
    limit: Option<Duration>,
    asking: impl Future<Output = Result<Incoming, Error>>,
) -> Result<Incoming, Error> {
    let Some(limit) = limit else { return asking.await };
    let late = |_| Err(Error::bad_request(format!("the request was not sent within {} s", limit.as_secs())));
    tokio::time::timeout(limit, asking).await.unwrap_or_else(late)
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
