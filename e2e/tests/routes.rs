//! Every operation that the engine describes, asked by whoever must not, and by whoever may; the document itself.
//!
//! The operations come from the engine's own OpenAPI document with everything mounted that its catalogue lists, so a new route
//! is asked at once. What the document leaves out never reaches a handler (`src/engine/routes.rs`).

use std::process::Stdio;

use lessor_e2e::environment::variable;
use lessor_e2e::http::{Answer, Http};
use lessor_e2e::lessor::Lessor;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const ROOT: &str = "the-root-token";

/// Stands for whatever a path leaves to its caller; nothing has that name.
const ABSENT: &str = "absent";

/// These look at the token that they are about before anything else: without one they are 403, and 400 with one that wraps nothing.
const ABOUT_A_TOKEN: &[&str] = &["sys/wrapping/lookup", "sys/wrapping/unwrap"];

/// What ends the token or the engine that the others need.
const ENDING: &[&str] = &["auth/token/revoke-self", "sys/seal"];

const CAPABILITIES: &[&str] = &["create", "delete", "list", "patch", "read", "update"];

/// One operation of the document.
#[derive(Debug, Clone)]
struct Operation {
    method: &'static str,
    path: String,
    open: bool,
    sudo: bool,
    /// A body with a value for each field.
    body: Value,
}

impl Operation {
    /// The capabilities of which a token needs one.
    fn capabilities(&self) -> &'static [&'static str] {
        match self.method {
            "GET" => &["read"],
            "LIST" => &["list"],
            "POST" => &["create", "update"],
            "PATCH" => &["patch"],
            _ => &["delete"],
        }
    }

    async fn ask(&self, http: &Http, body: &Value) -> Answer {
        let kind = if self.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if matches!(self.method, "POST" | "PATCH") { body.to_string() } else { String::new() };
        http.send(self.method, &self.path, &[("content-type", kind)], body).await.expect("the engine answers")
    }
}

async fn document(http: &Http) -> Value {
    http.get("sys/internal/specs/openapi").await.expect_status(200).body
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("a document has paths") {
        let path: Vec<_> = path[1..].split('/').map(|part| if part.starts_with('{') { ABSENT } else { part }).collect();
        let path = path.join("/");
        for (verb, operation) in item.as_object().expect("an object") {
            let lists = operation["parameters"][0]["name"] == "list";
            let method = match verb.as_str() {
                "get" if lists => "LIST",
                "get" => "GET",
                "post" => "POST",
                "patch" => "PATCH",
                "delete" => "DELETE",
                _ => continue,
            };
            found.push(Operation {
                method,
                path: path.clone(),
                open: item["x-vault-unauthenticated"] == true,
                sudo: item["x-vault-sudo"] == true,
                body: body(document, operation),
            });
        }
    }
    found
}

/// A value of its type for each field that an operation takes.
fn body(document: &Value, operation: &Value) -> Value {
    let content = operation["requestBody"]["content"].as_object().and_then(|content| content.values().next());
    let reference = content.and_then(|content| content["schema"]["$ref"].as_str()).unwrap_or("#/none");
    let schema = document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
    let value = |schema: &Value| match schema["type"].as_str() {
        Some("boolean") => json!(false),
        Some("integer") => json!(1),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ if schema["format"] == "duration" => json!("1s"),
        _ => json!("1"),
    };
    let properties = schema["properties"].as_object();
    let fields: Map<_, _> =
        properties.into_iter().flatten().map(|(name, schema)| (name.clone(), value(schema))).collect();
    fields.into()
}

/// An engine with everything mounted that can be.
async fn engine() -> (Lessor, Http) {
    let lessor = Lessor::dev(ROOT).await;
    let http = lessor.http().with_token(ROOT);
    let catalog = http.get("sys/plugins/catalog").await.expect_status(200).body;
    let kinds = |area: &str| catalog["data"][area].as_array().expect("a list").clone();
    for kind in kinds("auth").iter().filter(|kind| *kind != "token") {
        let path = format!("sys/auth/{}", kind.as_str().expect("a name"));
        http.post(&path, json!({ "type": kind })).await.expect_status(204);
    }
    for kind in kinds("secret") {
        let path = format!("sys/mounts/all/{}", kind.as_str().expect("a name"));
        http.post(&path, json!({ "type": kind })).await.expect_status(204);
    }
    (lessor, http)
}

/// A token that may do with every path what `capabilities` say.
async fn token(lessor: &Lessor, root: &Http, name: &str, capabilities: &[&str]) -> Http {
    let policy = json!({ "path": { "*": { "capabilities": capabilities } } }).to_string();
    root.post(&format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await.expect_status(204);
    let wanted = json!({ "policies": [name], "no_default_policy": true });
    let made = root.post("auth/token/create", wanted).await.expect_status(200);
    lessor.http().with_token(made.text("/auth/client_token"))
}

fn is_denied(answer: &Answer) -> bool {
    answer.status == 403 && answer.error().contains("permission denied")
}

fn expect(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} operations:\n{}", wrong.len(), wrong.join("\n"));
}

fn line(operation: &Operation, answer: &Answer) -> String {
    format!("{} {}: {} {}", operation.method, operation.path, answer.status, answer.body["errors"])
}

#[tokio::test]
async fn no_route_answers_without_a_token_unless_it_says_so() {
    let (lessor, root) = engine().await;
    let nobody = lessor.http();
    let operations = operations(&document(&root).await);
    assert!(operations.len() > 200, "all areas are there");
    let mut wrong = Vec::new();
    for operation in &operations {
        let answer = operation.ask(&nobody, &json!({})).await;
        let open = operation.open && !ABOUT_A_TOKEN.contains(&operation.path.as_str());
        if is_denied(&answer) == open || (!open && answer.status != 403) {
            wrong.push(line(operation, &answer));
        }
    }
    expect(&wrong);
}

#[tokio::test]
async fn no_route_answers_a_token_that_lacks_the_capability() {
    let (lessor, root) = engine().await;
    let mut wrong = Vec::new();
    let operations = operations(&document(&root).await);
    for lacking in [&["read"] as &[_], &["list"], &["create", "update"], &["patch"], &["delete"]] {
        let rest: Vec<_> =
            CAPABILITIES.iter().chain(&["sudo"]).filter(|name| !lacking.contains(name)).copied().collect();
        let caller = token(&lessor, &root, &format!("without-{}", lacking[0]), &rest).await;
        for operation in operations.iter().filter(|operation| !operation.open && operation.capabilities() == lacking) {
            let answer = operation.ask(&caller, &json!({})).await;
            let expected = if ABOUT_A_TOKEN.contains(&operation.path.as_str()) { 400 } else { 403 };
            if answer.status != expected {
                wrong.push(line(operation, &answer));
            }
        }
    }
    expect(&wrong);
}

#[tokio::test]
async fn sudo_is_asked_for_where_it_is_described_and_only_there() {
    let (lessor, root) = engine().await;
    let plain = token(&lessor, &root, "plain", CAPABILITIES).await;
    let sudo: Vec<_> = CAPABILITIES.iter().chain(&["sudo"]).copied().collect();
    let sudo = token(&lessor, &root, "with-sudo", &sudo).await;
    let mut wrong = Vec::new();
    for operation in operations(&document(&root).await) {
        if operation.open || ENDING.contains(&operation.path.as_str()) {
            continue;
        }
        let answer = operation.ask(&plain, &json!({})).await;
        // A mount that is not there is refused in words of its own.
        let refused = is_denied(&answer) && !answer.error().contains("preflight");
        if refused != operation.sudo {
            wrong.push(line(&operation, &answer));
        }
        if operation.sudo {
            let answer = operation.ask(&sudo, &json!({})).await;
            if is_denied(&answer) {
                wrong.push(line(&operation, &answer));
            }
        }
    }
    expect(&wrong);
}

#[tokio::test]
async fn every_described_operation_is_handled() {
    let (lessor, root) = engine().await;
    let everything = operations(&document(&root).await);
    let (mut ending, others): (Vec<_>, Vec<_>) =
        everything.into_iter().partition(|operation| ENDING.contains(&operation.path.as_str()));
    // The engine's end comes last.
    ending.sort_by(|a, b| a.path.cmp(&b.path));
    let own = root.post("auth/token/create", json!({ "policies": ["root"] })).await.expect_status(200);
    let own = lessor.http().with_token(own.text("/auth/client_token"));
    let mut wrong = Vec::new();
    for operation in others.iter().chain(&ending) {
        let http = if operation.path == "auth/token/revoke-self" { &own } else { &root };
        let bodies = if ENDING.contains(&operation.path.as_str()) {
            vec![json!({})]
        } else {
            vec![json!({}), operation.body.clone()]
        };
        for body in bodies {
            let answer = operation.ask(http, &body).await;
            let text = answer.body["errors"][0].as_str().unwrap_or_default();
            let unhandled = text.contains("unsupported path") || text.contains("unsupported operation");
            if unhandled || matches!(answer.status, 405 | 500) {
                wrong.push(line(operation, &answer));
            }
        }
    }
    expect(&wrong);
    lessor.http().get("sys/health").await.expect_status(503);
}

#[tokio::test]
async fn the_document_tells_of_what_its_reader_may_reach() {
    let (lessor, root) = engine().await;
    let paths = async |http: &Http| -> Vec<String> {
        document(http).await["paths"].as_object().unwrap().keys().cloned().collect()
    };
    root.post("sys/auth/approle/tune", json!({ "listing_visibility": "unauth" })).await.expect_status(204);
    let nobody = paths(&lessor.http()).await;
    assert!(nobody.contains(&"/auth/approle/login".to_owned()), "what is tuned to be listed");
    assert!(nobody.iter().all(|path| path.starts_with("/auth/approle/")), "and nothing else");

    let policy = json!({ "policy": "path \"all/database/creds/*\" { capabilities = [\"read\"] }" });
    root.post("sys/policies/acl/reader", policy).await.expect_status(204);
    let reader = root.post("auth/token/create", json!({ "policies": ["reader"] })).await.expect_status(200);
    let reader = paths(&lessor.http().with_token(reader.text("/auth/client_token"))).await;
    assert!(reader.contains(&"/all/database/creds/{name}".to_owned()));
    assert!(!reader.iter().any(|path| path.starts_with("/all/kv")));

    let generic = root.get("sys/internal/specs/openapi?generic_mount_paths=true").await.expect_status(200);
    let item = &generic.body["paths"]["/{database_mount_path}/creds/{name}"];
    assert_eq!(item["parameters"][0]["schema"]["default"], "all/database");
}

#[tokio::test]
async fn the_document_is_valid() {
    let (_lessor, root) = engine().await;
    let mut validator = Command::new(variable("LESSOR_HVAC_PYTHON"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/compat/python/openapi.py"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python can be started");
    let text = document(&root).await.to_string();
    validator.stdin.take().expect("a pipe").write_all(text.as_bytes()).await.unwrap();
    let output = validator.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_path_tells_what_it_is_for() {
    let (lessor, root) = engine().await;
    let caller = token(&lessor, &root, "nothing", &["deny"]).await;
    let help = caller.get("all/database/roles/app?help=1").await.expect_status(200);
    let text = help.text("/help");
    assert!(text.contains("db_name (string)") && text.contains("^roles/:name$"), "{text}");
    let paths = help.body["openapi"]["paths"].as_object().expect("a document of its own");
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/all/database/roles/{name}"]);
    let mount = caller.send("HELP", "sys", &[], "").await.unwrap().expect_status(200);
    assert!(mount.text("/help").contains("^mounts/*path/tune$"));
    assert!(is_denied(&lessor.http().get("sys/mounts?help=1").await));
    lessor.http().get("auth/approle/login?help=1").await.expect_status(200);
    caller.get("all/nothing?help=1").await.expect_status(404);
}
