//! The HTTP server of the engine: listeners, and the way from a request to [`Engine::handle`] and back.

pub mod answer;
pub mod ask;
pub mod config;
pub mod error;
pub mod listen;
pub mod run;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::{Request, StatusCode, header};

use crate::base::Random;
use crate::engine::Engine;
use crate::engine::request::Reply;

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
    let namespace = request.headers().get("x-vault-namespace").cloned();
    let result = match ask::read(request, peer.map(|Extension(ConnectInfo(peer))| peer.0.ip())).await {
        Ok(incoming) if access.is_some_and(|access| access.open_metrics) && incoming.is_for_metrics() => {
            shared.engine.metrics(&incoming).await
        }
        Ok(incoming) => shared.engine.handle(incoming).await,
        Err(error) => Err(error),
    };
    let mut response = match result {
        Ok(reply) => {
            let needs_id = matches!(reply, Reply::Envelope { .. } | Reply::Accepted(_) | Reply::Missing(_));
            answer::respond(reply, if needs_id { shared.random.uuid() } else { String::new() })
        }
        Err(error) => error::respond(&error, method.as_str(), &path),
    };
    if let Some(namespace) = namespace {
        response.headers_mut().insert("x-vault-namespace", namespace);
    }
    response
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
