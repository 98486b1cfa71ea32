//! Who hears of a change: hooks, processes, and watchers of a folder that changes at once.

use super::*;

/// An engine whose lease cannot be extended, so that a second user comes at two thirds of the first one's life.
async fn brief_engine() -> FakeEngine {
    engine(3600, |_| renewed(1200)).await
}

/// Moves the clock until the second user is asked for, and no further.
async fn second_user(stage: &Stage, engine: &FakeEngine) {
    stage.advance_until(300, "a second user", || count(engine, "GET database/creds/app") == 2).await;
}

#[tokio::test]
async fn a_hook_is_called_for_changes_until_it_answers_well() {
    let calls = AtomicU32::new(0);
    let app = FakeEngine::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => (503, Value::Null),
        _ => (204, Value::Null),
    })
    .await;
    let engine = brief_engine().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0");
    let hook = json!({"type": "http", "url": format!("{}/-/reload", app.address), "headers": {"x-key": "k"}});
    let template = json!({"contents": USER, "destination": file, "reload": [hook]});
    let mut stage = Stage::start(&engine, &[], json!({ "template": template })).await;
    stage.until_ready().await;
    assert!(app.lines().is_empty(), "the first writing is no change");
    let user = || std::fs::read_to_string(&file).unwrap_or_default();
    second_user(&stage, &engine).await;
    eventually("the file", || user() == "user-2").await;
    stage.advance_until(1, "three calls", || app.lines().len() == 3).await;
    assert_eq!(app.lines()[2], "POST /-/reload");
    assert_eq!(app.seen()[2].headers["x-key"], "k");
    stage.finish().await.unwrap();
    // Another agent finds the file of the first, so its own user is a change.
    let other = engine_of("user-9").await;
    let template = json!({"contents": USER, "destination": file, "reload": [{"type": "http", "url": app.address}]});
    let mut stage = Stage::start(&other, &[], json!({ "template": template })).await;
    stage.until_ready().await;
    eventually("a fourth call", || app.lines().len() == 4).await;
}

async fn engine_of(user: &'static str) -> FakeEngine {
    FakeEngine::start(move |seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(86_400),
        "GET database/creds/app" => (200, json!({"lease_id": "a/b", "lease_duration": 60, "data": {"username": user}})),
        _ => (204, Value::Null),
    })
    .await
}

#[tokio::test]
async fn a_process_is_signalled_by_its_pid_file() {
    let engine = brief_engine().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let script = format!(
        "trap 'touch {0}/heard; exit' HUP; echo $$ > {0}/pid; while :; do sleep 0.02; done",
        folder.path().display()
    );
    let mut app = tokio::process::Command::new("sh").args(["-c", &script]).kill_on_drop(true).spawn().unwrap();
    eventually("the pid file", || std::fs::read_to_string(path("pid")).is_ok_and(|text| text.ends_with('\n'))).await;
    let reload = json!({"type": "signal", "signal": "SIGHUP", "pid_file": path("pid")});
    let template = json!({"contents": USER, "destination": path("file"), "reload": [reload]});
    let mut stage = Stage::start(&engine, &[], json!({ "template": template })).await;
    stage.until_ready().await;
    assert!(!path("heard").exists());
    second_user(&stage, &engine).await;
    eventually("the signal", || path("heard").exists()).await;
    app.wait().await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_folder_change_at_once() {
    let engine = brief_engine().await;
    let extra = json!({"template_config": {"swap_folders": true}});
    let mut stage = Stage::start(&engine, &[USER, PASSWORD], extra).await;
    stage.until_ready().await;
    let data = || std::fs::read_link(stage.folder.path().join("..data")).unwrap();
    assert_eq!((stage.file("0"), stage.file("1")), ("user-1".into(), "pass-1".into()));
    let first = data();
    second_user(&stage, &engine).await;
    eventually("the file", || stage.file("0") == "user-2").await;
    assert_eq!(stage.file("1"), "pass-2");
    assert_ne!(data(), first);
    assert_eq!(std::fs::read_link(stage.folder.path().join("1")).unwrap(), Path::new("..data/1"));
}

#[tokio::test]
async fn a_change_waits_for_its_quiescence() {
    let engine = brief_engine().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0");
    let template = json!({"contents": USER, "destination": file, "backup": true, "wait": {"min": "30s", "max": "60s"}});
    let mut stage = Stage::start(&engine, &[], json!({ "template": template })).await;
    stage.until_ready().await;
    second_user(&stage, &engine).await;
    let user = || std::fs::read_to_string(&file).unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(user(), "user-1", "30 s have not passed");
    stage.advance_until(10, "the file", || user() == "user-2").await;
    assert_eq!(std::fs::read_to_string(folder.path().join("0.bak")).unwrap(), "user-1");
}
