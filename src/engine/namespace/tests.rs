//! Whole engines with namespaces, stopped and started again on the same store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::shutdown::{self, Trigger};
use crate::base::{Random as _, Secret};
use crate::engine::bootstrap::Plan;
use crate::engine::core::Settings;
use crate::engine::request::{Headers, Incoming, Reply};
use crate::engine::seal::shamir::Scheme;
use crate::engine::seal::{SealKey, Sealing, StaticSeal};
use crate::engine::{Engine, Parts};
use crate::storage::memory::Memory;
use crate::storage::{Backend, View};
use crate::wire::Operation;

struct Asked {
    engine: Arc<Engine>,
    root: Secret,
    _stop: Trigger,
}

impl Asked {
    async fn start(raw: Arc<dyn Backend>, root: Option<Secret>) -> Self {
        let (stop, shutdown) = shutdown::channel();
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let seal = Sealing::Auto(Box::new(StaticSeal::new(SealKey::new("a", [1; 32]), None, random.clone())));
        let (settings, plan) = (Settings::default(), Plan::default());
        let engine = Engine::new(Parts { raw, seal, settings, plan, clock, random, shutdown });
        let root = match root {
            Some(root) => {
                engine.start().await.unwrap();
                root
            }
            None => engine.initialize(Scheme::ONE).await.unwrap().root_token().clone(),
        };
        Self { engine, root, _stop: stop }
    }

    async fn ask(&self, token: &Secret, operation: Operation, path: &str, body: Value) -> Result<Value, u16> {
        let incoming = Incoming {
            id: SystemRandom.uuid(),
            operation,
            path: path.into(),
            fields: body.as_object().cloned().unwrap_or_default().into(),
            token: Some(token.clone()),
            namespace: None,
            wrap_ttl: None,
            workload: None,
            address: None,
            port: 0,
            certificates: Default::default(),
            headers: Headers::default(),
        };
        match self.engine.handle(incoming).await {
            Ok(Reply::Envelope { envelope, .. }) => Ok(json!(envelope)),
            Ok(_) => Ok(Value::Null),
            Err(error) => Err(error.status()),
        }
    }

    async fn write(&self, path: &str, body: Value) -> Value {
        self.ask(&self.root, Operation::Write, path, body).await.unwrap()
    }
}

#[tokio::test]
async fn a_restart_finds_namespaces_with_all_they_hold() {
    let raw = Arc::new(Memory::default());
    let first = Asked::start(raw.clone(), None).await;
    let stored = View::new(raw.clone(), "");
    let before = stored.keys("").await.unwrap();
    first.write("sys/namespaces/team", json!({})).await;
    first.write("sys/namespaces/team/sub", json!({})).await;
    first.write("team/sub/sys/mounts/kv", json!({ "type": "kv" })).await;
    first.write("team/sub/kv/x", json!({ "k": "v" })).await;
    let policy = json!({ "policy": "path \"kv/*\" { capabilities = [\"read\"] }" });
    first.write("team/sub/sys/policies/acl/reader", policy).await;
    let made = first.write("team/sub/auth/token/create", json!({ "policies": "reader" })).await;
    let token = Secret::from(made["auth"]["client_token"].as_str().unwrap());
    let own = |key: &String| key.starts_with("namespace/") || key.starts_with("sys/namespace/");
    // The child of root's token is noted with its parent.
    let strange = |key: &&String| !before.contains(key) && !own(key) && !key.starts_with("sys/token/child/");
    let after = stored.keys("").await.unwrap();
    assert_eq!(after.iter().filter(strange).collect::<Vec<_>>(), Vec::<&String>::new(), "root's part is as it was");

    let root = first.root.clone();
    first.engine.seal().await;
    let again = Asked::start(raw.clone(), Some(root)).await;
    let read = again.ask(&token, Operation::Read, "team/sub/kv/x", Value::Null).await.unwrap();
    assert_eq!(read["data"], json!({ "k": "v" }));
    assert_eq!(again.ask(&token, Operation::Read, "team/kv/x", Value::Null).await, Err(403));

    for path in ["sys/namespaces/team/sub", "sys/namespaces/team"] {
        again.ask(&again.root, Operation::Delete, path, Value::Null).await.unwrap();
    }
    let left = stored.keys("").await.unwrap();
    assert_eq!(left.iter().filter(|key| !before.contains(key)).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_goes_on_after_a_restart() {
    let raw = Arc::new(Memory::default());
    let first = Asked::start(raw.clone(), None).await;
    first.write("sys/namespaces/team", json!({})).await;
    let core = first.engine.core().unwrap();
    let tainted = |record: &mut Record| {
        record.tainted = true;
        Ok(())
    };
    core.directory.amend("team/", tainted).await.unwrap();
    assert_eq!(first.ask(&first.root, Operation::Read, "team/sys/mounts", Value::Null).await, Err(404));
    let root = first.root.clone();
    first.engine.seal().await;
    let again = Asked::start(raw.clone(), Some(root)).await;
    for _ in 0..100_000 {
        if again.ask(&again.root, Operation::Read, "sys/namespaces/team", Value::Null).await == Err(404) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the namespace is still there");
}
