//! Every family of commands, one after the other, as a person tries them out.

use serde_json::json;

use super::shell::dev;

#[tokio::test]
async fn a_first_session_goes_as_vaults_users_know_it() {
    let (shell, _server) = dev(&["-dev-root-token-id=root"]).await;
    let status = shell.vault("status").await.done();
    assert!(status.starts_with("Key             Value\n---             -----\nSeal Type       shamir\n"), "{status}");
    assert_eq!(shell.vault("print token").await.done(), "root\n");
    assert!(shell.vault("-version").await.done().starts_with("Vault v1."));
    assert!(shell.lessor("-version").await.done().starts_with("Lessor v"));

    let put = shell.vault("kv put -mount=secret hello foo=world excited=yes").await.done();
    assert!(put.starts_with("== Secret Path ==\nsecret/data/hello\n\n======= Metadata =======\n"), "{put}");
    let get = shell.vault("kv get secret/hello").await.done();
    assert!(
        get.ends_with("===== Data =====\nKey        Value\n---        -----\nexcited    yes\nfoo        world\n"),
        "{get}"
    );
    assert_eq!(shell.vault("kv get -field=excited secret/hello").await.done(), "yes");
    let data = shell.vault("kv get -format=json secret/hello").await.json();
    assert_eq!(data["data"]["data"], json!({ "foo": "world", "excited": "yes" }));
    assert!(shell.vault("kv get secret/none").await.failed(2).starts_with("No value found at secret/data/none"));

    shell.vault("kv patch secret/hello excited=no").await.done();
    assert_eq!(shell.vault("kv get -version=1 -field=excited secret/hello").await.done(), "yes");
    shell.vault("kv delete secret/hello").await.done();
    shell.vault("kv undelete -versions=2 secret/hello").await.done();
    shell.vault("kv rollback -version=1 secret/hello").await.done();
    assert_eq!(shell.vault("kv get -field=excited secret/hello").await.done(), "yes");
    shell.vault("kv destroy -versions=1,2 secret/hello").await.done();
    shell.vault("kv metadata put -max-versions=5 -custom-metadata=owner=me secret/hello").await.done();
    let known = shell.vault("kv metadata get -format=json secret/hello").await.json();
    assert_eq!((&known["data"]["max_versions"], &known["data"]["custom_metadata"]["owner"]), (&json!(5), &json!("me")));
    assert_eq!(shell.vault("kv list secret").await.done(), "Keys\n----\nhello\n");
    assert_eq!(shell.vault("kv list -format=json secret/").await.json(), json!(["hello"]));
    let conflict = shell.vault("kv put -cas=1 secret/hello a=b").await.failed(2);
    assert!(conflict.contains("Code: 400. Errors:\n\n* check-and-set"), "{conflict}");
    shell.vault("kv metadata delete secret/hello").await.done();
    shell.vault("secrets enable -version=1 kv").await.done();
    shell.vault("kv put kv/a k=v").await.done();
    assert_eq!(shell.vault("kv get kv/a").await.done(), "=== Data ===\nKey    Value\n---    -----\nk      v\n");
    shell.vault("kv enable-versioning kv/").await.done();
}

#[tokio::test]
async fn policies_tokens_and_logins() {
    let (shell, _server) = dev(&[]).await;
    let policy = shell.file("app.hcl", "path \"secret/data/app\" { capabilities = [\"read\"] }\n");
    assert_eq!(shell.vault(&format!("policy write app {policy}")).await.done(), "Success! Uploaded policy: app\n");
    assert_eq!(shell.vault("policy list").await.done(), "app\ndefault\nroot\n");
    shell.vault(&format!("policy fmt {policy}")).await.done();
    let text = std::fs::read_to_string(&policy).unwrap();
    assert_eq!(text, "path \"secret/data/app\" {\n  capabilities = [\"read\"]\n}\n");
    assert_eq!(shell.words(&["policy", "write", "app", "-"], &text).await.code, 0);
    assert_eq!(shell.vault("policy read app").await.done(), text);
    assert!(shell.vault("policy read none").await.failed(2).starts_with("No policy named: none"));

    let made = shell.vault("token create -policy=app -ttl=1h -format=json").await.json();
    let token = made["auth"]["client_token"].as_str().unwrap();
    assert_eq!(shell.vault(&format!("token capabilities {token} secret/data/app")).await.done(), "read\n");
    let looked = shell.vault(&format!("token lookup {token}")).await.done();
    assert!(looked.contains("\ncreation_ttl        1h\n") && looked.contains("[app default]"), "{looked}");
    let renewed = shell.vault(&format!("token renew -increment=30m {token}")).await.done();
    assert!(renewed.contains("token_duration       30m\n"), "{renewed}");
    let revoked = shell.words(&["token", "revoke", "-"], token).await.done();
    assert_eq!(revoked, "Success! Revoked token (if it existed)\n");
    assert!(shell.vault(&format!("token lookup {token}")).await.failed(2).contains("Code: 403"));

    assert_eq!(shell.vault("auth enable approle").await.done(), "Success! Enabled approle auth method at: approle/\n");
    assert!(shell.vault("auth list").await.done().starts_with("Path        Type       Accessor"));
    shell.vault("write auth/approle/role/app token_policies=app token_ttl=20m").await.done();
    let role = shell.vault("read -field=role_id auth/approle/role/app/role-id").await.done();
    let secret = shell.vault("write -f -field=secret_id auth/approle/role/app/secret-id").await.done();
    let only = shell
        .words(&["login", "-method=approle", "-token-only", &format!("role_id={role}"), "secret_id=-"], &secret)
        .await;
    assert_eq!(shell.vault(&format!("token lookup -format=yaml {}", only.done())).await.code, 0);
    let login =
        shell.words(&["login", "-method=approle", &format!("role_id={role}"), "secret_id=-"], &secret).await.done();
    assert!(login.starts_with("Success! You are now authenticated."), "{login}");
    assert!(login.contains("token_meta_role_name") && !login.contains(&secret), "{login}");
    assert!(shell.vault("secrets list").await.failed(2).contains("permission denied"), "it is the new token's turn");
    shell.vault("token revoke -self").await.done();
}

#[tokio::test]
async fn mounts_leases_audit_and_the_rest() {
    let (shell, _server) = dev(&[]).await;
    let enabled = shell.vault("secrets enable -path=db -default-lease-ttl=30m database").await.done();
    assert_eq!(enabled, "Success! Enabled the database secrets engine at: db/\n");
    assert_eq!(
        shell.vault("secrets tune -max-lease-ttl=2h db").await.done(),
        "Success! Tuned the secrets engine at: db/\n"
    );
    let tuned = shell.vault("read sys/mounts/db/tune").await.done();
    assert!(tuned.contains("\ndefault_lease_ttl    30m\n") && tuned.contains("\nmax_lease_ttl        2h\n"), "{tuned}");
    let moved = shell.vault("secrets move db dbs").await.done();
    assert!(moved.contains("Success! Finished moving secrets engine db/ to dbs/, with migration ID "), "{moved}");
    assert!(shell.vault("secrets list -detailed").await.done().contains("\ndbs/ "));
    assert!(shell.vault("secrets disable dbs").await.done().starts_with("Success! Disabled the secrets engine"));

    let log = shell.folder().join("audit.log");
    let path = format!("file_path={}", log.display());
    assert_eq!(shell.vault("audit list").await.code, 2);
    shell.words(&["audit", "enable", "file", &path], "").await.done();
    let listed = shell.vault("audit list -detailed").await.done();
    assert!(listed.contains("file/") && listed.contains(&path), "{listed}");
    shell.vault("audit disable file").await.done();
    assert!(std::fs::metadata(log).unwrap().len() > 0);

    let wrapped = shell.vault("token create -policy=default -wrap-ttl=60s -field=wrapping_token").await.done();
    let info = shell.vault(&format!("write sys/wrapping/lookup token={wrapped}")).await.done();
    assert!(info.contains("auth/token/create"), "{info}");
    assert!(shell.vault(&format!("unwrap {wrapped}")).await.done().contains("token_accessor"));
    assert!(shell.vault(&format!("unwrap {wrapped}")).await.failed(2).contains("does not exist"));
    let wrapped = shell.vault("write -wrap-ttl=1m -field=wrapping_token sys/wrapping/wrap a=b").await.done();
    let own = shell.words(&["unwrap", "-field=a", "-"], &wrapped).await.done();
    assert_eq!(own, "b");

    assert_eq!(shell.vault("lease list").await.done(), "no leases there\n");
    assert!(shell.vault("lease lookup nothing/there").await.failed(2).contains("invalid lease"));
    let revoked = shell.vault("lease revoke -prefix -sync auth/token/create").await.done();
    assert_eq!(revoked, "Success! Revoked any leases with prefix: auth/token/create\n");
    assert!(shell.vault("plugin list database").await.done().contains("postgresql-database-plugin"));
    let rotated = shell.vault("operator rotate").await.done();
    assert!(rotated.starts_with("Success! Rotated key\n\nKey Term            2\n"), "{rotated}");
    let curl = shell.vault("read -output-curl-string secret/data/a").await.done();
    assert!(curl.contains("$(vault print token)"), "{curl}");
}

#[tokio::test]
async fn roles_and_completion_stay_within_reach() {
    let (mut shell, _server) = dev(&[]).await;
    assert!(shell.lessor("orphans nothing/there").await.failed(1).contains("no secrets engine is mounted"));
    assert!(shell.lessor("operator -h").await.done().contains("generate-root"), "both grammars are told");
    assert!(shell.vault("operator").await.failed(1).contains("generate-root"));
    assert!(shell.vault("frobnicate").await.failed(127).contains("\"frobnicate\" is no command"));
    assert!(shell.vault("kv get -fields=x a").await.failed(1).contains("did you mean -field?"));
    assert!(shell.vault("completion bash").await.done().starts_with("complete -C "));
    shell.file(".bashrc", "# mine\n");
    shell.vault("-autocomplete-install").await.done();
    assert!(std::fs::read_to_string(shell.folder().join(".bashrc")).unwrap().contains("complete -C "));
    shell.vault("-autocomplete-uninstall").await.done();
    assert_eq!(std::fs::read_to_string(shell.folder().join(".bashrc")).unwrap(), "# mine\n");
    shell.export("COMP_LINE", "vault operator gen");
    assert_eq!(shell.words(&["vault", "gen", "operator"], "").await.done(), "generate-root\n");
}
