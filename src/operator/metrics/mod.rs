//! What the operator counts, in Prometheus' text form.
//!
//! What concerns single objects (`objects.rs`) is read from the watched objects at each scrape, so a series ends with its
//! object, and a replica that only waits has none.

mod histogram;
pub mod objects;
mod process;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::histogram::Histogram;
pub use self::text::Text;
use crate::base::Timestamp;

/// Bounds of the time that a reconcile takes, seconds: a look at an object, a credential, an engine that hangs.
const RECONCILE: &[f64] = &[0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds of the time that an object waits for its turn, seconds.
const QUEUE: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Counters of one operator. Labels come from fixed sets: kinds, reasons, verbs and resources.
#[derive(Debug, Default)]
pub struct Metrics {
    kinds: Mutex<BTreeMap<&'static str, Reconciles>>,
    requests: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    /// Credentials written into Secrets.
    pub issued: AtomicU64,
    /// Logins at the engine as tenants.
    pub tenant_logins: AtomicU64,
    /// Leases prolonged.
    pub renewed: AtomicU64,
    /// Attempts to prolong a lease that failed.
    pub renewals_failed: AtomicU64,
    /// Restarts begun.
    pub restarts: AtomicU64,
    /// Workloads whose end was reported to the engine.
    pub workloads_ended: AtomicU64,
    /// Events that Kubernetes took.
    pub events: AtomicU64,
    /// Events that were given up.
    pub events_lost: AtomicU64,
    /// Whether this replica works.
    pub leading: AtomicBool,
}

/// The reconciles of one kind.
#[derive(Debug)]
struct Reconciles {
    outcomes: BTreeMap<&'static str, u64>,
    /// Objects that wait for their turn, and since when.
    waiting: HashMap<String, Timestamp>,
    running: u64,
    queued: Histogram,
    took: Histogram,
}

impl Default for Reconciles {
    fn default() -> Self {
        let (queued, took) = (Histogram::new(QUEUE), Histogram::new(RECONCILE));
        Self { outcomes: BTreeMap::new(), waiting: HashMap::new(), running: 0, queued, took }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl Metrics {
    /// Notes that an object, `NAMESPACE/NAME`, waits for its turn.
    pub fn queued(&self, kind: &'static str, object: String, now: Timestamp) {
        lock(&self.kinds).entry(kind).or_default().waiting.entry(object).or_insert(now);
    }

    /// Notes that an object has its turn.
    pub fn begun(&self, kind: &'static str, object: &str, now: Timestamp) {
        let mut kinds = lock(&self.kinds);
        let kind = kinds.entry(kind).or_default();
        kind.running += 1;
        // What comes back by itself after a wait was not queued.
        if let Some(since) = kind.waiting.remove(object) {
            kind.queued.observe(between(since, now));
        }
    }

    /// Notes that an object is gone before it had its turn.
    pub fn withdrawn(&self, kind: &'static str, object: &str) {
        lock(&self.kinds).entry(kind).or_default().waiting.remove(object);
    }

    /// Notes the end of a turn, with its outcome: `Ok`, or the error's reason.
    pub fn ended(&self, kind: &'static str, outcome: &'static str, begun: Timestamp, now: Timestamp) {
        let mut kinds = lock(&self.kinds);
        let kind = kinds.entry(kind).or_default();
        kind.running = kind.running.saturating_sub(1);
        kind.took.observe(between(begun, now));
        *kind.outcomes.entry(outcome).or_default() += 1;
    }

    /// Counts a request to the Kubernetes API by verb, resource and HTTP status; 0 where there was no answer.
    pub fn requested(&self, verb: &'static str, resource: &str, status: u16) {
        *lock(&self.requests).entry((verb, resource.to_owned(), status)).or_default() += 1;
    }

    /// All series but those of objects.
    pub fn render(&self, text: &mut Text, engine_reachable: bool) {
        self.render_reconciles(text);
        text.head("kubernetes_requests_total", "counter", "Requests to the Kubernetes API; code 0: no answer.");
        for ((verb, resource, code), number) in lock(&self.requests).iter() {
            let code = code.to_string();
            text.row("kubernetes_requests_total", &[("verb", verb), ("resource", resource), ("code", &code)], *number);
        }
        for (name, help, counter) in [
            ("credentials_issued_total", "Credentials written into Secrets.", &self.issued),
            ("tenant_logins_total", "Logins at the engine as tenants.", &self.tenant_logins),
            ("leases_renewed_total", "Leases prolonged.", &self.renewed),
            ("lease_renewals_failed_total", "Attempts to prolong a lease that failed.", &self.renewals_failed),
            ("restarts_total", "Restarts begun.", &self.restarts),
            ("workloads_ended_total", "Workloads whose end was reported to the engine.", &self.workloads_ended),
            ("events_total", "Events that Kubernetes took.", &self.events),
            ("events_lost_total", "Events that were given up.", &self.events_lost),
        ] {
            text.head(name, "counter", help);
            text.row(name, &[], counter.load(Ordering::Relaxed));
        }
        let leading = u64::from(self.leading.load(Ordering::Relaxed));
        for (name, help, value) in [
            ("leading", "Whether this replica works; the others wait.", leading),
            ("engine_reachable", "Whether the engine answered the last request.", u64::from(engine_reachable)),
        ] {
            text.head(name, "gauge", help);
            text.row(name, &[], value);
        }
        text.head("build_info", "gauge", "The version that runs.");
        text.row("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        process::render(text);
    }

    fn render_reconciles(&self, text: &mut Text) {
        let kinds = lock(&self.kinds);
        text.head("reconciles_total", "counter", "Reconciles by kind and outcome: Ok, or the reason of the failure.");
        for (kind, found) in kinds.iter() {
            for (outcome, number) in &found.outcomes {
                text.row("reconciles_total", &[("kind", kind), ("outcome", outcome)], *number);
            }
        }
        text.head("reconciles_running", "gauge", "Objects that are being reconciled.");
        for (kind, found) in kinds.iter() {
            text.row("reconciles_running", &[("kind", kind)], found.running);
        }
        text.head("queue_length", "gauge", "Objects that wait for their turn.");
        for (kind, found) in kinds.iter() {
            text.row("queue_length", &[("kind", kind)], found.waiting.len() as u64);
        }
        text.head("queue_seconds", "histogram", "How long objects waited for their turn.");
        for (kind, found) in kinds.iter() {
            found.queued.render(text, "queue_seconds", kind);
        }
        text.head("reconcile_seconds", "histogram", "How long a reconcile takes.");
        for (kind, found) in kinds.iter() {
            found.took.render(text, "reconcile_seconds", kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_turn_is_timed_from_the_queue_to_its_end() {
        let metrics = Metrics::default();
        let at = |millis| clock::add(Timestamp::UNIX_EPOCH, Duration::from_millis(millis));
        metrics.queued("DatabaseRole", "shop/app".into(), at(0));
        metrics.queued("DatabaseRole", "shop/app".into(), at(30));
        metrics.queued("DatabaseRole", "shop/other".into(), at(30));
        metrics.begun("DatabaseRole", "shop/app", at(40));
        metrics.ended("DatabaseRole", "Ok", at(40), at(50));
        metrics.requested("get", "secrets", 200);
        let mut text = Text::default();
        metrics.render(&mut text, true);
        let text = text.finish();
        for line in [
            "lessor_operator_reconciles_total{kind=\"DatabaseRole\",outcome=\"Ok\"} 1",
            "lessor_operator_reconciles_running{kind=\"DatabaseRole\"} 0",
            "lessor_operator_queue_length{kind=\"DatabaseRole\"} 1",
            "lessor_operator_queue_seconds_bucket{kind=\"DatabaseRole\",le=\"0.01\"} 0",
            "lessor_operator_queue_seconds_bucket{kind=\"DatabaseRole\",le=\"0.05\"} 1",
            "lessor_operator_queue_seconds_sum{kind=\"DatabaseRole\"} 0.04",
            "lessor_operator_reconcile_seconds_bucket{kind=\"DatabaseRole\",le=\"+Inf\"} 1",
            "lessor_operator_kubernetes_requests_total{verb=\"get\",resource=\"secrets\",code=\"200\"} 1",
            "lessor_operator_engine_reachable 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
