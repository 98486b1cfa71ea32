//! An engine with more and more leases: memory, start-up, and what each operation costs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use lessor::base::{Random as _, random::SystemRandom};
use lessor_e2e::eventually::eventually;
use serde_json::json;

use crate::budget::{self, Budget, number};
use crate::client::{Call, Client};
use crate::cpu::{self, Who};
use crate::engine::Engine;
use crate::load::{self, Until};
use crate::options::Options;
use crate::program::Program;
use crate::sample::Samples;

/// The role of the many: users without login and password, which cost the database next to nothing.
const MANY: &str = "many";

/// The role of leases that expire soon.
const BRIEF: &str = "brief";

/// The life of those, seconds.
const BRIEF_TTL: u64 = 3;

/// How many expire at the same time.
const EXPIRING: usize = 500;

/// How many are issued and revoked again at each step.
const SOME: usize = 1000;

/// Clients that measure, and clients that fill.
const CLIENTS: usize = 16;
const FILLERS: usize = 64;

/// How much slower than with the fewest leases anything may be with the most: measuring is no more exact than that.
const FLAT: f64 = 0.8;

const CREATION: &str = "CREATE ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'";

/// One step.
struct Step {
    leases: usize,
    /// Leases a second on the way here.
    filling: f64,
    issue: Samples,
    lookup: Samples,
    renew: Samples,
    revoke: Samples,
    /// From the moment that some leases expired until they were gone.
    expiry: Duration,
    /// MiB.
    resident: f64,
    /// Of one core, while nobody asks for anything.
    idle_percent: f64,
}

/// Measures and reports.
pub async fn measure(options: &Options) -> String {
    let mut engine = Engine::start().await;
    let program = Program::prepare("Lessor".to_owned(), Who::Pid(engine.lessor.pid()), engine.http.clone()).await;
    let idle = settled(&engine).await;
    for (role, ttl) in [(MANY, 86_400), (BRIEF, BRIEF_TTL)] {
        let body = json!({ "db_name": "pg", "creation_statements": CREATION, "default_ttl": ttl });
        program.http.post(&format!("{}/roles/{role}", program.database()), body).await.expect_status(204);
    }
    let mut held = Vec::new();
    let mut steps = Vec::new();
    for leases in sizes(options.leases) {
        eprintln!("  filling up to {leases} leases");
        let (sample, more) = program.leases(MANY, leases - held.len(), FILLERS).await;
        held.extend(more);
        let filling = sample.operations as f64 / sample.length.as_secs_f64();
        steps.push(step(&engine, &program, &held, filling, options).await);
    }
    let starts = starts(&mut engine).await;
    let mut report = format!(
        "The users are made by `{CREATION}` and dropped, renewed and looked after as any others. Operations a second of \
         {CLIENTS} clients, medians of {} measurements; filling is done by {FILLERS} clients. Expiry: from the moment that \
         {EXPIRING} leases end until all of them are gone.\n\n",
        options.rounds
    );
    report.push_str(&table(&steps));
    writeln!(report, "\n| start until unsealed and ready, {} leases | ms |\n|---|---|", held.len()).unwrap();
    for (what, took) in starts {
        writeln!(report, "| {what} | {} |", took.as_millis()).unwrap();
    }
    let mut budgets = vec![Budget::at_most("memory, idle, MiB resident", idle, 25.0, "")];
    for step in steps.iter().filter(|step| step.leases == 100_000) {
        budgets.push(Budget::at_most("memory, 100,000 leases, MiB resident", step.resident, 150.0, ""));
    }
    budgets.extend(flatness(&steps));
    format!("{report}\n{}", budget::table(&budgets))
}

/// 1,000, 10,000 and so on up to `most`, which is always among them.
fn sizes(most: usize) -> Vec<usize> {
    let mut sizes: Vec<_> =
        std::iter::successors(Some(SOME), |size| Some(size * 10)).take_while(|size| *size < most).collect();
    sizes.push(most);
    sizes
}

async fn step(engine: &Engine, program: &Program, held: &[String], filling: f64, options: &Options) -> Step {
    eprintln!("  measuring with {} leases", held.len());
    let [mut issue, mut lookup, mut renew, mut revoke] = [(); 4].map(|()| Samples::default());
    for _ in 0..options.rounds {
        let (sample, fresh) = program.leases(MANY, SOME, CLIENTS).await;
        issue.add(sample);
        let length = Until::Over(options.length / 2);
        lookup.add(on_each(program, "sys/leases/lookup", held, length).await);
        renew.add(on_each(program, "sys/leases/renew", held, length).await);
        revoke.add(on_each(program, "sys/leases/revoke", &fresh, Until::Done(fresh.len())).await);
    }
    let expiry = expiry(program).await;
    let resident = settled(engine).await;
    let (before, pause) = (cpu::now(program.who), Duration::from_secs(2));
    tokio::time::sleep(pause).await;
    let idle_percent = cpu::now(program.who).since(before).program.as_secs_f64() / pause.as_secs_f64() * 100.0;
    Step { leases: held.len(), filling, issue, lookup, renew, revoke, expiry, resident, idle_percent }
}

/// Calls `path` for one lease after the other, spread over all of them.
async fn on_each(program: &Program, path: &str, leases: &[String], until: Until) -> crate::sample::Sample {
    let mut start = [0; 8];
    SystemRandom.fill(&mut start);
    let next = std::cell::Cell::new(u64::from_le_bytes(start) as usize % leases.len());
    // A stride that shares no factor with the count visits each before any a second time.
    let stride = (leases.len() * 618 / 1000..).find(|stride| divisor(*stride, leases.len()) == 1).unwrap_or(1);
    let clients = program.clients(CLIENTS, None).await;
    load::run(clients, until, program.who, async |client: &mut Client| {
        next.set((next.get() + stride) % leases.len());
        drop(client.send(&Call::put(path, &json!({ "lease_id": leases[next.get()] }))).await);
    })
    .await
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

async fn expiry(program: &Program) -> Duration {
    program.leases(BRIEF, EXPIRING, FILLERS).await;
    let end = Instant::now() + Duration::from_secs(BRIEF_TTL);
    let folder = format!("sys/leases/lookup/{}/creds/{BRIEF}", program.database());
    eventually("the expired leases are gone", Duration::from_secs(60), || async {
        let answer = program.http.list(&folder).await;
        let left = answer.body["data"]["keys"].as_array().map_or(0, Vec::len);
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    Instant::now().saturating_duration_since(end)
}

/// Resident memory once it stands still.
async fn settled(engine: &Engine) -> f64 {
    let mut before = engine.resident();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = engine.resident();
        if (now - before).abs() < 0.1 {
            return now;
        }
        before = now;
    }
    before
}

/// Start-up after an orderly end and after a kill.
async fn starts(engine: &mut Engine) -> [(&'static str, Duration); 2] {
    assert!(engine.lessor.stop().await, "the engine ends when asked to");
    let orderly = start(engine).await;
    engine.lessor.kill().await;
    [("after an orderly end", orderly), ("after kill -9", start(engine).await)]
}

async fn start(engine: &mut Engine) -> Duration {
    let begun = Instant::now();
    engine.lessor.start_again().await;
    engine.lessor.unsealed().await;
    begun.elapsed()
}

fn table(steps: &[Step]) -> String {
    let mut text = String::from(
        "| leases | filling | issue | lookup | renew | revoke | expiry ms | resident MiB | CPU idle % of a core |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for step in steps {
        let rates = [&step.issue, &step.lookup, &step.renew, &step.revoke].map(|samples| number(samples.rate()));
        let (filling, resident, idle) = (number(step.filling), number(step.resident), number(step.idle_percent));
        let (leases, rates, expiry) = (step.leases, rates.join(" | "), step.expiry.as_millis());
        writeln!(text, "| {leases} | {filling} | {rates} | {expiry} | {resident} | {idle} |").unwrap();
    }
    text
}

/// The fewest leases against the most.
fn flatness(steps: &[Step]) -> Vec<Budget> {
    let (Some(few), Some(many)) = (steps.first(), steps.last()) else { return Vec::new() };
    let operations = [
        ("issue", &few.issue, &many.issue),
        ("lookup", &few.lookup, &many.lookup),
        ("renew", &few.renew, &many.renew),
        ("revoke", &few.revoke, &many.revoke),
    ];
    let budget = |(what, before, after): (_, &Samples, &Samples)| {
        let what = format!("{what}, rate with {} leases, x that with {}", many.leases, few.leases);
        Budget::at_least(what, after.rate() / before.rate(), FLAT, " (flat)")
    };
    operations.map(budget).into()
}
