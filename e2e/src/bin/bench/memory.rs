//! Resident memory of the engine and of an agent that holds one rendered credential.

use std::process::Stdio;
use std::time::Duration;

use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use serde_json::json;
use tokio::process::Command;

use crate::engine::Engine;

/// An agent as it was measured.
pub struct Agent {
    /// Resident memory, KiB.
    pub resident: u64,
    /// The program, bytes.
    pub size: u64,
    /// From its start to the rendered file.
    pub rendered: Duration,
}

/// Resident memory of a process in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has VmRSS");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs an agent that logs in by AppRole and renders one credential.
pub async fn agent(engine: &Engine) -> Agent {
    let http = engine.http();
    let policy = "path \"database/creds/bench\" { capabilities = [\"read\"] }";
    http.post("sys/policies/acl/bench", json!({ "policy": policy })).await.expect_status(204);
    http.post("sys/auth/approle", json!({ "type": "approle" })).await.expect_status(204);
    let role = json!({ "token_policies": "bench", "token_ttl": "1h" });
    http.post("auth/approle/role/bench", role).await.expect_status(204);
    let role_id = http.get("auth/approle/role/bench/role-id").await.expect_status(200);
    let secret_id = http.post("auth/approle/role/bench/secret-id", json!({})).await.expect_status(200);

    let folder = engine.folder();
    let (config, file) = (folder.join("agent.hcl"), folder.join("rendered"));
    std::fs::write(folder.join("role-id"), role_id.text("/data/role_id")).unwrap();
    std::fs::write(folder.join("secret-id"), secret_id.text("/data/secret_id")).unwrap();
    let text = format!(
        "vault {{ address = \"{address}\" }}\n\
         auto_auth {{ method \"approle\" {{ config = {{\n role_id_file_path = \"{folder}/role-id\"\n \
         secret_id_file_path = \"{folder}/secret-id\" }} }} }}\n\
         template {{\n contents = \"{{{{ with secret `database/creds/bench` }}}}{{{{ .Data.username }}}}{{{{ end }}}}\"\n \
         destination = \"{file}\" }}\n",
        address = http.address(),
        folder = folder.display(),
        file = file.display(),
    );
    std::fs::write(&config, text).unwrap();
    let program = variable("LESSOR_AGENT_BINARY");
    let begun = std::time::Instant::now();
    let mut child = Command::new(&program)
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
        if resident(pid) == before { Ok(before) } else { Err(before) }
    })
    .await;
    let size = std::fs::metadata(&program).unwrap().len();
    child.kill().await.unwrap();
    Agent { resident, size, rendered }
}
