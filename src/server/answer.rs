//! Replies of the engine as HTTP responses, with the headers that clients insist on (vault-api.md 0.2).

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;
use serde_json::Value;

use crate::engine::rate_limit::Left;
use crate::engine::request::{Delivery, Reply};
use crate::wire::Envelope;

/// The response for a reply; `request_id` goes into its envelope.
pub fn respond(reply: Reply, request_id: String) -> Response {
    match reply {
        Reply::Empty(status) => response(status, Body::empty()),
        Reply::Raw(status, body) => json(status, &body),
        Reply::Accepted(mut envelope) => {
            envelope.request_id = request_id;
            json(202, &envelope)
        }
        Reply::Missing(mut envelope) => {
            envelope.request_id = request_id;
            json(404, &envelope)
        }
        Reply::Page(status, html) => {
            let mut response = response(status, Body::from(html));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            // The page is of text and at most a button; whatever slipped into it stays text.
            let policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'";
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            response
        }
        Reply::Text(kind, text) => {
            let mut response = response(200, Body::from(text));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Reply::Envelope { mut envelope, duplicate, delivery } => {
            // The answer that tells where the real one is has no id, and that one brings its own.
            if envelope.wrap_info.is_none() && envelope.request_id.is_empty() {
                envelope.request_id = request_id;
            }
            let bytes = if duplicate { duplicated(&envelope) } else { serde_json::to_vec(&envelope) };
            with_json(200, bytes, delivery)
        }
    }
}

/// Says what a quota of requests leaves, and to who was refused when to come back.
pub fn tell_quota(response: &mut Response, left: Left) {
    let mut rows = vec![
        ("x-ratelimit-limit", left.limit),
        ("x-ratelimit-remaining", left.remaining),
        ("x-ratelimit-reset", left.reset),
    ];
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        rows.push(("retry-after", left.reset));
    }
    response
        .headers_mut()
        .extend(rows.into_iter().map(|(name, n)| (HeaderName::from_static(name), HeaderValue::from(n))));
}

/// A JSON response without envelope.
pub fn json<T: Serialize>(status: u16, body: &T) -> Response {
    with_json(status, serde_json::to_vec(body), None)
}

fn with_json(status: u16, bytes: serde_json::Result<Vec<u8>>, delivery: Option<Delivery>) -> Response {
    let Ok(bytes) = bytes else { return response(500, Body::from(r#"{"errors":["the answer is not JSON"]}"#)) };
    let body = match delivery {
        Some(delivery) => Body::new(Delivered { body: Full::new(Bytes::from(bytes)), delivery }),
        None => Body::from(bytes),
    };
    response(status, body)
}

fn response(status: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    // Exactly this, without a charset, on empty answers too: hvac and the Agent's cache compare for equality.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    response
}

/// The envelope with the keys of its `data` at the top level as well, for the paths where old clients look there.
fn duplicated(envelope: &Envelope) -> serde_json::Result<Vec<u8>> {
    let mut whole = serde_json::to_value(envelope)?;
    if let (Value::Object(whole), Some(Value::Object(data))) = (&mut whole, &envelope.data) {
        for (key, value) in data {
            whole.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    serde_json::to_vec(&whole)
}

/// A body that reports its delivery once the connection has taken all of it.
struct Delivered {
    body: Full<Bytes>,
    delivery: Delivery,
}

impl HttpBody for Delivered {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if self.body.is_end_stream() {
            self.delivery.complete();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_never_hides_an_envelope_key() {
        let data = json!({"database/": {}, "auth": "a mount named so"});
        let bytes = duplicated(&Envelope { data: Some(data), ..Envelope::default() }).unwrap();
        let whole: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(whole["auth"].is_null());
        assert!(whole["database/"].is_object() && whole["data"]["database/"].is_object());
    }

    #[test]
    fn headers_are_those_that_clients_compare() {
        let response = respond(Reply::Empty(204), String::new());
        assert_eq!(response.headers()["cache-control"], "no-store");
        let response = json(200, &json!({}));
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}
