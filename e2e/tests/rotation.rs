//! Static roles and root rotation on a real PostgreSQL: what is handed out logs in, also after kill -9 in the middle of it.

use std::time::Duration;

use lessor::base::{Random as _, Secret, random::SystemRandom};
use lessor_e2e::eventually::eventually;
use lessor_e2e::http::Http;
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres_server::PostgresServer;
use serde_json::{Value, json};

/// Time for what takes a login or two.
const SOON: Duration = Duration::from_secs(60);

/// How often the engine is killed.
const KILLS: usize = 15;

/// An engine over a server with the administrator `admin`, who is no superuser, and the accounts `app`, `a` and `b`.
struct Setup {
    database: PostgresServer,
    lessor: Lessor,
    http: Http,
}

impl Setup {
    async fn start() -> Self {
        let database = PostgresServer::start(&[]).await;
        let mut statements = "CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'admin-1';".to_owned();
        for name in ["app", "a", "b"] {
            let made =
                format!("CREATE ROLE {name} LOGIN PASSWORD '{name}-1'; GRANT {name} TO admin WITH ADMIN OPTION;");
            statements.push_str(&made);
        }
        database.run("postgres", &statements).await;
        let lessor = Lessor::server().await;
        let root = lessor.initialise().await;
        lessor.unsealed().await;
        let http = lessor.http().with_token(&root);
        http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
        let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres", database.port());
        let connection = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url,
            "username": "admin", "password": "admin-1",
        });
        http.post("database/config/pg", connection).await.expect_status(204);
        Self { database, lessor, http }
    }

    async fn static_role(&self, name: &str, fields: Value) {
        let mut body = json!({ "db_name": "pg" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.http.post(&format!("database/static-roles/{name}"), body).await.expect_status(204);
    }

    async fn rotate(&self, name: &str) {
        self.http.post(&format!("database/rotate-role/{name}"), json!({})).await.expect_status(204);
    }

    /// What is handed out: user, password, and the seconds until the next look.
    async fn credential(&self, name: &str) -> (String, String, u64) {
        let answer = self.http.get(&format!("database/static-creds/{name}")).await.expect_status(200);
        let ttl = answer.body["data"]["ttl"].as_u64().unwrap();
        (answer.text("/data/username").to_owned(), answer.text("/data/password").to_owned(), ttl)
    }

    async fn lets_in(&self, user: &str, password: &str) -> bool {
        self.database.login("postgres", user, &Secret::new(password)).await.is_ok()
    }
}

#[tokio::test]
async fn a_password_changes_with_its_period_and_the_old_one_is_refused() {
    let setup = Setup::start().await;
    setup.static_role("app", json!({ "username": "app", "rotation_period": "5s" })).await;
    assert!(!setup.lets_in("app", "app-1").await, "the first write rotates");
    let (_, first, ttl) = setup.credential("app").await;
    assert!((1..=5).contains(&ttl), "{ttl}");
    assert!(setup.lets_in("app", &first).await);
    let (second, took) = eventually("the password changes", SOON, || async {
        let (_, password, ttl) = setup.credential("app").await;
        assert!(ttl > 0);
        if password == first { Err(ttl) } else { Ok(password) }
    })
    .await;
    assert!(took < Duration::from_secs(30), "{took:?} for a period of 5 s");
    assert!(setup.lets_in("app", &second).await && !setup.lets_in("app", &first).await);
    assert!(!setup.database.log().contains(&second) && !setup.lessor.log().contains(&second));
}

#[tokio::test]
async fn an_adopted_account_keeps_its_password_until_it_is_rotated() {
    let setup = Setup::start().await;
    let wrong = json!({
        "username": "app", "db_name": "pg", "rotation_period": "24h", "password": "wrong", "skip_import_rotation": true,
    });
    let refused = setup.http.post("database/static-roles/app", wrong).await.expect_status(400);
    assert!(refused.error().contains("app"), "{}", refused.error());
    let fields = json!({
        "username": "app", "rotation_period": "24h", "password": "app-1", "skip_import_rotation": true,
    });
    setup.static_role("app", fields).await;
    assert_eq!(setup.credential("app").await.1, "app-1");
    assert!(setup.lets_in("app", "app-1").await);
    setup.rotate("app").await;
    let (user, password, _) = setup.credential("app").await;
    assert!(setup.lets_in(&user, &password).await && !setup.lets_in("app", "app-1").await);
}

#[tokio::test]
async fn a_connection_with_static_roles_goes_only_by_force() {
    let setup = Setup::start().await;
    setup.static_role("app", json!({ "username": "app", "rotation_period": "24h" })).await;
    for how in ["", "?cascade=true"] {
        let refused = setup.http.delete(&format!("database/config/pg{how}")).await.expect_status(400);
        assert!(
            refused.error().contains("static roles app") && refused.error().contains("force=true"),
            "{}",
            refused.error()
        );
    }
    setup.http.delete("database/config/pg?force=true").await.expect_status(204);
    setup.http.get("database/config/pg").await.expect_status(404);
}

#[tokio::test]
async fn of_two_accounts_the_former_still_logs_in() {
    let setup = Setup::start().await;
    let fields = json!({ "usernames": ["a", "b"], "rotation_period": "24h", "grace_period": "1h" });
    setup.static_role("pair", fields).await;
    let first = setup.credential("pair").await;
    assert!(setup.lets_in("b", "b-1").await, "the other account waits for its turn");
    setup.rotate("pair").await;
    let second = setup.credential("pair").await;
    assert_eq!((first.0.as_str(), second.0.as_str()), ("a", "b"));
    assert!(setup.lets_in(&first.0, &first.1).await && setup.lets_in(&second.0, &second.1).await);
    let early = setup.http.post("database/rotate-role/pair", json!({})).await.expect_status(400);
    assert!(early.error().contains("grace_period"), "{}", early.error());
    assert!(setup.lets_in(&first.0, &first.1).await);
}

#[tokio::test]
async fn the_connections_own_password_is_known_to_the_engine_alone() {
    let setup = Setup::start().await;
    setup.static_role("app", json!({ "username": "app", "rotation_period": "24h" })).await;
    setup.http.post("database/rotate-root/pg", json!({})).await.expect_status(204);
    assert!(!setup.lets_in("admin", "admin-1").await);
    setup.rotate("app").await;
    let (user, password, _) = setup.credential("app").await;
    assert!(setup.lets_in(&user, &password).await);

    // Somebody takes it back.
    setup.database.run("postgres", "ALTER ROLE admin PASSWORD 'admin-2'").await;
    setup.http.post("database/config/pg", json!({ "password": "admin-2" })).await.expect_status(204);
    setup.rotate("app").await;
}

#[tokio::test]
async fn a_password_that_the_server_refuses_leaves_the_old_one() {
    let setup = Setup::start().await;
    setup.static_role("app", json!({ "username": "app", "rotation_period": "24h" })).await;
    let before = setup.credential("app").await;
    let refusing = "DO $$ BEGIN RAISE EXCEPTION 'password is too weak'; END $$";
    for (statements, text) in [(refusing, "password is too weak"), ("SELECT 1", "the former password still logs in")] {
        // A list within the text keeps the block in one piece.
        let statements = json!([json!([statements]).to_string()]);
        setup.static_role("app", json!({ "rotation_statements": statements })).await;
        let refused = setup.http.post("database/rotate-role/app", json!({})).await.expect_status(400);
        assert!(refused.error().contains(text), "{}", refused.error());
        let now = setup.credential("app").await;
        assert_eq!((&now.0, &now.1), (&before.0, &before.1));
        assert!(setup.lets_in(&now.0, &now.1).await);
    }
    setup.static_role("app", json!({ "rotation_statements": [] })).await;
    setup.rotate("app").await;
    assert!(!setup.lets_in(&before.0, &before.1).await);
}

/// Asks for a path again and again until the engine is gone; returns how often it succeeded.
async fn hammer(http: Http, path: &'static str) -> usize {
    let headers = [("content-type", "application/json")];
    let mut done = 0;
    while let Ok(answer) = http.send("POST", path, &headers, "{}").await {
        // A change that the last life has left undecided may have to be waited for.
        assert!(matches!(answer.status, 204 | 400 | 502 | 503), "{path}: {}", answer.status);
        done += usize::from(answer.status == 204);
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_rotations_loses_no_password() {
    let mut setup = Setup::start().await;
    for name in ["app", "a", "b"] {
        setup.static_role(name, json!({ "username": name, "rotation_period": "5s" })).await;
    }
    let (mut rotations, mut roots) = (0, 0);
    for _ in 0..KILLS {
        let paths = ["database/rotate-role/app", "database/rotate-role/a", "database/rotate-role/b"];
        let roles: Vec<_> = paths.map(|path| tokio::spawn(hammer(setup.http.clone(), path))).into();
        let root = tokio::spawn(hammer(setup.http.clone(), "database/rotate-root/pg"));
        let moment = 300 + u64::from(SystemRandom.below(700));
        tokio::time::sleep(Duration::from_millis(moment)).await;
        setup.lessor.kill().await;
        for role in roles {
            rotations += role.await.unwrap();
        }
        roots += root.await.unwrap();
        setup.lessor.start_again().await;
        setup.lessor.unsealed().await;
        for name in ["app", "a", "b"] {
            eventually("what is handed out logs in", SOON, || async {
                let answer = setup.http.get(&format!("database/static-creds/{name}")).await;
                if answer.status != 200 {
                    return Err(format!("{}: {}", answer.status, answer.body["errors"]));
                }
                let (user, password) = (answer.text("/data/username"), answer.text("/data/password"));
                if setup.lets_in(user, password).await { Ok(()) } else { Err(format!("{user} is refused")) }
            })
            .await;
        }
        // The engine's own login works, too, or else this could not.
        eventually("the engine can change passwords", SOON, || async {
            let answer = setup.http.post("database/rotate-role/app", json!({})).await;
            if answer.status == 204 { Ok(()) } else { Err(answer.body["errors"].to_string()) }
        })
        .await;
    }
    eprintln!("{KILLS} kills: {rotations} static rotations and {roots} root rotations, no password lost");
    assert!(rotations >= KILLS && roots >= KILLS / 2, "too little was under way");
    setup.http.post("database/rotate-root/pg", json!({})).await.expect_status(204);
}
