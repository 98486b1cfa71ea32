//! Pages of other origins that may use the API, as `sys/config/cors` says (vault-api.md 0.1).

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::answer::json;
use crate::engine::cors::{Cors, STANDARD_HEADERS};
use crate::wire::ErrorBody;

const METHODS: &str = "DELETE, GET, OPTIONS, POST, PUT, LIST, PATCH";

/// How long a browser may remember the answer to its question, seconds.
const REMEMBERED: &str = "300";

/// What a request that names an origin is answered at once, if anything.
pub(super) fn answer(cors: &Cors, request: &Request<Body>) -> Option<Response> {
    let origin = origin(request.headers())?;
    if !cors.enabled {
        return None;
    }
    if !cors.allows(origin.to_str().ok()?) {
        return Some(json(403, &ErrorBody { errors: vec!["origin not allowed".into()] }));
    }
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() != Method::OPTIONS || !asks {
        return None;
    }
    let names: Vec<_> =
        STANDARD_HEADERS.iter().copied().chain(cors.allowed_headers.iter().map(String::as_str)).collect();
    let mut response = super::answer::respond(crate::engine::request::Reply::Empty(204), String::new());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    allow(headers, origin);
    Some(response)
}

/// The origin that a request names, of a page that may use the API.
pub(super) fn allowed(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = origin(headers)?;
    (cors.enabled && cors.allows(origin.to_str().ok()?)).then(|| origin.clone())
}

/// Lets the page read the answer.
pub(super) fn allow(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let allowed_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Cors { enabled: true, allowed_origins, allowed_headers: vec!["X-Own".into()] }
    }

    fn request(method: &str, origin: &str) -> Request<Body> {
        let request = Request::builder().method(method).header("origin", origin);
        request.header("access-control-request-method", "PUT").body(Body::empty()).unwrap()
    }

    #[test]
    fn only_named_origins_are_answered() {
        let some = cors(&["https://a"]);
        let preflight = answer(&some, &request("OPTIONS", "https://a")).unwrap();
        assert_eq!(preflight.status(), 204);
        assert_eq!(preflight.headers()["access-control-max-age"], "300");
        assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("X-Own"));
        assert_eq!(answer(&some, &request("GET", "https://b")).unwrap().status(), 403);
        assert!(answer(&some, &request("GET", "https://a")).is_none());
        assert!(allowed(&some, request("GET", "https://a").headers()).is_some());
        assert!(answer(&Cors::default(), &request("GET", "https://b")).is_none(), "off");
        assert!(answer(&cors(&["*"]), &request("GET", "https://b")).is_none());
    }
}
