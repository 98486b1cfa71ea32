//! Keys and their shares: init, unseal, rekey, generate-root, on a server with files in HCL and JSON.

use serde_json::Value;

use super::shell::{Server, Shell};

/// A server with shamir's seal, configured by a folder of two files, its data in a third.
pub(super) async fn sealed() -> (Shell, Server) {
    let mut shell = Shell::new();
    let folder = shell.folder().join("config");
    std::fs::create_dir(&folder).unwrap();
    let data = shell.folder().join("data");
    std::fs::write(
        folder.join("1.hcl"),
        format!(
            "storage \"file\" {{ path = \"{}\" }}\nui = true\ndisable_mlock = true\nmax_lease_ttl = \"48h\"",
            data.display()
        ),
    )
    .unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listener = format!(r#"{{"listener": {{"tcp": {{"address": "127.0.0.1:{port}", "tls_disable": "true"}}}}}}"#);
    std::fs::write(folder.join("2.json"), listener).unwrap();
    let later = shell.file("later.hcl", "default_lease_ttl = \"2h\"");
    let config = format!("-config={}", folder.display());
    let server = shell.serve(&[&config, "-config", &later, "-dev-root-token-id="], "listening").await;
    assert!(server.said().contains("ui is ignored"), "{}", server.said());
    shell.export("VAULT_ADDR", &format!("http://127.0.0.1:{port}"));
    (shell, server)
}

/// A list of texts.
pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn shares_open_the_engine_and_are_made_anew() {
    let (mut shell, _server) = sealed().await;
    assert_eq!(shell.vault("operator init -status").await.code, 2);
    assert_eq!(shell.vault("status").await.code, 2);
    let made = shell.vault("operator init -key-shares=3 -key-threshold=2 -format=json").await.json();
    assert_eq!((&made["unseal_shares"], &made["unseal_threshold"]), (&3.into(), &2.into()));
    let shares = texts(&made["unseal_keys_b64"]);
    assert_eq!((shares.len(), texts(&made["unseal_keys_hex"]).len()), (3, 3));
    assert_eq!(shell.vault("operator init -status").await.code, 0);
    let again = shell.vault("operator init").await.failed(2);
    assert!(again.contains("Vault is already initialized"), "{again}");

    let first = shell.vault(&format!("operator unseal {}", shares[0])).await.done();
    assert!(first.contains("Unseal Progress    1/2\n"), "{first}");
    assert!(shell.vault("operator unseal -reset").await.done().contains("Unseal Progress    0/2\n"));
    shell.vault(&format!("operator unseal {}", shares[0])).await.done();
    assert!(shell.words(&["operator", "unseal", "-"], &shares[1]).await.done().contains("Sealed          false"));
    let status = shell.vault("status -format=json").await.json();
    assert_eq!(status["sealed"], Value::from(false));

    let nobody = shell.vault("operator unseal").await;
    assert!(nobody.failed(1).contains("Unseal Key is needed"), "there is no terminal to ask on");
    shell.export("VAULT_TOKEN", made["root_token"].as_str().unwrap());
    assert!(shell.vault("read -field=default_lease_ttl sys/mounts/cubbyhole/tune").await.done().contains("7200"));

    let begun = shell.vault("operator rekey -init -key-shares=1 -key-threshold=1").await.done();
    assert!(begun.contains("Rekey Progress           0/2\n"), "{begun}");
    let status = shell.vault("operator rekey -status -format=json").await.json();
    let nonce = format!("-nonce={}", status["nonce"].as_str().unwrap());
    shell.words(&["operator", "rekey", &nonce, "-"], &shares[0]).await.done();
    let rekeyed = shell.words(&["operator", "rekey", &nonce, "-"], &shares[2]).await.done();
    let share = rekeyed.strip_prefix("Key 1: ").and_then(|rest| rest.lines().next()).unwrap().to_owned();

    let begun = shell.vault("operator generate-root -init").await.done();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}  "))).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let otp = field(&begun, "OTP");
    let shown = shell.words(&["operator", "generate-root", "-"], &share).await.done();
    let encoded = field(&shown, "Encoded Token");
    let decoded = shell.vault(&format!("operator generate-root -decode={encoded} -otp={otp}")).await.done();
    shell.export("VAULT_TOKEN", decoded.trim());
    assert!(shell.vault("token lookup").await.done().contains("[root]"));
    assert_eq!(shell.vault("operator generate-root -generate-otp").await.done().trim().len(), otp.len());

    assert_eq!(shell.vault("operator seal").await.done(), "Success! Vault is sealed.\n");
    assert_eq!(shell.vault("status").await.code, 2);
    assert!(shell.vault("secrets list").await.failed(2).contains("Vault is sealed"));
    shell.words(&["operator", "unseal", "-"], &share).await.done();
    assert_eq!(shell.vault("status").await.code, 0);
}
