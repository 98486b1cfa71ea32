//! What the operator counts, in Prometheus' text form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::Timestamp;

/// Counters and gauges of one operator. Labels come from fixed sets or from objects that exist.
#[derive(Debug, Default)]
pub struct Metrics {
    reconciles: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    expiries: Mutex<BTreeMap<(String, String), i64>>,
    /// Credentials written into Secrets.
    pub issued: AtomicU64,
    /// Leases prolonged.
    pub renewed: AtomicU64,
    /// Restarts begun.
    pub restarts: AtomicU64,
    /// Workloads whose end was reported to the engine.
    pub workloads_ended: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    /// Counts a reconcile of an object of `kind` by its outcome: `Ok`, or the error's reason.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str) {
        *lock(&self.reconciles).entry((kind, outcome)).or_default() += 1;
    }

    /// Notes until when the credential of a DynamicDatabaseSecret is valid.
    pub fn expires(&self, namespace: &str, name: &str, expiry: Timestamp) {
        lock(&self.expiries).insert((namespace.to_owned(), name.to_owned()), expiry.as_second());
    }

    /// Drops the series of an object that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.expiries).remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// All series.
    pub fn render(&self, engine_reachable: bool) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP lessor_operator_{name} {help}\n# TYPE lessor_operator_{name} {kind}");
        };
        head(&mut text, "reconciles_total", "counter", "Reconciles by kind and outcome.");
        for ((kind, outcome), number) in lock(&self.reconciles).iter() {
            let _ =
                writeln!(text, "lessor_operator_reconciles_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} {number}");
        }
        head(&mut text, "credential_expiry_timestamp_seconds", "gauge", "When the credential of an object ends.");
        for ((namespace, name), expiry) in lock(&self.expiries).iter() {
            let labels = format!("namespace=\"{namespace}\",name=\"{name}\"");
            let _ = writeln!(text, "lessor_operator_credential_expiry_timestamp_seconds{{{labels}}} {expiry}");
        }
        for (name, help, counter) in [
            ("credentials_issued_total", "Credentials written into Secrets.", &self.issued),
            ("leases_renewed_total", "Leases prolonged.", &self.renewed),
            ("restarts_total", "Restarts begun.", &self.restarts),
            ("workloads_ended_total", "Workloads whose end was reported to the engine.", &self.workloads_ended),
        ] {
            head(&mut text, name, "counter", help);
            let _ = writeln!(text, "lessor_operator_{name} {}", counter.load(Ordering::Relaxed));
        }
        head(&mut text, "engine_reachable", "gauge", "Whether the engine answered the last request.");
        let _ = writeln!(text, "lessor_operator_engine_reachable {}", u8::from(engine_reachable));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_ends_with_its_object() {
        let metrics = Metrics::default();
        metrics.reconciled("DatabaseRole", "Ok");
        metrics.reconciled("DatabaseRole", "Ok");
        metrics.expires("shop", "db", Timestamp::UNIX_EPOCH);
        let text = metrics.render(true);
        assert!(text.contains("reconciles_total{kind=\"DatabaseRole\",outcome=\"Ok\"} 2\n"), "{text}");
        assert!(text.contains("{namespace=\"shop\",name=\"db\"} 0\n"), "{text}");
        metrics.forget("shop", "db");
        assert!(!metrics.render(true).contains("shop"));
    }
}
