//! Objects as the operator itself has left them: its watch may show them as they were before its last status.
//!
//! A status tells what was delivered. A turn that begins with the one of before would make a second credential for a Secret that
//! somebody has just deleted, and take the first, which pods use, for one that reached nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::{Api, ResourceExt};

use super::error::Error;
use super::kind::describe;
use super::watched::Object;

/// The version that each object had after the last status written, by its UID.
#[derive(Debug, Default)]
pub struct Latest(Mutex<HashMap<String, String>>);

impl Latest {
    /// Notes an object as Kubernetes has answered a write.
    pub fn note(&self, object: &impl Object) {
        if let (Some(uid), Some(version)) = (object.uid(), object.resource_version()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, version);
        }
    }

    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// The object itself where it is as it was left, else as Kubernetes has it now; `None` where it is gone or going,
    /// which the watch is about to show. Versions tell no order, so one that somebody has changed since is read once, too.
    ///
    /// # Errors
    /// What Kubernetes says.
    pub async fn of<K: Object>(&self, object: Arc<K>, api: &Api<K>) -> Result<Option<Arc<K>>, Error> {
        if !self.is_other(&*object) {
            return Ok(Some(object));
        }
        let found = api.get_opt(&object.name_any()).await;
        let found = found.map_err(Error::kube(format!("cannot read {}", describe(&*object))))?;
        let stays = |found: &K| found.uid() == object.uid() && found.meta().deletion_timestamp.is_none();
        let Some(found) = found.filter(stays) else { return Ok(None) };
        self.note(&found);
        Ok(Some(Arc::new(found)))
    }

    fn is_other(&self, object: &impl Object) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = object.uid().and_then(|uid| left.get(&uid).cloned());
        left.is_some_and(|left| object.resource_version() != Some(left))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::{Context as TaskContext, Poll};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tower_service::Service;

    use super::*;
    use crate::api::DynamicDatabaseSecret;

    fn object(uid: &str, version: &str) -> DynamicDatabaseSecret {
        let spec = json!({ "roleRef": { "name": "r" }, "serviceAccountName": "a", "destination": { "name": "d" } });
        serde_json::from_value(json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "DynamicDatabaseSecret", "spec": spec,
            "metadata": { "name": "db", "namespace": "shop", "uid": uid, "resourceVersion": version },
        }))
        .unwrap()
    }

    /// An API server with one object, or none, that counts how often it was read.
    #[derive(Clone)]
    struct Server(Option<DynamicDatabaseSecret>, Arc<Mutex<usize>>);

    impl Server {
        fn with(object: Option<DynamicDatabaseSecret>) -> Self {
            Self(object, Arc::default())
        }

        fn api(&self) -> Api<DynamicDatabaseSecret> {
            Api::namespaced(kube::Client::new(self.clone(), "shop"), "shop")
        }

        fn reads(&self) -> usize {
            *self.1.lock().unwrap()
        }
    }

    impl Service<Request<Body>> for Server {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            *self.1.lock().unwrap() += 1;
            let absent =
                json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "" });
            let (status, body) = self.0.as_ref().map_or((404, absent), |object| (200, json!(object)));
            let body = Body::from(body.to_string().into_bytes());
            ready(Ok(Response::builder().status(status).body(body).unwrap()))
        }
    }

    async fn version(latest: &Latest, seen: &str, server: &Server) -> Option<String> {
        let object = latest.of(Arc::new(object("uid", seen)), &server.api()).await.unwrap();
        object.and_then(|object| object.resource_version())
    }

    #[tokio::test]
    async fn an_object_that_the_watch_shows_as_before_its_last_status_is_read_anew() {
        let (latest, server) = (Latest::default(), Server::with(Some(object("uid", "3"))));
        assert_eq!(version(&latest, "1", &server).await.unwrap(), "1", "nothing was written yet");
        latest.note(&object("uid", "3"));
        assert_eq!((version(&latest, "3", &server).await.unwrap(), server.reads()), ("3".to_owned(), 0));
        assert_eq!((version(&latest, "1", &server).await.unwrap(), server.reads()), ("3".to_owned(), 1));
    }

    #[tokio::test]
    async fn an_edit_is_read_once() {
        let (latest, server) = (Latest::default(), Server::with(Some(object("uid", "4"))));
        latest.note(&object("uid", "3"));
        version(&latest, "4", &server).await;
        assert_eq!((version(&latest, "4", &server).await.unwrap(), server.reads()), ("4".to_owned(), 1));
        latest.forget("uid");
        assert_eq!((version(&latest, "1", &server).await.unwrap(), server.reads()), ("1".to_owned(), 1));
    }

    #[tokio::test]
    async fn one_that_is_gone_or_another_by_now_needs_no_turn() {
        let latest = Latest::default();
        latest.note(&object("uid", "3"));
        assert_eq!(version(&latest, "1", &Server::with(None)).await, None);
        assert_eq!(version(&latest, "1", &Server::with(Some(object("other", "5")))).await, None);
    }
}
