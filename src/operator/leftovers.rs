//! Clean-ups that could not be done when their object was deleted: each is a ConfigMap in the operator's own namespace until it
//! is done, so that the object may go and nothing is forgotten, also when operator and engine are down at the same time.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::context::Context;
use super::error::{self, Error};
use super::kind::{Kind, describe, namespace_of};
use crate::api::names::{LEFTOVER, MANAGED_BY, MANAGER};
use crate::api::{
    CredentialEngine, DatabaseConnection, DatabaseRole, DynamicDatabaseSecret, StaticDatabaseRole, StaticDatabaseSecret,
};

/// The wait between two rounds while something is left.
const ROUND: Duration = Duration::from_secs(5);
/// The wait when the list cannot be read: there is more wrong than a clean-up that waits.
const UNREADABLE: Duration = Duration::from_secs(60);
/// The longest one attempt takes.
const ATTEMPT: Duration = Duration::from_secs(20);
/// The key of a ConfigMap under which the deleted object stands.
const OBJECT: &str = "object.json";

/// The durable list of clean-ups that remain to be done.
pub struct Leftovers {
    api: Api<ConfigMap>,
    /// Told of new ones, so that none is looked for while there are none.
    added: Notify,
}

impl Leftovers {
    /// The list in the operator's own namespace.
    pub fn new(kube: kube::Client) -> Self {
        let namespace = kube.default_namespace().to_owned();
        Self { api: Api::namespaced(kube, &namespace), added: Notify::new() }
    }

    /// Writes down that `object` is to be cleaned up later.
    ///
    /// # Errors
    /// What Kubernetes says; then the object must not go yet.
    pub async fn keep<K: Kind>(&self, object: &K) -> Result<(), Error> {
        let record = record(object)?;
        match self.api.create(&PostParams::default(), &record).await {
            Err(error) if !error::is_conflict(&error) => {
                Err(Error::kube(format!("cannot write down the clean-up of {}", describe(object)))(error))
            }
            _ => {
                self.added.notify_one();
                Ok(())
            }
        }
    }
}

/// The ConfigMap that stands for one clean-up.
fn record<K: Kind>(object: &K) -> Result<ConfigMap, Error> {
    let unusable = |error: serde_json::Error| {
        Error::waiting("Internal", format!("cannot write {} down: {error}", describe(object)))
    };
    let spec = serde_json::to_value(object).map_err(unusable)?["spec"].take();
    let metadata = json!({ "name": object.name_any(), "namespace": namespace_of(object), "uid": object.uid() });
    let kept = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "spec": spec });
    let uid = object.uid().unwrap_or_default();
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("lessor-leftover-{}-{uid}", K::kind(&()).to_lowercase()),
            "labels": { MANAGED_BY: MANAGER, LEFTOVER: "true" },
        },
        "data": { OBJECT: kept.to_string() },
    }))
    .map_err(unusable)
}

/// Does what is left, again and again, until nothing is left; then waits for more.
pub async fn run(context: Arc<Context>) {
    let leftovers = &context.leftovers;
    loop {
        let wait = match round(&context).await {
            Ok(0) => {
                leftovers.added.notified().await;
                ROUND
            }
            Ok(left) => {
                tracing::info!(left, "clean-ups of deleted objects remain to be done");
                ROUND
            }
            Err(error) => {
                tracing::warn!(error = %error.story(), "cannot see which clean-ups remain to be done");
                UNREADABLE
            }
        };
        context.clock.sleep(wait.mul_f64(context.random.jitter(0.2))).await;
    }
}

/// Tries everything once; returns how much is left.
async fn round(context: &Context) -> Result<usize, Error> {
    let api = &context.leftovers.api;
    let what = || Error::kube("cannot list the ConfigMaps of clean-ups that remain to be done");
    let found = api.list(&ListParams::default().labels(&format!("{LEFTOVER}=true"))).await.map_err(what())?;
    let mut left = found.items.len();
    for record in &found.items {
        let name = record.name_any();
        let attempt = tokio::time::timeout(ATTEMPT, undo_recorded(context, record)).await;
        match attempt.unwrap_or_else(|_| Err(Error::waiting("Timeout", "it took too long"))) {
            Ok(()) => {
                match api.delete(&name, &DeleteParams::default()).await {
                    Err(error) if !error::is_not_found(&error) => return Err(what()(error)),
                    _ => tracing::info!(record = name, "a deleted object was cleaned up"),
                }
                left -= 1;
            }
            Err(error) => {
                tracing::warn!(record = name, error = %error.story(), "a deleted object cannot be cleaned up yet");
                // The others would wait for the same engine.
                if context.session.is_silent() {
                    break;
                }
            }
        }
    }
    Ok(left)
}

async fn undo_recorded(context: &Context, record: &ConfigMap) -> Result<(), Error> {
    let text = record.data.as_ref().and_then(|data| data.get(OBJECT)).map_or("", String::as_str);
    let object: Value = serde_json::from_str(text).unwrap_or_default();
    match object["kind"].as_str() {
        Some("CredentialEngine") => undo::<CredentialEngine>(context, object).await,
        Some("DatabaseConnection") => undo::<DatabaseConnection>(context, object).await,
        Some("DatabaseRole") => undo::<DatabaseRole>(context, object).await,
        Some("StaticDatabaseRole") => undo::<StaticDatabaseRole>(context, object).await,
        Some("StaticDatabaseSecret") => undo::<StaticDatabaseSecret>(context, object).await,
        Some("DynamicDatabaseSecret") => undo::<DynamicDatabaseSecret>(context, object).await,
        // Of another release, or broken: not for us to remove.
        _ => Err(Error::refused("LeftoverUnknown", format!("ConfigMap {} names no known object", record.name_any()))),
    }
}

async fn undo<K: Kind + DeserializeOwned>(context: &Context, object: Value) -> Result<(), Error> {
    let object: K = serde_json::from_value(object)
        .map_err(|error| Error::refused("LeftoverUnknown", format!("the object cannot be read: {error}")))?;
    if object.is_taken_over_by_namesake() {
        let api: Api<K> = Api::namespaced(context.kube.clone(), &namespace_of(&object));
        let found = api.get_opt(&object.name_any()).await;
        let found = found.map_err(Error::kube(format!("cannot look for {}", describe(&object))))?;
        if found.is_some() {
            return Ok(());
        }
    }
    object.clean_up(context).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_all_that_a_clean_up_needs_and_no_more() {
        let object: DatabaseRole = serde_json::from_value(json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "DatabaseRole",
            "metadata": { "name": "app", "namespace": "shop", "uid": "u-1", "annotations": { "a": "b" } },
            "spec": { "connectionRef": { "name": "db" }, "creationStatements": ["CREATE"] },
            "status": { "engineName": "shop.app" },
        }))
        .unwrap();
        let record = record(&object).unwrap();
        assert_eq!(record.name_any(), "lessor-leftover-databaserole-u-1");
        let text = &record.data.unwrap()[OBJECT];
        assert!(!text.contains("annotations") && !text.contains("status"), "{text}");
        let again: DatabaseRole = serde_json::from_str(text).unwrap();
        assert_eq!((again.uid(), namespace_of(&again), again.spec), (object.uid(), "shop".into(), object.spec));
    }
}
