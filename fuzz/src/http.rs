//! HTTP requests as clients send them, down to the fields that handlers read.

use axum::body::Body;
use futures_util::FutureExt as _;
use http::Request;
use lessor::engine::mount;
use lessor::server::ask;
use lessor::wire::{Fields, Operation};
use serde_json::Value;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "LIST", "HELP"];

const KINDS: [&str; 4] = ["", "application/json", "application/x-www-form-urlencoded", "application/merge-patch+json"];

/// A byte for the method and the type of the body, then path and query up to the end of the line, then the body.
pub(crate) fn request(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (path, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let uri = [b"/v1/", path].concat();
    let request = Request::builder()
        .method(METHODS[usize::from(*choice) % METHODS.len()])
        .uri(&uri[..])
        .header("content-type", KINDS[usize::from(*choice) / METHODS.len() % KINDS.len()])
        .body(Body::from(body.to_vec()));
    let Ok(request) = request else { return };
    // The body is there already, so nothing has to be waited for.
    let Some(Ok(incoming)) = ask::read(request, None, String::new(), body.len()).now_or_never() else { return };
    assert!(incoming.operation != Operation::List || !incoming.path.ends_with('/'));
    read_all(&incoming.fields);
}

/// Reads each field in every way that handlers have.
fn read_all(fields: &Fields) {
    let names: Vec<_> = fields.as_map().keys().cloned().collect();
    for name in &names {
        let _ = (fields.string(name), fields.required(name), fields.secret(name), fields.bool(name));
        let _ = (fields.int(name), fields.count(name), fields.seconds(name));
        let _ = (fields.comma_list(name), fields.string_list(name), fields.string_map(name));
        if let Some(Value::Object(inner)) = fields.value(name) {
            read_all(&Fields::from(inner.clone()));
        }
    }
    if let Ok(mut entry) = mount::new_entry("a", false, fields, &lessor::base::random::SeededRandom::new(1)) {
        let _ = entry.tune(fields);
    }
}
