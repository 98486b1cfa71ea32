//! What is done with leases and tokens: renewal, revocation, look-ups and logins.

use serde_json::json;

use crate::budget::{self, Reference};
use crate::client::{Call, Client};
use crate::load::{self, Until};
use crate::options::Options;
use crate::pgbench;
use crate::program::{Program, ROLE};
use crate::report::{self, Row};
use crate::reviews;
use crate::sample::Samples;

/// How many clients there are where the budget names no other number.
const CLIENTS: usize = 16;

/// How many leases each client renews in turns.
const OWN: usize = 4;

/// How many leases one prefix holds.
const REVOKED: usize = 1000;

/// OpenBao's rates: revoking by prefix, AppRole logins of 16 clients, token look-ups of 16 clients.
const OPENBAO: [f64; 3] = [234.0, 500.0, 5800.0];

fn samples(programs: &[Program]) -> Vec<Samples> {
    programs.iter().map(|_| Samples::default()).collect()
}

fn rows<'a>(what: &str, programs: &'a [Program], all: &'a [Samples]) -> Vec<Row<'a>> {
    let row = |(program, samples): (&'a Program, _)| Row { what: what.to_owned(), program: &program.name, samples };
    programs.iter().zip(all).map(row).collect()
}

fn reference(all: &[Samples], noted: f64) -> Reference {
    Reference { measured: all.get(1).map(Samples::rate), noted }
}

/// Renewing leases of real users.
pub async fn renew(programs: &[Program], options: &Options) -> String {
    let mut all = samples(programs);
    for round in 1..=options.rounds {
        eprintln!("  renew, round {round} of {}", options.rounds);
        for (program, samples) in programs.iter().zip(&mut all) {
            let (_, leases) = program.leases(ROLE, CLIENTS * OWN, CLIENTS).await;
            let renew = |id: &String| Call::put("sys/leases/renew", &json!({ "lease_id": id, "increment": 3600 }));
            let calls: Vec<Vec<Call>> = leases.chunks(OWN).map(|own| own.iter().map(renew).collect()).collect();
            let clients = program.clients(CLIENTS, None).await;
            let clients: Vec<_> = clients.into_iter().zip(calls).map(|(client, calls)| (client, calls, 0)).collect();
            let renewing = async |(client, calls, next): &mut (Client, Vec<Call>, usize)| {
                client.send(&calls[*next]).await;
                *next = (*next + 1) % OWN;
            };
            samples.add(load::run(clients, Until::Over(options.length), program.who, renewing).await);
            program.revoke_all(ROLE).await;
            pgbench::tidy().await;
        }
    }
    let what = format!("renew, {CLIENTS} clients");
    format!("Each renewal moves the user's `VALID UNTIL` as well.\n\n{}", report::table(&rows(&what, programs, &all)))
}

/// Revoking by prefix, waiting for it.
pub async fn revoke(programs: &[Program], options: &Options) -> String {
    let mut all = samples(programs);
    for round in 1..=options.rounds {
        eprintln!("  revoke, round {round} of {}", options.rounds);
        for (program, samples) in programs.iter().zip(&mut all) {
            program.leases(ROLE, REVOKED, CLIENTS).await;
            samples.add(program.revoke_all(ROLE).await);
            pgbench::tidy().await;
        }
    }
    let what = format!("revoke-prefix of {REVOKED} leases, sync, a second");
    let budget = reference(&all, OPENBAO[0]).budget(&what, all[0].rate(), 10.0);
    let rows = rows(&format!("revoke-prefix of {REVOKED} leases"), programs, &all);
    format!(
        "Each user may have sessions and objects, so each is looked at before it is dropped. Rates are of leases.\n\n{}\n{}",
        report::table(&rows),
        budget::table(&[budget])
    )
}

/// Looking up one's own token.
pub async fn lookup(programs: &[Program], options: &Options) -> String {
    let mut all = samples(programs);
    let call = Call::get("auth/token/lookup-self");
    for round in 1..=options.rounds {
        eprintln!("  lookup, round {round} of {}", options.rounds);
        for (program, samples) in programs.iter().zip(&mut all) {
            let answer = program.clients(1, None).await[0].send(&program.login()).await;
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            let clients = program.clients(CLIENTS, answer["auth"]["client_token"].as_str()).await;
            let looking = async |client: &mut Client| drop(client.send(&call).await);
            samples.add(load::run(clients, Until::Over(options.length), program.who, looking).await);
        }
    }
    let what = format!("token lookup-self, {CLIENTS} clients");
    let budget = reference(&all, OPENBAO[2]).budget(&format!("{what}, a second"), all[0].rate(), 3.0);
    format!("{}\n{}", report::table(&rows(&what, programs, &all)), budget::table(&[budget]))
}

/// Logins, each of which makes a token: by AppRole, and by kubernetes with an API server that answers at once.
pub async fn login(programs: &[Program], options: &Options) -> String {
    let url = reviews::serve();
    let (mut one, mut many, mut pods) = (samples(programs), samples(programs), samples(programs));
    let mut kubernetes = Vec::new();
    for program in programs {
        kubernetes.push(reviews::prepare(program, &url).await);
    }
    for round in 1..=options.rounds {
        eprintln!("  login, round {round} of {}", options.rounds);
        let until = Until::Over(options.length);
        for (clients, all) in [(1, &mut one), (CLIENTS, &mut many)] {
            for (program, samples) in programs.iter().zip(all) {
                samples.add(program.repeat(clients, until, &program.login()).await);
            }
        }
        for ((program, samples), call) in programs.iter().zip(&mut pods).zip(&kubernetes) {
            samples.add(program.repeat(CLIENTS, until, call).await);
        }
    }
    let mut table = rows("AppRole login, 1 client", programs, &one);
    let what = format!("AppRole login, {CLIENTS} clients");
    table.extend(rows(&what, programs, &many));
    table.extend(rows(&format!("kubernetes login, {CLIENTS} clients"), programs, &pods));
    let budget = reference(&many, OPENBAO[1]).budget(&format!("{what}, a second"), many[0].rate(), 5.0);
    format!(
        "The kubernetes logins ask a TokenReview of an API server that is part of the load generator and accepts everything: \
         a real one takes milliseconds of processor time for each.\n\n{}\n{}",
        report::table(&table),
        budget::table(&[budget])
    )
}
