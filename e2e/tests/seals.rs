//! Seals of running engines: shares after a kill, and the recovery key of an engine that set itself up.

use lessor_e2e::http::Http;
use lessor_e2e::installed::unveiled;
use lessor_e2e::lessor::Lessor;
use serde_json::json;

#[tokio::test]
async fn an_engine_with_shares_is_sealed_after_every_start() {
    let mut lessor = Lessor::server_sealed_by("seal \"shamir\" {}").await;
    let http = lessor.http();
    http.get("sys/health").await.expect_status(501);
    let made = http.post("sys/init", json!({ "secret_shares": 3, "secret_threshold": 2 })).await.expect_status(200);
    let key = |at: usize| made.text(&format!("/keys_base64/{at}")).to_owned();
    let root = http.with_token(made.text("/root_token"));
    for start in 0..3 {
        http.get("sys/health").await.expect_status(503);
        let sealed = root.get("sys/mounts").await.expect_status(503);
        assert_eq!(sealed.error(), "Vault is sealed");
        let first = http.post("sys/unseal", json!({ "key": key(start) })).await.expect_status(200);
        assert_eq!((&first.body["progress"], &first.body["sealed"]), (&json!(1), &json!(true)));
        let second = http.post("sys/unseal", json!({ "key": key((start + 1) % 3) })).await.expect_status(200);
        assert_eq!(second.body["sealed"], json!(false));
        root.get("sys/mounts").await.expect_status(200);
        lessor.kill().await;
        lessor.start_again().await;
    }
}

async fn generate_root(http: &Http, key: &str) -> String {
    let begun = http.post("sys/generate-root/attempt", json!({})).await.expect_status(200);
    let body = json!({ "nonce": begun.text("/nonce"), "key": key });
    let done = http.post("sys/generate-root/update", body).await.expect_status(200);
    unveiled(done.text("/encoded_token"), begun.text("/otp"))
}

#[tokio::test]
async fn an_administrator_gets_into_an_engine_that_set_itself_up() {
    let seal = "seal \"static\" { current_key_id = \"a\" current_key = \"0123456789abcdef0123456789abcdef\" }\n\
        bootstrap {\n recovery_key = \"fedcba9876543210fedcba9876543210\"\n database { path = \"database\" }\n}";
    let lessor = Lessor::server_sealed_by(seal).await;
    lessor.unsealed().await;
    let http = lessor.http();
    // Base64 of the 32 characters, as a Kubernetes Secret shows them.
    let root = generate_root(&http, "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=").await;
    let administrator = http.with_token(&root);
    let mounts = administrator.get("sys/mounts").await.expect_status(200);
    assert!(mounts.body["data"]["database/"].is_object());
    lessor.has_logged("a root token was generated with shares").await;
    assert!(!lessor.log().contains(&root));

    let begun = http.post("sys/rekey-recovery-key/init", json!({ "secret_shares": 2, "secret_threshold": 2 })).await;
    let body = json!({ "nonce": begun.expect_status(200).text("/nonce"), "key": "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=" });
    let done = http.post("sys/rekey-recovery-key/update", body).await.expect_status(200);
    assert_eq!(done.body["keys"].as_array().map(Vec::len), Some(2));
    administrator.post("sys/seal", json!({})).await.expect_status(204);
    http.get("sys/health").await.expect_status(503);
    http.post("sys/unseal", json!({})).await.expect_status(200);
    administrator.get("sys/mounts").await.expect_status(200);
}

#[tokio::test]
async fn a_kill_during_initialisation_leaves_no_half_engine() {
    for round in 0..8_u64 {
        let mut lessor = Lessor::server().await;
        let http = lessor.http();
        let asked = http.clone();
        let asking = tokio::spawn(async move {
            asked.try_post("sys/init", json!({ "recovery_shares": 1, "recovery_threshold": 1 })).await.ok()
        });
        tokio::time::sleep(std::time::Duration::from_millis(2 * round)).await;
        lessor.kill().await;
        let answered = asking.await.unwrap();
        lessor.start_again().await;
        let initialised = http.get("sys/init").await.body["initialized"] == json!(true);
        if let Some(answer) = answered {
            assert!(initialised, "whoever was given a root token can use it");
            lessor.unsealed().await;
            http.with_token(answer.text("/root_token")).get("sys/mounts").await.expect_status(200);
        } else if !initialised {
            let root = lessor.initialise().await;
            http.with_token(&root).get("sys/mounts").await.expect_status(200);
        }
    }
}
