//! Agents that are cut off, and the next ones, which go on with the same credential.

use super::*;

/// Runs an agent until everything is written, and cuts it off as kill -9 does.
async fn cut_off(engine: &FakeEngine, state: &Path) {
    let mut stage = Stage::start(engine, &[USER], json!({ "state_file": state })).await;
    stage.until_ready().await;
    eventually("the state file", || state.exists()).await;
    stage.task.abort();
    let _ = stage.task.await;
}

#[tokio::test]
async fn an_agent_that_is_killed_is_followed_by_one_with_the_same_credential() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    cut_off(&engine, &state).await;
    cut_off(&engine, &state).await;
    let mut stage = Stage::start(&engine, &[USER, PASSWORD], json!({ "state_file": state })).await;
    stage.until_ready().await;
    assert_eq!((stage.file("0"), stage.file("1")), ("user-1".into(), "pass-1".into()));
    eventually("the lease is looked after", || count(&engine, "PUT sys/leases/renew") > 0).await;
    assert_eq!((count(&engine, "GET database/creds/app"), count(&engine, "PUT auth/kubernetes/login")), (1, 1));
    stage.finish().await.unwrap();
    assert_eq!(engine.lines().last().unwrap(), "PUT auth/token/revoke-self");
    assert!(!state.exists(), "what is given back is for nobody");
}

#[tokio::test]
async fn a_token_that_has_nearly_ended_gets_its_whole_life_again() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" | "PUT auth/token/renew-self" => login(86_400),
        "GET database/creds/app" => credential(1, 3600),
        "PUT sys/leases/renew" => renewed(3600),
        _ => (204, Value::Null),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    cut_off(&engine, &state).await;
    let mut left: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    left["session"]["ends"] = json!("2026-01-01T00:00:02Z");
    std::fs::write(&state, left.to_string()).unwrap();
    let mut stage = Stage::start(&engine, &[USER], json!({ "state_file": state })).await;
    stage.until_ready().await;
    let renewals = || engine.seen().into_iter().filter(|seen| seen.path == "auth/token/renew-self").collect::<Vec<_>>();
    stage.advance_until(1, "the token's renewal", || !renewals().is_empty()).await;
    assert_eq!(renewals()[0].body["increment"], 86_400, "seconds would be renewed every second from then on");
}

#[tokio::test]
async fn so_does_one_that_somebody_else_has_made() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "GET auth/token/lookup-self" => (200, json!({"data": {"ttl": 2, "creation_ttl": 3600, "renewable": true}})),
        "PUT auth/token/renew-self" => login(3600),
        "GET database/creds/app" => credential(1, 3600),
        _ => (204, Value::Null),
    })
    .await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "s.given").unwrap();
    let method = json!({"type": "token_file", "config": {"token_file_path": token.path()}});
    let mut stage = Stage::start(&engine, &[USER], json!({ "auto_auth": { "method": method } })).await;
    stage.until_ready().await;
    stage.advance_until(1, "the token's renewal", || count(&engine, "PUT auth/token/renew-self") > 0).await;
    let renewal = engine.seen().into_iter().find(|seen| seen.path == "auth/token/renew-self").unwrap();
    assert_eq!(renewal.body["increment"], 3600);
}

#[tokio::test]
async fn a_lease_that_has_ended_meanwhile_is_replaced() {
    let engine = engine(3600, |_| (400, json!({"errors": ["lease not found"]}))).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    cut_off(&engine, &state).await;
    let stage = Stage::start(&engine, &[USER], json!({ "state_file": state })).await;
    eventually("another user", || stage.file("0") == "user-2").await;
}

#[tokio::test]
async fn a_sidecar_goes_on_with_what_the_init_container_has_fetched_also_without_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let first = engine(3600, |_| renewed(3600)).await;
    let once = Stage::start(&first, &[USER], json!({ "state_file": state, "exit_after_auth": true })).await;
    once.task.await.unwrap().unwrap();
    let down = FakeEngine::start(|_| (503, json!({"errors": ["Vault is sealed"]}))).await;
    let mut stage = Stage::start(&down, &[USER], json!({ "state_file": state })).await;
    stage.until_ready().await;
    assert_eq!(stage.file("0"), "user-1");
}

#[tokio::test]
async fn what_cannot_be_read_is_no_obstacle() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::write(&state, "{\"session\": 3}").unwrap();
    let mut stage = Stage::start(&engine, &[USER], json!({ "state_file": state })).await;
    stage.until_ready().await;
    assert_eq!(stage.file("0"), "user-1");
}

#[tokio::test]
async fn an_agent_that_ends_beside_its_application_leaves_a_workloads_leases_alone() {
    for (owner, revoked) in [("workload", 0), ("token", 1)] {
        let engine = FakeEngine::start(move |seen| match seen.line().as_str() {
            "PUT auth/kubernetes/login" => {
                let metadata = json!({ "lease_owner": owner });
                (200, json!({"auth": {"client_token": "s.t", "lease_duration": 900, "metadata": metadata}}))
            }
            "GET database/creds/app" => credential(1, 3600),
            _ => (204, Value::Null),
        })
        .await;
        let mut stage = Stage::start(&engine, &[USER], json!({ "revoke_on_shutdown": false })).await;
        stage.until_ready().await;
        stage.finish().await.unwrap();
        assert_eq!(count(&engine, "PUT sys/leases/revoke"), revoked, "{owner}: nobody else would end those of a token");
        assert_eq!(engine.lines().last().unwrap(), "PUT auth/token/revoke-self");
    }
}

#[tokio::test]
async fn an_agent_that_fails_while_its_application_works_takes_nothing_from_it() {
    let logins = AtomicU32::new(0);
    let engine = FakeEngine::start(move |seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" if logins.fetch_add(1, Ordering::SeqCst) > 0 => {
            (403, json!({"errors": ["permission denied"]}))
        }
        "PUT auth/kubernetes/login" => (200, json!({"auth": {"client_token": "s.t", "lease_duration": 900}})),
        "GET database/creds/app" => credential(1, 86_400),
        _ => (204, Value::Null),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (state, jwt) = (folder.path().join("state"), folder.path().join("jwt"));
    std::fs::write(&jwt, "the-jwt").unwrap();
    let method = json!({"type": "kubernetes", "exit_on_err": true, "config": {"role": "app", "token_path": jwt}});
    let extra = json!({ "state_file": state, "auto_auth": { "method": method } });
    let mut stage = Stage::start(&engine, &[USER], extra).await;
    stage.until_ready().await;
    stage.advance_until(60, "the second login", || count(&engine, "PUT auth/kubernetes/login") == 2).await;
    stage.task.await.unwrap().unwrap_err();
    assert!(state.exists(), "the next one goes on");
    assert_eq!((count(&engine, "PUT sys/leases/revoke"), count(&engine, "PUT auth/token/revoke-self")), (0, 0));
}
