//! When a secret is read, as `template_config` says.

use super::*;

/// An engine whose one secret has this answer.
async fn answering(answer: impl Fn(u32) -> (u16, Value) + Send + 'static) -> FakeEngine {
    let read = AtomicU32::new(0);
    FakeEngine::start(move |seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(0),
        "GET auth/token/lookup-self" => (200, json!({"data": {}})),
        "GET database/creds/app" => answer(read.fetch_add(1, Ordering::SeqCst) + 1),
        _ => (204, Value::Null),
    })
    .await
}

/// Seconds from the first file to the second one, a little more on a busy machine.
async fn read_again_after(engine: &FakeEngine, settings: Value) -> u64 {
    let mut stage = Stage::start(engine, &[USER], json!({ "template_config": settings })).await;
    stage.until_ready().await;
    let start = stage.clock.now();
    stage.advance_until(100, "the second user", || stage.file("0") == "user-2").await;
    stage.clock.now().duration_since(start).as_secs().unsigned_abs()
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_read_again_at_the_part_of_its_life_that_was_chosen() {
    let once = |number| {
        let (status, mut body) = credential(number, 86_400);
        body["renewable"] = json!(false);
        (status, body)
    };
    let half = read_again_after(&answering(once).await, json!({"lease_renewal_threshold": 0.5})).await;
    assert!((40_000..70_000).contains(&half), "{half}");
}

#[tokio::test]
async fn a_secret_without_a_lease_is_read_again_after_the_interval() {
    let engine =
        answering(|number| (200, json!({"data": {"username": format!("user-{number}")}, "lease_duration": 0}))).await;
    let after = read_again_after(&engine, json!({"static_secret_render_interval": "12h"})).await;
    assert!((38_000..70_000).contains(&after), "{after}");
}

#[tokio::test]
async fn what_cannot_be_read_at_the_start_is_waited_for_if_that_was_chosen() {
    let engine = answering(|number| match number {
        0..=20 => (403, json!({"errors": ["permission denied"]})),
        _ => credential(number, 86_400),
    })
    .await;
    let settings = json!({"template_config": {"exit_on_retry_failure": false}});
    let stage = Stage::start(&engine, &[USER], settings).await;
    stage.advance_until(5, "the file", || stage.file("0") == "user-21").await;
    assert!(!stage.task.is_finished());
}
