//! Issuing credentials beside pgbench with the same SQL on the same PostgreSQL.

use crate::budget::{self, Budget};
use crate::load::Until;
use crate::options::Options;
use crate::pgbench;
use crate::program::{Program, ROLE};
use crate::report::{self, Row};
use crate::sample::Samples;

/// How many clients issue at the same time.
const CLIENTS: [usize; 3] = [1, 16, 64];

/// Measures and reports.
pub async fn measure(programs: &[Program], options: &Options) -> String {
    let mut counts = Vec::new();
    for clients in CLIENTS {
        counts.push((clients, together(programs, clients, options).await));
    }
    let mut rows = Vec::new();
    for (clients, all) in &counts {
        let names = std::iter::once("pgbench").chain(programs.iter().map(|program| program.name.as_str()));
        let row = |(program, samples)| Row { what: report::by_clients("issue", *clients), program, samples };
        rows.extend(names.zip(all).map(row));
    }
    format!("{EXPLANATION}\n\n{}\n{}", report::table(&rows), budget::table(&budgets(&counts)))
}

const EXPLANATION: &str = "pgbench and the engines do `CREATE ROLE … LOGIN PASSWORD … VALID UNTIL …; GRANT app_rw TO …` in one \
transaction, as the same account, on the same server. pgbench has one connection per client; the engines have their default \
`max_open_connections`, which is 4 in Lessor as in Vault. Nothing else is tuned either. Lessor records every lease durably \
before its user can exist.";

/// First pgbench, then the programs in their order.
async fn together(programs: &[Program], clients: usize, options: &Options) -> Vec<Samples> {
    let mut all: Vec<Samples> = (0..=programs.len()).map(|_| Samples::default()).collect();
    for round in 1..=options.rounds {
        eprintln!("  {}, round {round} of {}", report::by_clients("issue", clients), options.rounds);
        all[0].add(pgbench::run(clients, options.length).await);
        pgbench::tidy().await;
        for (program, samples) in programs.iter().zip(&mut all[1..]) {
            samples.add(program.issue(ROLE, clients, Until::Over(options.length)).await);
            program.revoke_all(ROLE).await;
            pgbench::tidy().await;
        }
    }
    all
}

fn budgets(counts: &[(usize, Vec<Samples>)]) -> Vec<Budget> {
    let of = |wanted| counts.iter().find(|(clients, _)| *clients == wanted).map(|(_, all)| (&all[0], &all[1]));
    let mut budgets = Vec::new();
    if let Some((pgbench, lessor)) = of(1)
        && let (Some(theirs), Some(ours)) = (pgbench.percentile(50), lessor.percentile(50))
    {
        budgets.push(Budget::at_most("issue, 1 client, p50, x pgbench's", ours / theirs, 1.2, ""));
    }
    for clients in [16, 64] {
        if let Some((pgbench, lessor)) = of(clients) {
            let what = format!("issue, {clients} clients, rate, x pgbench's");
            budgets.push(Budget::at_least(what, lessor.rate() / pgbench.rate(), 0.9, ""));
        }
    }
    budgets
}
