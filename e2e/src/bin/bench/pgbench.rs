//! PostgreSQL's own load generator with the statements that the engine sends, as the same account.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lessor_e2e::environment::variable;
use lessor_e2e::postgres::Postgres;
use tokio::process::Command;

use crate::cpu::{self, Who};
use crate::sample::Sample;

/// What `postgres::CREATION` comes to: one message, one transaction.
const SCRIPT: &str = "\\set n random(1, 1000000000000000)\n\
    CREATE ROLE \"pgbench-:n\" WITH LOGIN PASSWORD 'aB3-dEfGhIjKlMnOpQrS' VALID UNTIL '2099-01-01 00:00:00+00'\\; \
    GRANT app_rw TO \"pgbench-:n\";\n";

/// What leaves its traces in the catalogue when roles come and go.
const CATALOGUE: [&str; 4] = ["pg_authid", "pg_auth_members", "pg_shdepend", "pg_shdescription"];

/// Runs it for that long.
pub async fn run(clients: usize, length: Duration) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("create.sql");
    std::fs::write(&script, SCRIPT).unwrap();
    let clients = clients.to_string();
    let before = cpu::now(Who::Child);
    let output = Command::new(variable("LESSOR_PGBENCH"))
        .args(["--no-vacuum", "--client", &clients, "--jobs", "1", "--time", &length.as_secs().to_string()])
        .args(["--log", "--log-prefix", folder.path().join("log").to_str().unwrap()])
        .args(["--file", script.to_str().unwrap()])
        .args(["--host", &variable("LESSOR_PG_HOST"), "--port", &variable("LESSOR_PG_PORT")])
        .args(["--username", &variable("LESSOR_PG_ADMIN_USER"), &variable("LESSOR_PG_DATABASE")])
        .env("PGPASSWORD", variable("LESSOR_PG_ADMIN_PASSWORD"))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("pgbench can be started");
    let cpu = cpu::now(Who::Child).since(before);
    assert!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let latencies = read_log(folder.path());
    let said = String::from_utf8_lossy(&output.stdout);
    // Without the time that it takes to connect, as the engine's clients are connected, too, when their time begins.
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
    let rate = rate.filter(|rate| *rate > 0.0).unwrap_or_else(|| panic!("pgbench did nothing: {said}"));
    let length = Duration::from_secs_f64(latencies.len() as f64 / rate);
    Sample { length, operations: latencies.len(), latencies, cpu }
}

/// The third column of its log is the time of a transaction in microseconds.
fn read_log(folder: &Path) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log")) {
            let text = std::fs::read_to_string(path).unwrap();
            let times = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
            latencies.extend(times.map(Duration::from_micros));
        }
    }
    latencies
}

/// Drops the users that it made, if any, and gives whoever comes next a database without other people's rubbish.
pub async fn tidy() {
    let postgres = Postgres::connect().await;
    let drop = "DO $$ DECLARE one text; BEGIN FOR one IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgbench-%' \
                LOOP EXECUTE format('DROP ROLE %I', one); END LOOP; END $$";
    postgres.run(drop).await;
    postgres.run(&format!("VACUUM {}", CATALOGUE.join(", "))).await;
    postgres.run("CHECKPOINT").await;
}

/// The server's own words about itself.
pub async fn version() -> String {
    Postgres::connect()
        .await
        .text("SELECT split_part(version(), ' on ', 1) || ', fsync ' || current_setting('fsync')")
        .await
}
