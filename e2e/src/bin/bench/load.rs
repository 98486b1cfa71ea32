//! Clients that do the same again and again, all at the same time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::cpu::{self, Who};
use crate::sample::Sample;

/// When clients stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After that time, each with what it has begun.
    Over(Duration),
    /// When all of them together have done so many.
    Done(usize),
}

/// Lets every client repeat `operation`. All of them run in this one thread, which takes less CPU time from the programs that
/// are measured than several would.
pub async fn run<C>(clients: Vec<C>, until: Until, program: Who, operation: impl AsyncFn(&mut C)) -> Sample {
    let begun_count = Cell::new(0_usize);
    let (before, begun) = (cpu::now(program), Instant::now());
    let goes_on = || match until {
        Until::Over(length) => begun.elapsed() < length,
        Until::Done(count) => begun_count.replace(begun_count.get() + 1) < count,
    };
    let mut running: FuturesUnordered<_> = clients
        .into_iter()
        .map(async |mut client| {
            let mut latencies = Vec::new();
            while goes_on() {
                let start = Instant::now();
                operation(&mut client).await;
                latencies.push(start.elapsed());
            }
            latencies
        })
        .collect();
    let mut latencies = Vec::new();
    while let Some(more) = running.next().await {
        latencies.extend(more);
    }
    let length = begun.elapsed();
    Sample { length, operations: latencies.len(), latencies, cpu: cpu::now(program).since(before) }
}
