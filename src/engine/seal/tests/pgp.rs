//! Shares and root tokens that only the owners of PGP keys read: made, kept, used.

use base64::engine::general_purpose::STANDARD;

use super::super::pgp::testing::{decrypted, modern, sent};
use super::*;

/// What one of the values of an answer says to the owner of `key`: in base64, and the same in hexadecimal digits where that
/// is `hex`.
fn opened(base64: &Value, hex: Option<&Value>, key: &::pgp::composed::SignedSecretKey) -> String {
    let message = STANDARD.decode(base64.as_str().unwrap()).unwrap();
    if let Some(hex) = hex {
        assert_eq!(hex, &json!(message.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
    }
    decrypted(&message, key)
}

#[tokio::test]
async fn each_keeper_reads_one_share_and_somebody_the_root_token() {
    let asked = Asked::new(Arc::new(Memory::default()), Sealing::Shamir, Plan::default());
    let (ada, bob, eve) = (modern(), modern(), modern());
    let body = |keys: Value| json!({ "secret_shares": 2, "secret_threshold": 2, "pgp_keys": keys, "root_token_pgp_key": sent(&eve) });
    let refused = asked.write("sys/init", body(json!([sent(&ada)]))).await;
    assert_eq!(refused.0, 400);
    assert!(refused.1.as_str().unwrap().starts_with("incorrect number of PGP keys"), "{}", refused.1);
    let refused = asked.write("sys/init", body(json!([sent(&ada), "x"]))).await;
    assert!(refused.1.as_str().unwrap().starts_with("pgp_keys: key 2 of 2: is not base64"), "{}", refused.1);
    let wrong = json!({ "secret_shares": 1, "secret_threshold": 1, "recovery_pgp_keys": [sent(&ada)] });
    assert_eq!(asked.write("sys/init", wrong).await.0, 400, "there is no recovery key");
    assert_eq!(asked.read("", "sys/init").await.1, json!({ "initialized": false }));

    let (status, made) = asked.write("sys/init", body(json!([sent(&ada), sent(&bob)]))).await;
    assert_eq!(status, 200, "{made}");
    let keys = [&ada, &bob];
    let shares: Vec<String> =
        (0..2).map(|at| opened(&made["keys_base64"][at], Some(&made["keys"][at]), keys[at])).collect();
    let root = opened(&made["root_token"], None, &eve);
    assert_eq!(unseal(&asked, &shares).await["sealed"], false);
    assert_eq!(asked.read(&root, "sys/mounts").await.0, 200);
}

#[tokio::test]
async fn new_shares_are_kept_as_they_were_encrypted() {
    let (asked, old, root) = shared().await;
    unseal(&asked, &old).await;
    let (ada, bob) = (modern(), modern());
    let none = (400, json!("no backed-up keys found"));
    assert_eq!(asked.read(&root, "sys/rekey/backup").await, none);
    let few = json!({ "secret_shares": 2, "secret_threshold": 2, "pgp_keys": [sent(&ada)] });
    let refused = asked.write("sys/rekey/init", few).await.1;
    assert!(refused.as_str().unwrap().starts_with("incorrect number of PGP keys for rekey"), "{refused}");
    let alone = json!({ "secret_shares": 1, "secret_threshold": 1, "backup": true });
    assert_eq!(asked.write("sys/rekey/init", alone).await.0, 400, "only what is encrypted is kept");

    // As Go's client spells it.
    let keys = json!([sent(&ada), sent(&bob), sent(&ada)]);
    let body = json!({ "secret_shares": 3, "secret_threshold": 2, "pgp_keys": keys, "Backup": true });
    let begun = asked.write("sys/rekey/init", body).await.1;
    let fingerprint = |key: &::pgp::composed::SignedSecretKey| {
        use ::pgp::types::KeyDetails as _;
        key.fingerprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let fingerprints = json!([fingerprint(&ada), fingerprint(&bob), fingerprint(&ada)]);
    assert_eq!((&begun["pgp_fingerprints"], &begun["backup"]), (&fingerprints, &json!(true)), "{begun}");
    let share = |at: usize| json!({ "key": old[at], "nonce": begun["nonce"] });
    asked.write("sys/rekey/update", share(0)).await;
    let done = asked.write("sys/rekey/update", share(1)).await.1;
    assert_eq!((&done["pgp_fingerprints"], &done["backup"]), (&fingerprints, &json!(true)), "{done}");

    assert_eq!(asked.read("", "sys/rekey/backup").await.0, 403, "shares alone do not open it");
    for path in ["sys/rekey/backup", "sys/rotate/root/backup"] {
        let (status, kept) = asked.read(&root, path).await;
        assert_eq!((status, &kept["nonce"]), (200, &begun["nonce"]));
        assert_eq!(kept["keys"][fingerprint(&ada)], json!([done["keys"][0], done["keys"][2]]));
        assert_eq!(kept["keys_base64"][fingerprint(&bob)], json!([done["keys_base64"][1]]));
    }
    assert_eq!(asked.read(&root, "sys/rekey/recovery-key-backup").await.0, 400, "there is no recovery key");
    assert_eq!(asked.ask("", Operation::Delete, "sys/rekey/backup", Value::Null).await.0, 403);
    assert_eq!(asked.ask(&root, Operation::Delete, "sys/rekey/backup", Value::Null).await.0, 204);
    assert_eq!(asked.read(&root, "sys/rekey/backup").await, none);

    let new: Vec<String> = [(1, &bob), (2, &ada)].map(|(at, key)| opened(&done["keys_base64"][at], None, key)).to_vec();
    asked.ask(&root, Operation::Write, "sys/seal", Value::Null).await;
    assert_eq!(unseal(&asked, &new).await["sealed"], false);
}

#[tokio::test]
async fn shares_of_the_recovery_key_are_encrypted_kept_and_proved() {
    let asked = Asked::new(Arc::new(Memory::default()), fixed(), Plan::default());
    let (ada, bob) = (modern(), modern());
    let wrong = json!({ "recovery_shares": 1, "recovery_threshold": 1, "pgp_keys": [sent(&ada)] });
    let refused = asked.write("sys/init", wrong).await.1;
    assert!(refused.as_str().unwrap().contains("use recovery_pgp_keys"), "{refused}");
    let body =
        json!({ "recovery_shares": 1, "recovery_threshold": 1, "recovery_pgp_keys": [sent(&ada)], "pgp_keys": [] });
    let made = asked.write("sys/init", body).await.1;
    let share = opened(&made["recovery_keys_base64"][0], Some(&made["recovery_keys"][0]), &ada);
    let root = made["root_token"].as_str().unwrap();

    let body = json!({
        "secret_shares": 1, "secret_threshold": 1, "pgp_keys": sent(&bob), "backup": true, "require_verification": true,
    });
    let begun = asked.write("sys/rekey-recovery-key/init", body).await.1;
    let done = asked.write("sys/rekey-recovery-key/update", json!({ "key": share, "nonce": begun["nonce"] })).await.1;
    let new = opened(&done["keys_base64"][0], Some(&done["keys"][0]), &bob);
    let proof = json!({ "key": new, "nonce": done["verification_nonce"] });
    assert_eq!(asked.write("sys/rekey-recovery-key/verify", proof).await.1["complete"], true);
    for path in ["sys/rekey/recovery-key-backup", "sys/rekey-recovery-key/backup", "sys/rotate/recovery/backup"] {
        assert_eq!(asked.read(root, path).await.1["nonce"], begun["nonce"], "{path}");
    }
    let begun = asked.write("sys/generate-root/attempt", json!({})).await.1;
    let body = json!({ "key": new, "nonce": begun["nonce"] });
    assert_eq!(asked.write("sys/generate-root/update", body).await.1["complete"], true, "it has authority");
}

#[tokio::test]
async fn a_root_token_goes_to_the_owner_of_a_key() {
    let (asked, shares, root) = shared().await;
    unseal(&asked, &shares).await;
    let ada = modern();
    let both = json!({ "otp": "0123456789abcdefghijklmnopqr", "pgp_key": sent(&ada) });
    assert_eq!(asked.write("sys/generate-root/attempt", both).await.0, 400);
    let refused = asked.write("sys/generate-root/attempt", json!({ "pgp_key": "x" })).await.1;
    assert!(refused.as_str().unwrap().starts_with("pgp_key: is not base64"), "{refused}");
    for (front, token) in [("sys/generate-root", ""), ("sys/generate-root-token", &root)] {
        let ask = |path: &str, body: Value| {
            let path = format!("{front}/{path}");
            let asked = &asked;
            async move { asked.ask(token, Operation::Write, &path, body).await.1 }
        };
        let begun = ask("attempt", json!({ "pgp_key": sent(&ada) })).await;
        assert_eq!((&begun["otp"], begun["pgp_fingerprint"].as_str().map(str::len)), (&json!(""), Some(40)), "{begun}");
        ask("update", json!({ "key": shares[0], "nonce": begun["nonce"] })).await;
        let done = ask("update", json!({ "key": shares[1], "nonce": begun["nonce"] })).await;
        assert_eq!(done["pgp_fingerprint"], begun["pgp_fingerprint"]);
        assert_eq!(done["encoded_token"], done["encoded_root_token"]);
        let made = opened(&done["encoded_token"], None, &ada);
        assert_eq!(asked.read(&made, "sys/mounts").await.0, 200);
    }
}
