//! What one measurement gives, and what several come to.

use std::time::Duration;

use crate::cpu::Cpu;

/// One measurement.
pub struct Sample {
    /// How long it took in all.
    pub length: Duration,
    /// How many operations were done.
    pub operations: usize,
    /// What each operation took; empty where only all of them together can be timed.
    pub latencies: Vec<Duration>,
    /// CPU time of everybody.
    pub cpu: Cpu,
}

/// Several measurements of the same.
#[derive(Default)]
pub struct Samples {
    rates: Vec<f64>,
    latencies: Vec<Duration>,
    operations: usize,
    cpu: Cpu,
    length: Duration,
}

impl Samples {
    /// Adds a measurement.
    pub fn add(&mut self, sample: Sample) {
        self.rates.push(sample.operations as f64 / sample.length.as_secs_f64());
        self.latencies.extend(sample.latencies);
        self.operations += sample.operations;
        self.cpu.program += sample.cpu.program;
        self.cpu.postgres += sample.cpu.postgres;
        self.cpu.client += sample.cpu.client;
        self.cpu.machine += sample.cpu.machine;
        self.length += sample.length;
        self.rates.sort_by(f64::total_cmp);
        self.latencies.sort_unstable();
    }

    /// Operations a second: the median of the measurements.
    pub fn rate(&self) -> f64 {
        self.rates[self.rates.len() / 2]
    }

    /// What that percentage of the operations took at most, in milliseconds; `None` where operations were not timed.
    pub fn percentile(&self, percent: usize) -> Option<f64> {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().checked_sub(1)?);
        Some(self.latencies[at].as_secs_f64() * 1000.0)
    }

    /// How many operations there were.
    pub fn count(&self) -> usize {
        self.operations
    }

    /// How much CPU time others used meanwhile, in cores.
    pub fn elsewhere(&self) -> f64 {
        self.cpu.elsewhere().as_secs_f64() / self.length.as_secs_f64()
    }

    /// CPU time of one operation in milliseconds; `None` where it is not known.
    pub fn cpu(&self, whose: impl Fn(&Cpu) -> Duration) -> Option<f64> {
        let time = whose(&self.cpu);
        (!time.is_zero()).then(|| time.as_secs_f64() * 1000.0 / self.operations as f64)
    }
}
