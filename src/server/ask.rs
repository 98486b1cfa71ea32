//! HTTP requests as the engine's [`Incoming`]: verbs, token, namespace, and bodies as sloppy as clients send them.

use axum::body::Body;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value};

use super::listen::Peer;
use crate::base::Secret;
use crate::engine::request::{Headers, Incoming};
use crate::wire::{Error, Fields, Kind, Operation, WORKLOAD_HEADER};

/// Reads a request whose path begins with `/v1/`, with a body of no more than `limit` bytes; `id` will name it.
///
/// # Errors
/// 400, 404, 405, 413 or 415 as vault-api.md 0.1 has them.
pub async fn read(request: Request<Body>, peer: Option<Peer>, id: String, limit: usize) -> Result<Incoming, Error> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix("/v1/").ok_or_else(Error::not_found)?;
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| Error::bad_request("the path is not UTF-8"))?;
    if path.split('/').any(|segment| segment == "..") {
        return Err(Error::bad_request("the path holds \"..\""));
    }
    // Slashes that were written as %2F: where they mean nothing, policies would be asked about another path than plug-ins.
    if path.starts_with('/') || path.contains("//") {
        return Err(Error::bad_request("the path holds an empty part"));
    }
    let mut query = pairs(parts.uri.query().unwrap_or_default());
    let operation = operation(&parts.method, &query)?;
    // They name the operation, and are no fields of it.
    for name in ["list", "help"] {
        query.remove(name);
    }
    let fields = match operation {
        Operation::Write | Operation::Patch => {
            body_fields(operation, &parts.headers, Limited::new(body, limit)).await?
        }
        _ => query.into(),
    };
    let text = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned()).filter(|text| !text.is_empty());
    Ok(Incoming {
        id,
        operation,
        path: if operation == Operation::List { path.trim_end_matches('/').to_owned() } else { path.into_owned() },
        fields,
        token: token(&parts.headers),
        namespace: text("x-vault-namespace"),
        wrap_ttl: text("x-vault-wrap-ttl"),
        workload: text(WORKLOAD_HEADER),
        address: peer.as_ref().map(|peer| peer.address.ip()),
        port: peer.as_ref().map_or(0, |peer| peer.address.port()),
        certificates: peer.map(|peer| peer.certificates).unwrap_or_default(),
        headers: Headers(parts.headers),
    })
}

fn operation(method: &Method, query: &Map<String, Value>) -> Result<Operation, Error> {
    if query.get("help").and_then(Value::as_str).is_some_and(|help| !help.is_empty()) {
        return Ok(Operation::Help);
    }
    match method.as_str() {
        "HELP" => Ok(Operation::Help),
        "GET" | "HEAD" => match query.get("list").and_then(Value::as_str) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Operation::Read),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Operation::List),
            Some(_) => Err(Error::silent(Kind::BadRequest)),
        },
        "LIST" => Ok(Operation::List),
        "POST" | "PUT" => Ok(Operation::Write),
        "PATCH" => Ok(Operation::Patch),
        "DELETE" => Ok(Operation::Delete),
        _ => Err(Error::silent(Kind::Unsupported)),
    }
}

/// `X-Vault-Token`, else the first `Authorization: Bearer`.
fn token(headers: &HeaderMap) -> Option<Secret> {
    let direct = headers.get("x-vault-token").and_then(|value| value.to_str().ok()).filter(|token| !token.is_empty());
    let bearer = || {
        let values = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(|value| value.strip_prefix("Bearer ")).map(str::trim).next()
    };
    direct.or_else(bearer).map(Secret::from)
}

async fn body_fields(operation: Operation, headers: &HeaderMap, body: Limited<Body>) -> Result<Fields, Error> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if operation == Operation::Patch && kind != "application/merge-patch+json" {
        return Err(Error::new(Kind::MediaType, "PATCH requires Content-Type application/merge-patch+json"));
    }
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Error::new(Kind::TooLarge, "http: request body too large"));
        }
        Err(error) => return Err(Error::bad_request("the body could not be read").caused_by(error)),
    };
    let text = bytes.trim_ascii();
    // A form only if it says so and does not look like JSON: curl -d sends JSON under the form's name.
    if kind == "application/x-www-form-urlencoded" && !matches!(text.first(), None | Some(b'{' | b'[')) {
        return Ok(pairs(std::str::from_utf8(text).unwrap_or_default()).into());
    }
    if text.is_empty() {
        return Ok(Fields::default());
    }
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Null) => Ok(Fields::default()),
        Ok(Value::Object(map)) => Ok(map.into()),
        Ok(_) => Err(Error::bad_request("failed to decode JSON input: expected an object")),
        Err(error) => Err(Error::bad_request(format!("failed to decode JSON input: {}", problem(text, &error)))),
    }
}

/// What is wrong with a body, in the words of Go's parser. The text of ours may quote more of it, which may be a secret.
fn problem(text: &[u8], error: &serde_json::Error) -> String {
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)).filter(|_| !error.is_eof()) {
        Some(byte) => format!("invalid character '{}'", char::from(*byte).escape_default()),
        None => "unexpected end of JSON input".to_owned(),
    }
}

/// Query or form pairs; repeated keys are joined with commas.
fn pairs(text: &str) -> Map<String, Value> {
    let decode =
        |part: &str| percent_encoding::percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut map: Map<String, Value> = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key), decode(value));
        match map.get_mut(&key) {
            Some(Value::String(joined)) => {
                joined.push(',');
                joined.push_str(&value);
            }
            _ => {
                map.insert(key, Value::String(value));
            }
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body.to_owned())).unwrap()
    }

    async fn ask(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Result<Incoming, Error> {
        read(request(method, uri, headers, body), None, String::new(), 64).await
    }

    #[tokio::test]
    async fn json_needs_no_content_type_and_may_be_null() {
        let incoming = ask("PUT", "/v1/a/b", &[], "{\"k\": 1}").await.unwrap();
        assert_eq!((incoming.operation, incoming.path.as_str()), (Operation::Write, "a/b"));
        assert_eq!(incoming.fields.int("k").unwrap(), Some(1));
        assert!(ask("POST", "/v1/a", &[], "null").await.unwrap().fields.as_map().is_empty());
        assert!(ask("POST", "/v1/a", &[], "").await.is_ok());
    }

    #[tokio::test]
    async fn curl_sends_json_as_a_form() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let incoming = ask("POST", "/v1/a", &form, "{\"k\":\"v\"}").await.unwrap();
        assert_eq!(incoming.fields.string("k").unwrap().as_deref(), Some("v"));
        let incoming = ask("POST", "/v1/a", &form, "k=v%20w&k=x").await.unwrap();
        assert_eq!(incoming.fields.string("k").unwrap().as_deref(), Some("v w,x"));
    }

    #[tokio::test]
    async fn lists_come_as_a_verb_or_as_a_query() {
        for (method, uri) in [("LIST", "/v1/a/"), ("GET", "/v1/a?list=true"), ("GET", "/v1/a/?list=1")] {
            let incoming = ask(method, uri, &[], "").await.unwrap();
            assert_eq!((incoming.operation, incoming.path.as_str()), (Operation::List, "a"));
        }
        assert_eq!(ask("GET", "/v1/a?list=maybe", &[], "").await.unwrap_err().status(), 400);
    }

    #[tokio::test]
    async fn help_is_asked_for_by_verb_or_query() {
        for (method, uri) in [("HELP", "/v1/a"), ("GET", "/v1/a?help=1"), ("POST", "/v1/a?help=1")] {
            let incoming = ask(method, uri, &[], "").await.unwrap();
            assert_eq!((incoming.operation, incoming.path.as_str()), (Operation::Help, "a"));
            assert!(incoming.fields.as_map().is_empty());
        }
    }

    #[tokio::test]
    async fn the_token_comes_from_either_header() {
        let both = [("x-vault-token", "a"), ("authorization", "Bearer b")];
        assert_eq!(ask("GET", "/v1/a", &both, "").await.unwrap().token, Some("a".into()));
        assert_eq!(ask("GET", "/v1/a", &both[1..], "").await.unwrap().token, Some("b".into()));
        let empty = ask("GET", "/v1/a", &[("x-vault-namespace", "")], "").await.unwrap();
        assert_eq!((empty.token, empty.namespace), (None, None));
    }

    #[tokio::test]
    async fn bad_requests_have_their_status_and_never_quote_the_body() {
        assert_eq!(ask("GET", "/v2/a", &[], "").await.unwrap_err().status(), 404);
        assert_eq!(ask("BREW", "/v1/a", &[], "").await.unwrap_err().status(), 405);
        assert_eq!(ask("PATCH", "/v1/a", &[], "{}").await.unwrap_err().status(), 415);
        for path in ["/v1/%2Fa", "/v1/a/%2Fb", "/v1/a%2f%2Fb", "/v1/a/%2e%2E/b"] {
            assert_eq!(ask("GET", path, &[], "").await.unwrap_err().status(), 400, "{path}");
        }
        let error = ask("POST", "/v1/a", &[], "{canary").await.unwrap_err();
        assert_eq!(error.status(), 400);
        assert_eq!(error.to_string(), "failed to decode JSON input: invalid character 'c'");
        let error = ask("POST", "/v1/a", &[], "{\"a\": 1").await.unwrap_err();
        assert_eq!(error.to_string(), "failed to decode JSON input: unexpected end of JSON input");
        let error = ask("POST", "/v1/a", &[], &format!("{{\"k\": \"{}\"}}", "v".repeat(64))).await.unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (413, "http: request body too large"));
    }
}
