//! Whose a database user is: from the user to its pod and back, by the API, the command line, an event of the pod and the log.

use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::Api;
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::Postgres;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::manifests::{STAY, dynamic_secret, pod, program};
use crate::nothing::uid as uid_of;
use crate::operator::{OPERATOR, credential};
use crate::workload::{author, with_role};

const SOON: Duration = Duration::from_secs(30);

/// A way to the installed engine's port from here; ends with the value.
struct Forwarded {
    port: String,
    _forwarder: Child,
    /// It ends when nobody takes what it says.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Forwarded {
    async fn to_engine() -> Self {
        let mut forwarder = Command::new(variable("KUBECTL"))
            .args(["--context", &variable("LESSOR_CONTEXT"), "--namespace", LESSOR_NAMESPACE])
            .args(["port-forward", "service/lessor-engine", ":8200"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl can be started");
        let mut lines = BufReader::new(forwarder.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("in time").unwrap().unwrap_or_default();
        // Forwarding from 127.0.0.1:41234 -> 8200
        let port = line.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split_once(' ')).map(|(port, _)| port);
        Self { port: port.unwrap_or_else(|| panic!("{line}")).to_owned(), _forwarder: forwarder, _said: lines }
    }

    /// What the command line prints.
    async fn lessor(&self, client: &kube::Client, token: &str, arguments: &[&str]) -> String {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), LESSOR_NAMESPACE);
        let ca =
            secrets.get("lessor-engine-tls").await.unwrap().data.unwrap().remove("ca.crt").expect("the engine's CA");
        let output = Command::new(variable("LESSOR_BINARY"))
            .args(arguments)
            .env("VAULT_ADDR", format!("https://127.0.0.1:{}", self.port))
            .env("VAULT_CACERT_BYTES", String::from_utf8(ca.0).unwrap())
            .env("VAULT_TLS_SERVER_NAME", format!("lessor-engine.{LESSOR_NAMESPACE}.svc"))
            .env("VAULT_TOKEN", token)
            .output()
            .await
            .expect("lessor can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(output.stderr));
        text(output.stdout)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_leads_to_its_pod_and_a_pod_to_its_user() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("trace", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let text = program("/lessor/secrets/db", &namespace, STAY);
        apply(&client, &namespace, &pod("app", &namespace, &text)).await.unwrap();
        let user = author(&Postgres::connect().await, &client, &namespace, "app", &namespace).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let uid = pods.get("app").await.unwrap().metadata.uid.unwrap();

        let engine = Installed::as_operator(&client).await;
        let (status, body) = engine.get(&format!("sys/lessor/users/{user}")).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        let holder = &body["data"]["users"][0]["holder"];
        let told = ["type", "namespace", "name", "uid", "service_account"].map(|key| holder[key].as_str().unwrap());
        assert_eq!(told, ["pod", &namespace, "app", &uid, "app"]);
        let connection = format!("{namespace}.postgres");
        assert_eq!(body["data"]["users"][0]["connection"], connection.as_str());
        for of in [uid.clone(), format!("{namespace}/app")] {
            let (_, body) = engine.get(&format!("sys/lessor/workloads/{of}")).await;
            assert_eq!(body["data"]["leases"][0]["username"], user.as_str(), "{of}");
        }
        let (status, body) = engine.get("sys/lessor/users/somebody").await;
        assert_eq!(status, 404);
        assert!(body["errors"][0].as_str().unwrap().contains("\"somebody\""), "{body}");

        let way = Forwarded::to_engine().await;
        let shown = way.lessor(&client, engine.token(), &["who", &user]).await;
        let row = shown.lines().nth(1).unwrap_or_default();
        assert!(
            [&user, &format!("pod {namespace}/app"), &uid].iter().all(|text| row.contains(text.as_str())),
            "{shown}"
        );
        let named = format!("{namespace}/app");
        for arguments in [["who", "--pod", &named], ["who", "--uid", &uid]] {
            let shown = way.lessor(&client, engine.token(), &arguments).await;
            assert!(shown.contains(&user), "{arguments:?}: {shown}");
        }
        in_event_and_log(&namespace, &engine, &user, &uid).await;
    })
    .await;
}

/// What anybody may read has the user and its pod, and nothing that would be of use to a thief.
async fn in_event_and_log(namespace: &str, engine: &Installed, user: &str, uid: &str) {
    let get = ["get", "events.events.k8s.io", "--namespace", namespace, "--output", "json"];
    let (event, took) = eventually("an event of the pod names its user", SOON, || async {
        let list: serde_json::Value = serde_json::from_str(&kubectl(&get).await.1).unwrap();
        let all = list["items"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|event| event["reason"] == "Leased").ok_or("none")
    })
    .await;
    eprintln!("{namespace}: told by an event {took:.2?} after the rest: {}", event["note"]);
    assert_eq!(event["regarding"]["uid"], uid);
    assert_eq!(event["metadata"]["annotations"]["lessor.dev/username"], user);
    assert!(event["note"].as_str().unwrap().contains(user));
    let leases = engine.leases_of(uid).await;
    let path = format!("database/creds/{namespace}.app");
    let shown = event["metadata"]["annotations"]["lessor.dev/lease"].as_str().unwrap();
    assert!(leases[0].starts_with(shown) && shown.starts_with(&path) && shown.len() < leases[0].len(), "{shown}");

    let log = kubectl(&["logs", "lessor-engine-0", "--namespace", LESSOR_NAMESPACE]).await.1;
    let line = log.lines().find(|line| line.contains("issued a workload's credential") && line.contains(user));
    assert!(line.is_some_and(|line| line.contains(uid) && line.contains(namespace)), "{line:?}");
    assert!(!log.contains(&leases[0]), "the log shows a whole lease id");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_an_object_leads_to_the_object_and_its_service_account() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("trace", |client, namespace| async move {
        with_role(&client, &namespace).await;
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        let (user, _) = credential(&client, &namespace, "app-db").await;
        let (status, body) = Installed::as_operator(&client).await.get(&format!("sys/lessor/users/{user}")).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        let holder = &body["data"]["users"][0]["holder"];
        let told = ["type", "namespace", "name", "uid", "service_account"].map(|key| holder[key].as_str().unwrap());
        assert_eq!(told, ["object", &namespace, "app-db", &uid_of(&client, &namespace, "app-db").await, "app"]);
    })
    .await;
}
