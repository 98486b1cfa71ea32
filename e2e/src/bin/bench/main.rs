//! `make bench`: measures the engine beside pgbench and, if one is named, another Vault-compatible server, in turns.
//!
//! `bench REPORT` replaces in the file REPORT the sections that it measures. `options.rs` has the environment variables that it
//! takes, besides `VAULT_AGENT` (an agent to be measured beside ours); `bench/run` starts the PostgreSQL that it needs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring tool: it stops at the first surprise, and time is what it measures"
)]

mod agent;
mod arrivals;
mod budget;
mod client;
mod cpu;
mod engine;
mod issue;
mod leases;
mod load;
mod operations;
mod operator;
mod options;
mod pgbench;
mod pods;
mod program;
mod report;
mod reviews;
mod sample;
mod spares;
mod webhook;

use std::path::Path;

use cpu::Who;
use engine::Engine;
use options::Options;
use program::Program;
use report::Section;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::read();
    let file = std::env::args().nth(1).expect("bench REPORT");
    let on_cluster = |part: &str, title: &'static str, body: Option<String>| {
        let Some(body) = body else { return };
        let body = format!("`make bench LESSOR_BENCH_ONLY={part}`\non {}.\n\n{body}", report::machine());
        report::write(Path::new(&file), &Section { title, body });
    };
    if options.wants("operator") {
        on_cluster("operator", "The operator", operator::measure().await);
    }
    if options.wants("webhook") {
        on_cluster("webhook", "The webhook", webhook::measure().await);
    }
    if options.wants_only(&["operator", "webhook"]) {
        return;
    }
    let machine = format!("{}. {}", report::machine(), pgbench::version().await);
    let write = |part: &str, title: &'static str, body: String| {
        let body = format!("`{}`\non {machine}.\n\n{body}", options.command(part));
        report::write(Path::new(&file), &Section { title, body });
    };
    if options.wants("leases") {
        write("leases", "Up to many leases", leases::measure(&options).await);
    }
    let engine = Engine::start().await;
    let mut programs =
        vec![Program::prepare("Lessor".to_owned(), Who::Pid(engine.lessor.pid()), engine.http.clone()).await];
    if let Some(peer) = &options.peer {
        programs.push(Program::peer(peer).await);
    }
    if options.wants("agent") {
        write("agent", "The agent", agent::measure(&engine, &programs[0]).await);
    }
    if options.wants("issue") {
        write("issue", "Issuing", issue::measure(&programs, &options).await);
    }
    if options.wants("spares") {
        write("spares", "Issuing from warm spares", spares::measure(&programs, &options).await);
    }
    if options.wants("renew") {
        write("renew", "Renewing", operations::renew(&programs, &options).await);
    }
    if options.wants("revoke") {
        write("revoke", "Revoking", operations::revoke(&programs, &options).await);
    }
    if options.wants("lookup") {
        write("lookup", "Token look-ups", operations::lookup(&programs, &options).await);
    }
    // The tokens of thousands of logins stay, so this is the last.
    if options.wants("login") {
        write("login", "Logins", operations::login(&programs, &options).await);
    }
    if let Some(peer) = programs.get(1) {
        peer.clear().await;
    }
}
