//! `server`: dev mode with its flags, and configurations that are refused.

use super::shell::{Shell, dev};

#[tokio::test]
async fn dev_mode_with_tls_tells_whom_to_trust() {
    let (mut shell, server) = dev(&["-dev-tls", "-dev-no-store-token", "-dev-kv-v1"]).await;
    assert!(!shell.folder().join(".vault-token").exists());
    let untrusted = shell.vault("status").await;
    assert!(untrusted.failed(1).contains("certificate"), "nobody trusts it yet");
    shell.export("VAULT_CACERT", &server.found("VAULT_CACERT='", "'"));
    assert_eq!(shell.vault("status").await.code, 0);
    assert_eq!(shell.vault("secrets list").await.code, 2, "there is no token");
    shell.export("VAULT_TOKEN", &server.found("Root Token: ", "\n"));
    shell.vault("kv put secret/a k=v").await.done();
    assert_eq!(shell.vault("read -field=k secret/a").await.done(), "v");
    shell.vault("operator seal").await.done();
    shell.vault(&format!("operator unseal {}", server.found("Unseal Key: ", "\n"))).await.done();
    assert_eq!(shell.vault("status").await.code, 0);
    let skipped = shell.vault("status -tls-skip-verify -ca-cert=").await;
    assert_eq!(skipped.code, 0);
}

#[tokio::test]
async fn what_cannot_be_served_is_said() {
    let shell = Shell::new();
    assert!(shell.vault("server").await.failed(1).contains("-config"));
    let consul = shell.file("consul.hcl", "storage \"consul\" {}\nlistener \"tcp\" { tls_disable = true }");
    let said = shell.vault(&format!("server -config={consul}")).await.failed(1);
    assert!(said.contains("consul.hcl: line 1") && said.contains("storage \"consul\" is not offered"), "{said}");
    let said = shell.vault("server -config=/nowhere.hcl").await.failed(1);
    assert!(said.contains("/nowhere.hcl"), "{said}");
    let said = shell.vault("server -dev -dev-listen-address=nowhere").await.failed(1);
    assert!(said.contains("-dev-listen-address"), "{said}");
}
