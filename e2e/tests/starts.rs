//! How pods start: many at once, with an agent that is killed, and with one that cannot log in.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::Postgres;

use crate::manifests::{STAY, annotations, pod, pod_spec, program};
use crate::operator::OPERATOR;
use crate::workload::{author, dropped_with, with_role};

const SOON: Duration = Duration::from_secs(60);
/// For the start of a crowd, by the pod: what the kubelet takes on two busy cores.
const START: Duration = Duration::from_secs(2);
/// From the scaling to 0 to the end of every user.
const DROPPED: Duration = Duration::from_secs(15);

/// How many pods start at once. CI's machine has little time; the promise is for 200.
fn crowd() -> usize {
    std::env::var("LESSOR_TEST_PODS").ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

async fn number(database: &Postgres, query: &str) -> usize {
    database.text(&format!("SELECT ({query})::text")).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_pods_has_a_user_each_and_leaves_none() {
    let _steady = OPERATOR.write().await;
    with_temp_ns("crowd", |client, namespace| async move {
        let pods = crowd();
        with_role(&client, &namespace).await;
        // Each pod says its name with its own user.
        let text = program("/lessor/secrets/db", &format!("{namespace} $HOSTNAME"), STAY);
        let spec = pod_spec(&text, 6).replace("restartPolicy: Never", "restartPolicy: Always");
        // 200 agents that ask for 10m each, the default, are more than a machine with two processors has.
        let annotations = annotations(&namespace, 8) + &format!("{:8}lessor.dev/requests-cpu: 1m\n", "");
        let deployment = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: crowd}}\nspec:\n  replicas: {pods}\n  selector: {{matchLabels: {{app: \
             crowd}}}}\n  template:\n    metadata:\n      labels: {{app: crowd}}\n      annotations:\n{annotations}    spec:\n{spec}"
        );
        let database = Postgres::connect().await;
        let authors = format!("SELECT author FROM notes WHERE body LIKE '{namespace} %'");
        let begun = Instant::now();
        apply(&client, &namespace, &deployment).await.unwrap();
        eventually("every pod has worked with a user", SOON + START * pods as u32, || async {
            equals(number(&database, &format!("SELECT count(DISTINCT author) FROM ({authors}) a")).await, pods)
        })
        .await;
        let started = begun.elapsed();
        let bodies = format!("SELECT count(DISTINCT body) FROM notes WHERE body LIKE '{namespace} %'");
        assert_eq!(number(&database, &bodies).await, pods, "each with one of its own");
        assert_eq!(number(&database, &format!("SELECT count(*) FROM ({authors}) a")).await, pods, "once");

        let left = format!("SELECT count(*) FROM pg_roles WHERE rolname IN ({authors})");
        assert_eq!(number(&database, &left).await, pods);
        let begun = Instant::now();
        let scaled = kubectl(&["scale", "deployment", "crowd", "--namespace", &namespace, "--replicas=0"]).await;
        assert!(scaled.0, "{}", scaled.1);
        eventually("no user is left", SOON, || async { equals(number(&database, &left).await, 0) }).await;
        let dropped = begun.elapsed();
        let all: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let ending = all.list_metadata(&Default::default()).await.unwrap().items.len();
        eprintln!(
            "{pods} pods: all had worked after {started:.1?}, all users were gone {dropped:.1?} after the scaling to 0, with {ending} \
             pods left to be removed"
        );
        // Stopping so many pods may take a machine longer, and a user ends with its pod's containers, not before.
        assert!(dropped < DROPPED || ending > 0, "{dropped:?}, and all pods are gone");
    })
    .await;
}

/// The processes of a pod's program, if the pod runs on this machine.
fn processes(pod: &str, program: &str) -> Vec<String> {
    let holds = |path: PathBuf, text: &str| {
        let found = std::fs::read(path).unwrap_or_default();
        found.split(|byte| *byte == 0).any(|part| part == text.as_bytes())
    };
    let host = format!("HOSTNAME={pod}");
    let all = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let of_pod = all.filter(|entry| holds(entry.path().join("environ"), &host));
    let of_program = of_pod.filter(|entry| holds(entry.path().join("cmdline"), program));
    of_program.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_comes_back_with_the_user_that_its_pod_has() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("killed", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let name = unique("app");
        let text = program("/lessor/secrets/db", &namespace, STAY);
        apply(&client, &namespace, &pod(&name, &namespace, &text)).await.unwrap();
        let user = author(&Postgres::connect().await, &client, &namespace, &name, &namespace).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let agents = processes(&name, "/lessor-agent");
        if agents.is_empty() {
            // A cluster elsewhere: nothing of it can be killed from here.
            eprintln!("{namespace}: skipped, the pod runs on another machine");
            return;
        }
        for process in agents {
            assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
        }
        eventually("the agent runs again", SOON, || async {
            let status = pods.get(&name).await.unwrap().status.unwrap_or_default();
            let agent = status.init_container_statuses.unwrap_or_default().into_iter().next().expect("the agent");
            equals((agent.restart_count, agent.ready, agent.started), (1, true, Some(true)))
        })
        .await;
        let uid = pods.get(&name).await.unwrap().metadata.uid.unwrap();
        let (status, body) = Installed::as_operator(&client).await.get(&format!("sys/lessor/workloads/{uid}")).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        let leases = body["data"]["leases"].as_array().unwrap();
        let users: Vec<_> = leases.iter().map(|lease| lease["username"].as_str().unwrap()).collect();
        assert_eq!(users, [user.as_str()], "one start, one credential");
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(&name, &at_once).await.unwrap();
        dropped_with(&client, &namespace, &name, &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_log_in_fails_at_its_deadline_with_an_event_that_says_why() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("deadline", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let wrong = pod("app", &namespace, STAY).replace("lessor.dev/role: app", "lessor.dev/role: nobodys");
        apply(&client, &namespace, &wrong).await.unwrap();
        let template = "go-template={{range .items}}{{.regarding.name}} {{.reason}} {{.note}}{{\"\\n\"}}{{end}}";
        let get = ["get", "events.events.k8s.io", "--namespace", &namespace, "--output", template];
        let (line, took) = eventually("an event says why", SOON, || async {
            let told = kubectl(&get).await.1;
            told.lines().find(|line| line.starts_with("app AgentFailed")).map(str::to_owned).ok_or(told)
        })
        .await;
        eprintln!("{namespace}: after {took:.1?}: {line}");
        assert!(line.contains("cannot log in: auth/kubernetes/login: invalid role name"), "{line}");
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let status = pods.get("app").await.unwrap().status.unwrap_or_default();
        let program = status.container_statuses.unwrap_or_default();
        assert!(program.iter().all(|status| status.started == Some(false)), "the program waits for its credential");
    })
    .await;
}
