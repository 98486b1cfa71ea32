//! Whole commands against an engine that answers what a test tells it to.

use serde_json::{Value, json};

use super::testing::around;
use super::{Prepared, Program, find, prepare, run};
use crate::client::testing::{FakeEngine, Reply, Seen};

/// What a command came to.
struct Ran {
    code: u8,
    output: String,
    error: String,
    seen: Vec<Seen>,
}

/// Runs a line against an engine that answers every request by `script`.
async fn ran(line: &[&str], input: &str, script: impl FnMut(&Seen) -> (u16, Value) + Send + 'static) -> Ran {
    ran_with(line, input, &[], script).await
}

async fn ran_with(
    line: &[&str],
    input: &str,
    variables: &[(&str, &str)],
    mut script: impl FnMut(&Seen) -> (u16, Value) + Send + 'static,
) -> Ran {
    let engine = FakeEngine::start(move |seen| Reply::from(script(seen))).await;
    let mut all = variables.to_vec();
    all.extend([("VAULT_ADDR", engine.address.as_str()), ("VAULT_TOKEN", "hvs.canary"), ("VAULT_MAX_RETRIES", "0")]);
    let (around, printed) = around(&all, input);
    let program = Program { name: "vault".into(), version: "0.1.0", api_version: "1.18.0" };
    let (command, used) = find(line).unwrap();
    let words = line[used..].iter().map(|word| (*word).to_owned());
    let code = match prepare(command, words, &program, &around) {
        Prepared::Ended(code) => code,
        Prepared::Ready(command, values) => run(command, &values, &program, &around).await,
    };
    Ran { code, output: printed.output(), error: printed.error(), seen: engine.seen() }
}

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::line).collect()
}

fn envelope(data: Value) -> (u16, Value) {
    (200, json!({ "request_id": "r", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data }))
}

const VERSIONED: &str = "secret/";

/// The answer of the look before every `kv` command.
fn mount(version: &str) -> (u16, Value) {
    envelope(json!({ "path": VERSIONED, "type": "kv", "options": { "version": version } }))
}

#[tokio::test]
async fn read_prints_a_table_a_field_or_json() {
    let answer = |_: &Seen| {
        let lease = json!({ "request_id": "r", "lease_id": "database/creds/app/x", "renewable": true, "lease_duration": 3600,
            "data": { "username": "u", "password": "p" }, "warnings": null });
        (200, lease)
    };
    let table = ran(&["read", "/database/creds/app/"], "", answer).await;
    assert_eq!((table.code, lines(&table.seen)), (0, vec!["GET database/creds/app".to_owned()]));
    assert!(table.output.contains("lease_duration     1h\n"), "{}", table.output);
    assert_eq!(ran(&["read", "-field=password", "database/creds/app"], "", answer).await.output, "p");
    let json = ran(&["read", "-format=json", "database/creds/app"], "", answer).await.output;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["data"]["username"], "u");
    let missing = ran(&["read", "-field=nothing", "database/creds/app"], "", answer).await;
    assert_eq!((missing.code, missing.error.as_str()), (1, "Field \"nothing\" not present in secret\n"));
    let yaml = ran_with(&["read", "database/creds/app"], "", &[("VAULT_FORMAT", "yaml")], answer).await.output;
    assert!(yaml.contains("\n  password: p\n"), "{yaml}");
}

#[tokio::test]
async fn codes_and_words_are_vaults() {
    let none = ran(&["read", "secret/none"], "", |_| (404, json!({ "errors": [] }))).await;
    assert_eq!((none.code, none.error.as_str()), (2, "No value found at secret/none\n"));
    let denied = ran(&["read", "secret/a"], "", |_| (403, json!({ "errors": ["permission denied"] }))).await;
    assert_eq!(denied.code, 2);
    assert!(
        denied.error.starts_with("Error reading secret/a: Error making API request.\n\nURL: GET http://"),
        "{}",
        denied.error
    );
    assert!(denied.error.ends_with("/v1/secret/a\nCode: 403. Errors:\n\n* permission denied\n"), "{}", denied.error);
    assert!(!denied.error.contains("canary"), "no token in errors");
    let proxy = ran(&["read", "secret/a"], "", |_| (502, Value::Null)).await;
    assert_eq!(proxy.code, 2);
    let empty = ran(&["write", "secret/a"], "", |_| (204, Value::Null)).await;
    assert_eq!((empty.code, empty.error.as_str()), (1, "Must supply data or use -force\n"));
    let list = ran(&["list", "-format=json", "secret/none"], "", |_| (404, json!({ "errors": [] }))).await;
    assert_eq!((list.code, list.output.as_str()), (2, "{}\n"));
}

#[tokio::test]
async fn write_sends_what_it_was_given() {
    let done = ran(&["write", "-f", "database/rotate-root/pg"], "", |_| (204, Value::Null)).await;
    assert_eq!(done.output, "Success! Data written to: database/rotate-root/pg\n");
    let piped = ran(&["write", "secret/a", "password=-", "n=1"], "hunter2", |_| (204, Value::Null)).await;
    assert_eq!(piped.seen[0].body, json!({ "password": "hunter2", "n": "1" }));
    assert_eq!((piped.seen[0].method.as_str(), piped.seen[0].token.as_str()), ("PUT", "hvs.canary"));
    let whole = ran(&["write", "secret/a", "-"], r#"{"deep": {"n": 1}}"#, |_| (204, Value::Null)).await;
    assert_eq!(whole.seen[0].body, json!({ "deep": { "n": 1 } }));
    let wrapped =
        ran(&["write", "-wrap-ttl=60s", "-header=X-Custom=1", "-ns=team", "-f", "a"], "", |_| (204, Value::Null)).await;
    let header = |name: &str| wrapped.seen[0].headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        (header("x-vault-wrap-ttl"), header("x-custom"), header("x-vault-namespace")),
        ("60s".into(), "1".into(), "team".into())
    );
    let forged = ran(&["write", "-header=X-Vault-Token=t", "-f", "a"], "", |_| (204, Value::Null)).await;
    assert_eq!((forged.code, forged.seen.len()), (1, 0));
}

#[tokio::test]
async fn a_request_may_be_printed_instead() {
    let curl = ran(&["read", "-output-curl-string", "secret/a"], "", |_| (500, Value::Null)).await;
    assert_eq!((curl.code, curl.seen.len()), (0, 0));
    assert!(curl.output.contains("$(vault print token)") && !curl.output.contains("canary"), "{}", curl.output);
    let policy = ran(&["kv", "put", "-output-policy", "secret/a", "k=v"], "", |_| mount("2")).await;
    assert_eq!(policy.output, "path \"secret/data/a\" {\n  capabilities = [\"create\", \"update\"]\n}\n");
    assert_eq!(lines(&policy.seen), ["GET sys/internal/ui/mounts/secret/a"]);
}

#[tokio::test]
async fn a_printed_request_lacks_nothing_and_a_login_is_one_too() {
    let wrapped = ran(&["read", "-wrap-ttl=60s", "-output-curl-string", "secret/a"], "", |_| (500, Value::Null)).await;
    assert!(wrapped.output.contains("-H 'X-Vault-Wrap-TTL: 60s'"), "{}", wrapped.output);
    let line = ["login", "-method=userpass", "-output-curl-string", "username=u", "password=p"];
    let login = ran(&line, "", |_| (500, Value::Null)).await;
    assert_eq!((login.code, login.seen.len()), (0, 0), "nobody was logged in");
    assert!(login.output.contains("/v1/auth/userpass/login/u"), "{}", login.output);
}

#[tokio::test]
async fn what_is_answered_once_is_asked_for_only_where_it_can_be_printed() {
    let made = |_: &Seen| (200, json!({ "keys_base64": ["a="], "root_token": "hvs.x" }));
    let init = ran_with(&["operator", "init"], "", &[("VAULT_FORMAT", "xml")], made).await;
    assert_eq!(
        (init.code, init.seen.len()),
        (1, 0),
        "an engine that was initialised would have told its keys to nobody"
    );
    assert_eq!(init.error, "Invalid output format: use table, json or yaml\n");
}

#[tokio::test]
async fn what_could_not_be_printed_is_no_success() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut around, printed) = around(&[("VAULT_TOKEN", "t")], "");
    around.output = std::cell::RefCell::new(Box::new(Full));
    let program = Program { name: "vault".into(), version: "0.1.0", api_version: "1.18.0" };
    let (command, _) = find(&["print", "token"]).unwrap();
    let Prepared::Ready(command, values) = prepare(command, [], &program, &around) else { panic!("misread") };
    assert_eq!(run(command, &values, &program, &around).await, 1);
    assert!(printed.error().starts_with("cannot write to standard output: "), "{}", printed.error());
}

#[tokio::test]
async fn kv_finds_its_mount_and_its_version() {
    let script = |version: &'static str| {
        move |seen: &Seen| match seen.path.starts_with("sys/internal") {
            true => mount(version),
            false => envelope(json!({ "data": { "k": "v" }, "metadata": { "version": 1 } })),
        }
    };
    let versioned = ran(&["kv", "get", "-mount=secret", "a/b"], "", script("2")).await;
    assert_eq!(lines(&versioned.seen), ["GET sys/internal/ui/mounts/secret", "GET secret/data/a/b"]);
    assert!(versioned.output.contains("=== Data ===\nKey    Value\n---    -----\nk      v\n"), "{}", versioned.output);
    let plain = ran(&["kv", "put", "secret/a", "k=v"], "", script("1")).await;
    assert_eq!((plain.seen[1].line(), plain.seen[1].body.clone()), ("PUT secret/a".to_owned(), json!({ "k": "v" })));
    let checked = ran(&["kv", "put", "-cas=3", "secret/a", "k=v"], "", script("2")).await;
    assert_eq!(checked.seen[1].body, json!({ "data": { "k": "v" }, "options": { "cas": 3 } }));
    assert_eq!(ran(&["kv", "get", "-field=k", "secret/a"], "", script("2")).await.output, "v");
    let refused = ran(&["kv", "destroy", "-versions=1", "secret/a"], "", script("1")).await;
    assert_eq!((refused.code, refused.seen.len()), (1, 1));
    let old = ran(&["kv", "get", "secret/a"], "", |seen: &Seen| match seen.path.starts_with("sys/") {
        true => (404, json!({ "errors": [] })),
        false => envelope(json!({ "k": "v" })),
    });
    assert_eq!(lines(&old.await.seen)[1], "GET secret/a", "an engine that cannot tell is of version 1");
}

#[tokio::test]
async fn a_patch_that_is_not_allowed_reads_and_writes() {
    let script = |seen: &Seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", path) if path.starts_with("sys/") => mount("2"),
        ("PATCH", _) => (403, json!({ "errors": ["permission denied"] })),
        ("GET", _) => envelope(json!({ "data": { "k": "v", "old": "x" }, "metadata": { "version": 4 } })),
        _ => envelope(json!({ "version": 5 })),
    };
    let patched = ran(&["kv", "patch", "-remove-data=old", "secret/a", "new=y"], "", script).await;
    assert_eq!(patched.code, 0, "{}", patched.error);
    let kind = patched.seen[1].headers.get("content-type").unwrap();
    assert_eq!(kind, "application/merge-patch+json");
    let expected = json!({ "data": { "k": "v", "new": "y" }, "options": { "cas": 4 } });
    assert_eq!((patched.seen[3].line(), patched.seen[3].body.clone()), ("PUT secret/data/a".to_owned(), expected));
    let strict = ran(&["kv", "patch", "-method=patch", "secret/a", "new=y"], "", script).await;
    assert_eq!((strict.code, strict.seen.len()), (2, 2));
}

#[tokio::test]
async fn status_tells_by_its_code() {
    let seal = |sealed: bool| json!({ "type": "shamir", "initialized": true, "sealed": sealed, "t": 1, "n": 1, "version": "1.18.0" });
    let script = move |sealed: bool| {
        move |seen: &Seen| match seen.path.as_str() {
            "sys/seal-status" => (200, seal(sealed)),
            _ => (200, json!({ "ha_enabled": false })),
        }
    };
    let open = ran(&["status"], "", script(false)).await;
    assert_eq!(open.code, 0);
    assert!(open.output.contains("\nHA Enabled      false\n"), "{}", open.output);
    let sealed = ran(&["status", "-format=json"], "", script(true)).await;
    assert_eq!((sealed.code, sealed.seen.len()), (2, 1));
    let gone = ran_with(&["status"], "", &[], |_| (500, json!({ "errors": ["x"] }))).await;
    assert_eq!(gone.code, 1, "2 would say that it is sealed");
}

#[tokio::test]
async fn a_login_keeps_its_token_and_says_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let home = [("HOME", folder.path().to_str().unwrap()), ("VAULT_TOKEN", "")];
    let script = |_: &Seen| {
        (
            200,
            json!({ "data": null, "auth": { "client_token": "hvs.new", "policies": ["default"], "lease_duration": 60 } }),
        )
    };
    let kept = || std::fs::read_to_string(folder.path().join(".vault-token")).ok();
    let line = ["login", "-method=userpass", "-path=people", "username=bob", "password=-"];
    let only =
        ran_with(&["login", "-method=userpass", "-token-only", "username=bob", "password=x"], "", &home, script).await;
    assert_eq!((only.output.as_str(), kept()), ("hvs.new", None));
    let login = ran_with(&line, "hunter2\n", &home, script).await;
    assert_eq!((login.code, kept().as_deref()), (0, Some("hvs.new")));
    assert_eq!((login.seen[0].line(), login.seen[0].token.as_str()), ("PUT auth/people/login/bob".to_owned(), ""));
    assert_eq!(login.seen[0].body, json!({ "password": "hunter2\n" }));
    assert!(!login.output.contains("hunter2") && !login.error.contains("hunter2"));
    let silent = ran_with(&["login", "-no-print", "hvs.known"], "", &home, |_| envelope(json!({ "ttl": 60 }))).await;
    assert_eq!((silent.output.as_str(), kept().as_deref()), ("", Some("hvs.known")));
    assert_eq!(
        (silent.seen[0].line(), silent.seen[0].token.as_str()),
        ("GET auth/token/lookup-self".to_owned(), "hvs.known")
    );
    let nobody = ran_with(&["login", "-method=userpass", "username=bob"], "", &home, script).await;
    assert_eq!((nobody.code, nobody.seen.len()), (1, 0));
    assert!(nobody.error.contains("Password is needed"), "{}", nobody.error);
}

#[tokio::test]
async fn tokens_and_leases_are_asked_for_as_vault_does() {
    let made = ran(&["token", "create", "-policy=a", "-policy=b", "-ttl=90m", "-metadata=k=v", "-orphan"], "", |_| {
        (200, json!({ "auth": { "client_token": "t", "lease_duration": 5400, "renewable": true } }))
    });
    let made = made.await;
    assert_eq!(
        made.seen[0].body,
        json!({ "policies": ["a", "b"], "ttl": "5400s", "renewable": true, "no_parent": true, "meta": { "k": "v" } })
    );
    assert!(made.output.contains("token_duration       1h30m\n"), "{}", made.output);
    let can =
        ran(&["token", "capabilities", "sys/mounts"], "", |_| envelope(json!({ "sys/mounts": ["read", "list"] })))
            .await;
    assert_eq!((can.output.as_str(), can.seen[0].line()), ("list, read\n", "POST sys/capabilities-self".to_owned()));
    let queued = ran(&["lease", "revoke", "-prefix", "database/creds/"], "", |_| (202, Value::Null)).await;
    assert_eq!(queued.output, "All revocation operations queued successfully!\n");
    assert_eq!(
        (queued.seen[0].line(), queued.seen[0].body["sync"].clone()),
        ("PUT sys/leases/revoke-prefix/database/creds".to_owned(), json!(false))
    );
    assert_eq!(ran(&["lease", "revoke", "-force", "x"], "", |_| (204, Value::Null)).await.code, 1);
    let stuck = ran(&["lease", "list", "-stuck"], "", |_| envelope(json!({ "leases": [] }))).await;
    assert_eq!(stuck.output, "no revocation is stuck\n");
}

#[tokio::test]
async fn an_engine_that_opens_itself_is_initialised_with_recovery_shares() {
    let script = |recovery: bool| {
        move |seen: &Seen| match seen.path.as_str() {
            "sys/seal-status" => (200, json!({ "recovery_seal": recovery })),
            _ => (200, json!({ "keys_base64": [], "recovery_keys_base64": ["r="], "root_token": "hvs.root" })),
        }
    };
    let init = ran(&["operator", "init", "-key-shares=1", "-key-threshold=1"], "", script(true)).await;
    assert_eq!(init.seen[1].body, json!({ "recovery_shares": 1, "recovery_threshold": 1 }));
    assert!(init.output.contains("Initial Root Token: hvs.root\n"), "{}", init.output);
    let shamir = ran(&["operator", "init", "-format=json"], "", script(false)).await;
    assert_eq!(shamir.seen[1].body, json!({ "secret_shares": 5, "secret_threshold": 3 }));
    let wrong = ran(&["operator", "init", "-recovery-shares=1"], "", script(false)).await;
    assert_eq!((wrong.code, wrong.seen.len()), (1, 1));
    let state = ran(&["operator", "init", "-status"], "", |_| (200, json!({ "initialized": false }))).await;
    assert_eq!((state.code, state.output.as_str()), (2, "Vault is not initialized\n"));
}

/// A browser: it is sent to the provider, and comes back with a code.
async fn come_back(redirect: String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = redirect.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap().to_owned();
    for target in ["/favicon.ico", "/oidc/callback?state=st&code=c%2F1"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_browser_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let home = [("HOME", folder.path().to_str().unwrap()), ("VAULT_TOKEN", "")];
    let script = |seen: &Seen| match seen.path.split('?').next().unwrap_or_default() {
        "auth/sso/oidc/auth_url" => {
            tokio::spawn(come_back(seen.body["redirect_uri"].as_str().unwrap().to_owned()));
            envelope(json!({ "auth_url": "https://provider/x" }))
        }
        _ => (200, json!({ "data": null, "auth": { "client_token": "hvs.sso", "lease_duration": 60 } })),
    };
    let line = [
        "login",
        "-method=oidc",
        "-path=sso",
        "-no-print",
        "role=dev",
        "port=0",
        "listenaddress=127.0.0.1",
        "callbackhost=127.0.0.1",
        "skip_browser=true",
    ];
    let ran = ran_with(&line, "", &home, script).await;
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(ran.error.contains("https://provider/x") && !ran.error.contains("hvs.sso"), "{}", ran.error);
    assert_eq!(ran.seen[0].body["role"], "dev");
    let nonce = ran.seen[0].body["client_nonce"].as_str().unwrap();
    assert_eq!(ran.seen[1].path, format!("auth/sso/oidc/callback?client_nonce={nonce}&state=st&code=c%2F1"));
    let none = ran_with(&line, "", &home, |_: &Seen| envelope(json!({ "auth_url": "" }))).await;
    assert_eq!(none.code, 2);
}
