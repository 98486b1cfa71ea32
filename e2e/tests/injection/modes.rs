//! A pod in each mode: it starts with its credential, and has exactly one.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::eventually;
use lessor_e2e::installed::Installed;
use lessor_e2e::postgres::Postgres;
use serde_json::json;

use super::{BASE, SOON, as_it_is, changed, in_restricted, note, pod, pod_by_exec, uid};
use crate::manifests::STAY;
use crate::workload::author;

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_starts_with_one_credential() {
    in_restricted("modes", as_it_is, |client, namespace| async move {
        let from_file = |mode: &str| {
            let asked = "test \"${LIFE:-600}\" = 600 || exit 6";
            format!(
                "test -s /lessor/secrets/db || exit 7; . /lessor/secrets/db; {asked}; {} || exit 8; {STAY}",
                note(mode)
            )
        };
        for mode in ["sidecar", "classic", "once"] {
            let mut annotations = [&BASE[..], &[("lessor.dev/mode", mode)]].concat();
            if mode == "once" {
                annotations[2].1 = SHORTER;
            }
            let text = from_file(&format!("{mode} in @NS"));
            apply(&client, &namespace, &as_on_openshift(&pod(mode, &namespace, &annotations, &text))).await.unwrap();
        }
        apply(&client, &namespace, &as_on_openshift(&pod_by_exec(&namespace))).await.unwrap();

        let (database, engine) = (Postgres::connect().await, Installed::as_operator(&client).await);
        let mut users = Vec::new();
        for mode in ["sidecar", "classic", "once", "exec"] {
            let user = author(&database, &client, &namespace, mode, &format!("{mode} in {namespace}")).await;
            // The second of the classic pair may only just have started.
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            eventually(&format!("every container of {mode} runs"), SOON, || async {
                let status = pods.get(mode).await.unwrap().status.unwrap_or_default();
                let started =
                    status.container_statuses.into_iter().flatten().all(|container| container.started == Some(true));
                if started { Ok(()) } else { Err("not yet") }
            })
            .await;
            let leases = engine.leases_of(&uid(&client, &namespace, mode).await).await;
            assert_eq!(leases.len(), 1, "{mode}: {leases:?}");
            assert!(database.has_role(&user).await);
            users.push(user);
        }
        users.sort();
        users.dedup();
        assert_eq!(users.len(), 4, "each pod has its own");

        let spec = pods_text(&client, &namespace, "exec").await;
        assert!(!users.iter().any(|user| spec.contains(user)), "no credential in the pod's spec");
    })
    .await;
}

/// With a user that no image knows, as OpenShift chooses it, and nothing to write to but the volumes.
fn as_on_openshift(pod: &str) -> String {
    changed(pod, |pod| {
        let chosen = json!({ "runAsUser": 1_000_660_000, "fsGroup": 1_000_660_000 });
        let context = pod["spec"]["securityContext"].as_object_mut().unwrap();
        context.extend(chosen.as_object().unwrap().clone());
        pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = json!(true);
    })
}

/// As [`super::EXPORTS`], of a user with a life below the role's.
const SHORTER: &str = "{{ with secret \"database/creds/@NS.app?ttl=10m\" }}export PGUSER='{{ .Data.username }}' \
                       PGPASSWORD='{{ .Data.password }}' LIFE={{ .LeaseDuration }}{{ end }}\n";

async fn pods_text(client: &kube::Client, namespace: &str, name: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    serde_json::to_string(&pods.get(name).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_uses_the_engines_api_without_a_token() {
    in_restricted("proxy", as_it_is, |client, namespace| async move {
        let annotations = [
            ("lessor.dev/inject", "true"),
            ("lessor.dev/role", "app"),
            ("lessor.dev/proxy", "true"),
            ("lessor.dev/proxy-port", "8100"),
        ];
        let text = format!(
            "ask() {{ wget -q -O - http://127.0.0.1:8100/v1/database/creds/@NS.app; }}\n\
             first=$(ask) || exit 5\n\
             test \"$first\" = \"$(ask)\" || exit 6\n\
             field() {{ echo \"$first\" | sed -E \"s/.*\\\"$1\\\":\\\"([^\\\"]*)\\\".*/\\1/\"; }}\n\
             export PGUSER=$(field username) PGPASSWORD=$(field password)\n{} || exit 8\n{STAY}",
            note("proxy in @NS")
        );
        apply(&client, &namespace, &pod("app", &namespace, &annotations, &text)).await.unwrap();
        let database = Postgres::connect().await;
        author(&database, &client, &namespace, "app", &format!("proxy in {namespace}")).await;
        let leases = Installed::as_operator(&client).await.leases_of(&uid(&client, &namespace, "app").await).await;
        assert_eq!(leases.len(), 1, "the second answer was kept: {leases:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_succeed_names_its_cause() {
    in_restricted("cause", as_it_is, |client, namespace| async move {
        for mode in ["sidecar", "once"] {
            let mut annotations = [&BASE[..], &[("lessor.dev/mode", mode)]].concat();
            annotations[1].1 = "missing";
            apply(&client, &namespace, &pod(mode, &namespace, &annotations, "true")).await.unwrap();
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        for (mode, deadline) in [("sidecar", "told to stop before every file was written"), ("once", "within 60 s")] {
            let (message, took) = eventually(&format!("the agent of {mode} has ended"), SOON, || async {
                let status = pods.get(mode).await.unwrap().status.unwrap_or_default();
                let agent = status.init_container_statuses.into_iter().flatten().next();
                let states = agent.into_iter().flat_map(|agent| [agent.state, agent.last_state]).flatten();
                states.filter_map(|state| state.terminated?.message).next().ok_or("no end yet")
            })
            .await;
            eprintln!("{namespace}/{mode}: the cause was told after {took:.2?}");
            assert!(
                message.contains(deadline) && message.contains("cannot log in: auth/kubernetes/login: "),
                "{message}"
            );
        }
        let events = ["get", "events", "--namespace", &namespace, "--field-selector", "reason=FailedPostStartHook"];
        let (_, events) = kubectl(&events).await;
        assert!(events.contains("pod/sidecar"), "{events}");
    })
    .await;
}
