//! Webhook and agent on a real cluster: a pod has its own user before it starts, and its user ends with it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams};
use lessor_e2e::cluster::apply;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::Postgres;

use crate::manifests::{STAY, annotations, database, pod, pod_spec, program, template};
use crate::operator::OPERATOR;

const SOON: Duration = Duration::from_secs(60);
/// From a pod's end to the end of its user.
const DROPPED: Duration = Duration::from_secs(5);

/// Applies the database and waits until pods can log in for it.
pub async fn with_role(client: &Client, namespace: &str) {
    apply(client, namespace, &database()).await.unwrap();
    eventually("the role is Ready", SOON, || async {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let get = ["get", "databaserole", "app", "--namespace", namespace, "--output", path];
        equals(lessor_e2e::cluster::kubectl(&get).await.1, "True".to_owned())
    })
    .await;
}

/// The user that has written a note, once it has.
pub async fn author(database: &Postgres, client: &Client, namespace: &str, pod: &str, note: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = format!("the pod {pod} has worked with its credential");
    let (user, took) = eventually(&what, SOON, || async {
        if let Some(user) = database.author_of(note).await {
            return Ok(user);
        }
        let status = pods.get(pod).await.ok().and_then(|pod| pod.status);
        Err(status.and_then(|status| status.phase).unwrap_or_default())
    })
    .await;
    eprintln!("{namespace}/{pod}: worked with its user after {took:.2?}");
    user
}

/// Waits until the pod has ended (gone, succeeded or failed), then for the end of its user.
pub async fn dropped_with(client: &Client, namespace: &str, pod: &str, user: &str) {
    let database = Postgres::connect().await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    eventually("the pod has ended", SOON, || async {
        let phase = pods.get_opt(pod).await.unwrap().map(|pod| pod.status.and_then(|status| status.phase));
        match phase {
            None => Ok(()),
            Some(Some(phase)) if phase == "Succeeded" || phase == "Failed" => Ok(()),
            Some(phase) => Err(phase),
        }
    })
    .await;
    let ended = Instant::now();
    eventually("the pod's user is dropped", DROPPED, || async { equals(database.has_role(user).await, false) }).await;
    eprintln!("{namespace}/{pod}: its user was dropped {:.2?} after its end", ended.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotated_pod_starts_with_its_file_and_its_user_goes_with_it() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("inject", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let text = program("/lessor/secrets/db", &namespace, STAY);
        apply(&client, &namespace, &pod("app", &namespace, &text)).await.unwrap();
        let database = Postgres::connect().await;
        let user = author(&database, &client, &namespace, "app", &namespace).await;
        assert!(database.has_role(&user).await);
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.delete("app", &DeleteParams::default()).await.unwrap();
        dropped_with(&client, &namespace, "app", &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_killed_without_notice_loses_its_user_as_well() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("force", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let text = program("/lessor/secrets/db", &namespace, STAY);
        apply(&client, &namespace, &pod("app", &namespace, &text)).await.unwrap();
        let user = author(&Postgres::connect().await, &client, &namespace, "app", &namespace).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete("app", &at_once).await.unwrap();
        dropped_with(&client, &namespace, "app", &user).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_leaves_no_user() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("job", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let spec = pod_spec(&program("/lessor/secrets/db", &namespace, "exit 0"), 6);
        let job = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec:\n  backoffLimit: 0\n  template:\n    metadata:\n      \
             annotations:\n{}    spec:\n{spec}",
            annotations(&namespace, 8)
        );
        apply(&client, &namespace, &job).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let (name, _) = eventually("the Job has its pod", SOON, || async {
            let found = pods.list(&kube::api::ListParams::default().labels("job-name=once")).await.unwrap();
            found.items.into_iter().next().and_then(|pod| pod.metadata.name).ok_or("none")
        })
        .await;
        let user = author(&Postgres::connect().await, &client, &namespace, &name, &namespace).await;
        dropped_with(&client, &namespace, &name, &user).await;
        let phase = pods.get(&name).await.unwrap().status.and_then(|status| status.phase);
        assert_eq!(phase.as_deref(), Some("Succeeded"), "the agent does not keep a Job from its end");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_annotations_of_vaults_injector_work_as_they_are() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("vault", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let spec = pod_spec(&program("/vault/secrets/db", &namespace, STAY), 2);
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: app\n  annotations:\n    vault.hashicorp.com/agent-inject: 'true'\n    \
             vault.hashicorp.com/role: {namespace}.app\n    \
             vault.hashicorp.com/agent-inject-secret-db: database/creds/{namespace}.app\n    \
             vault.hashicorp.com/agent-inject-template-db: |\n{}\nspec:\n{spec}",
            template(&namespace, 6)
        );
        apply(&client, &namespace, &manifest).await.unwrap();
        author(&Postgres::connect().await, &client, &namespace, "app", &namespace).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_annotation_is_refused_by_its_name() {
    with_temp_ns("refused", |client, namespace| async move {
        apply(&client, &namespace, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app}\n").await.unwrap();
        let good = pod("app", &namespace, "true");
        for (case, manifest, named) in [
            ("a typo", good.replace("lessor.dev/secret-db", "lessor.dev/secrets-db"), "lessor.dev/secrets-db"),
            ("a broken template", good.replace("{{ end }}", ""), "lessor.dev/template-db"),
            (
                "no boolean",
                good.replace("lessor.dev/inject: \"true\"", "lessor.dev/inject: \"yes please\""),
                "lessor.dev/inject",
            ),
        ] {
            let refused = apply(&client, &namespace, &manifest).await;
            let error = refused.expect_err(&format!("{case} is refused")).to_string();
            assert!(error.contains(named), "{case}: {error}");
        }
    })
    .await;
}
