//! The one place where an error becomes HTTP: its status, and Vault's `{"errors": […]}`.

use axum::response::Response;

use super::answer::json;
use crate::base::telemetry;
use crate::wire::{Error, ErrorBody};

/// The response for an error. Causes are logged here, once, and never shown.
pub fn respond(error: &Error, method: &str, path: &str) -> Response {
    if error.status() >= 500 {
        tracing::error!(status = error.status(), method, path, error = telemetry::chain(error), "request failed");
    } else if std::error::Error::source(error).is_some() {
        tracing::warn!(status = error.status(), method, path, error = telemetry::chain(error), "request refused");
    }
    json(error.status(), &ErrorBody { errors: error.messages().to_vec() })
}
