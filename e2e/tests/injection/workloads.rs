//! Workloads that make their pods anew: each pod has a user of its own, and no user outlives its pod.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use lessor_e2e::cluster::apply;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::postgres::Postgres;
use serde_json::{Value, json};

use super::{BASE, SOON, as_it_is, in_restricted, note, pod, template, uid};
use crate::manifests::STAY;
use crate::workload::author;

/// From a pod's end to the end of its user.
const DROPPED: Duration = Duration::from_secs(5);

/// A program that writes the note `body`, then does `then`.
fn program(body: &str, then: &str) -> String {
    format!("test -s /lessor/secrets/db || exit 7; . /lessor/secrets/db; {} || exit 8; {then}", note(body))
}

/// The users who have written a note with that body, and how many of them are left.
async fn authors(database: &Postgres, body: &str) -> (usize, usize) {
    let authors = format!("SELECT DISTINCT author FROM notes WHERE body = '{body}'");
    let query = format!(
        "SELECT format('%s %s', (SELECT count(*) FROM ({authors}) a), (SELECT count(*) FROM pg_roles WHERE rolname IN ({authors})))"
    );
    let counts = database.text(&query).await;
    let mut counts = counts.split(' ').map(|count| count.parse().unwrap());
    (counts.next().unwrap(), counts.next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_comes_back_under_its_name_has_another_user() {
    in_restricted("comes-back", as_it_is, |client, namespace| async move {
        let template = template(&pod("web", &namespace, &BASE, &program("web in @NS", STAY)));
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "web" },
            "spec": { "serviceName": "web", "selector": { "matchLabels": { "app": "web" } }, "template": template },
        });
        set["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
        apply(&client, &namespace, &set.to_string()).await.unwrap();
        let (database, body) = (Postgres::connect().await, format!("web in {namespace}"));
        let first = author(&database, &client, &namespace, "web-0", &body).await;
        let before = uid(&client, &namespace, "web-0").await;

        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.delete("web-0", &DeleteParams::default()).await.unwrap();
        let (second, took) = eventually("the pod is back, with another user", SOON, || async {
            database.author_of(&body).await.filter(|user| *user != first).ok_or("not yet")
        })
        .await;
        eprintln!("{namespace}: worked again {took:.2?} after the deletion");
        eventually("the old user is dropped", DROPPED, || async { equals(database.has_role(&first).await, false) })
            .await;
        assert!(database.has_role(&second).await, "the new pod's user stays");
        let (engine, after) = (Installed::as_operator(&client).await, uid(&client, &namespace, "web-0").await);
        assert_ne!(before, after);
        assert_eq!(engine.leases_of(&before).await, Vec::<String>::new());
        assert_eq!(engine.leases_of(&after).await.len(), 1);
    })
    .await;
}

/// A Job's specification, whose program fails the first time.
fn fails_once(namespace: &str, name: &str, restart_policy: &str) -> Value {
    let body = format!("{name} in @NS");
    let tries = format!("psql --no-align --tuples-only --command \"SELECT count(*) FROM notes WHERE body = '{body}'\"");
    let text = program(&body, &format!("test \"$({tries})\" -gt 1 || exit 3"));
    let mut template = template(&pod(name, namespace, &BASE, &text));
    template["spec"]["restartPolicy"] = json!(restart_policy);
    // A restart in the same pod counts as soon as it begins.
    json!({ "backoffLimit": 2, "template": template })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_once_succeeds_and_leaves_no_user() {
    in_restricted("fails-once", as_it_is, |client, namespace| async move {
        let cases = [("another-pod", "Never", 2), ("same-pod", "OnFailure", 1)];
        for (name, restart_policy, _) in cases {
            let spec = fails_once(&namespace, name, restart_policy);
            let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name }, "spec": spec });
            apply(&client, &namespace, &job.to_string()).await.unwrap();
        }
        let (jobs, database) = (Api::<Job>::namespaced(client.clone(), &namespace), Postgres::connect().await);
        for (name, _, users) in cases {
            let (_, took) = eventually(&format!("{name} is complete"), SOON, || async {
                let status = jobs.get(name).await.unwrap().status.unwrap_or_default();
                if status.completion_time.is_some() { Ok(()) } else { Err(status) }
            })
            .await;
            let body = format!("{name} in {namespace}");
            eventually("no user is left", DROPPED, || async { equals(authors(&database, &body).await, (users, 0)) })
                .await;
            eprintln!("{namespace}/{name}: complete after {took:.2?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_jobs_pod_has_its_user_and_leaves_none() {
    in_restricted("cron", as_it_is, |client, namespace| async move {
        let mut template = template(&pod("cron", &namespace, &BASE, &program("cron in @NS", "exit 0")));
        template["spec"]["restartPolicy"] = json!("OnFailure");
        let cron = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "cron" },
            "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": template } } },
        });
        apply(&client, &namespace, &cron.to_string()).await.unwrap();
        // Last scheduled long ago: the turn of the year that was missed since is made up for at once.
        let crons: Api<CronJob> = Api::namespaced(client.clone(), &namespace);
        let missed = json!({ "status": { "lastScheduleTime": "2024-06-01T00:00:00Z" } });
        crons.patch_status("cron", &PatchParams::default(), &Patch::Merge(&missed)).await.unwrap();
        let (database, body) = (Postgres::connect().await, format!("cron in {namespace}"));
        let user = author(&database, &client, &namespace, "cron", &body).await;
        let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
        eventually("its Job is complete", SOON, || async {
            let jobs = jobs.list(&ListParams::default()).await.unwrap().items;
            let complete =
                jobs.iter().filter(|job| job.status.as_ref().is_some_and(|status| status.succeeded == Some(1)));
            equals((jobs.len(), complete.count()), (1, 1))
        })
        .await;
        eventually("its user is dropped", DROPPED, || async { equals(database.has_role(&user).await, false) }).await;
    })
    .await;
}
