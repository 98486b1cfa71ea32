//! The lives of credentials and logins: outages, deadlines, and files that are used up by a login.

use super::*;

#[tokio::test]
async fn an_outage_is_no_trouble_before_the_credential_ends() {
    let down = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let issued = AtomicU32::new(0);
    let engine = FakeEngine::start({
        let down = Arc::clone(&down);
        let was_down = std::sync::atomic::AtomicBool::new(false);
        move |seen| match seen.line().as_str() {
            _ if down.load(Ordering::SeqCst) => {
                was_down.store(true, Ordering::SeqCst);
                (503, json!({"errors": ["Vault is sealed"]}))
            }
            // The outage is longer than the lease.
            "PUT sys/leases/renew" if was_down.load(Ordering::SeqCst) => (400, json!({"errors": ["lease not found"]})),
            "PUT auth/kubernetes/login" => login(0),
            "GET database/creds/app" => credential(issued.fetch_add(1, Ordering::SeqCst) + 1, 3600),
            "PUT sys/leases/renew" => renewed(3600),
            _ => (204, Value::Null),
        }
    })
    .await;
    let mut stage = Stage::start(&engine, &[USER], json!({})).await;
    stage.until_ready().await;
    let start = stage.clock.now();
    down.store(true, Ordering::SeqCst);
    let state = stage.state.clone();
    stage.advance_until(20, "the end", || !state.borrow().is_ready()).await;
    let lived = stage.clock.now().duration_since(start).as_secs();
    assert!(lived >= 3600, "{lived}");
    assert_eq!(stage.file("0"), "user-1", "what there is stays");
    let told = state.borrow().describe();
    assert!(told.contains("database/creds/app has ended: ") && told.contains("Vault is sealed"), "{told}");
    let attempts = engine.lines().len();
    assert!(attempts < 60, "{attempts} requests while it was down");
    down.store(false, Ordering::SeqCst);
    stage.advance_until(10, "another user", || stage.file("0") != "user-1" && state.borrow().is_ready()).await;
}

#[tokio::test]
async fn a_start_has_its_deadline_and_names_the_cause() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => (403, json!({"errors": ["permission denied"]})),
        _ => (204, Value::Null),
    })
    .await;
    let stage = Stage::start(&engine, &[USER], json!({"start_timeout": "30s", "exit_after_auth": true})).await;
    stage.advance_until(1, "the end", || stage.task.is_finished()).await;
    let error = stage.task.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "not every file was written within 30 s: cannot log in: auth/kubernetes/login: permission denied (HTTP 403)"
    );
}

#[tokio::test]
async fn a_secret_id_is_unwrapped_once_and_remembered() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT sys/wrapping/lookup" => (200, json!({"data": {"creation_path": "auth/approle/role/app/secret-id"}})),
        "PUT sys/wrapping/unwrap" => (200, json!({"data": {"secret_id": "the-secret-id"}})),
        "PUT auth/approle/login" if seen.body["secret_id"] == "the-secret-id" => login(900),
        "PUT auth/token/renew-self" => (400, json!({"errors": ["past its maximum"]})),
        "GET database/creds/app" => credential(1, 86_400),
        _ => (204, Value::Null),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (role, secret) = (folder.path().join("role"), folder.path().join("secret"));
    std::fs::write(&role, "the-role").unwrap();
    std::fs::write(&secret, "s.wrapping\n").unwrap();
    let origin = "auth/approle/role/app/secret-id";
    let config =
        json!({"role_id_file_path": role, "secret_id_file_path": secret, "secret_id_response_wrapping_path": origin});
    let extra = json!({"auto_auth": {"method": {"type": "approle", "config": config}}});
    let mut stage = Stage::start(&engine, &[USER], extra).await;
    stage.until_ready().await;
    assert!(!secret.exists(), "it is used up");
    assert_eq!(engine.lines()[..3], ["PUT sys/wrapping/lookup", "PUT sys/wrapping/unwrap", "PUT auth/approle/login"]);
    assert_eq!(engine.seen()[1].token, "s.wrapping");
    stage.advance_until(60, "a second login", || count(&engine, "PUT auth/approle/login") == 2).await;
    assert_eq!(count(&engine, "PUT sys/wrapping/unwrap"), 1);
}

#[tokio::test]
async fn a_wrapping_token_of_somebody_else_is_refused() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT sys/wrapping/lookup" => (200, json!({"data": {"creation_path": "sys/wrapping/wrap"}})),
        _ => (204, Value::Null),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, "s.trap").unwrap();
    let config =
        json!({"role_id_file_path": path, "secret_id_file_path": path, "secret_id_response_wrapping_path": "a/b"});
    let method = json!({"type": "approle", "exit_on_err": true, "config": config});
    let stage = Stage::start(&engine, &[USER], json!({"auto_auth": {"method": method}})).await;
    let error = telemetry::chain(&stage.task.await.unwrap().unwrap_err());
    assert!(error.contains("made by \"sys/wrapping/wrap\" and not by \"a/b\""), "{error}");
    assert!(path.exists(), "and kept to be looked into");
    assert_eq!(engine.lines(), ["PUT sys/wrapping/lookup"]);
}

#[tokio::test]
async fn every_sink_gets_the_token_and_one_of_them_wrapped() {
    let wrapped = json!({"token": "s.wrap", "accessor": "a", "ttl": 60, "creation_time": "t", "creation_path": "p"});
    let engine = FakeEngine::start(move |seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" => login(0),
        "PUT sys/wrapping/wrap" => (200, json!({ "wrap_info": wrapped.clone() })),
        _ => (204, Value::Null),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("jwt"), "x").unwrap();
    let extra = json!({"auto_auth": {
        "method": {"type": "kubernetes", "namespace": "team", "config": {"role": "app", "token_path": path("jwt")}},
        "sink": [
            {"type": "file", "config": {"path": path("plain"), "mode": "0600"}},
            {"type": "file", "wrap_ttl": "60s", "config": {"path": path("wrapped")}},
        ],
    }});
    let mut stage = Stage::start(&engine, &[], extra).await;
    stage.until_ready().await;
    eventually("the sinks", || path("wrapped").exists()).await;
    assert_eq!(std::fs::read_to_string(path("plain")).unwrap(), "s.token");
    let shown: Value = serde_json::from_str(&std::fs::read_to_string(path("wrapped")).unwrap()).unwrap();
    assert_eq!(shown["token"], "s.wrap");
    let seen = engine.seen();
    assert_eq!(seen[0].headers["x-vault-namespace"], "team");
    assert_eq!(
        (&seen[1].body, &seen[1].headers["x-vault-wrap-ttl"]),
        (&json!({"token": "s.token"}), &"60".parse().unwrap())
    );
    assert!(!seen[1].headers.contains_key("x-vault-namespace"));
}
