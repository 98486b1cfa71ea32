//! A namespace for each test on the cluster, which shows what went on in it when the test fails.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};

use crate::cluster::{LESSOR_NAMESPACE, client, kubectl};
use crate::environment::unique;

/// Makes a namespace, runs the test in it and removes it. When the test fails, the namespace's objects, events and logs
/// and those of Lessor itself are printed first.
///
/// # Panics
/// When the test does.
pub async fn with_temp_ns<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Client, String) -> F) {
    let client = client().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let name = unique(name);
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await.unwrap();

    let outcome = AssertUnwindSafe(test(client, name.clone())).catch_unwind().await;
    if outcome.is_err() {
        show(&name).await;
    }
    // Not waited for: what has finalizers ends while the next test runs.
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `test`, then `restore` whatever became of it: for what other tests need as it was.
///
/// # Panics
/// When the test does.
pub async fn restoring(test: impl Future<Output = ()>, restore: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    restore.await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn show(namespace: &str) {
    let kinds = "pods,deployments,jobs,credentialengines,databaseconnections,databaseroles,dynamicdatabasesecrets,staticdatabaseroles,staticdatabasesecrets";
    for arguments in [
        vec!["get", kinds, "--namespace", namespace, "--output", "wide"],
        vec!["get", "events", "--namespace", namespace, "--sort-by", ".metadata.creationTimestamp"],
        vec!["get", "pods", "--namespace", LESSOR_NAMESPACE, "--output", "wide"],
    ] {
        eprintln!("-- kubectl {}\n{}", arguments.join(" "), kubectl(&arguments).await.1);
    }
    for namespace in [namespace, LESSOR_NAMESPACE] {
        for pod in kubectl(&["get", "pods", "--namespace", namespace, "--output", "name"]).await.1.lines() {
            let log = ["logs", pod, "--namespace", namespace, "--all-containers", "--prefix", "--tail", "60"];
            eprintln!("-- logs of {pod} in {namespace}\n{}", kubectl(&log).await.1);
        }
    }
}
