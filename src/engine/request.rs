//! What comes into [`super::Engine::handle`] and what goes out: the server's HTTP without HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::base::Secret;
use crate::wire::{Answer, Auth, Envelope, Fields, Keep, Operation};

/// A request before anything of it was checked.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// A UUID: the `request_id` of the answer, and the `id` in audit entries.
    pub id: String,
    /// From the HTTP method (and `?list=true`).
    pub operation: Operation,
    /// Without `/v1/`; a list's path has no trailing slash.
    pub path: String,
    /// Body of a write, query otherwise.
    pub fields: Fields,
    /// `X-Vault-Token`, else the bearer token.
    pub token: Option<Secret>,
    /// `X-Vault-Namespace`; empty and `root` mean root.
    pub namespace: Option<String>,
    /// `X-Vault-Wrap-TTL` as sent.
    pub wrap_ttl: Option<String>,
    /// `X-Lessor-Workload` as sent: whose a lease is to be (`auth::Workload::named`).
    pub workload: Option<String>,
    /// The peer.
    pub address: Option<IpAddr>,
    /// The peer's port; 0 without a peer.
    pub port: u16,
    /// The client's certificates of the TLS connection, DER, its own first (`wire::Caller::certificates`).
    pub certificates: Arc<[Vec<u8>]>,
    /// As they came.
    pub headers: Headers,
}

/// Headers of a request. `Debug` names them only: their values may be secrets.
#[derive(Clone, Default)]
pub struct Headers(pub http::HeaderMap);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Incoming {
    /// Whether somebody monitors: reads `sys/metrics`.
    pub fn is_for_metrics(&self) -> bool {
        self.operation == Operation::Read && self.path == "sys/metrics"
    }
}

/// An answer that is not an error.
#[derive(Debug)]
pub enum Reply {
    /// 204, or 202 for work that goes on.
    Empty(u16),
    /// 200 with Vault's envelope.
    Envelope {
        /// The answer.
        envelope: Box<Envelope>,
        /// Whether the keys of `data` stand at the top level as well (vault-api.md 0.2).
        duplicate: bool,
        /// Present when a lease hangs on the answer reaching its caller.
        delivery: Option<Delivery>,
    },
    /// 202 with Vault's envelope, for work that goes on.
    Accepted(Box<Envelope>),
    /// 404 with Vault's envelope: what is asked for is gone, and there is something to tell about it.
    Missing(Box<Envelope>),
    /// JSON without envelope.
    Raw(u16, Value),
    /// HTML for a person in front of a browser.
    Page(u16, String),
    /// Text for machines other than Vault's clients, with its content type.
    Text(&'static str, String),
}

impl Reply {
    /// A plain answer: 204 when there is nothing to say.
    pub fn answer(answer: Answer) -> Self {
        if answer.missing {
            return Self::Missing(Box::new(envelope(answer)));
        }
        if answer.accepted {
            return Self::Accepted(Box::new(envelope(answer)));
        }
        if answer.data.is_none() && answer.warnings.is_empty() {
            return Self::Empty(204);
        }
        Self::envelope(answer, false)
    }

    /// An answer whose keys are repeated at the top level.
    pub fn duplicated(answer: Answer) -> Self {
        Self::envelope(answer, true)
    }

    fn envelope(answer: Answer, duplicate: bool) -> Self {
        Self::Envelope { envelope: Box::new(envelope(answer)), duplicate, delivery: None }
    }

    /// An answer that hands out or prolongs a token.
    pub fn auth(auth: Auth, warnings: Vec<String>) -> Self {
        let warnings = (!warnings.is_empty()).then_some(warnings);
        let envelope = Envelope { auth: Some(auth), warnings, ..Envelope::default() };
        Self::Envelope { envelope: Box::new(envelope), duplicate: false, delivery: None }
    }
}

fn envelope(answer: Answer) -> Envelope {
    let lease_duration = match answer.keep {
        Some(Keep::Seconds(seconds)) => seconds,
        Some(Keep::MountDefault) | None => 0,
    };
    let warnings = (!answer.warnings.is_empty()).then_some(answer.warnings);
    Envelope { data: answer.data, lease_duration, warnings, ..Envelope::default() }
}

/// Revokes a lease unless its answer was written: the caller cannot use or release a credential that it never saw.
pub struct Delivery {
    done: AtomicBool,
    undelivered: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Delivery {
    /// Runs `undelivered` when this is dropped before [`Delivery::complete`] was called.
    pub fn new(undelivered: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { done: AtomicBool::new(false), undelivered: Some(Box::new(undelivered)) }
    }

    /// The whole answer was handed to the network.
    pub fn complete(&self) {
        self.done.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.done.load(Ordering::Acquire)
            && let Some(undelivered) = self.undelivered.take()
        {
            undelivered();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_was_not_written_is_taken_back() {
        let taken_back = Arc::new(AtomicBool::new(false));
        let delivery = || {
            let taken_back = taken_back.clone();
            Delivery::new(move || taken_back.store(true, Ordering::Relaxed))
        };
        let written = delivery();
        written.complete();
        drop(written);
        assert!(!taken_back.load(Ordering::Relaxed));
        drop(delivery());
        assert!(taken_back.load(Ordering::Relaxed));
    }
}
