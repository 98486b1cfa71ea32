//! The report in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::memory::Agent;
use crate::sample::Samples;

/// Both programs with the same number of clients.
pub struct Row {
    /// How many clients.
    pub clients: usize,
    /// pgbench.
    pub theirs: Samples,
    /// Lessor.
    pub ours: Samples,
}

/// Resident memory, KiB.
pub struct Memory {
    /// Engine, freshly started.
    pub idle: u64,
    /// Engine, after everything and with its leases.
    pub loaded: u64,
    /// How many leases those are.
    pub leases: usize,
    /// The agent.
    pub agent: Agent,
}

/// A revocation by prefix.
pub struct Revocation {
    /// How many leases.
    pub leases: usize,
    /// How long it took.
    pub took: Duration,
}

/// What was run on what.
pub struct Run {
    /// Length of one measurement.
    pub seconds: u64,
    /// Repetitions of each.
    pub rounds: u64,
    /// The database.
    pub server: String,
}

/// The whole report.
pub fn markdown(rows: &[Row], memory: &Memory, revocation: &Revocation, run: &Run) -> String {
    let mut text = String::from("# What issuing a credential costs\n\n");
    let line = |text: &mut String, line: String| writeln!(text, "{line}").expect("a string takes everything");
    line(&mut text, "Written by `make bench`; run it to have the figures of your machine.\n".to_owned());
    line(&mut text, format!("Machine: {}. {}.\n", machine(), run.server));
    line(
        &mut text,
        format!(
            "Both do `CREATE ROLE … LOGIN PASSWORD … VALID UNTIL …; GRANT app_rw TO …` in one transaction, as the same account, on \
             the same server, in turns: {} rounds of {} s each. `lessor server` stores every lease durably in its embedded \
             store before it makes the user; clients keep their connections (HTTP without TLS). Rates are medians of the rounds, \
             latencies are of all operations of all rounds.\n",
            run.rounds, run.seconds
        ),
    );
    line(&mut text, "| clients | program | credentials/s | p50 ms | p95 ms | p99 ms | measured |".to_owned());
    line(&mut text, "|---|---|---|---|---|---|---|".to_owned());
    for row in rows {
        for (name, samples) in [("pgbench", &row.theirs), ("Lessor", &row.ours)] {
            let (rate, count) = (samples.rate(), samples.count());
            let [p50, p95, p99] = [50, 95, 99].map(|percent| samples.percentile(percent));
            line(
                &mut text,
                format!("| {} | {name} | {rate:.0} | {p50:.1} | {p95:.1} | {p99:.1} | {count} |", row.clients),
            );
        }
    }
    line(&mut text, "\n| clients | rate, Lessor / pgbench | p50, Lessor / pgbench |\n|---|---|---|".to_owned());
    for row in rows {
        let (rate, p50) = (row.ours.rate() / row.theirs.rate(), row.ours.percentile(50) / row.theirs.percentile(50));
        line(&mut text, format!("| {} | {rate:.2} | {p50:.2} |", row.clients));
    }
    let per_second = revocation.leases as f64 / revocation.took.as_secs_f64();
    line(&mut text, format!("\nRevoking {} leases by prefix, waited for: {per_second:.0}/s.\n", revocation.leases));
    line(&mut text, "| memory and size | |\n|---|---|".to_owned());
    line(&mut text, format!("| engine, just configured: resident | {} |", mib(memory.idle)));
    line(&mut text, format!("| engine, {} leases, after the load: resident | {} |", memory.leases, mib(memory.loaded)));
    line(&mut text, format!("| agent with one rendered credential: resident | {} |", mib(memory.agent.resident)));
    line(&mut text, format!("| agent: program | {} |", mib(memory.agent.size / 1024)));
    let rendered = memory.agent.rendered.as_secs_f64() * 1000.0;
    line(&mut text, format!("| agent: start to rendered file, the database's own time included | {rendered:.0} ms |"));
    text
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(field).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total: u64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    format!("{cores} cores ({model}), {} GiB", (total + 524_288) / 1_048_576)
}
