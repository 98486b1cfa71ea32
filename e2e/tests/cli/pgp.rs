//! Shares and root tokens that only the owners of PGP keys read, with GnuPG as their owners use it.

use lessor_e2e::gnupg::Gnupg;

use super::keys::{sealed, texts};
use super::shell::Shell;

const RSA: &str = "Key-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048";
/// One key for everything, as they were made long ago.
const RSA_ALONE: &str = "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign,encrypt";
const CURVE_25519: &str = "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt";
const NIST: &str = "Key-Type: ECDSA\nKey-Curve: nistp256\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: nistp384\nSubkey-Usage: encrypt";
const SIGN_ONLY: &str = "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign";

/// Keys of four people and of one who can only sign, each saved in another form.
fn people(shell: &Shell) -> Gnupg {
    let gnupg = Gnupg::new();
    for (name, kind) in [("ada", RSA), ("bob", CURVE_25519), ("eve", RSA_ALONE), ("joe", NIST), ("signer", SIGN_ONLY)] {
        gnupg.make(name, kind);
        let armor = matches!(name, "bob" | "signer");
        std::fs::write(shell.folder().join(name), gnupg.export(name, armor)).unwrap();
    }
    let wrapped = std::process::Command::new("base64").arg(shell.folder().join("eve")).output().unwrap().stdout;
    std::fs::write(shell.folder().join("eve"), wrapped).unwrap();
    gnupg
}

/// The last word of the line that begins with `name`.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name:?} in {text}"));
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn keepers_with_pgp_keys_open_the_engine_and_make_root_tokens() {
    let (mut shell, server) = sealed().await;
    let gnupg = people(&shell);
    let init = "operator init -format=json -key-shares=3 -key-threshold=2";
    for (keys, code, problem) in [
        ("keybase:ada,bob,eve", 1, "keys are not fetched from Keybase"),
        ("ada,bob,nobody", 1, "-pgp-keys: nobody: cannot be read"),
        ("ada,bob", 2, "incorrect number of PGP keys"),
        ("ada,signer,eve", 2, "pgp_keys: key 2 of 3: the key"),
    ] {
        let refused = shell.vault(&format!("{init} -pgp-keys={keys}")).await.failed(code);
        assert!(refused.contains(problem), "{keys}: {refused}");
    }
    assert_eq!(shell.vault("operator init -status").await.code, 2, "nothing was made");

    let made = shell.vault(&format!("{init} -pgp-keys=ada,bob,eve -root-token-pgp-key=joe")).await.json();
    let old: Vec<_> = texts(&made["unseal_keys_b64"]).iter().map(|share| gnupg.decrypt(share)).collect();
    let root = gnupg.decrypt(made["root_token"].as_str().unwrap());
    for share in &old[1..] {
        shell.words(&["operator", "unseal", "-"], share).await.done();
    }
    shell.export("VAULT_TOKEN", &root);
    assert!(shell.vault("token lookup").await.done().contains("[root]"));

    let begun = shell
        .vault("operator rekey -init -key-shares=2 -key-threshold=2 -pgp-keys=bob,ada -backup -verify")
        .await
        .done();
    let (ada, bob) = (gnupg.fingerprint("ada"), gnupg.fingerprint("bob"));
    assert!(begun.contains(&format!("[{bob} {ada}]")), "{begun}");
    shell.words(&["operator", "rekey", "-"], &old[0]).await.done();
    let shown = shell.words(&["operator", "rekey", "-"], &old[2]).await.done();
    let new = [(1, &bob), (2, &ada)]
        .map(|(at, whose)| gnupg.decrypt(&field(&shown, &format!("Key {at} fingerprint: {whose}; value: "))));
    for share in &new {
        shell.words(&["operator", "rekey", "-verify", "-"], share).await.done();
    }
    let kept = shell.vault("operator rekey -backup-retrieve -format=json").await.json();
    assert_eq!(gnupg.decrypt(kept["data"]["keys_base64"][&ada][0].as_str().unwrap()), new[1], "{kept}");
    shell.vault("operator rekey -backup-delete").await.done();
    let gone = shell.vault("operator rekey -backup-retrieve").await.failed(2);
    assert!(gone.contains("no backed-up keys found"), "{gone}");

    let begun = shell.vault("operator generate-root -init -pgp-key=eve").await.done();
    assert_eq!(field(&begun, "PGP Fingerprint"), gnupg.fingerprint("eve"));
    shell.words(&["operator", "generate-root", "-"], &new[0]).await.done();
    let shown = shell.words(&["operator", "generate-root", "-"], &new[1]).await.done();
    let second = gnupg.decrypt(&field(&shown, "Encoded Token"));
    shell.export("VAULT_TOKEN", &second);
    assert!(shell.vault("token lookup").await.done().contains("[root]"));

    shell.vault("operator seal").await.done();
    for share in &new {
        shell.words(&["operator", "unseal", "-"], share).await.done();
    }
    assert_eq!(shell.vault("status").await.code, 0);
    for secret in old.iter().chain(&new).chain([&root, &second]) {
        assert!(!server.said().contains(secret.as_str()), "the log names none of them");
    }
}
