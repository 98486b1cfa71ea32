//! The worker: wakes by the clock and by writes, and lets no database delay another.

use serde_json::json;

use super::*;

/// Lets the worker run until `condition` holds.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if condition().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it does not come to that: {what}");
}

#[tokio::test]
async fn it_rotates_by_the_clock_and_by_what_is_written_meanwhile() {
    let world = World::new("worker-clock").await;
    let running = tokio::spawn(world.engine.rotation.clone().run());
    world.ok("static-roles/app", daily("app")).await;
    for _ in 0..3 {
        let before = world.logs_in("app").await;
        // The worker may not have gone to sleep yet: it looks at the clock when it does.
        world.clock.advance(Duration::from_secs(DAY));
        until("a new password", async || world.server.password("app") != Some(before.1.clone())).await;
        until("it is known", async || world.credential("app").await.is_ok_and(|(_, new, _)| new != before.1)).await;
        world.logs_in("app").await;
    }
    world.ok("static-roles/app", json!({"rotation_period": 5})).await;
    let before = world.logs_in("app").await;
    world.clock.advance(Duration::from_secs(5));
    until("the shorter period", async || world.server.password("app") != Some(before.1.clone())).await;
    running.abort();
}

#[tokio::test]
async fn a_database_that_is_down_delays_no_other() {
    let world = World::new("worker-bright").await;
    let dark = Server::start("worker-dark", &[("root", "root-1"), ("app", "app-1")]);
    world.ok("config/dark", Server::fields("worker-dark", "root", "root-1")).await;
    for n in 0..20 {
        let body = json!({"username": "app", "db_name": "dark", "rotation_period": 60, "skip_import_rotation": true});
        world.ok(&format!("static-roles/dark-{n}"), body).await;
    }
    world.ok("static-roles/app", json!({"username": "app", "db_name": "pg", "rotation_period": 60})).await;
    let tried = Arc::new(AtomicUsize::new(0));
    let counted = tried.clone();
    dark.script(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Verdict::Fail(Kind::Connect)
    });
    let running = tokio::spawn(world.engine.rotation.clone().run());
    for _ in 0..5 {
        let before = world.server.password("app");
        world.clock.advance(Duration::from_secs(60));
        until("the other database goes on", async || world.server.password("app") != before).await;
        until("it is known", async || world.credential("app").await.is_ok()).await;
    }
    // One look of at most 16 at first, then one try for each back-off.
    let tries = tried.load(Ordering::SeqCst);
    assert!((1..=16 + 5).contains(&tries), "{tries} tries");
    dark.script(|_| Verdict::Pass);
    world.clock.advance(Duration::from_secs(400));
    until("all are rotated", async || dark.updates().len() >= 20).await;
    running.abort();
}

#[tokio::test]
async fn a_stale_entry_is_removed() {
    let world = World::new("worker-stale").await;
    world.ok("static-roles/app", daily("app")).await;
    let rotation = &world.engine.rotation;
    let mut txn = Txn::default();
    for item in [super::super::queue::Item::Role { name: "app".into() }, super::super::queue::Item::Root] {
        rotation.queue.stage(&mut txn, &item, None, Some(("pg", world.now()))).unwrap();
    }
    world.store.commit(txn).await.unwrap();
    world.work().await;
    assert_eq!(rotation.queue.page("pg", 10).await.unwrap().len(), 1);
    assert_eq!(world.server.updates().len(), 1);
}
