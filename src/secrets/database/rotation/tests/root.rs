//! Root rotation: by hand and on a schedule, refused, undecided, and beside writes of the connection.

use serde_json::json;

use super::*;

#[tokio::test]
async fn the_new_password_is_stored_and_used() {
    let world = World::new("root-rotate").await;
    world.ok("rotate-root/pg", json!({})).await;
    let password = world.root_password().await;
    assert_ne!(password, "root-1");
    assert_eq!(world.server.password("root"), Some(password));
    world.ok("static-roles/app", daily("app")).await;
    world.logs_in("app").await;
    assert!(!world.read("config/pg").await.unwrap().to_string().contains(&world.root_password().await));
}

#[tokio::test]
async fn what_cannot_be_rotated_says_why() {
    let world = World::new("root-cannot").await;
    assert!(world.refused("rotate-root/nosuch", json!({})).await.contains("failed to find entry for connection"));
    let mut fields = Server::fields("root-cannot", "", "");
    fields["verify_connection"] = json!(false);
    world.ok("config/anonymous", fields).await;
    let text = world.refused("rotate-root/anonymous", json!({})).await;
    assert!(!text.is_empty());
    let url = "scripted://root:root-1@root-cannot";
    world.ok("config/pg", json!({"connection_url": url})).await;
    let text = world.refused("rotate-root/pg", json!({})).await;
    assert!(text.contains("unable to rotate root credentials") && text.contains("{{password}}"), "{text}");
    assert!(world.server.updates().is_empty());
}

#[tokio::test]
async fn a_read_tells_whether_the_password_is_the_engines_own() {
    let world = World::new("root-told").await;
    let read = world.read("config/pg").await.unwrap();
    assert_eq!((&read["last_vault_rotation"], &read["next_vault_rotation"]), (&Value::Null, &Value::Null));
    world.ok("rotate-root/pg", json!({})).await;
    let read = world.read("config/pg").await.unwrap();
    assert!(read["last_vault_rotation"].is_string() && read["rotation_failures"] == 0, "{read}");
    world.ok("config/pg", json!({"rotation_period": "24h"})).await;
    let read = world.read("config/pg").await.unwrap();
    assert!(read["last_vault_rotation"].is_string() && read["next_vault_rotation"].is_string(), "{read}");
    world.server.script(fail_updates_of("root", Verdict::Fail(Kind::Statement)));
    assert!(world.write("rotate-root/pg", json!({})).await.is_err());
    let read = world.read("config/pg").await.unwrap();
    assert!(read["rotation_failures"] == 1 && !read["rotation_error"].as_str().unwrap().is_empty(), "{read}");
    world.server.set_password("root", "root-2");
    world.ok("config/pg", json!({"password": "root-2"})).await;
    assert_eq!(world.read("config/pg").await.unwrap()["last_vault_rotation"], Value::Null);
}

#[tokio::test]
async fn a_schedule_rotates_and_can_be_switched_off() {
    let world = World::new("root-schedule").await;
    world.ok("config/pg", json!({"rotation_period": "24h"})).await;
    world.pass(DAY - 1).await;
    assert_eq!(world.root_password().await, "root-1");
    world.pass(1).await;
    let second = world.root_password().await;
    assert_ne!(second, "root-1");
    world.ok("config/pg", json!({"disable_automated_rotation": true})).await;
    world.pass(2 * DAY).await;
    assert_eq!(world.root_password().await, second);
    let read = world.read("config/pg").await.unwrap();
    assert_eq!((&read["rotation_period"], &read["disable_automated_rotation"]), (&json!(DAY), &json!(true)));
    world.ok("config/pg", json!({"disable_automated_rotation": false, "rotation_schedule": "0 0 * * *"})).await;
    world.pass(DAY).await;
    assert_ne!(world.root_password().await, second);
    world.ok("config/pg", json!({"rotation_period": 0})).await;
    assert!(world.engine.rotation.queue.connections().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_password_keeps_the_old_one() {
    let world = World::new("root-refused").await;
    for verdict in [Verdict::Fail(Kind::Statement), Verdict::Pretend] {
        world.server.script(fail_updates_of("root", verdict));
        assert_eq!(world.write("rotate-root/pg", json!({})).await.unwrap_err().status(), 400);
        assert!(!world.journal_is_open().await);
        assert_eq!(world.root_password().await, "root-1");
    }
    world.server.script(|_| Verdict::Pass);
    world.ok("rotate-root/pg", json!({})).await;
}

#[tokio::test]
async fn an_undecided_change_keeps_both_until_a_login_decides() {
    for (host, verdict) in [("root-lost", Verdict::Lose(Kind::Connect)), ("root-unsent", Verdict::Fail(Kind::Timeout))]
    {
        let world = World::new(host).await;
        let dark = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = dark.clone();
        world.server.script(move |call| match call {
            Call::Update { .. } => {
                seen.store(true, Ordering::SeqCst);
                verdict
            }
            Call::Login(_) if seen.load(Ordering::SeqCst) => Verdict::Fail(Kind::Connect),
            Call::Login(_) => Verdict::Pass,
        });
        assert_eq!(world.write("rotate-root/pg", json!({})).await.unwrap_err().status(), 502);
        assert!(world.journal_is_open().await);
        world.pass(3600).await;
        assert!(world.journal_is_open().await, "while the database is down neither password is given up");
        world.server.script(|_| Verdict::Pass);
        world.pass(3600).await;
        assert!(!world.journal_is_open().await);
        assert_eq!(world.server.password("root"), Some(world.root_password().await));
        assert_ne!(world.root_password().await, "root-1");
    }
}

/// Leaves a change open of which the database has made nothing.
async fn undecided(host: &str) -> World {
    let world = World::new(host).await;
    world.server.script(fail_updates_of("root", Verdict::Fail(Kind::Timeout)));
    assert!(world.write("rotate-root/pg", json!({})).await.is_err());
    assert!(world.journal_is_open().await);
    world.server.script(|_| Verdict::Pass);
    world
}

#[tokio::test]
async fn a_written_password_ends_the_change() {
    let world = undecided("root-written").await;
    let text = world.refused("config/pg", json!({"username": "other"})).await;
    assert!(text.contains("write username and password together"), "{text}");
    world.ok("config/pg", json!({"allowed_roles": "x"})).await;
    assert!(world.journal_is_open().await, "other fields do not concern it");
    world.server.set_password("root", "root-2");
    world.ok("config/pg", json!({"password": "root-2"})).await;
    assert!(!world.journal_is_open().await);
    world.pass(DAY).await;
    assert_eq!((world.root_password().await.as_str(), world.server.updates().len()), ("root-2", 1));
}

#[tokio::test]
async fn a_deleted_connection_takes_its_journal_along() {
    let world = undecided("root-deleted").await;
    world.ask(Operation::Delete, "config/pg", Value::Null).await.unwrap();
    assert!(!world.journal_is_open().await);
    assert!(world.engine.rotation.queue.connections().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_journal_of_another_password_is_dropped_at_the_start() {
    let mut world = undecided("root-foreign").await;
    // The write was stored, and the engine died before it closed the journal.
    world.server.set_password("root", "root-2");
    world
        .engine
        .connections
        .write("pg", &json!({"password": "root-2"}).as_object().unwrap().clone().into())
        .await
        .unwrap();
    world.restart();
    assert!(world.journal_is_open().await);
    world.engine.rotation.align().await;
    assert!(!world.journal_is_open().await);
    assert_eq!(world.root_password().await, "root-2");
}
