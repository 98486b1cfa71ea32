//! Static roles: made, adopted, read, rotated, refused, and two accounts that take turns.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_first_write_rotates_and_the_answers_have_vaults_shape() {
    let world = World::new("roles-first").await;
    world.ok("static-roles/app", daily("app")).await;
    let (username, password) = world.logs_in("app").await;
    assert!(username == "app" && password != "app-1");
    let now = world.now().to_string();
    let next = crate::base::clock::add_seconds(world.now(), DAY).to_string();
    assert_eq!(
        world.read("static-creds/app").await.unwrap(),
        json!({"username": "app", "password": password, "ttl": DAY, "rotation_period": DAY, "last_vault_rotation": now})
    );
    assert_eq!(
        world.read("static-roles/app").await.unwrap(),
        json!({"db_name": "pg", "username": "app", "rotation_period": DAY, "rotation_statements": [],
            "credential_type": "password", "last_vault_rotation": now, "next_vault_rotation": next})
    );
    let keys = world.ask(Operation::List, "static-roles", Value::Null).await.unwrap().data.unwrap();
    assert_eq!(keys, json!({"keys": ["app"]}));
    world.ask(Operation::Delete, "static-roles/app", Value::Null).await.unwrap();
    assert_eq!(world.read("static-roles/app").await.unwrap_err().status(), 404);
    world.pass(2 * DAY).await;
    assert_eq!(world.server.password("app"), Some(password), "a deleted role leaves its account alone");
}

#[tokio::test]
async fn a_schedule_is_kept_to_and_its_window_closes() {
    let world = World::new("roles-cron").await;
    let body = json!({"username": "app", "db_name": "pg", "rotation_schedule": "0 6 * * *", "rotation_window": "1h"});
    world.ok("static-roles/app", body).await;
    let first = world.logs_in("app").await;
    let read = world.read("static-creds/app").await.unwrap();
    assert_eq!((&read["ttl"], &read["rotation_schedule"]), (&json!(6 * 3600), &json!("0 6 * * *")));
    assert_eq!((&read["rotation_window"], &read["rotation_period"]), (&json!(3600), &Value::Null));
    world.pass(6 * 3600 - 1).await;
    assert_eq!(world.logs_in("app").await, first);
    world.pass(1).await;
    let second = world.logs_in("app").await;
    assert_ne!(second, first);
    // The engine sleeps through the next window.
    world.pass(25 * 3600 + 1).await;
    assert_eq!(world.logs_in("app").await, second);
    world.pass(23 * 3600 - 1).await;
    assert_ne!(world.logs_in("app").await, second);
}

#[tokio::test]
async fn a_failed_first_rotation_stores_nothing() {
    let world = World::new("roles-failed").await;
    let absent = world.write("static-roles/app", daily("nobody")).await.unwrap_err();
    assert!(absent.status() == 400 && absent.to_string().starts_with("error setting credentials: "), "{absent}");
    world.server.script(fail_updates_of("app", Verdict::Fail(Kind::Statement)));
    assert!(world.refused("static-roles/app", daily("app")).await.contains("error setting credentials: "));
    world.server.script(|_| Verdict::Fail(Kind::Connect));
    let down = world.write("static-roles/app", daily("app")).await.unwrap_err();
    assert_eq!(down.status(), 502);
    world.server.script(fail_updates_of("app", Verdict::Pretend));
    let text = world.refused("static-roles/app", daily("app")).await;
    assert!(text.contains("does not log in") && text.contains("verify_login=false"), "{text}");
    assert_eq!(world.read("static-roles/app").await.unwrap_err().status(), 404);
    world.server.script(|_| Verdict::Pass);
    world.pass(DAY).await;
    assert_eq!(world.server.password("app").as_deref(), Some("app-1"));
}

#[tokio::test]
async fn wrong_requests_are_refused_in_vaults_words() {
    let world = World::new("roles-wrong").await;
    world.ok("static-roles/app", daily("app")).await;
    world.ok("roles/dyn", json!({"db_name": "pg"})).await;
    for (path, body, text) in [
        ("static-roles/app", daily("other"), "cannot update static account username"),
        ("static-roles/x", daily("root"), "is the connection's own user"),
        ("static-roles/dyn", daily("app"), "Role and Static Role names must be unique"),
        ("roles/app", json!({"db_name": "pg"}), "Role and Static Role names must be unique"),
        ("rotate-role/nosuch", json!({}), "no static role found for role name"),
        ("rotate-role/dyn", json!({}), "no static role found for role name"),
        (
            "static-roles/x",
            json!({"username": "app", "db_name": "nosuch", "rotation_period": 5}),
            "failed to find entry",
        ),
    ] {
        assert!(world.refused(path, body).await.contains(text), "{path}: {text}");
    }
    assert_eq!(world.read("static-creds/nosuch").await.unwrap_err().to_string(), "unknown role: nosuch");
    world.ok("config/pg", json!({"allowed_roles": "other"})).await;
    assert!(world.credential("app").await.unwrap_err().to_string().contains("\"app\" is not an allowed role"));
    assert!(world.refused("rotate-role/app", json!({})).await.contains("is not an allowed role"));
}

#[tokio::test]
async fn an_adopted_account_keeps_its_password_until_its_schedule_says_so() {
    let world = World::new("roles-adopted").await;
    let body = |password: &str| {
        json!({"username": "app", "db_name": "pg", "rotation_period": "24h", "password": password,
            "skip_import_rotation": true})
    };
    let wrong = world.refused("static-roles/app", body("wrong-canary")).await;
    assert!(wrong.contains("\"app\" cannot log in") && !wrong.contains("canary"), "{wrong}");
    assert_eq!(world.read("static-roles/app").await.unwrap_err().status(), 404);
    world.ok("static-roles/app", body("app-1")).await;
    world.pass(DAY - 1).await;
    assert_eq!(world.credential("app").await.unwrap(), ("app".into(), "app-1".into(), 1));
    assert!(world.server.updates().is_empty());
    world.pass(1).await;
    assert_ne!(world.logs_in("app").await.1, "app-1");

    // Somebody changes it by hand and tells us.
    world.server.set_password("app", "by-hand");
    world.ok("static-roles/app", json!({"self_managed_password": "by-hand"})).await;
    assert_eq!(world.logs_in("app").await.1, "by-hand");
}

#[tokio::test]
async fn passwords_follow_the_roles_policy_or_that_of_its_connection() {
    let world = World::new("roles-policy").await;
    let digits = "length = 8\nrule \"charset\" { charset = \"0123456789\" }";
    world.engine.setup.passwords.put("digits", digits).await.unwrap();
    let mut body = daily("app");
    body["credential_config"] = json!({"password_policy": "nosuch"});
    assert!(world.refused("static-roles/app", body.clone()).await.contains("nosuch"));
    body["credential_config"] = json!({"password_policy": "digits"});
    world.ok("static-roles/app", body).await;
    let is_by_policy = |password: &str| password.len() == 8 && password.bytes().all(|byte| byte.is_ascii_digit());
    assert!(is_by_policy(&world.logs_in("app").await.1));
    world.ok("config/pg", json!({"password_policy": "digits"})).await;
    world.ok("static-roles/b", daily("b")).await;
    assert!(is_by_policy(&world.logs_in("b").await.1));
    world.ok("rotate-root/pg", json!({})).await;
    assert!(is_by_policy(&world.root_password().await));

    // A policy that is gone fails the rotation without a spin, and is tried again.
    world.engine.setup.passwords.delete("digits").await.unwrap();
    world.pass(DAY).await;
    assert!(world.read("static-roles/app").await.unwrap()["rotation_error"].as_str().unwrap().contains("digits"));
    world.logs_in("app").await;
}

#[tokio::test]
async fn an_account_adopted_without_password_has_none_until_its_first_rotation() {
    let world = World::new("roles-unknown").await;
    world.ok("config/pg", json!({"skip_static_role_import_rotation": true})).await;
    world.ok("static-roles/app", daily("app")).await;
    let error = world.credential("app").await.unwrap_err();
    assert!(error.status() == 400 && error.to_string().contains("has no password yet"), "{error}");
    world.pass(DAY).await;
    world.logs_in("app").await;
}

#[tokio::test]
async fn a_given_password_that_is_not_to_be_kept_is_replaced_at_once() {
    let world = World::new("roles-replaced").await;
    let mut body = daily("app");
    body["password"] = json!("app-1");
    world.ok("static-roles/app", body).await;
    assert_ne!(world.logs_in("app").await.1, "app-1");
}

#[tokio::test]
async fn two_accounts_take_turns_and_the_former_keeps_its_password_for_its_grace() {
    let world = World::new("roles-two").await;
    let body = json!({"usernames": ["a", "b"], "db_name": "pg", "rotation_period": "24h", "grace_period": "1h"});
    world.ok("static-roles/pair", body).await;
    let first = world.logs_in("pair").await;
    assert_eq!((first.0.as_str(), world.server.password("b").as_deref()), ("a", Some("b-1")));
    // The other account was never handed out, so nobody needs a grace.
    world.ok("rotate-role/pair", json!({})).await;
    let second = world.logs_in("pair").await;
    assert_eq!(second.0, "b");
    assert_eq!(world.server.password("a"), Some(first.1.clone()));
    assert!(world.refused("rotate-role/pair", json!({})).await.contains("grace_period"));
    world.pass(3600).await;
    assert_eq!(world.server.password("a"), Some(first.1.clone()));
    world.ok("rotate-role/pair", json!({})).await;
    let third = world.logs_in("pair").await;
    assert!(third.0 == "a" && third.1 != first.1);
    assert_eq!(world.server.password("b"), Some(second.1.clone()));
    world.pass(DAY).await;
    assert_eq!(world.logs_in("pair").await.0, "b");
    assert_eq!(world.server.password("a"), Some(third.1));
    let changed: Vec<_> = world.server.updates().into_iter().map(|(user, _)| user).collect();
    assert_eq!(changed, ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn a_refused_password_is_not_tried_again_and_the_old_one_stays() {
    let world = World::new("roles-refused").await;
    world.ok("static-roles/app", daily("app")).await;
    let old = world.logs_in("app").await;
    world.server.script(fail_updates_of("app", Verdict::Fail(Kind::Statement)));
    world.pass(DAY).await;
    assert_eq!(world.logs_in("app").await, old);
    let read = world.read("static-roles/app").await.unwrap();
    assert_eq!(read["rotation_failures"], json!(1));
    let waits = world.credential("app").await.unwrap().2;
    assert!((9..=11).contains(&waits), "{waits}");
    world.pass(5).await;
    assert_eq!(world.server.updates().len(), 2);
    world.pass(7).await;
    world.pass(23).await;
    let tried = world.server.updates();
    assert_eq!(tried.len(), 4);
    assert!(tried[1] != tried[2] && tried[2] != tried[3], "each try has a password of its own");
    world.server.script(|_| Verdict::Pass);
    world.pass(45).await;
    assert_ne!(world.logs_in("app").await, old);
    assert_eq!(world.read("static-roles/app").await.unwrap().get("rotation_failures"), None);
}

#[tokio::test]
async fn statements_that_change_nothing_are_noticed() {
    let world = World::new("roles-pretend").await;
    world.ok("static-roles/app", daily("app")).await;
    let old = world.logs_in("app").await;
    world.server.script(fail_updates_of("app", Verdict::Pretend));
    assert!(world.refused("rotate-role/app", json!({})).await.contains("the former password still logs in"));
    assert_eq!(world.logs_in("app").await, old);
}

#[tokio::test]
async fn an_unanswered_change_is_asked_for_again_with_the_same_password() {
    let world = World::new("roles-unanswered").await;
    world.ok("static-roles/app", daily("app")).await;
    let old = world.logs_in("app").await;
    world.server.script(fail_updates_of("app", Verdict::Fail(Kind::Timeout)));
    assert_eq!(world.write("rotate-role/app", json!({})).await.unwrap_err().status(), 502);
    assert_eq!(world.logs_in("app").await, old, "while it is undecided the one that logs in is handed out");
    world.server.script(|_| Verdict::Pass);
    world.pass(12).await;
    let new = world.logs_in("app").await;
    let tried = world.server.updates();
    assert!(new != old && tried[1] == tried[2] && tried[2] == new);
}

#[tokio::test]
async fn nothing_is_handed_out_of_which_it_is_not_known_that_it_logs_in() {
    let world = World::new("roles-undecided").await;
    world.ok("static-roles/app", daily("app")).await;
    world.server.script(|call| match call {
        Call::Update { .. } => Verdict::Lose(Kind::Timeout),
        Call::Login(user) if user == "app" => Verdict::Fail(Kind::Connect),
        Call::Login(_) => Verdict::Pass,
    });
    assert_eq!(world.write("rotate-role/app", json!({})).await.unwrap_err().status(), 502);
    let error = world.credential("app").await.unwrap_err();
    assert!(error.status() == 503 && error.to_string().contains("is being changed"), "{error}");
    world.server.script(|_| Verdict::Pass);
    world.logs_in("app").await;
}

#[tokio::test]
async fn an_account_that_may_not_log_in_from_here_is_taken_at_its_word() {
    let world = World::new("roles-blind").await;
    world.server.script(|call| match call {
        Call::Login(user) if user == "app" => Verdict::Fail(Kind::Refused),
        _ => Verdict::Pass,
    });
    let mut body = daily("app");
    body["verify_login"] = json!(false);
    world.ok("static-roles/app", body).await;
    world.logs_in("app").await;
    assert_eq!(world.read("static-roles/app").await.unwrap()["verify_login"], json!(false));
}

#[tokio::test]
async fn concurrent_rotations_come_one_after_the_other() {
    let world = World::new("roles-concurrent").await;
    world.ok("static-roles/app", daily("app")).await;
    let all = (0..8).map(|_| world.write("rotate-role/app", json!({})));
    for done in futures_util::future::join_all(all).await {
        done.unwrap();
    }
    assert_eq!(world.server.updates().len(), 9);
    world.logs_in("app").await;
}

#[tokio::test]
async fn a_shorter_period_counts_from_the_last_rotation() {
    let world = World::new("roles-shorter").await;
    world.ok("static-roles/app", daily("app")).await;
    let first = world.logs_in("app").await;
    world.pass(3600).await;
    world.ok("static-roles/app", json!({"rotation_period": "2h"})).await;
    assert_eq!(world.credential("app").await.unwrap().2, 3600);
    world.pass(3600).await;
    assert_ne!(world.logs_in("app").await, first);
}
