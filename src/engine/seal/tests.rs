//! Whole engines sealed and unsealed, with shares handed in over the API; and initialisation cut off at every step.

#[cfg(feature = "pgp")]
mod pgp;

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::shamir::Scheme;
use super::{SealKey, Sealing, StaticSeal};
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;
use crate::base::shutdown::{self, Trigger};
use crate::base::{Random as _, Secret};
use crate::engine::bootstrap::{Plan, RecoveryKey};
use crate::engine::core::Settings;
use crate::engine::request::{Headers, Incoming, Reply};
use crate::engine::{Engine, Parts};
use crate::storage::dying::Dying;
use crate::storage::memory::Memory;
use crate::storage::{Backend, Error as StorageError};
use crate::wire::Operation;

/// An engine that is asked as the server asks it.
struct Asked {
    engine: Arc<Engine>,
    _stop: Trigger,
}

fn fixed() -> Sealing {
    Sealing::Auto(Box::new(StaticSeal::new(SealKey::new("a", [1; 32]), None, Arc::new(SystemRandom))))
}

impl Asked {
    fn new(raw: Arc<dyn Backend>, seal: Sealing, plan: Plan) -> Self {
        let (stop, shutdown) = shutdown::channel();
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let engine = Engine::new(Parts { raw, seal, settings: Settings::default(), plan, clock, random, shutdown });
        Self { engine, _stop: stop }
    }

    /// Status and body; of an error its text.
    async fn ask(&self, token: &str, operation: Operation, path: &str, body: Value) -> (u16, Value) {
        let incoming = Incoming {
            id: SystemRandom.uuid(),
            operation,
            path: path.into(),
            fields: body.as_object().cloned().unwrap_or_default().into(),
            token: (!token.is_empty()).then(|| token.into()),
            namespace: None,
            wrap_ttl: None,
            workload: None,
            address: None,
            port: 0,
            certificates: Default::default(),
            headers: Headers::default(),
        };
        match self.engine.handle(incoming).await {
            Ok(Reply::Empty(status)) => (status, Value::Null),
            Ok(Reply::Raw(status, body)) => (status, body),
            Ok(Reply::Envelope { envelope, .. }) => (200, envelope.data.unwrap_or_default()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => (error.status(), json!(error.to_string())),
        }
    }

    async fn write(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("", Operation::Write, path, body).await
    }

    async fn read(&self, token: &str, path: &str) -> (u16, Value) {
        self.ask(token, Operation::Read, path, Value::Null).await
    }
}

/// An engine with three shares, of which two open it; the shares, and its root token.
async fn shared() -> (Asked, Vec<String>, String) {
    let asked = Asked::new(Arc::new(Memory::default()), Sealing::Shamir, Plan::default());
    let (status, made) = asked.write("sys/init", json!({ "secret_shares": 3, "secret_threshold": 2 })).await;
    assert_eq!(status, 200, "{made}");
    let keys = made["keys_base64"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect();
    assert!(made["recovery_keys"].is_null());
    (asked, keys, made["root_token"].as_str().unwrap().to_owned())
}

async fn unseal(asked: &Asked, keys: &[String]) -> Value {
    asked.write("sys/unseal", json!({ "key": keys[0] })).await;
    asked.write("sys/unseal", json!({ "Key": keys[1] })).await.1
}

#[tokio::test]
async fn shares_open_what_sealing_closed() {
    let (asked, keys, root) = shared().await;
    assert_eq!(asked.read(&root, "sys/mounts").await, (503, json!("Vault is sealed")));
    assert_eq!(asked.read("", "sys/health").await.0, 503);
    assert_eq!(asked.write("sys/rekey/init", json!({})).await.0, 503);
    let text = "'key' must be specified in request body as JSON, or 'reset' set to true";
    assert_eq!(asked.write("sys/unseal", json!({})).await, (400, json!(text)));
    let text = "'key' must be a valid hex or base64 string";
    assert_eq!(asked.write("sys/unseal", json!({ "key": "?" })).await, (400, json!(text)));
    assert_eq!(asked.write("sys/unseal", json!({ "migrate": true, "key": keys[0] })).await.0, 400);

    let first = asked.write("sys/unseal", json!({ "key": keys[2] })).await.1;
    assert_eq!((&first["sealed"], &first["progress"]), (&json!(true), &json!(1)));
    assert_eq!((&first["t"], &first["n"], &first["type"]), (&json!(2), &json!(3), &json!("shamir")));
    assert_eq!(first["nonce"].as_str().unwrap().len(), 36);
    let reset = asked.write("sys/unseal", json!({ "reset": true })).await.1;
    assert_eq!((&reset["progress"], &reset["nonce"]), (&json!(0), &json!("")));
    let open = unseal(&asked, &keys).await;
    assert_eq!((&open["sealed"], &open["progress"], &open["recovery_seal"]), (&json!(false), &json!(0), &json!(false)));
    assert_eq!(asked.read(&root, "sys/mounts").await.0, 200);

    assert_eq!(asked.write("sys/seal", json!({})).await.0, 403);
    assert_eq!(asked.ask(&root, Operation::Write, "sys/seal", Value::Null).await.0, 204);
    assert_eq!(asked.read(&root, "sys/mounts").await.0, 503);
    unseal(&asked, &keys).await;
    assert_eq!(asked.read(&root, "sys/mounts").await.0, 200, "mounts and tokens are as they were");
}

#[tokio::test]
async fn an_engine_that_opens_itself_is_sealed_until_it_is_asked_to() {
    let asked = Asked::new(Arc::new(Memory::default()), fixed(), Plan::default());
    assert_eq!(asked.write("sys/init", json!({ "secret_shares": 5, "secret_threshold": 3 })).await.0, 400);
    assert_eq!(asked.write("sys/init", json!({ "recovery_shares": 1, "recovery_pgp_keys": ["a"] })).await.0, 400);
    let body = json!({ "secret_shares": 5, "secret_threshold": 3, "recovery_shares": 3, "recovery_threshold": 2 });
    let made = asked.write("sys/init", body).await.1;
    assert_eq!((made["recovery_keys"].as_array().unwrap().len(), &made["keys"]), (3, &json!([])));
    let root = made["root_token"].as_str().unwrap();
    assert_eq!(asked.ask(root, Operation::Write, "sys/seal", Value::Null).await.0, 204);
    assert_eq!(asked.read(root, "sys/mounts").await.0, 503);
    assert_eq!(asked.write("sys/unseal", json!({})).await.1["sealed"], false);
    assert_eq!(asked.read(root, "sys/mounts").await.0, 200);
}

#[tokio::test]
async fn the_key_is_divided_anew_once_the_new_shares_are_proved() {
    let (asked, keys, root) = shared().await;
    unseal(&asked, &keys).await;
    assert_eq!(asked.write("sys/rekey-recovery-key/init", json!({})).await.0, 400, "there is none");
    for wrong in [json!({}), json!({ "secret_shares": 2, "secret_threshold": 3 }), json!({ "pgp_keys": ["a"] })] {
        assert_eq!(asked.write("sys/rekey/init", wrong.clone()).await.0, 400, "{wrong}");
    }
    let body = json!({ "secret_shares": 2, "secret_threshold": 2, "require_verification": true });
    let begun = asked.write("sys/rekey/init", body.clone()).await.1;
    assert_eq!((&begun["started"], &begun["required"], &begun["n"]), (&json!(true), &json!(2), &json!(2)));
    assert_eq!(asked.write("sys/rekey/init", body).await.0, 400, "one at a time");
    let nonce = &begun["nonce"];
    assert_eq!(asked.write("sys/rekey/update", json!({ "key": keys[0], "nonce": "other" })).await.0, 400);
    let more = asked.write("sys/rekey/update", json!({ "key": keys[0], "nonce": nonce })).await.1;
    assert_eq!(more["progress"], 1);
    let done = asked.write("sys/rekey/update", json!({ "key": keys[1], "nonce": nonce })).await.1;
    assert_eq!((&done["complete"], done["keys"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(asked.read("", "sys/rekey/verify").await.1["n"], 2);
    let new: Vec<String> = serde_json::from_value(done["keys"].clone()).unwrap();

    let wrong = json!({ "key": keys[0], "nonce": done["verification_nonce"] });
    asked.write("sys/rekey/verify", wrong).await;
    let proof = |key: &str| json!({ "key": key, "nonce": done["verification_nonce"] });
    assert_eq!(asked.write("sys/rekey/verify", proof(&new[0])).await.0, 400, "an old share among them");
    asked.write("sys/rekey/verify", proof(&new[0])).await;
    let proved = asked.write("sys/rekey/verify", proof(&new[1])).await;
    assert_eq!((proved.0, &proved.1["complete"]), (200, &json!(true)));
    assert_eq!(asked.read("", "sys/rekey/init").await.1["started"], false);

    asked.ask(&root, Operation::Write, "sys/seal", Value::Null).await;
    assert_eq!(asked.write("sys/unseal", json!({ "key": keys[0] })).await.0, 200);
    assert_eq!(asked.write("sys/unseal", json!({ "key": keys[1] })).await.0, 400, "the old shares open nothing");
    assert_eq!(unseal(&asked, &new).await["sealed"], false);
}

/// What is behind the pad.
fn decode(encoded: &Value, otp: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded.as_str().unwrap()).unwrap();
    bytes.iter().zip(otp.bytes()).map(|(a, b)| char::from(a ^ b)).collect()
}

#[tokio::test]
async fn enough_shares_make_a_root_token() {
    let (asked, keys, root) = shared().await;
    unseal(&asked, &keys).await;
    assert_eq!(asked.read("", "sys/generate-root/attempt").await.1["started"], false);
    assert_eq!(asked.write("sys/generate-root/attempt", json!({ "otp": "short" })).await.0, 400);
    let begun = asked.write("sys/generate-root/attempt", json!({})).await.1;
    let otp = begun["otp"].as_str().unwrap().to_owned();
    assert_eq!((otp.len(), &begun["otp_length"]), (28, &json!(28)));
    assert_eq!(asked.read("", "sys/generate-root/attempt").await.1["otp"], "", "it is shown once");
    let nonce = begun["nonce"].as_str().unwrap().to_owned();
    let share = |key: &str| json!({ "key": key, "nonce": nonce });
    assert_eq!(asked.write("sys/generate-root/update", share(&keys[0])).await.1["progress"], 1);
    let done = asked.write("sys/generate-root/update", share(&keys[2])).await.1;
    assert_eq!((&done["complete"], &done["encoded_root_token"]), (&json!(true), &done["encoded_token"]));
    let token = decode(&done["encoded_token"], &otp);
    assert_eq!(asked.read(&token, "sys/mounts").await.0, 200);

    // With a token, too, and with sudo only.
    assert_eq!(asked.read("", "sys/generate-root-token/attempt").await.0, 403);
    let made = asked.ask(&root, Operation::Write, "auth/token/create", json!({ "policies": ["default"] })).await;
    assert_eq!(made.0, 200);
    let begun = asked.ask(&root, Operation::Write, "sys/generate-root-token/attempt", json!({})).await.1;
    assert_eq!(begun["started"], true);
    assert_eq!(asked.ask("", Operation::Delete, "sys/generate-root/attempt", Value::Null).await.0, 204);
    assert_eq!(asked.write("sys/generate-root/update", share(&keys[0])).await.0, 400, "cancelled");
}

#[tokio::test]
async fn whoever_has_the_configured_recovery_key_gets_into_a_bootstrapped_engine() {
    let raw: Arc<dyn Backend> = Arc::new(Memory::default());
    let plan = |key: [u8; 32]| Plan {
        database: Some("database".into()),
        recovery_key: Some(RecoveryKey(Zeroizing::new(key))),
        ..Plan::default()
    };
    for key in [[7; 32], [8; 32]] {
        let asked = Asked::new(raw.clone(), fixed(), plan(key));
        asked.engine.start().await.unwrap();
        let otp = "0123456789abcdefghijklmnopqr";
        let nonce = asked.write("sys/generate-root/attempt", json!({ "otp": otp })).await.1["nonce"].clone();
        let wrong = json!({ "nonce": nonce, "key": base64::engine::general_purpose::STANDARD.encode([1; 32]) });
        assert_eq!(asked.write("sys/generate-root/update", wrong).await.0, 400);
        let right = json!({ "nonce": nonce, "key": base64::engine::general_purpose::STANDARD.encode(key) });
        let done = asked.write("sys/generate-root/update", right).await.1;
        let token = decode(&done["encoded_token"], otp);
        let mounts = asked.read(&token, "sys/mounts").await;
        assert!(mounts.1["database/"].is_object(), "{mounts:?}");
        assert_eq!(asked.write("sys/rekey/init", json!({})).await.0, 400, "the seal's key is the configuration's");
        assert_eq!(asked.read("", "sys/rekey-recovery-key/init").await.1["required"], 1);
        asked.engine.seal().await;
    }
}

#[tokio::test]
async fn an_initialisation_that_is_cut_off_anywhere_can_be_begun_anew() {
    let plan = || Plan { database: Some("database".into()), ..Plan::default() };
    let mut cut = 0;
    loop {
        let inner = Arc::new(Memory::default());
        let dying = Arc::new(Dying::new(inner.clone(), cut));
        if Asked::new(dying, fixed(), plan()).engine.initialize(Scheme::ONE).await.is_ok() {
            break;
        }
        let again = Asked::new(inner, fixed(), plan());
        assert_eq!(again.read("", "sys/init").await.1, json!({ "initialized": false }), "cut {cut}");
        assert_eq!(again.read("", "sys/health").await.0, 501, "cut {cut}");
        let made = again.write("sys/init", json!({ "recovery_shares": 1, "recovery_threshold": 1 })).await.1;
        let root = made["root_token"].as_str().unwrap_or_else(|| panic!("cut {cut}: {made}"));
        let mounts = again.read(root, "sys/mounts").await.1;
        assert!(mounts["database/"].is_object(), "cut {cut}");
        cut += 1;
    }
    assert!(cut >= 6, "{cut} steps");
}

#[tokio::test]
async fn what_was_begun_before_sealing_reaches_nothing_afterwards() {
    let (asked, keys, root) = shared().await;
    unseal(&asked, &keys).await;
    let old = asked.engine.core().unwrap();
    asked.engine.seal().await;
    unseal(&asked, &keys).await;
    assert!(matches!(old.tokens.find(&Secret::new(root)).await, Err(StorageError::Sealed)));
}
