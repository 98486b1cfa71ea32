//! The end of workloads: pods that are gone or have finished, and custom resources that are gone, are reported to the
//! engine, which drops their database users.
//!
//! Injected pods are watched (`watch.rs`), so their end is reported at once. What was missed, because operator or engine were
//! down, is found by comparing the engine's list of workloads with the cluster (`compare.rs`). The same list shows whose leases
//! somebody has ended at the engine (those objects get a new credential), who owns more than was delivered (the rest is ended),
//! and which pods have got a user, which their events tell (`tell.rs`), as well as why an agent has failed (`failures.rs`).

mod compare;
mod failures;
mod tell;
mod watch;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::context::Context;
use crate::base::clock::add;
use crate::base::{Timestamp, telemetry};

/// The wait after a failed report.
const REPORT_RETRY: Duration = Duration::from_secs(1);
/// The most UIDs of one report.
const REPORT_SIZE: usize = 500;
/// How long after its grace period a pod that is being deleted counts as alive. Then its kubelet should have killed it long ago;
/// on a node that is lost the object may stay for ever. More than clocks differ, and than a busy kubelet takes.
const OVERDUE: Duration = Duration::from_secs(30);

/// The pods that run now, by UID, shared between the watch and the comparison.
type Running = Arc<Mutex<HashSet<String>>>;

/// Runs watch, reports and comparison for ever. `ends` is the other side of [`Context::ended`].
pub async fn run(context: Arc<Context>, namespaces: Vec<String>, ends: mpsc::UnboundedReceiver<String>) {
    let (running, unclear) = (Running::default(), Notify::new());
    tokio::join!(
        watch::watch(&context, &namespaces, &running, &unclear),
        report(&context, ends),
        compare::compare(&context, &namespaces, &running, &unclear),
    );
}

/// Whether the pod's containers have ended, or should have.
fn has_ended(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) || overdue_at(pod).is_some_and(|overdue| overdue <= now)
}

/// When a pod that is being deleted counts as gone, whatever becomes of its object.
fn overdue_at(pod: &Pod) -> Option<Timestamp> {
    // Kubernetes writes down the end of the grace period, not the moment of the request.
    pod.metadata.deletion_timestamp.as_ref().map(|end_of_grace| add(end_of_grace.0, OVERDUE))
}

/// Passes UIDs on to the engine, in batches, until it has taken them.
async fn report(context: &Context, mut reports: mpsc::UnboundedReceiver<String>) {
    let mut waiting = BTreeSet::new();
    loop {
        if waiting.is_empty() {
            let Some(uid) = reports.recv().await else { return };
            waiting.insert(uid);
        }
        while let Ok(uid) = reports.try_recv() {
            waiting.insert(uid);
        }
        let batch: Vec<String> = waiting.iter().take(REPORT_SIZE).cloned().collect();
        match context
            .session
            .write("sys/lessor/workloads/end", &json!({ "uids": batch, "logins": context.logins }))
            .await
        {
            Ok(_) => {
                tracing::info!(workloads = batch.len(), "reported the end of workloads");
                context.metrics.workloads_ended.fetch_add(batch.len() as u64, Ordering::Relaxed);
                waiting.retain(|uid| !batch.contains(uid));
            }
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), waiting = waiting.len(), "cannot report ended workloads");
                context.clock.sleep(REPORT_RETRY.mul_f64(context.random.jitter(0.2))).await;
            }
        }
    }
}
