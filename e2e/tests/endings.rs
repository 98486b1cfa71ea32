//! How pods end, in order and otherwise, with and without their agent's help: the database user ends with them.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, EvictParams, ListParams};
use lessor_e2e::cluster::apply;
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::pods::{Ghost, lost_node};
use lessor_e2e::postgres::Postgres;

use crate::away::gone as away;
use crate::deletion::scale_engine;
use crate::manifests::{STAY, annotations, pod, pod_spec, program};
use crate::operator::OPERATOR;
use crate::running::scale;
use crate::workload::{author, dropped_with, with_role};

const SOON: Duration = Duration::from_secs(60);
/// From a pod's end to the end of its user when all is well.
const DROPPED: Duration = Duration::from_secs(5);
/// From the recovery of whatever was down.
const RECOVERED: Duration = Duration::from_secs(60);
/// What a grace period of a second takes to be over for good, the operator's margin (30 s) included.
const OVERDUE: Duration = Duration::from_secs(45);
/// Kubernetes looks for pods of nodes that are gone every 20 s, and waits 40 s before it removes them.
const COLLECTED: Duration = Duration::from_secs(90);

async fn gone(database: &Postgres, what: &str, user: &str, within: Duration) {
    let (_, took) = eventually(what, within, || async { equals(database.has_role(user).await, false) }).await;
    eprintln!("{what}: after {took:.2?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fails_and_one_that_is_evicted_leave_no_user() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("fails", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let database = Postgres::connect().await;
        for (name, then) in [("fails", "exit 3"), ("evicted", STAY)] {
            let note = format!("{namespace}-{name}");
            let text = program("/lessor/secrets/db", &note, then);
            apply(&client, &namespace, &pod(name, &namespace, &text)).await.unwrap();
            let user = author(&database, &client, &namespace, name, &note).await;
            if name == "evicted" {
                let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
                pods.evict(name, &EvictParams::default()).await.unwrap();
            }
            dropped_with(&client, &namespace, name, &user).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sidecar_outlives_the_program_and_its_user_the_last_statement() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("outlives", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let last = "psql --quiet --command \"INSERT INTO notes (body) VALUES ('the last')\" || exit 9";
        let then = format!("trap \"sleep 2; {} ; exit 0\" TERM; sleep 3600 & wait", last.replace('"', "\\\""));
        let text = program("/lessor/secrets/db", &namespace, &then);
        apply(&client, &namespace, &pod("app", &namespace, &text)).await.unwrap();
        let database = Postgres::connect().await;
        let user = author(&database, &client, &namespace, "app", &namespace).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.delete("app", &DeleteParams::default()).await.unwrap();
        dropped_with(&client, &namespace, "app", &user).await;
        assert_eq!(database.notes_by(&user).await, 2, "what the program wrote while it ended");
    })
    .await;
}

/// How many seconds after its program's end a Job was complete.
async fn completion(client: &Client, namespace: &str, name: &str) -> i64 {
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let (completed, _) = eventually("the Job is complete", SOON, || async {
        jobs.get(name).await.unwrap().status.and_then(|status| status.completion_time).ok_or("not yet")
    })
    .await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = pods.list(&ListParams::default().labels(&format!("job-name={name}"))).await.unwrap();
    let program = pods.items[0].status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap();
    let ended = program[0].state.clone().and_then(|state| state.terminated?.finished_at).expect("it has ended");
    completed.0.duration_since(ended.0).as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_complete_within_five_seconds_of_its_programs_end() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("complete", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let job = |name: &str, annotations: &str, text: &str| {
            let spec = pod_spec(text, 6);
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  template:\n    metadata:\n      annotations:\n\
                 {annotations}    spec:\n{spec}"
            )
        };
        let text = program("/lessor/secrets/db", &namespace, "exit 0");
        apply(&client, &namespace, &job("injected", &annotations(&namespace, 8), &text)).await.unwrap();
        let injected = completion(&client, &namespace, "injected").await;
        let complete = Instant::now();
        let database = Postgres::connect().await;
        let user = database.author_of(&namespace).await.expect("the program has worked");
        gone(&database, "the user of a complete Job", &user, DROPPED).await;
        assert!(complete.elapsed() < DROPPED + Duration::from_secs(1));
        // Kubernetes takes most of it, three seconds and more on a busy machine.
        apply(&client, &namespace, &job("plain", "        x: \"y\"\n", "true")).await.unwrap();
        let plain = completion(&client, &namespace, "plain").await;
        eprintln!("{namespace}: complete {injected} s after its program's end, without an agent {plain} s");
        assert!(injected <= 5.max(plain + 2), "{injected} s, without an agent {plain} s");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_a_lost_node_loses_its_user_although_its_object_stays() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("lost", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let (silent, removed) = (unique("silent"), unique("removed"));
        let nodes: Api<Node> = Api::all(client.clone());
        let test = async {
            lost_node(&client, &silent).await;
            lost_node(&client, &removed).await;
            let stuck = Ghost::start(&client, &namespace, &silent, "stuck", true).await;
            let by_itself = Ghost::start(&client, &namespace, &silent, "by-itself", false).await;
            let orphan = Ghost::start(&client, &namespace, &removed, "orphan", true).await;
            nodes.delete(&removed, &DeleteParams::default()).await.unwrap();
            stuck.delete(1).await;
            by_itself.delete(1).await;
            let database = Postgres::connect().await;
            let left = gone(&database, "the user of a pod that its node does not end", &stuck.user, OVERDUE);
            left.await;
            assert!(stuck.is_there().await, "Kubernetes keeps the object for a node that may come back");
            gone(&database, "the user of one that was not injected", &by_itself.user, OVERDUE + RECOVERED).await;
            gone(&database, "the user of a pod whose node was removed", &orphan.user, COLLECTED).await;
            stuck.delete(0).await;
            by_itself.delete(0).await;
        };
        restoring(test, async {
            for node in [&silent, &removed] {
                // Both may be gone.
                let _ = nodes.delete(node, &DeleteParams::default()).await;
            }
        })
        .await;
    })
    .await;
}

/// Pods that end in every way without an agent, by what ends them.
async fn ghosts(client: &Client, namespace: &str, node: &str) -> [Ghost; 4] {
    let start = |name: &'static str, label| Ghost::start(client, namespace, node, name, label);
    [
        start("removed", true).await,
        start("succeeded", true).await,
        start("failed", true).await,
        start("by-itself", false).await,
    ]
}

async fn end_all([removed, succeeded, failed, by_itself]: &[Ghost; 4]) {
    removed.delete(0).await;
    succeeded.phase("Succeeded").await;
    failed.phase("Failed").await;
    by_itself.delete(0).await;
}

async fn all_gone(database: &Postgres, what: &str, ghosts: &[Ghost; 4]) {
    let begun = Instant::now();
    for ghost in ghosts {
        let left = RECOVERED.saturating_sub(begun.elapsed());
        eventually(what, left, || async { equals(database.has_role(&ghost.user).await, false) }).await;
    }
    eprintln!("{what}: all users after {:.2?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_operator_or_engine_are_down_is_found_when_they_are_back() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("missed", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let (node, nodes) = (&unique("lost"), Api::<Node>::all(client.clone()));
        lost_node(&client, node).await;
        let database = Postgres::connect().await;
        let test = async {
            let ended = ghosts(&client, &namespace, node).await;
            let alive = Ghost::start(&client, &namespace, node, "alive", true).await;
            scale_to_nothing().await;
            end_all(&ended).await;
            scale(1).await;
            all_gone(&database, "the operator is back", &ended).await;
            for name in ["succeeded", "failed"] {
                let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
                let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                pods.delete(name, &at_once).await.unwrap();
            }
            let ended = ghosts(&client, &namespace, node).await;
            scale_engine("0").await;
            end_all(&ended).await;
            scale_engine("1").await;
            all_gone(&database, "the engine is back", &ended).await;
            assert!(database.has_role(&alive.user).await, "a pod that runs keeps its user through all of this");
        };
        restoring(test, async {
            scale_engine("1").await;
            scale(1).await;
            let _ = nodes.delete(node, &DeleteParams::default()).await;
        })
        .await;
    })
    .await;
}

/// Takes the operator away.
async fn scale_to_nothing() {
    use lessor_e2e::cluster::{LESSOR_NAMESPACE, kubectl};
    use lessor_e2e::figures;
    let scale = ["scale", "deployment", figures::OPERATOR, "--namespace", LESSOR_NAMESPACE, "--replicas=0"];
    let (scaled, said) = kubectl(&scale).await;
    assert!(scaled, "{said}");
    away("operator").await;
}
