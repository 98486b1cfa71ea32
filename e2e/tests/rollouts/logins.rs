//! What pods say in their logs about their logins, from the first line to the last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt as _};

/// A shell text that opens a database connection every 250 ms with the credential that its variables hold, serves after
/// `ready` seconds, and works on for two seconds when it is asked to end.
pub fn program(ready: u32) -> String {
    format!(
        "(sleep {ready}; exec httpd -f -p 8080 -h /tmp) & left=-1; trap 'left=8' TERM; \
         while [ $left -ne 0 ]; do sleep 0.25 & pause=$!; \
         if said=$(psql -qAtc 'SELECT 1' 2>&1); then echo ok; else echo \"refused $said\"; fi; \
         [ $left -lt 0 ] || left=$((left-1)); wait $pause; done; echo end"
    )
}

/// What was counted so far.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Logins that worked, by pod.
    logins: BTreeMap<String, u64>,
    /// What the others said.
    pub errors: Vec<String>,
    /// Pods that were listened to.
    pub pods: u64,
    /// Pods that have ended, and were heard to their last line.
    pub ended: u64,
}

impl Counts {
    /// Logins that worked.
    pub fn logins(&self) -> u64 {
        self.logins.values().sum()
    }
}

/// Listens to the pods with the label `app: APP` of a namespace, as long as it lives.
pub struct Listener {
    counts: Arc<Mutex<Counts>>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Begins to listen.
    pub fn new(client: &Client, namespace: &str, app: &str) -> Self {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let task = tokio::spawn(listen(pods, format!("app={app}"), counts.clone()));
        Self { counts, task }
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(pods: Api<Pod>, selector: String, counts: Arc<Mutex<Counts>>) {
    let mut known = BTreeSet::new();
    loop {
        let found = pods.list(&ListParams::default().labels(&selector)).await;
        for pod in found.map(|list| list.items).unwrap_or_default() {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if phase == Some("Running") && known.insert(pod.name_any()) {
                counts.lock().unwrap().pods += 1;
                tokio::spawn(hear(pods.clone(), pod.name_any(), counts.clone()));
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Follows the log of a pod to its last line. A container that did not start has no log, and another one takes its place.
async fn hear(pods: Api<Pod>, name: String, counts: Arc<Mutex<Counts>>) {
    let all = LogParams { follow: true, ..LogParams::default() };
    while let Ok(Some(_)) = pods.get_opt(&name).await {
        if let Ok(stream) = pods.log_stream(&name, &all).await {
            let mut lines = stream.lines();
            let mut heard = 0;
            while let Ok(Some(line)) = lines.try_next().await {
                let mut counts = counts.lock().unwrap();
                match line.as_str() {
                    "ok" => heard += 1,
                    "end" => {
                        counts.ended += 1;
                        return;
                    }
                    error if error.starts_with("refused") => counts.errors.push(format!("{name}: {error}")),
                    // Other lines are the kubelet's, or the rest of an error.
                    _ => {}
                }
                counts.logins.insert(name.clone(), heard);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
