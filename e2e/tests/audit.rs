//! The audit log of a running engine: rotated by a signal, kept over a kill, and in the way of what it cannot record.

use std::path::Path;
use std::time::Duration;

use lessor_e2e::eventually::eventually;
use lessor_e2e::lessor::Lessor;
use serde_json::{Value, json};

fn entries(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("every line is an object")).collect()
}

#[tokio::test]
async fn a_log_is_rotated_by_a_signal_and_survives_a_kill() {
    let mut lessor = Lessor::server().await;
    let root = lessor.initialise().await;
    let http = lessor.http().with_token(&root);
    let (log, moved) = (lessor.folder().join("audit.log"), lessor.folder().join("audit.log.1"));
    let body = json!({ "type": "file", "options": { "file_path": log } });
    http.post("sys/audit/main", body).await.expect_status(204);
    http.get("sys/mounts").await.expect_status(200);
    std::fs::rename(&log, &moved).unwrap();
    let before = entries(&moved).len();
    http.get("sys/mounts").await.expect_status(200);
    assert_eq!(entries(&moved).len(), before + 2, "without the signal it goes on where the file went");
    lessor.hang_up().await;
    eventually("the file is there again", Duration::from_secs(10), || async {
        if log.exists() { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    http.get("sys/mounts").await.expect_status(200);
    assert_eq!(entries(&moved).len(), before + 2);

    lessor.kill().await;
    let written = entries(&log).len();
    assert!(written >= 2);
    lessor.start_again().await;
    lessor.unsealed().await;
    http.get("sys/mounts").await.expect_status(200);
    assert_eq!(entries(&log).len(), written + 2, "the device is on again");
    let text = std::fs::read_to_string(&log).unwrap() + &std::fs::read_to_string(&moved).unwrap();
    assert!(!text.contains(&root), "the log shows a token");
}

#[tokio::test]
async fn a_full_disk_stops_the_engine_until_there_is_room() {
    let lessor = Lessor::server().await;
    let root = lessor.initialise().await;
    let http = lessor.http().with_token(&root);
    let (log, file) = (lessor.folder().join("log"), lessor.folder().join("file"));
    std::os::unix::fs::symlink(&file, &log).unwrap();
    let body = json!({ "type": "file", "options": { "file_path": log } });
    http.post("sys/audit/main", body).await.expect_status(204);
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    lessor.hang_up().await;
    eventually("requests are refused", Duration::from_secs(10), || async {
        let status = http.get("sys/mounts").await.status;
        if status == 500 { Ok(()) } else { Err(format!("{status}")) }
    })
    .await;
    let refused =
        http.post("sys/policies/acl/p", json!({ "policy": "path \"a\" { capabilities = [\"read\"] }" })).await;
    assert!(refused.expect_status(500).error().contains("no audit device"));
    lessor.has_logged("the audit device takes no entries").await;
    lessor.http().get("sys/health").await.expect_status(200);
    std::fs::remove_file(&log).unwrap();
    http.get("sys/policies/acl/p").await.expect_status(404);
}
