//! A histogram of durations.

use std::time::Duration;

use super::Text;

/// Counts by upper bounds in seconds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    within: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    /// An empty one.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, within: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    /// Adds one duration.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (bound, counter) in self.bounds.iter().zip(&mut self.within) {
            *counter += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Its series of one kind.
    pub fn render(&self, text: &mut Text, name: &str, kind: &str) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in self.bounds.iter().zip(&self.within) {
            text.row(&bucket, &[("kind", kind), ("le", &bound.to_string())], count);
        }
        text.row(&bucket, &[("kind", kind), ("le", "+Inf")], self.count);
        text.row(&format!("{name}_sum"), &[("kind", kind)], self.sum);
        text.row(&format!("{name}_count"), &[("kind", kind)], self.count);
    }
}
