//! Elections over a Lease in memory, whose API server may hang, with clocks that only the test moves.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context as TaskContext, Poll};

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::random::SeededRandom;

/// The one Lease of an API server.
#[derive(Default)]
struct Server {
    lease: Option<Value>,
    version: u64,
    /// Takes writes no more, without an answer.
    hangs: bool,
}

/// An API server's client.
#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<Server>>);

impl Service<Request<Body>> for ApiServer {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move {
            let method = request.method().clone();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if server.lock().unwrap().hangs && method != Method::GET {
                std::future::pending::<()>().await;
            }
            let mut server = server.lock().unwrap();
            let (status, answer) = server.answer(&method, serde_json::from_slice(&body).unwrap_or_default());
            Ok(Response::builder().status(status).body(Body::from(answer.to_string().into_bytes())).unwrap())
        })
    }
}

impl Server {
    fn answer(&mut self, method: &Method, mut sent: Value) -> (u16, Value) {
        let failed = |code: u16, reason: &str| {
            (code, json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason }))
        };
        let known = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        match (method, known) {
            (&Method::GET, None) => return failed(404, "NotFound"),
            (&Method::GET, Some(_)) => return (200, self.lease.clone().unwrap()),
            (&Method::POST, Some(_)) => return failed(409, "AlreadyExists"),
            (&Method::PUT, Some(known)) if known != sent["metadata"]["resourceVersion"] => {
                return failed(409, "Conflict");
            }
            _ => {}
        }
        self.version += 1;
        sent["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(sent.clone());
        (200, sent)
    }
}

struct Replica {
    candidate: Candidate,
    fence: Fence,
    clock: ManualClock,
}

fn replica(server: &ApiServer, identity: &str) -> Replica {
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let fence = Fence::shut(shared.clone());
    let election = Election { namespace: "ns".into(), name: "lessor-operator".into(), identity: identity.into() };
    let kube = kube::Client::new(server.clone(), "ns");
    let candidate = Candidate::new(kube, election, fence.clone(), shared, Arc::new(SeededRandom::new(1)));
    Replica { candidate, fence, clock }
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_taken_at_the_next_look() {
    let server = ApiServer::default();
    let (mut first, mut second) = (replica(&server, "a"), replica(&server, "b"));
    assert!(first.candidate.attempt().await.unwrap());
    assert!(!second.candidate.attempt().await.unwrap());
    assert!(first.candidate.attempt().await.unwrap(), "renewed");
    first.candidate.resign().await;
    assert!(!first.fence.is_open());
    assert!(second.candidate.attempt().await.unwrap());
    assert!(second.fence.is_open());
    let lease = server.0.lock().unwrap().lease.clone().unwrap();
    assert_eq!((&lease["spec"]["holderIdentity"], &lease["spec"]["leaseTransitions"]), (&json!("b"), &json!(2)));
}

#[tokio::test]
async fn a_holder_that_cannot_renew_has_stopped_before_another_begins() {
    let server = ApiServer::default();
    let (mut first, mut second) = (replica(&server, "a"), replica(&server, "b"));
    assert!(first.candidate.attempt().await.unwrap());
    assert!(!second.candidate.attempt().await.unwrap());
    // From now on the first gets no answer; each second of the clock both go on as they can.
    let mut taken = None;
    for second_passed in 1..=20 {
        for replica in [&first, &second] {
            replica.clock.advance(Duration::from_secs(1));
        }
        if taken.is_none() && second.candidate.attempt().await.unwrap() {
            taken = Some(second_passed);
        }
        assert!(!(first.fence.is_open() && second.fence.is_open()), "two lead at second {second_passed}");
    }
    assert_eq!(taken, Some(15));
    assert!(!first.candidate.attempt().await.unwrap(), "it comes back and finds another");
    assert!(!first.fence.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_api_server_hangs_ceases_to_lead() {
    let server = ApiServer::default();
    let mut only = replica(&server, "a");
    assert!(only.candidate.attempt().await.unwrap());
    server.0.lock().unwrap().hangs = true;
    let clock = only.clock.clone();
    let mut kept = std::pin::pin!(only.candidate.keep());
    for _ in 0..20 {
        clock.advance(Duration::from_secs(1));
        if tokio::time::timeout(Duration::from_secs(1), &mut kept).await.is_ok() {
            assert!(!only.fence.is_open());
            return;
        }
    }
    panic!("it leads for ever");
}

fn lease(holder: &str, version: &str) -> Lease {
    let metadata = ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
    let spec =
        LeaseSpec { holder_identity: Some(holder.into()), lease_duration_seconds: Some(15), ..LeaseSpec::default() };
    Lease { metadata, spec: Some(spec) }
}

#[test]
fn a_lease_is_free_when_its_holder_has_been_silent() {
    let start = Timestamp::UNIX_EPOCH;
    let at = |seconds| clock::add_seconds(start, seconds);
    let mut seen = None;
    assert!(!may_take(&lease("b", "1"), "a", &mut seen, at(0)));
    assert!(!may_take(&lease("b", "1"), "a", &mut seen, at(14)));
    assert!(!may_take(&lease("b", "2"), "a", &mut seen, at(20)), "renewed meanwhile");
    assert!(!may_take(&lease("b", "2"), "a", &mut seen, at(34)));
    assert!(may_take(&lease("b", "2"), "a", &mut seen, at(35)));
}

#[test]
fn ones_own_lease_and_one_given_back_are_free_at_once() {
    let now = Timestamp::UNIX_EPOCH;
    assert!(may_take(&lease("a", "1"), "a", &mut None, now));
    assert!(may_take(&lease("", "1"), "a", &mut None, now));
}
