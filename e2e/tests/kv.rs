//! Secrets that people keep: what was answered survives `kill -9`, and wrapped credentials stay with who asked for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lessor_e2e::environment::unique;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::http::{Failure, Http};
use lessor_e2e::lessor::Lessor;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::json;

const WRITERS: usize = 6;
const KILLS: usize = 4;

/// What a writer has been promised: the number of its latest version, which is also what stands in it.
type Promised = Arc<Mutex<Vec<u64>>>;

/// Writes versions until the engine is gone. Each says its own number, and `cas` makes sure that it gets that number.
async fn write(http: Http, writer: usize, promised: Promised, answered: Arc<AtomicUsize>) {
    loop {
        let next = promised.lock().unwrap()[writer] + 1;
        let body = json!({ "data": { "number": next }, "options": { "cas": next - 1 } });
        let Ok(answer) = http.try_post(&format!("kv/data/w/{writer}"), body).await else { return };
        assert_eq!(answer.expect_status(200).body["data"]["version"], json!(next));
        promised.lock().unwrap()[writer] = next;
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// After a kill there is what was answered, and at most the one version more whose answer did not get through.
async fn prove(http: &Http, writer: usize, promised: &Promised) {
    let answered = promised.lock().unwrap()[writer];
    let metadata = http.get(&format!("kv/metadata/w/{writer}")).await.expect_status(200);
    let current = metadata.body["data"]["current_version"].as_u64().unwrap();
    assert!(current == answered || current == answered + 1, "{answered} answered, {current} found");
    for number in metadata.body["data"]["versions"].as_object().unwrap().keys() {
        let read = http.get(&format!("kv/data/w/{writer}?version={number}")).await.expect_status(200);
        assert_eq!(read.body["data"]["data"]["number"].as_u64().unwrap().to_string(), *number);
    }
    promised.lock().unwrap()[writer] = current;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_version_that_was_answered() {
    let mut lessor = Lessor::server().await;
    let root = lessor.initialise().await;
    let http = lessor.http().with_token(&root);
    http.post("sys/mounts/kv", json!({ "type": "kv-v2" })).await.expect_status(204);
    http.post("cubbyhole/mine", json!({ "k": "v" })).await.expect_status(204);
    let wrap = [("X-Vault-Wrap-TTL", "10m")];
    let wrapped = http.send("GET", "cubbyhole/mine", &wrap, "").await.unwrap().expect_status(200);
    let promised: Promised = Arc::new(Mutex::new(vec![0; WRITERS]));
    for _ in 0..KILLS {
        let answered = Arc::<AtomicUsize>::default();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(http.clone(), writer, promised.clone(), answered.clone())))
            .collect();
        let enough = || async {
            let done = answered.load(Ordering::SeqCst);
            if done >= 20 * WRITERS { Ok(()) } else { Err(done) }
        };
        eventually("some versions are written", Duration::from_secs(60), enough).await;
        lessor.kill().await;
        for writer in writers {
            writer.await.unwrap();
        }
        lessor.start_again().await;
        lessor.unsealed().await;
        for writer in 0..WRITERS {
            prove(&http, writer, &promised).await;
        }
    }
    let mine = http.get("cubbyhole/mine").await.expect_status(200);
    assert_eq!(mine.body["data"], json!({ "k": "v" }));
    let token = json!({ "token": wrapped.text("/wrap_info/token") });
    let unwrapped = http.post("sys/wrapping/unwrap", token.clone()).await.expect_status(200);
    assert_eq!(unwrapped.body["data"], json!({ "k": "v" }));
    http.post("sys/wrapping/unwrap", token).await.expect_status(400);
}

#[tokio::test]
async fn a_wrapped_credential_ends_with_the_token_that_asked_for_it() -> Result<(), Failure> {
    let lessor = Lessor::dev("root").await;
    let http = lessor.http().with_token("root");
    let role = unique("wrapped");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", postgres::connection(&postgres::address())).await.expect_status(204);
    let body = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h" });
    http.post(&format!("database/roles/{role}"), body).await.expect_status(204);
    let database = Postgres::connect().await;
    let policy = format!("path \"database/creds/{role}\" {{ capabilities = [\"read\"] }}");
    http.post("sys/policies/acl/reader", json!({ "policy": policy })).await.expect_status(204);
    let made = http.post("auth/token/create", json!({ "policies": ["reader"], "ttl": "1h" })).await.expect_status(200);
    let asker = lessor.http().with_token(made.text("/auth/client_token"));

    let wrap = [("X-Vault-Wrap-TTL", "1m")];
    let wrapped = asker.send("GET", &format!("database/creds/{role}"), &wrap, "").await?.expect_status(200);
    assert!(wrapped.body["data"].is_null() && wrapped.text("/lease_id").is_empty(), "nothing of it is told");
    let reader = lessor.http().with_token(wrapped.text("/wrap_info/token"));
    let credential = reader.post("sys/wrapping/unwrap", json!({})).await.expect_status(200);
    let user = credential.text("/data/username").to_owned();
    assert!(database.has_role(&user).await, "the end of the wrapping token is not its end");
    let lease = json!({ "lease_id": credential.text("/lease_id") });
    assert_eq!(http.post("sys/leases/renew", lease).await.expect_status(200).body["lease_duration"], json!(3600));
    asker.post("auth/token/revoke-self", json!({})).await.expect_status(204);
    eventually("its user is gone", Duration::from_secs(5), || async { equals(database.has_role(&user).await, false) })
        .await;
    Ok(())
}

#[tokio::test]
async fn a_credential_of_a_batch_token_ends_with_its_parent() {
    let lessor = Lessor::dev("root").await;
    let http = lessor.http().with_token("root");
    let role = unique("batch");
    http.post("sys/mounts/database", json!({ "type": "database" })).await.expect_status(204);
    http.post("database/config/pg", postgres::connection(&postgres::address())).await.expect_status(204);
    let body = json!({ "db_name": "pg", "creation_statements": postgres::CREATION, "default_ttl": "1h" });
    http.post(&format!("database/roles/{role}"), body).await.expect_status(204);
    let database = Postgres::connect().await;
    let policy = format!(
        "path \"database/creds/{role}\" {{ capabilities = [\"read\"] }}\npath \"auth/token/create\" {{ capabilities = [\"update\"] }}"
    );
    http.post("sys/policies/acl/reader", json!({ "policy": policy })).await.expect_status(204);
    let parent =
        http.post("auth/token/create", json!({ "policies": ["reader"], "ttl": "1h" })).await.expect_status(200);
    let parent = lessor.http().with_token(parent.text("/auth/client_token"));
    let batch = parent.post("auth/token/create", json!({ "type": "batch", "ttl": "10m" })).await.expect_status(200);
    let batch = lessor.http().with_token(batch.text("/auth/client_token"));
    let credential = batch.get(&format!("database/creds/{role}")).await.expect_status(200);
    let left = credential.body["lease_duration"].as_u64().unwrap();
    assert!((590..=600).contains(&left), "no longer than the token: {left}");
    let user = credential.text("/data/username").to_owned();
    parent.post("auth/token/revoke-self", json!({})).await.expect_status(204);
    eventually("its user is gone", Duration::from_secs(5), || async { equals(database.has_role(&user).await, false) })
        .await;
    batch.get("auth/token/lookup-self").await.expect_status(403);
}
