//! The agent: its memory before and after an hour's worth of renewals, its size, how soon its file is there, its rest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use lessor_e2e::figures::Figures;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::budget::{self, Budget, number};
use crate::cpu;
use crate::engine::{Engine, resident};
use crate::load::Until;
use crate::program::{Program, ROLE};

/// Starts whose median is reported.
const STARTS: usize = 11;
/// For how long the rest is watched.
const REST: Duration = Duration::from_secs(20);
/// Credentials in the one template while renewals are counted: alone, an agent would take half an hour for as many.
const CREDENTIALS: usize = 20;
/// What each of them lives, seconds: renewed after two thirds of that.
const LIFE: u64 = 2;
/// An hour's worth: one every two seconds.
const RENEWALS: f64 = 1800.0;
const LONG: Duration = Duration::from_secs(300);

/// Measures Lessor's agent and, if `VAULT_AGENT` names a program, that one (`PROGRAM agent -config=…`) with the same configuration.
pub async fn measure(engine: &Engine, program: &Program) -> String {
    eprintln!("  agent");
    let bench = Bench::prepare(engine, program).await;
    let ours = bench.figures(&[&variable("LESSOR_AGENT_BINARY")]).await;
    let reason = format!(" (30 and {} for issuing one credential)", number(bench.database_ms));
    let mut text = budget::table(&[
        Budget::at_most("agent with one credential, MiB resident", ours.resident, 5.0, " (Vault's agent 72)"),
        Budget::at_most(renewed(&ours), ours.renewed_resident, 5.0, ""),
        Budget::at_most("agent, program, MiB", ours.size, 8.0, ""),
        Budget::at_most("agent, start to rendered file, p50 ms", ours.start_ms, 30.0 + bench.database_ms, &reason),
        Budget::at_most("agent at rest, millicores", ours.rest, 0.5, ""),
    ]);
    if let Some(peer) = std::env::var("VAULT_AGENT").ok().filter(|peer| !peer.is_empty()) {
        let theirs = bench.figures(&[&peer, "agent"]).await;
        text += &format!(
            "\n| `VAULT_AGENT`, same configuration, same engine | |\n|---|---|\n| with one credential, MiB resident | {} |\n\
             | {} | {} |\n| program, MiB | {} |\n| start to rendered file, p50 ms | {} |\n| at rest, millicores | {} |\n",
            number(theirs.resident),
            renewed(&theirs),
            number(theirs.renewed_resident),
            number(theirs.size),
            number(theirs.start_ms),
            number(theirs.rest)
        );
    }
    bench.clear().await;
    text
}

fn renewed(figures: &AgentFigures) -> String {
    format!("after {:.0} renewals of {CREDENTIALS} credentials in one template, MiB resident", figures.renewals)
}

/// What one agent costs. Memory and size are in MiB.
struct AgentFigures {
    size: f64,
    start_ms: f64,
    resident: f64,
    /// Millicores.
    rest: f64,
    renewals: f64,
    renewed_resident: f64,
}

struct Bench<'a> {
    engine: &'a Engine,
    program: &'a Program,
    /// What issuing one credential takes.
    database_ms: f64,
}

impl<'a> Bench<'a> {
    async fn prepare(engine: &'a Engine, program: &'a Program) -> Self {
        let (approle, login) = program.approle();
        let (http, database) = (&program.http, program.database());
        let policy = format!("path \"{database}/creds/*\" {{ capabilities = [\"read\"] }}");
        http.post("sys/policies/acl/bench", json!({ "policy": policy })).await.expect_status(204);
        let role = json!({ "token_policies": "default,bench" });
        http.post(&format!("auth/{approle}/role/{ROLE}"), role).await.expect_status(204);
        for name in ["role_id", "secret_id"] {
            std::fs::write(engine.lessor.folder().join(name), login[name].as_str().unwrap()).unwrap();
        }
        for index in 0..CREDENTIALS {
            let role = json!({
                "db_name": "pg", "creation_statements": lessor_e2e::postgres::CREATION, "default_ttl": LIFE, "max_ttl": "24h",
            });
            let written = http.post(&format!("{database}/roles/{}", short_lived(index)), role).await;
            assert!(matches!(written.status, 200 | 204), "{}", written.body);
        }
        let issue = program.issue(ROLE, 1, Until::Done(20)).await;
        let database_ms = issue.length.as_secs_f64() * 1000.0 / issue.operations as f64;
        Self { engine, program, database_ms }
    }

    async fn figures(&self, command: &[&str]) -> AgentFigures {
        let size = std::fs::metadata(command[0]).unwrap_or_else(|error| panic!("{}: {error}", command[0])).len();
        let one = [ROLE.to_owned()];
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(Agent::start(command, &self.configuration(&one)).await.rendered.as_secs_f64() * 1000.0);
        }
        starts.sort_by(f64::total_cmp);
        let agent = Agent::start(command, &self.configuration(&one)).await;
        let resident = agent.settled().await;
        let rest = agent.millicores().await;
        drop(agent);
        let (renewals, renewed_resident) = self.renewed(command).await;
        let size = size as f64 / 1_048_576.0;
        AgentFigures { size, start_ms: starts[STARTS / 2], resident, rest, renewals, renewed_resident }
    }

    /// How many renewals there were, and how much memory the agent has afterwards.
    async fn renewed(&self, command: &[&str]) -> (f64, f64) {
        let roles: Vec<String> = (0..CREDENTIALS).map(short_lived).collect();
        let before = self.renewals().await;
        let agent = Agent::start(command, &self.configuration(&roles)).await;
        let begun = Instant::now();
        let mut renewals = 0.0;
        while renewals < RENEWALS && begun.elapsed() < LONG {
            tokio::time::sleep(Duration::from_secs(1)).await;
            renewals = self.renewals().await - before;
        }
        // It renews on, so its memory never stands quite still: the most of a few looks is taken.
        let mut most: f64 = 0.0;
        for _ in 0..10 {
            most = most.max(resident(agent.pid()));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        (renewals, most)
    }

    async fn renewals(&self) -> f64 {
        let answer = self.program.http.get("sys/metrics?format=prometheus").await.expect_status(200);
        let text = answer.body.as_str().expect("metrics are text");
        Figures::new(text).sum("lessor_leases_renewed_total", &[]).expect("renewals are counted")
    }

    /// Writes the configuration of an agent whose one template holds a credential of each role.
    fn configuration(&self, roles: &[String]) -> Configuration {
        let (folder, database) = (self.engine.lessor.folder(), self.program.database());
        let (config, file) = (folder.join("agent.hcl"), folder.join("rendered"));
        let secrets = roles.iter().map(|role| {
            format!("{{{{ with secret `{database}/creds/{role}` }}}}{{{{ .Data.username }}}} {{{{ .Data.password }}}}{{{{ end }}}}")
        });
        let contents = secrets.collect::<Vec<_>>().join("\\n");
        let text = format!(
            "vault {{ address = \"{address}\" }}\n\
             auto_auth {{ method \"approle\" {{ mount_path = \"auth/{approle}\" config = {{\n role_id_file_path = \"{folder}/role_id\"\n \
             secret_id_file_path = \"{folder}/secret_id\"\n remove_secret_id_file_after_reading = false }} }} }}\n\
             template {{\n contents = \"{contents}\"\n destination = \"{file}\" }}\n",
            address = self.program.http.address(),
            approle = self.program.approle().0,
            folder = folder.display(),
            file = file.display(),
        );
        std::fs::write(&config, text).unwrap();
        Configuration { config, file }
    }

    async fn clear(&self) {
        self.program.revoke_all(ROLE).await;
        for index in 0..CREDENTIALS {
            self.program.revoke_all(&short_lived(index)).await;
        }
    }
}

fn short_lived(index: usize) -> String {
    format!("short-{index}")
}

struct Configuration {
    config: PathBuf,
    file: PathBuf,
}

/// A running agent, killed with the value: its leases are revoked in the end, all at once.
struct Agent {
    child: Child,
    /// From its start to its file.
    rendered: Duration,
}

impl Agent {
    async fn start(command: &[&str], configuration: &Configuration) -> Self {
        let Configuration { config, file } = configuration;
        remove(file);
        let begun = Instant::now();
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .arg(format!("-config={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        while !file.exists() {
            assert!(child.try_wait().unwrap().is_none(), "{} ended", command[0]);
            assert!(begun.elapsed() < Duration::from_secs(30), "{} renders nothing", command[0]);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let rendered = begun.elapsed();
        let mut log = child.stderr.take().expect("its log is read");
        // Nobody needs it, but a full pipe would stop the agent.
        tokio::spawn(async move { tokio::io::copy(&mut log, &mut tokio::io::sink()).await });
        Self { child, rendered }
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Resident memory in MiB. What it needed for its start it gives back soon; the figure is that of the months after.
    async fn settled(&self) -> f64 {
        let settled = eventually("the agent's memory stands still", Duration::from_secs(20), || async {
            let before = resident(self.pid());
            tokio::time::sleep(Duration::from_millis(500)).await;
            if (resident(self.pid()) - before).abs() < 0.01 { Ok(before) } else { Err(before) }
        });
        settled.await.0
    }

    async fn millicores(&self) -> f64 {
        let before = cpu::running(self.pid());
        tokio::time::sleep(REST).await;
        (cpu::running(self.pid()) - before).as_secs_f64() * 1000.0 / REST.as_secs_f64()
    }
}

fn remove(file: &Path) {
    // It is not there before the first start.
    let _ = std::fs::remove_file(file);
}
