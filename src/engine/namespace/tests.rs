//! Whole engines, with namespaces and without, stopped or killed and started again on the same store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::auth::{LeaseOwner, Login, Outcome, TokenParams};
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
use crate::storage::dying::Dying;
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
    core.shared.directory.amend("team/", tainted).await.unwrap();
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

#[tokio::test]
async fn a_namespace_that_gets_a_child_meanwhile_is_not_deleted() {
    let asked = Asked::start(Arc::new(Memory::default()), None).await;
    asked.write("sys/namespaces/team", json!({})).await;
    let core = asked.engine.core().unwrap();
    let space = core.shared.directory.get("team/").unwrap();
    let held = core.shared.directory.changing.lock().await;
    // Both wait for their turn, in this order.
    let release = async { drop(held) };
    let (made, deleted, ()) =
        tokio::join!(core.make_namespace("team/sub/", Metadata::new()), core.shared.directory.delete(space), release);
    assert_eq!((made.unwrap().path.as_str(), deleted.unwrap_err().status()), ("team/sub/", 400));
    assert!(!core.shared.directory.get("team/").unwrap().record.tainted);
}

#[tokio::test]
async fn a_deletion_that_comes_late_leaves_the_next_namespace_of_that_path() {
    let asked = Asked::start(Arc::new(Memory::default()), None).await;
    asked.write("sys/namespaces/team", json!({})).await;
    let core = asked.engine.core().unwrap();
    let first = core.shared.directory.get("team/").unwrap();
    asked.ask(&asked.root, Operation::Delete, "sys/namespaces/team", Value::Null).await.unwrap();
    asked.write("sys/namespaces/team", json!({})).await;
    let second = core.shared.directory.get("team/").unwrap().record.id.clone();
    assert!(!core.shared.directory.remove(&first.record) && first.record.id != second);
    assert_eq!(core.shared.directory.get("team/").unwrap().record.id, second);
}

#[tokio::test]
async fn a_login_that_outlasts_its_method_leaves_no_token() {
    let asked = Asked::start(Arc::new(Memory::default()), None).await;
    asked.write("sys/auth/approle", json!({ "type": "approle" })).await;
    let core = asked.engine.core().unwrap();
    let entry = core.methods.get("approle/").unwrap().entry.clone();
    asked.ask(&asked.root, Operation::Delete, "sys/auth/approle", Value::Null).await.unwrap();
    let before = core.tokens.accessors().await.unwrap();
    let login = Login {
        display_name: "late".into(),
        metadata: Default::default(),
        alias: None,
        groups: Vec::new(),
        token: TokenParams::default(),
        owner: LeaseOwner::Token,
    };
    let refused = core.outcome(Outcome::login(login), ("auth/approle/login", None), &entry).await.unwrap_err();
    assert_eq!((refused.status(), core.tokens.accessors().await.unwrap()), (403, before));
}

/// Does something on an engine that is killed after every number of commits, and shows what is left to `check`.
async fn killed_anywhere(
    prepare: impl AsyncFn(&Asked) -> Secret,
    act: impl AsyncFn(&Asked) -> Result<Value, u16>,
    check: impl AsyncFn(&Asked, &Secret, usize),
) {
    for cut in 0.. {
        let inner = Arc::new(Memory::default());
        let first = Asked::start(inner.clone(), None).await;
        let kept = prepare(&first).await;
        first.engine.seal().await;
        let dying = Arc::new(Dying::new(inner.clone(), usize::MAX));
        let second = Asked::start(dying.clone(), Some(first.root.clone())).await;
        dying.set(cut);
        let done = act(&second).await;
        second.engine.seal().await;
        let third = Asked::start(inner, Some(first.root)).await;
        check(&third, &kept, cut).await;
        if done.is_ok() {
            assert!(cut >= 2, "{cut} commits");
            return;
        }
    }
}

#[tokio::test]
async fn a_mount_that_is_moved_loses_nothing_when_the_engine_is_killed() {
    let prepare = async |asked: &Asked| {
        asked.write("sys/mounts/kv", json!({ "type": "kv" })).await;
        asked.write("kv/x", json!({ "k": "v" })).await;
        asked.root.clone()
    };
    let remount = json!({ "from": "kv", "to": "moved" });
    let act = async |asked: &Asked| asked.ask(&asked.root, Operation::Write, "sys/remount", remount.clone()).await;
    let check = async |asked: &Asked, _: &Secret, cut: usize| {
        let read = async || asked.ask(&asked.root, Operation::Read, "moved/x", Value::Null).await;
        if read().await.is_err() {
            act(asked).await.unwrap_or_else(|status| panic!("cut {cut}: {status}"));
        }
        assert_eq!(read().await.unwrap()["data"], json!({ "k": "v" }), "cut {cut}");
    };
    killed_anywhere(prepare, act, check).await;
}

#[tokio::test]
async fn a_login_method_that_is_removed_leaves_no_token_when_the_engine_is_killed() {
    let prepare = async |asked: &Asked| {
        asked.write("sys/auth/approle", json!({ "type": "approle" })).await;
        asked.write("auth/approle/role/r", json!({ "role_id": "r" })).await;
        let secret = asked.write("auth/approle/role/r/secret-id", json!({})).await["data"]["secret_id"].clone();
        let login = asked.write("auth/approle/login", json!({ "role_id": "r", "secret_id": secret })).await;
        Secret::from(login["auth"]["client_token"].as_str().unwrap())
    };
    let act = async |asked: &Asked| asked.ask(&asked.root, Operation::Delete, "sys/auth/approle", Value::Null).await;
    let check = async |asked: &Asked, token: &Secret, cut: usize| {
        act(asked).await.unwrap();
        let own = asked.ask(token, Operation::Read, "auth/token/lookup-self", Value::Null).await;
        assert_eq!(own, Err(403), "cut {cut}");
    };
    killed_anywhere(prepare, act, check).await;
}
