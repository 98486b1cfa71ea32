//! An agent that writes everything and ends, and the one that goes on: one login, one credential.

use super::*;

const END: &str = "PUT auth/token/revoke-self";

#[tokio::test]
async fn two_agents_share_one_start() {
    let engine = FakeEngine::start(|seen| match seen.line().as_str() {
        "PUT auth/kubernetes/login" | "PUT auth/token/renew-self" => login(86_400),
        "GET database/creds/app" => credential(1, 3600),
        "PUT sys/leases/renew" => renewed(3600),
        _ => (204, Value::Null),
    })
    .await;
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().join("handover");
    let fields = |once: bool| json!({"handover": path, "exit_after_auth": once});

    let first = Stage::start(&engine, &[USER, PASSWORD], fields(true)).await;
    assert_eq!(first.task.await.unwrap().unwrap(), 0);
    assert_eq!(std::fs::read_to_string(first.folder.path().join("0")).unwrap(), "user-1");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let mut second = Stage::start(&engine, &[USER, PASSWORD], fields(false)).await;
    second.until_ready().await;
    assert_eq!((second.file("0"), second.file("1")), ("user-1".into(), "pass-1".into()));
    assert!(!path.exists(), "it is taken once");
    // What has lost some of its life is renewed at once.
    eventually("the renewals", || {
        count(&engine, "PUT sys/leases/renew") == 1 && count(&engine, "PUT auth/token/renew-self") == 1
    })
    .await;
    assert_eq!((count(&engine, "PUT auth/kubernetes/login"), count(&engine, "GET database/creds/app")), (1, 1));
    second.finish().await.unwrap();
    assert_eq!((count(&engine, "PUT sys/leases/revoke"), count(&engine, END)), (1, 1), "and given back by the second");
}

#[tokio::test]
async fn without_a_handover_or_with_a_broken_one_the_second_logs_in() {
    let engine = engine(3600, |_| renewed(3600)).await;
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().join("handover");
    for broken in [None, Some("{")] {
        if let Some(text) = broken {
            std::fs::write(&path, text).unwrap();
        }
        let before = count(&engine, "PUT auth/kubernetes/login");
        let mut stage = Stage::start(&engine, &[USER], json!({"handover": path})).await;
        stage.until_ready().await;
        assert_eq!(count(&engine, "PUT auth/kubernetes/login"), before + 1);
        stage.finish().await.unwrap();
    }
}
