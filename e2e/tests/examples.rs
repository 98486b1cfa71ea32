//! The applications of `config/examples`, with its manifests: their users are replaced under load, and no request fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use lessor_e2e::cluster::apply;
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::eventually;
use lessor_e2e::namespace::with_temp_ns;
use serde_json::{Value, json};

use crate::manifests::database;
use crate::operator::OPERATOR;

const INJECTED: &str = include_str!("../../config/examples/kubernetes/injected.yaml");
const MOUNTED: &str = include_str!("../../config/examples/kubernetes/secret.yaml");
/// How each is started in the one image that all of them share.
const APPLICATIONS: [(&str, &[&str]); 4] = [
    ("python", &["python3", "/app/python/app.py"]),
    ("node", &["node", "/app/node/app.js"]),
    ("go", &["/app/go/shop"]),
    ("java", &["java", "-XX:TieredStopAtLevel=1", "-cp", "/app/java/*", "shop.App"]),
];
/// Requests of each application that are under way at the same time.
const CLIENTS: usize = 3;
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(25);
const START: Duration = Duration::from_secs(90);
/// For all users of a test, on a loaded machine.
const LONG: Duration = Duration::from_secs(180);

type Web = HttpClient<HttpConnector, Empty<Bytes>>;

/// The manifest for one application: its own name, image and program; and what a test's cluster has elsewhere.
fn manifest(text: &str, name: &str, command: &[&str], namespace: &str) -> String {
    let [host, port, database] = ["LESSOR_PG_HOST", "LESSOR_PG_PORT", "LESSOR_PG_DATABASE"].map(variable);
    let text = text.replace("creds/shop.app", &format!("creds/{namespace}.app"));
    let text = text.replace("postgres.shop.svc:5432/app", &format!("{host}:{port}/{database}"));
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| {
        let mut object = <Value as serde::Deserialize>::deserialize(document).unwrap();
        if object["kind"] == "Deployment" {
            object["metadata"]["name"] = json!(name);
            object["spec"]["selector"]["matchLabels"]["app"] = json!(name);
            let template = &mut object["spec"]["template"];
            template["metadata"]["labels"]["app"] = json!(name);
            template["spec"]["terminationGracePeriodSeconds"] = json!(1);
            let container = &mut template["spec"]["containers"][0];
            container["image"] = json!(variable("LESSOR_EXAMPLES_IMAGE"));
            container["imagePullPolicy"] = json!("IfNotPresent");
            container["command"] = json!(command);
            container["readinessProbe"]["periodSeconds"] = json!(1);
        }
        object.to_string()
    });
    documents.collect::<Vec<_>>().join("\n---\n")
}

/// The one pod of an application, once it is ready: where it is.
async fn ready(client: &Client, namespace: &str, name: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = format!("{name} is ready");
    let (address, took) = eventually(&what, START, || async {
        let found = pods.list(&ListParams::default().labels(&format!("app={name}"))).await.unwrap();
        let status = found.items.into_iter().next().and_then(|pod| pod.status).ok_or("no pod")?;
        let is_ready = |status: &k8s_openapi::api::core::v1::PodStatus| {
            status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        status.pod_ip.clone().filter(|_| is_ready(&status)).ok_or("not ready")
    })
    .await;
    eprintln!("{name}: ready after {took:.1?}");
    format!("http://{address}:8080/")
}

/// As whom the application works, by its answer.
///
/// # Errors
/// Whatever is not an answer with status 200.
async fn ask(web: &Web, address: &str) -> Result<String, String> {
    let answer = web.get(address.parse().unwrap()).await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == 200 { Ok(text) } else { Err(format!("{status}: {text}")) }
}

/// Asks on and on until the application has worked as that many users; how often, and every refusal.
async fn load(address: &str, users: usize) -> (usize, BTreeSet<String>, Vec<String>) {
    let web: Web = HttpClient::builder(TokioExecutor::new()).build(HttpConnector::new());
    let (begun, seen, asked, refused) = (
        Instant::now(),
        std::cell::RefCell::new(BTreeSet::new()),
        std::cell::Cell::new(0),
        std::cell::RefCell::default(),
    );
    let client = || async {
        while seen.borrow().len() < users && begun.elapsed() < LONG {
            asked.set(asked.get() + 1);
            match ask(&web, address).await {
                Ok(user) => drop(seen.borrow_mut().insert(user)),
                Err(problem) => Vec::push(&mut refused.borrow_mut(), format!("{:.1?}: {problem}", begun.elapsed())),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    join_all((0..CLIENTS).map(|_| client())).await;
    (asked.get(), seen.into_inner(), refused.into_inner())
}

/// Starts every application with the manifest `text`, and asks each until it has worked as `users` users.
async fn nobody_is_refused(name: &str, database: &str, text: &str, users: usize) {
    with_temp_ns(name, |client, namespace| async move {
        apply(&client, &namespace, database).await.unwrap();
        for (name, command) in APPLICATIONS {
            apply(&client, &namespace, &manifest(text, name, command, &namespace)).await.unwrap();
        }
        join_all(APPLICATIONS.map(|(name, _)| one(&client, &namespace, name, users))).await;
    })
    .await;
}

async fn one(client: &Client, namespace: &str, name: &str, users: usize) {
    let address = ready(client, namespace, name).await;
    let begun = Instant::now();
    let (asked, seen, refused) = load(&address, users).await;
    eprintln!("{namespace}: {name}: {asked} requests as {} users in {:.1?}", seen.len(), begun.elapsed());
    assert_eq!(refused, Vec::<String>::new(), "{name}: of {asked} requests");
    assert!(seen.len() >= users, "{name}: {} users in {LONG:?}", seen.len());
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} in {text}");
    text.replace(from, to)
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_with_an_agent_follow_three_changes_of_their_user() {
    let _steady = OPERATOR.read().await;
    let database = replaced(&database(), "defaultTTL: 1h", "defaultTTL: 8s");
    let database = replaced(&database, "maxTTL: 24h", "maxTTL: 16s");
    nobody_is_refused("followed", &database, INJECTED, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_with_a_mounted_secret_follow_two_changes_of_their_user() {
    let _steady = OPERATOR.read().await;
    // The kubelet of the tests looks every five seconds, where others do once a minute.
    let short = replaced(MOUNTED, "grace: 5m", "grace: 20s\n  refreshAfter: 22s");
    nobody_is_refused("mounted", &database(), &short, 3).await;
}
