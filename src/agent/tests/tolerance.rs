//! Templates that may fail: their errors stop nobody else, and they are written once they work.

use std::path::Path;

use super::*;

fn templates(folder: &Path, fatal: bool) -> Value {
    // It works once its file is there.
    let late = format!("{{{{ file \"{}\" }}}}", folder.join("late").display());
    json!({"template": [
        {"contents": USER, "destination": folder.join("user")},
        {"contents": late, "destination": folder.join("copy"), "error_fatal": fatal},
    ]})
}

#[tokio::test]
async fn a_template_whose_errors_are_not_fatal_is_written_when_it_works() {
    let (engine, folder) = (engine(86_400, |_| renewed(86_400)).await, tempfile::tempdir().unwrap());
    let mut stage = Stage::start(&engine, &[], templates(folder.path(), false)).await;
    stage.until_ready().await;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
    assert_eq!((read("user").as_deref(), read("copy")), (Some("user-1"), None));
    std::fs::write(folder.path().join("late"), "text").unwrap();
    stage.advance_until(1, "the late file", || read("copy").as_deref() == Some("text")).await;
    stage.finish().await.unwrap();
    assert_eq!(count(&engine, "GET database/creds/app"), 1);
}

#[tokio::test]
async fn otherwise_its_error_ends_the_start() {
    let (engine, folder) = (engine(86_400, |_| renewed(86_400)).await, tempfile::tempdir().unwrap());
    let stage = Stage::start(&engine, &[], templates(folder.path(), true)).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), stage.task).await.unwrap().unwrap();
    let error = telemetry::chain(&ended.unwrap_err());
    assert!(error.contains("late"), "{error}");
}
