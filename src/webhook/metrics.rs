//! The webhook's figures in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::admission::Outcome;
use crate::base::{Timestamp, process};

/// Upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 6] = [0.0002, 0.0005, 0.001, 0.002, 0.01, 0.1];

/// Counted since the process started.
#[derive(Debug, Default)]
pub struct Metrics {
    injected: AtomicU64,
    untouched: AtomicU64,
    refused: AtomicU64,
    invalid: AtomicU64,
    within: [AtomicU64; BOUNDS.len()],
    nanoseconds: AtomicU64,
}

impl Metrics {
    /// One review; without an outcome the body was none.
    pub fn count(&self, outcome: Option<Outcome>, took: Duration) {
        let counter = match outcome {
            Some(Outcome::Injected) => &self.injected,
            Some(Outcome::Untouched) => &self.untouched,
            Some(Outcome::Refused) => &self.refused,
            None => &self.invalid,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        for (bound, counter) in BOUNDS.iter().zip(&self.within) {
            if seconds <= *bound {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Everything, with the end of the certificate that is shown.
    pub fn render(&self, certificate_ends: Option<Timestamp>) -> String {
        let mut text = String::from(
            "# HELP lessor_webhook_reviews_total Admission reviews answered, by outcome.\n\
             # TYPE lessor_webhook_reviews_total counter\n",
        );
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = [
            ("injected", load(&self.injected)),
            ("untouched", load(&self.untouched)),
            ("refused", load(&self.refused)),
            ("invalid", load(&self.invalid)),
        ];
        // Writing to a String cannot fail.
        for (outcome, count) in counts {
            let _ = writeln!(text, "lessor_webhook_reviews_total{{outcome=\"{outcome}\"}} {count}");
        }
        text.push_str(
            "# HELP lessor_webhook_review_seconds Time to answer a review, without the network.\n\
             # TYPE lessor_webhook_review_seconds histogram\n",
        );
        for (bound, counter) in BOUNDS.iter().zip(&self.within) {
            let _ = writeln!(text, "lessor_webhook_review_seconds_bucket{{le=\"{bound}\"}} {}", load(counter));
        }
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(load(&self.nanoseconds)).as_secs_f64();
        let _ = writeln!(text, "lessor_webhook_review_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(text, "lessor_webhook_review_seconds_sum {sum}\nlessor_webhook_review_seconds_count {all}");
        if let Some(ends) = certificate_ends {
            text.push_str(
                "# HELP lessor_webhook_certificate_end_seconds When the serving certificate ends, in Unix time.\n\
                 # TYPE lessor_webhook_certificate_end_seconds gauge\n",
            );
            let _ = writeln!(text, "lessor_webhook_certificate_end_seconds {}", ends.as_second());
        }
        if let Some(bytes) = process::resident_bytes() {
            text.push_str(
                "# HELP process_resident_memory_bytes Resident memory size in bytes.\n\
                 # TYPE process_resident_memory_bytes gauge\n",
            );
            let _ = writeln!(text, "process_resident_memory_bytes {bytes}");
        }
        if let Some(seconds) = process::processor_seconds() {
            text.push_str(
                "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n\
                 # TYPE process_cpu_seconds_total counter\n",
            );
            let _ = writeln!(text, "process_cpu_seconds_total {seconds}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reviews_are_counted_by_outcome_and_time() {
        let metrics = Metrics::default();
        metrics.count(Some(Outcome::Injected), Duration::from_micros(300));
        metrics.count(None, Duration::from_secs(1));
        let text = metrics.render(Some(Timestamp::UNIX_EPOCH));
        for line in [
            "lessor_webhook_reviews_total{outcome=\"injected\"} 1",
            "lessor_webhook_reviews_total{outcome=\"invalid\"} 1",
            "lessor_webhook_review_seconds_bucket{le=\"0.0002\"} 0",
            "lessor_webhook_review_seconds_bucket{le=\"0.0005\"} 1",
            "lessor_webhook_review_seconds_bucket{le=\"+Inf\"} 2",
            "lessor_webhook_certificate_end_seconds 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
