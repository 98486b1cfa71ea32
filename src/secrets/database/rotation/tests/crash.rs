//! A crash at every step of every change: stored and real passwords agree afterwards, and both sides are known.

use serde_json::json;

use super::*;

/// More steps than any of the changes below takes.
const MOST: usize = 80;

/// Runs `change` again and again in worlds of their own, crashing one step later each time, and hands each world, restarted,
/// to `check`. Ends with the first life that sees the end of the change.
async fn at_every_step(
    host: &str,
    prepare: impl AsyncFn(&World),
    change: impl AsyncFn(&World) -> Result<Answer, Error>,
    check: impl AsyncFn(&World, usize),
) {
    for steps in 0..MOST {
        let mut world = World::new(&format!("{host}-{steps}")).await;
        prepare(&world).await;
        world.crash_after(steps);
        let done = change(&world).await;
        let crashed = world.crash.has_come();
        assert!(crashed || done.is_ok(), "step {steps}: {:?}", done.err());
        world.restart();
        check(&world, steps).await;
        if !crashed {
            assert!(steps >= 8, "only {steps} steps were seen");
            return;
        }
    }
    panic!("the change has more than {MOST} steps");
}

#[tokio::test]
async fn of_a_rotation() {
    let prepare = async |world: &World| world.ok("static-roles/app", daily("app")).await;
    let change = async |world: &World| world.write("rotate-role/app", json!({})).await;
    at_every_step("crash-rotate", prepare, change, async |world, steps| {
        world.logs_in("app").await;
        world.work().await;
        world.logs_in("app").await;
        let held = world.engine.rotation.roles.get("app").await.unwrap().unwrap();
        assert!(held.role.pending.is_none(), "step {steps} leaves the change undecided");
        world.pass(DAY).await;
        world.logs_in("app").await;
    })
    .await;
}

#[tokio::test]
async fn of_a_first_rotation() {
    let change = async |world: &World| world.write("static-roles/app", daily("app")).await;
    at_every_step(
        "crash-create",
        async |_| {},
        change,
        async |world, steps| {
            world.work().await;
            if world.engine.rotation.has_role("app").await.unwrap() {
                world.logs_in("app").await;
            } else {
                let password = world.server.password("app");
                assert_eq!(password.as_deref(), Some("app-1"), "step {steps}: it was changed and is not known");
            }
            world.ok("static-roles/app", daily("app")).await;
            world.logs_in("app").await;
        },
    )
    .await;
}

#[tokio::test]
async fn of_two_accounts() {
    let prepare = async |world: &World| {
        let body = json!({"usernames": "a,b", "db_name": "pg", "rotation_period": 3600, "grace_period": 60});
        world.ok("static-roles/pair", body).await;
        world.ok("rotate-role/pair", json!({})).await;
        world.pass(60).await;
    };
    let change = async |world: &World| world.write("rotate-role/pair", json!({})).await;
    at_every_step("crash-two", prepare, change, async |world, _| {
        let before = world.logs_in("pair").await;
        world.work().await;
        world.logs_in("pair").await;
        assert_eq!(world.server.password(&before.0), Some(before.1), "the former one keeps its password");
    })
    .await;
}

#[tokio::test]
async fn of_a_root_rotation() {
    let change = async |world: &World| world.write("rotate-root/pg", json!({})).await;
    at_every_step(
        "crash-root",
        async |_| {},
        change,
        async |world, steps| {
            world.work().await;
            assert!(!world.journal_is_open().await, "step {steps} leaves the journal open");
            assert_eq!(world.server.password("root"), Some(world.root_password().await), "step {steps}");
            world.ok("static-roles/app", daily("app")).await;
            world.logs_in("app").await;
        },
    )
    .await;
}

#[tokio::test]
async fn of_a_root_rotation_with_static_roles_due_before_it() {
    let prepare = async |world: &World| {
        // More than one page of them, so that the page does not reach to the root's own entry.
        for n in 0..20 {
            let body = json!({"username": "app", "db_name": "pg", "rotation_period": 5, "password": "app-1",
                "skip_import_rotation": true});
            world.ok(&format!("static-roles/app-{n}"), body).await;
        }
        world.clock.advance(Duration::from_secs(60));
    };
    let change = async |world: &World| world.write("rotate-root/pg", json!({})).await;
    at_every_step("crash-root-due", prepare, change, async |world, _| {
        world.work().await;
        assert_eq!(world.server.password("root"), Some(world.root_password().await));
        world.pass(20).await;
        assert_ne!(world.server.password("app").as_deref(), Some("app-1"));
    })
    .await;
}

#[tokio::test]
async fn of_a_crash_after_a_crash() {
    for steps in 0..MOST {
        let mut world = World::new(&format!("crash-twice-{steps}")).await;
        world.ok("static-roles/app", daily("app")).await;
        world.crash_after(5);
        assert!(world.write("rotate-role/app", json!({})).await.is_err());
        world.restart();
        world.crash_after(steps);
        world.work().await;
        let crashed = world.crash.has_come();
        world.restart();
        world.logs_in("app").await;
        world.work().await;
        world.logs_in("app").await;
        if !crashed {
            return;
        }
    }
    panic!("the second life has more than {MOST} steps");
}
