//! Issuing from warm spares: users that were made before anybody asked.

use std::time::{Duration, Instant};

use lessor_e2e::eventually::eventually;
use lessor_e2e::postgres;
use serde_json::json;

use crate::budget::{self, Budget, Reference};
use crate::load::Until;
use crate::options::Options;
use crate::pgbench;
use crate::program::Program;
use crate::report::{self, Row};
use crate::sample::Samples;

const ROLE: &str = "spares";

/// How many are kept, and how many are taken in one go.
const SPARES: usize = 200;

const CLIENTS: [usize; 3] = [1, 16, 64];

/// What OpenBao issues without spares, with 16 clients; it has none.
const OPENBAO: f64 = 153.0;

/// Measures and reports.
pub async fn measure(programs: &[Program], options: &Options) -> String {
    let lessor = &programs[0];
    let path = format!("{}/roles/{ROLE}", lessor.database());
    let role =
        json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h", "spares": SPARES });
    lessor.http.post(&path, role).await.expect_status(204);
    let mut counts: Vec<_> = CLIENTS.map(|clients| (clients, Samples::default())).into();
    let mut refills = Vec::new();
    let mut peer = Samples::default();
    for round in 1..=options.rounds {
        eprintln!("  spares, round {round} of {}", options.rounds);
        for (clients, samples) in &mut counts {
            refills.push(ready(lessor).await);
            samples.add(lessor.issue(ROLE, *clients, Until::Done(SPARES)).await);
        }
        if let Some(program) = programs.get(1) {
            peer.add(program.issue(crate::program::ROLE, 16, Until::Over(options.length)).await);
            program.revoke_all(crate::program::ROLE).await;
        }
    }
    lessor.http.post(&path, json!({ "spares": 0 })).await.expect_status(204);
    lessor.revoke_all(ROLE).await;
    pgbench::tidy().await;

    let name = lessor.name.as_str();
    let what = |clients| report::by_clients("issue from spares", clients);
    let mut rows: Vec<_> =
        counts.iter().map(|(clients, samples)| Row { what: what(*clients), program: name, samples }).collect();
    if let Some(program) = programs.get(1) {
        rows.push(Row { what: "issue, 16 clients".into(), program: &program.name, samples: &peer });
    }
    let mut budgets = Vec::new();
    for (clients, samples) in &counts {
        if let (1, Some(p50)) = (*clients, samples.percentile(50)) {
            budgets.push(Budget::at_most("issue from spares, 1 client, p50 ms", p50, 2.0, ""));
        }
        if *clients == 16 {
            let reference = Reference { measured: programs.get(1).map(|_| peer.rate()), noted: OPENBAO };
            budgets.push(reference.budget("issue from spares, 16 clients, a second", samples.rate(), 10.0));
        }
    }
    refills.sort_unstable();
    format!(
        "A role with `spares: {SPARES}`; whenever all are ready, clients take {SPARES} as fast as they can, while the background \
         makes the next. Until {SPARES} were ready again it took {:.1} s (median). CPU time is everybody's, the background's \
         included.\n\n{}\n{}",
        refills[refills.len() / 2].as_secs_f64(),
        report::table(&rows),
        budget::table(&budgets)
    )
}

fn state(lessor: &Program) -> String {
    format!("sys/lessor/spares/{}/{ROLE}", lessor.database())
}

/// Waits until all are ready and says how long that took.
async fn ready(lessor: &Program) -> Duration {
    let begun = Instant::now();
    eventually("the spares are ready", Duration::from_secs(60), || async {
        let answer = lessor.http.get(&state(lessor)).await.expect_status(200);
        let ready = answer.body["data"]["ready"].as_u64().expect("a count of ready spares");
        if ready as usize >= SPARES { Ok(()) } else { Err(ready) }
    })
    .await;
    begun.elapsed()
}
