//! Secrets that people type: none comes back in what is said, nor in what the server logs.

use std::os::unix::fs::PermissionsExt as _;

use super::shell::dev;

const CANARY: &str = "canary-7f3b";

#[tokio::test]
async fn no_secret_comes_back() {
    let (shell, server) = dev(&[]).await;
    for line in [
        format!("write secret/data/a {CANARY}"),
        format!("write secret/data/a @{CANARY}=x"),
        format!("kv put secret/a {CANARY}"),
        format!("kv get secret/a -field={CANARY}"),
        format!("login {CANARY}"),
        format!("login -method=userpass username=bob password={CANARY}"),
        format!("token renew {CANARY}"),
        format!("token lookup -accessor {CANARY}"),
        format!("operator unseal {CANARY} more"),
        format!("operator generate-root -decode={CANARY} -otp=x"),
        format!("unwrap {CANARY}"),
        format!("write -ttl={CANARY} a"),
        format!("token create -ttl={CANARY}"),
        format!("status -format={CANARY}"),
        format!("write -header={CANARY} a b=c"),
    ] {
        let ran = shell.vault(&line).await;
        assert_ne!(ran.code, 0, "{line}");
        let named = line.contains('@');
        assert!(named || !(ran.output + &ran.error).contains(CANARY), "{line}");
    }
    let json = shell.words(&["write", "secret/data/a", "-"], &format!("{{\"data\": {CANARY}")).await;
    assert!(!json.failed(1).contains(CANARY));
    shell.vault("auth enable userpass").await;
    shell.words(&["kv", "put", "secret/a", "password=-"], CANARY).await.done();
    assert_eq!(shell.vault("kv get -field=password secret/a").await.done(), CANARY);
    assert!(!server.said().contains(CANARY), "{}", server.said());
    let mode = std::fs::metadata(shell.folder().join(".vault-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
