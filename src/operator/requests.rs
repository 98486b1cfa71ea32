//! The Kubernetes client of the operator: every request is counted, and none that changes something passes a shut fence.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use http::{Method, Request, Response};
use kube::client::Body;
use tower_service::Service;

use super::fence::{Fence, NotLeading};
use super::metrics::Metrics;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `client`, counted and fenced.
pub fn guarded(client: kube::Client, fence: Fence, metrics: Arc<Metrics>) -> kube::Client {
    let namespace = client.default_namespace().to_owned();
    kube::Client::new(Guarded { client, fence, metrics }, namespace)
}

struct Guarded {
    client: kube::Client,
    fence: Fence,
    metrics: Arc<Metrics>,
}

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, metrics) = (self.client.clone(), self.metrics.clone());
        let barred = changes(request.method()) && !self.fence.is_open();
        Box::pin(async move {
            if barred {
                return Err(NotLeading.into());
            }
            let call = Call::of(&request);
            let answer = client.send(request).await;
            metrics.requested(call.verb, &call.resource, answer.as_ref().map_or(0, |answer| answer.status().as_u16()));
            Ok(answer?)
        })
    }
}

/// Whether a request may change something. A token is made for somebody who then acts, so it counts.
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A request as Kubernetes' own metrics name it.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    verb: &'static str,
    /// With the subresource: `secrets`, `serviceaccounts/token`.
    resource: String,
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        let segments: Vec<&str> = request.uri().path().split('/').filter(|segment| !segment.is_empty()).collect();
        // /api/VERSION/… and /apis/GROUP/VERSION/…
        let rest = match segments.first() {
            Some(&"api") => segments.get(2..),
            Some(&"apis") => segments.get(3..),
            _ => None,
        };
        let rest = rest.unwrap_or_default();
        let rest = if rest.first() == Some(&"namespaces") && rest.len() > 2 { &rest[2..] } else { rest };
        let resource = match rest {
            [] => "none".to_owned(),
            [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
            [resource, ..] => (*resource).to_owned(),
        };
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let verb = match *request.method() {
            Method::GET if watches => "watch",
            Method::GET if rest.len() < 2 => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, resource }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_verb_and_resource_and_never_by_name() {
        let call = |method: Method, uri: &str| {
            let Call { verb, resource } = Call::of(&Request::builder().method(method).uri(uri).body(()).unwrap());
            format!("{verb} {resource}")
        };
        assert_eq!(call(Method::GET, "/api/v1/namespaces/shop/secrets/db"), "get secrets");
        assert_eq!(call(Method::GET, "/api/v1/namespaces?watch=true&x=y"), "watch namespaces");
        assert_eq!(call(Method::GET, "/apis/lessor.dev/v1alpha1/databaseroles?limit=500"), "list databaseroles");
        let token = "/api/v1/namespaces/shop/serviceaccounts/app/token?";
        assert_eq!(call(Method::POST, token), "create serviceaccounts/token");
        let status = "/apis/lessor.dev/v1alpha1/namespaces/a/databaseroles/b/status";
        assert_eq!(call(Method::PATCH, status), "patch databaseroles/status");
        assert_eq!(call(Method::GET, "/version"), "list none");
    }

    #[test]
    fn only_reading_passes_a_shut_fence() {
        assert!(!changes(&Method::GET));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(changes(&method), "{method}");
        }
    }
}
