//! When Secrets of a namespace were first seen with a credential in them, by a watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

/// The longest that a Secret is waited for.
const LONGEST: Duration = Duration::from_secs(120);

/// The Secrets of one namespace.
pub struct Arrivals(watch::Receiver<HashMap<String, Instant>>);

impl Arrivals {
    /// Watches from now on.
    pub fn of(client: Client, namespace: &str) -> Self {
        let (sender, receiver) = watch::channel(HashMap::new());
        let api: Api<Secret> = Api::namespaced(client, namespace);
        // It ends with the program.
        tokio::spawn(async move {
            let mut seen = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
            while let Some(secret) = seen.next().await {
                let Ok(secret) = secret else { continue };
                if secret.data.as_ref().is_some_and(|data| data.contains_key("password")) {
                    sender.send_modify(|times| {
                        times.entry(secret.name_any()).or_insert_with(Instant::now);
                    });
                }
            }
        });
        Self(receiver)
    }

    /// Waits for all Secrets of these names, and returns when the last was seen.
    pub async fn last_of(&self, names: &[String]) -> Instant {
        let mut times = self.0.clone();
        let all = times.wait_for(|times| names.iter().all(|name| times.contains_key(name)));
        let times = tokio::time::timeout(LONGEST, all).await.expect("the Secrets come").expect("the watch goes on");
        names.iter().map(|name| times[name]).max().expect("at least one name")
    }
}
