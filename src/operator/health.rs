//! Probes and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::context::Context;
use super::metrics::{Text, objects};
use crate::base::shutdown::Shutdown;

#[derive(Clone)]
struct Probes {
    context: Arc<Context>,
    ready: Arc<AtomicBool>,
}

/// Serves until the stop is requested. `ready` turns true once every kind was listed.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    context: Arc<Context>,
    ready: Arc<AtomicBool>,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving probes and metrics");
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .with_state(Probes { context, ready });
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.requested().await }).await
}

async fn readiness(State(probes): State<Probes>) -> impl IntoResponse {
    if probes.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the kinds were not listed yet: are the CRDs installed, and may they be listed?",
        )
    }
}

async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    let context = &probes.context;
    let mut text = Text::default();
    context.metrics.render(&mut text, context.session.is_reachable());
    objects::render(context, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.finish())
}
