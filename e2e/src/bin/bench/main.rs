//! `make bench`: issues credentials beside pgbench with the same SQL on the same PostgreSQL, and measures memory.
//!
//! It prints the report in Markdown on standard output and progress on standard error. `LESSOR_BENCH_SECONDS` is the length
//! of one measurement, `LESSOR_BENCH_ROUNDS` how often each is repeated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring tool: it stops at the first surprise, and time is what it measures"
)]

mod engine;
mod memory;
mod pgbench;
mod report;
mod sample;

use std::time::Duration;

use report::Row;
use sample::Samples;

/// How many clients issue at the same time.
const CLIENTS: [usize; 2] = [1, 16];

#[tokio::main]
async fn main() {
    let seconds = number("LESSOR_BENCH_SECONDS", 8);
    let rounds = number("LESSOR_BENCH_ROUNDS", 3);
    let length = Duration::from_secs(seconds);
    let engine = engine::Engine::start().await;
    let idle = memory::resident(engine.pid());
    let peak_agent = memory::agent(&engine).await;

    let mut rows = Vec::new();
    for clients in CLIENTS {
        let (mut theirs, mut ours) = (Samples::default(), Samples::default());
        // In turns, so that whatever else the machine does meets both.
        for round in 1..=rounds {
            eprintln!("  {clients} client(s), round {round} of {rounds}: pgbench, then Lessor, {seconds} s each");
            theirs.add(pgbench::run(clients, length).await);
            pgbench::clear().await;
            ours.add(engine.issue(clients, length).await);
            if round < rounds {
                engine.revoke_all().await;
            }
        }
        rows.push(Row { clients, theirs, ours });
    }
    let (leases, loaded) = (engine.leases().await, memory::resident(engine.pid()));
    let (revoked, took) = engine.revoke_all().await;
    let memory = report::Memory { idle, loaded, leases, agent: peak_agent };
    let revocation = report::Revocation { leases: revoked, took };
    let server = pgbench::version().await;
    print!("{}", report::markdown(&rows, &memory, &revocation, &report::Run { seconds, rounds, server }));
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is not a number")),
        Err(_) => default,
    }
}
