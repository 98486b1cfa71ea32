//! The agent with one rendered credential: memory, size, and how soon the file is there.

use std::process::Stdio;
use std::time::Duration;

use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use serde_json::json;
use tokio::process::Command;

use crate::budget::{self, Budget};
use crate::engine::{Engine, resident};
use crate::load::Until;
use crate::program::{Program, ROLE};

/// Runs an agent that logs in by AppRole and renders one credential.
pub async fn measure(engine: &Engine, program: &Program) -> String {
    eprintln!("  agent");
    let (approle, login) = program.approle();
    let path = format!("{}/creds/{ROLE}", program.database());
    let policy = format!("path \"{path}\" {{ capabilities = [\"read\"] }}");
    let http = &program.http;
    http.post("sys/policies/acl/bench", json!({ "policy": policy })).await.expect_status(204);
    let role = json!({ "token_policies": "default,bench" });
    http.post(&format!("auth/{approle}/role/{ROLE}"), role).await.expect_status(204);
    // What the database needs for its part.
    let issue = program.issue(ROLE, 1, Until::Done(20)).await;
    let database = issue.length / u32::try_from(issue.operations).unwrap();

    let folder = engine.lessor.folder();
    let (config, file) = (folder.join("agent.hcl"), folder.join("rendered"));
    std::fs::write(folder.join("role-id"), login["role_id"].as_str().unwrap()).unwrap();
    std::fs::write(folder.join("secret-id"), login["secret_id"].as_str().unwrap()).unwrap();
    let text = format!(
        "vault {{ address = \"{address}\" }}\n\
         auto_auth {{ method \"approle\" {{ mount_path = \"auth/{approle}\" config = {{\n role_id_file_path = \"{folder}/role-id\"\n \
         secret_id_file_path = \"{folder}/secret-id\" }} }} }}\n\
         template {{\n contents = \"{{{{ with secret `{path}` }}}}{{{{ .Data.username }}}}{{{{ end }}}}\"\n \
         destination = \"{file}\" }}\n",
        address = http.address(),
        folder = folder.display(),
        file = file.display(),
    );
    std::fs::write(&config, text).unwrap();
    let program_file = variable("LESSOR_AGENT_BINARY");
    let begun = std::time::Instant::now();
    let mut child = Command::new(&program_file)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the agent can be started");
    while !file.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the agent ended: its own error stands above");
        assert!(begun.elapsed() < Duration::from_secs(30), "the agent renders nothing");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rendered = begun.elapsed();
    let pid = child.id().expect("it runs");
    // What it needed for its start it gives back soon; the figure is that of the months after.
    let (resident, _) = eventually("the agent's memory stands still", Duration::from_secs(20), || async {
        let before = resident(pid);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if (resident(pid) - before).abs() < 0.01 { Ok(before) } else { Err(before) }
    })
    .await;
    let size = std::fs::metadata(&program_file).unwrap().len();
    child.kill().await.unwrap();
    program.revoke_all(ROLE).await;
    let (rendered, database) = (rendered.as_secs_f64() * 1000.0, database.as_secs_f64() * 1000.0);
    let reason = format!(" (30 and {database:.1} for issuing one credential)");
    budget::table(&[
        Budget::at_most("agent with one rendered credential, MiB resident", resident, 5.0, ""),
        Budget::at_most("agent, program, MiB", size as f64 / 1_048_576.0, 8.0, ""),
        Budget::at_most("agent, start to rendered file, ms", rendered, 30.0 + database, &reason),
    ])
}
