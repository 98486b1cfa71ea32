//! One request to the local API: limits, whose token it carries, what is kept, and the agent's own paths.

use std::sync::Arc;

use http::header::{AGE, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::super::config::TokenUse;
use super::answer::{Answer, empty, error, json, kept, passed_on};
use super::cache::{Cache, Kept, Key};
use super::listen::Rules;
use super::{Own, Shared};
use crate::base::{Secret, telemetry};
use crate::client::{Client, Forwarded};
use crate::wire::WORKLOAD_HEADER;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
/// Tells, as Vault's Agent does, whether an answer was kept.
const CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Whose token a request carries.
enum Bearer {
    /// The agent's.
    Own(Own),
    /// The caller's, or nobody's.
    Caller(Option<Secret>),
}

/// Answers one request.
pub async fn handle(shared: Arc<Shared>, rules: Arc<Rules>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if matches!(path.as_str(), "/ready" | "/agent/v1/ready") {
        return ready(&shared);
    }
    // A page in a browser can make requests to this machine, but none with this header.
    if rules.require_request_header && request.headers().get(REQUEST).is_none_or(|value| value != "true") {
        return error(StatusCode::PRECONDITION_FAILED, "missing 'X-Vault-Request' header");
    }
    let Ok(_turn) = rules.requests.try_acquire() else {
        let mut refusal = error(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
        refusal.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        return refusal;
    };
    let work = async {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, rules.max_request).collect().await {
            Ok(body) => body.to_bytes(),
            Err(problem) if problem.is::<LengthLimitError>() => {
                let message = format!("the body exceeds {} bytes, this listener's max_request_size", rules.max_request);
                return error(StatusCode::PAYLOAD_TOO_LARGE, message);
            }
            Err(_) => return error(StatusCode::BAD_REQUEST, "the body broke off"),
        };
        match path.as_str() {
            "/agent/v1/quit" => quit(&shared, &rules, &head.method),
            "/agent/v1/cache-clear" => clear(&shared, &head.method, &body),
            _ if !rules.proxies => error(StatusCode::NOT_FOUND, "this listener passes nothing on"),
            _ => {
                let target = head.uri.path_and_query().map_or("", |target| target.as_str());
                match target.strip_prefix("/v1/") {
                    Some(path) => {
                        let forwarded =
                            Forwarded { method: head.method, path: path.to_owned(), headers: head.headers, body };
                        pass_on(&shared, forwarded).await
                    }
                    None => error(StatusCode::NOT_FOUND, "the engine's paths begin with /v1/"),
                }
            }
        }
    };
    tokio::select! {
        answer = work => answer,
        () = shared.context.clock.sleep(rules.max_duration) => {
            error(StatusCode::GATEWAY_TIMEOUT, "the request took longer than this listener's max_request_duration")
        }
    }
}

fn ready(shared: &Shared) -> Answer {
    let state = shared.state.borrow().clone();
    let status = if state.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &json!({ "ready": state.is_ready(), "state": state.describe() }))
}

fn quit(shared: &Shared, rules: &Rules, method: &Method) -> Answer {
    match (rules.quit, method) {
        (false, _) => error(StatusCode::NOT_FOUND, "not allowed here; agent_api { enable_quit = true } allows it"),
        (true, &(Method::POST | Method::PUT)) => {
            tracing::info!("told to quit over the local API");
            shared.stop.stop();
            empty(StatusCode::OK)
        }
        (true, _) => error(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
    }
}

/// Vault Agent's way to forget what is kept.
fn clear(shared: &Shared, method: &Method, body: &[u8]) -> Answer {
    let bad = |message: &str| error(StatusCode::BAD_REQUEST, message);
    if !matches!(*method, Method::POST | Method::PUT) {
        return error(StatusCode::METHOD_NOT_ALLOWED, "use POST");
    }
    let Some(cache) = &shared.cache else { return bad("caching is not enabled") };
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let value = text("value");
    match text("type").as_str() {
        "all" => cache.keep_only(|_| false),
        _ if value.is_empty() => return bad("type and value are required"),
        "request_path" => {
            let path = value.trim_start_matches("/v1/").trim_start_matches('/').to_owned();
            cache.keep_only(|kept| !kept.path.starts_with(&path));
        }
        "lease" => cache.keep_only(|kept| !kept.has_lease(&value)),
        "token" if shared.own().is_some_and(|own| own.token.expose() == value) => cache.keep_only(|_| false),
        "token" => {}
        _ => return bad("type must be all, request_path, lease or token"),
    }
    empty(StatusCode::OK)
}

async fn pass_on(shared: &Shared, mut request: Forwarded) -> Answer {
    let bearer = match bearer(shared, &mut request.headers) {
        Ok(bearer) => bearer,
        Err(refusal) => return *refusal,
    };
    request.headers = kept(std::mem::take(&mut request.headers));
    request.headers.remove(HOST);
    let plain = request.path.split('?').next().unwrap_or_default().trim_matches('/').to_owned();
    match bearer {
        Bearer::Caller(token) => {
            let client = match token {
                Some(token) => shared.client.with_token(token),
                None => shared.client.clone(),
            };
            forward(&client, &request, None).await
        }
        // All callers, and the agent's own files, live by this token.
        Bearer::Own(_) if plain == "auth/token/revoke-self" => {
            error(StatusCode::FORBIDDEN, "the token is the agent's; only its end ends it")
        }
        Bearer::Own(own) => {
            // Whose lease it is decides the agent's login, and no caller.
            request.headers.remove(WORKLOAD_HEADER);
            let client = shared.client.with_token(own.token.clone());
            let answer = match shared.cache.as_ref().filter(|_| may_be_kept(&request)) {
                Some(cache) => cached(shared, cache, &client, &own, &request, &plain).await,
                None => forward(&client, &request, None).await,
            };
            if let Some(cache) = shared.cache.as_ref().filter(|_| answer.status().is_success()) {
                forget_revoked(cache, &plain, &request.body);
            }
            answer
        }
    }
}

fn bearer(shared: &Shared, headers: &mut HeaderMap) -> Result<Bearer, Box<Answer>> {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let header = headers.remove(TOKEN).map(|value| text(&value)).filter(|token| !token.is_empty());
    let authorization = headers.get(AUTHORIZATION).map(text).unwrap_or_default();
    let authorization = authorization.strip_prefix("Bearer ").map(str::to_owned);
    if authorization.is_some() {
        headers.remove(AUTHORIZATION);
    }
    let caller = header.or(authorization).map(Secret::from);
    match (shared.token, caller) {
        (TokenUse::Never, caller) | (TokenUse::Missing, caller @ Some(_)) => Ok(Bearer::Caller(caller)),
        (TokenUse::Missing | TokenUse::Always, _) => match shared.own() {
            Some(own) => Ok(Bearer::Own(own)),
            None => Err(Box::new(error(StatusCode::SERVICE_UNAVAILABLE, "the agent has not logged in yet"))),
        },
    }
}

async fn forward(client: &Client, request: &Forwarded, keep: Option<(&Cache, Key, u64)>) -> Answer {
    match client.forward(request).await {
        Ok(response) => {
            if let Some((cache, key, identity)) = keep {
                let good = response.status == StatusCode::OK;
                let body = if good { response.body.clone() } else { bytes::Bytes::new() };
                cache.offer(key, identity, &request.path, &response.headers, &body, client);
            }
            passed_on(response.status, response.headers, response.body)
        }
        Err(problem) => {
            if let Some((cache, key, identity)) = keep {
                cache.offer(key, identity, &request.path, &HeaderMap::new(), &bytes::Bytes::new(), client);
            }
            tracing::warn!(error = telemetry::chain(&problem), "a request of the local API was not answered");
            error(StatusCode::BAD_GATEWAY, telemetry::chain(&problem))
        }
    }
}

/// Only answers that can hold a lease of the agent's, and are not meant for one reader.
fn may_be_kept(request: &Forwarded) -> bool {
    let reads = matches!(request.method, Method::GET | Method::POST | Method::PUT);
    reads && !request.path.starts_with("sys/") && !request.headers.contains_key(WRAP_TTL)
}

async fn cached(
    shared: &Shared,
    cache: &Cache,
    client: &Client,
    own: &Own,
    request: &Forwarded,
    plain: &str,
) -> Answer {
    let key = key(own.identity, request);
    let Some(slot) = cache.slot(key) else { return forward(client, request, None).await };
    // The same request at the same time waits, and finds what the first was answered.
    let _alone = slot.lock().await;
    if let Some(found) = cache.get(&key) {
        return again(&found, shared.context.clock.now());
    }
    let mut answer = forward(client, request, Some((cache, key, own.identity))).await;
    tracing::debug!(path = plain, status = answer.status().as_u16(), "passed on");
    answer.headers_mut().insert(CACHE, HeaderValue::from_static("MISS"));
    answer
}

fn again(found: &Kept, now: crate::base::Timestamp) -> Answer {
    let mut answer = passed_on(StatusCode::OK, found.headers.clone(), found.body.clone());
    answer.headers_mut().insert(CACHE, HeaderValue::from_static("HIT"));
    answer.headers_mut().insert(AGE, HeaderValue::from(found.age(now)));
    answer
}

fn key(identity: u64, request: &Forwarded) -> Key {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let namespace = request.headers.get(NAMESPACE).map_or(&b""[..], HeaderValue::as_bytes);
    for part in [&identity.to_be_bytes()[..], request.method.as_str().as_bytes(), request.path.as_bytes(), namespace] {
        // The lengths keep neighbours apart.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.update(&request.body);
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// A lease that a caller has revoked must not be handed out again.
fn forget_revoked(cache: &Cache, path: &str, body: &[u8]) {
    let rest = |prefix: &str| path.strip_prefix(prefix).map(|rest| rest.trim_matches('/').to_owned());
    for prefix in ["sys/leases/revoke-prefix/", "sys/leases/revoke-force/", "sys/revoke-prefix/", "sys/revoke-force/"] {
        if let Some(prefix) = rest(prefix) {
            return cache.keep_only(|kept| !kept.lies_below(&prefix));
        }
    }
    let named = ["sys/leases/revoke", "sys/revoke"].into_iter().find_map(rest);
    if let Some(named) = named {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let id = said.get("lease_id").and_then(Value::as_str).map_or(named, str::to_owned);
        cache.keep_only(|kept| !kept.has_lease(&id));
    }
}
