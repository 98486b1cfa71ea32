//! Answers of the local API, in the engine's form.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

/// What every request is answered with.
pub type Answer = Response<Full<Bytes>>;

/// Belong to one connection, and are never passed on (RFC 9110, 7.6.1); the length is counted anew.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// An error as the engine writes it.
pub fn error(status: StatusCode, message: impl Into<String>) -> Answer {
    json(status, &json!({ "errors": [message.into()] }))
}

/// A JSON document.
pub fn json(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Nothing but a status.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// The engine's answer.
pub fn passed_on(status: StatusCode, headers: HeaderMap, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = kept(headers);
    answer
}

/// Without what belongs to one connection.
pub fn kept(headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut headers = headers;
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
    for name in named {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_stay_behind() {
        let headers: HeaderMap =
            [("connection", "x-own, close"), ("x-own", "1"), ("te", "x"), ("x-vault-wrap-ttl", "60")]
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
        let left = kept(headers);
        assert_eq!(left.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-vault-wrap-ttl"]);
    }
}
