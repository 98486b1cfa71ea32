//! What one measurement gives, and what several come to.

use std::time::Duration;

/// One measurement.
pub struct Sample {
    /// How long it took in all.
    pub length: Duration,
    /// What each operation took.
    pub latencies: Vec<Duration>,
}

/// Several measurements of the same.
#[derive(Default)]
pub struct Samples {
    rates: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Samples {
    /// Adds a measurement.
    pub fn add(&mut self, sample: Sample) {
        self.rates.push(sample.latencies.len() as f64 / sample.length.as_secs_f64());
        self.latencies.extend(sample.latencies);
        self.rates.sort_by(f64::total_cmp);
        self.latencies.sort_unstable();
    }

    /// Operations a second: the median of the measurements.
    pub fn rate(&self) -> f64 {
        self.rates[self.rates.len() / 2]
    }

    /// What that percentage of the operations took at most, in milliseconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        self.latencies[at].as_secs_f64() * 1000.0
    }

    /// How many operations there were.
    pub fn count(&self) -> usize {
        self.latencies.len()
    }
}
