//! The supervised process: secrets in its environment, restarts, signals, and its end.

use super::*;

/// A process that notes its user and then runs `rest`.
fn process(folder: &Path, rest: &str) -> Value {
    json!(["sh", "-c", format!("cd {}; echo $DB_USER >> log; {rest}", folder.display())])
}

fn variables(command: &Value) -> Value {
    json!({"exec": {"command": command}, "env_template": {"DB_USER": {"contents": USER}}, "template": []})
}

#[tokio::test]
async fn the_process_has_the_secret_and_is_restarted_with_a_new_one() {
    let engine = engine(3600, |_| renewed(1200)).await;
    let folder = tempfile::tempdir().unwrap();
    let command = process(
        folder.path(),
        "trap 'echo asked >> log; exit' TERM; echo trapped >> log; while :; do sleep 0.02; done",
    );
    let mut stage = Stage::start(&engine, &[], variables(&command)).await;
    stage.until_ready().await;
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    eventually("the process", || log() == "user-1\ntrapped\n").await;
    let issued = || count(&engine, "GET database/creds/app") == 2;
    stage.advance_until(300, "a second user", issued).await;
    // From here on the clock stands, so that nobody loses patience with the process.
    eventually("a restart", || log().ends_with("asked\nuser-2\ntrapped\n")).await;
    stage.finish().await.unwrap();
    assert!(log().ends_with("user-2\ntrapped\nasked\n"), "{}", log());
    let lines = engine.lines();
    assert_eq!(lines[lines.len() - 1], "PUT auth/token/revoke-self");
}

#[tokio::test]
async fn the_agent_ends_as_the_process_does_and_gives_back_its_lease() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(&engine, &[], variables(&process(folder.path(), "exit 7"))).await;
    assert_eq!(stage.task.await.unwrap().unwrap(), 7);
    assert_eq!(count(&engine, "PUT sys/leases/revoke"), 1);
    let stage = Stage::start(&engine, &[], variables(&json!("/nowhere/program"))).await;
    let error = stage.task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("cannot run /nowhere/program"), "{error}");
}

#[tokio::test]
async fn signals_are_passed_on() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let folder = tempfile::tempdir().unwrap();
    let rest = "trap 'echo usr1 >> log; exit 3' USR1; echo trapped >> log; while :; do sleep 0.02; done";
    let mut stage = Stage::start(&engine, &[], variables(&process(folder.path(), rest))).await;
    stage.until_ready().await;
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    eventually("the trap", || log().ends_with("trapped\n")).await;
    stage.signals.send(Signal::USR1).await.unwrap();
    assert_eq!(stage.task.await.unwrap().unwrap(), 3);
    assert!(log().ends_with("usr1\n"), "{}", log());
}

#[tokio::test]
async fn a_changed_file_signals_the_process_that_wants_to_know() {
    let engine = engine(3600, |_| renewed(1200)).await;
    let folder = tempfile::tempdir().unwrap();
    let rest = "trap 'echo changed >> log' HUP; trap exit TERM; echo trapped >> log; while :; do sleep 0.02; done";
    let extra = json!({
        "exec": {"command": process(folder.path(), rest), "reload_signal": "SIGHUP"},
        "env_template": {"DB_USER": {"contents": "the same"}},
        "template": [{"contents": USER, "destination": folder.path().join("user")}],
    });
    let mut stage = Stage::start(&engine, &[], extra).await;
    stage.until_ready().await;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    eventually("the trap", || read("log") == "the same\ntrapped\n").await;
    stage.advance_until(300, "a second user", || read("user") == "user-2").await;
    eventually("the signal", || read("log") == "the same\ntrapped\nchanged\n").await;
    assert!(!stage.task.is_finished());
    stage.finish().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_does_not_answer_keeps_no_container_whose_process_has_ended() {
    let engine = engine(3600, |_| (0, Value::Null)).await;
    let folder = tempfile::tempdir().unwrap();
    let command = process(folder.path(), "while [ ! -e end ]; do sleep 0.02; done; exit 5");
    let mut stage = Stage::start(&engine, &[], variables(&command)).await;
    stage.until_ready().await;
    stage.advance_until(300, "a renewal", || count(&engine, "PUT sys/leases/renew") == 1).await;
    std::fs::write(folder.path().join("end"), "").unwrap();
    let code = tokio::time::timeout(Duration::from_secs(10), stage.task).await.unwrap().unwrap().unwrap();
    assert_eq!((code, count(&engine, "PUT sys/leases/revoke")), (5, 1));
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_restart_leaves_the_process_its_time() {
    let engine = engine(3600, |_| renewed(1200)).await;
    let folder = tempfile::tempdir().unwrap();
    let rest = "trap 'trap \"\" TERM; echo asked >> log; while [ ! -e end ]; do sleep 0.02; done; echo done >> log; exit' TERM; \
                echo trapped >> log; while :; do sleep 0.02; done";
    let mut extra = variables(&process(folder.path(), rest));
    // The clock is moved while the process ends, and nobody is to lose patience with it.
    extra["exec"]["kill_timeout"] = json!("100h");
    let mut stage = Stage::start(&engine, &[], extra).await;
    stage.until_ready().await;
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    eventually("the trap", || log().ends_with("trapped\n")).await;
    stage.advance_until(60, "the end of the first", || log().ends_with("asked\n")).await;
    std::fs::write(folder.path().join("end"), "").unwrap();
    stage.finish().await.unwrap();
    assert!(log().ends_with("asked\ndone\n"), "killed in the middle of what it had to finish: {}", log());
}
