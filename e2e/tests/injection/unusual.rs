//! Pods that are not like others: one on its host's network, and one that somebody looks into while it runs.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::Postgres;
use serde_json::json;

use super::{BASE, SOON, applied, as_it_is, changed, in_restricted, note, pod};
use crate::manifests::STAY;
use crate::operator::OPERATOR;
use crate::workload::{author, with_role};

fn works(body: &str) -> String {
    format!("test -s /lessor/secrets/db || exit 7; . /lessor/secrets/db; {} || exit 8; {STAY}", note(body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_its_hosts_network_has_its_user_and_is_told_what_it_takes() {
    let _steady = OPERATOR.read().await;
    // `restricted` forbids such pods.
    with_temp_ns("hosts", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let on_host = |name: &str, policy: &str| {
            changed(&pod(name, &namespace, &BASE, &works(&format!("{name} in @NS"))), |pod| {
                pod["spec"]["hostNetwork"] = json!(true);
                pod["spec"]["dnsPolicy"] = json!(policy);
            })
        };
        let told = applied(&namespace, &on_host("resolves", "ClusterFirstWithHostNet")).await;
        assert!(!told.contains("Warning"), "{told}");
        let told = applied(&namespace, &on_host("cannot", "Default")).await;
        assert!(told.contains("Warning: ") && told.contains("set dnsPolicy: ClusterFirstWithHostNet"), "{told}");
        let database = Postgres::connect().await;
        author(&database, &client, &namespace, "resolves", &format!("resolves in {namespace}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_looked_into_stays_as_it_is() {
    in_restricted("debugged", as_it_is, |client, namespace| async move {
        apply(&client, &namespace, &pod("app", &namespace, &BASE, &works("app in @NS"))).await.unwrap();
        author(&Postgres::connect().await, &client, &namespace, "app", &format!("app in {namespace}")).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let before = pods.get("app").await.unwrap();
        let image = variable("LESSOR_TESTAPP_IMAGE");
        let debug = [
            &["debug", "app", "--namespace", &namespace, "--profile", "restricted", "--container", "look"][..],
            &["--image", &image, "--image-pull-policy", "IfNotPresent", "--", "sh", "-c", "test ! -e /lessor/secrets"],
        ];
        let (done, said) = kubectl(&debug.concat()).await;
        assert!(done, "{said}");
        let (after, _) = eventually("the look is over", SOON, || async {
            let pod = pods.get("app").await.unwrap();
            let looks = pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.clone());
            let code = looks.unwrap_or_default().pop().and_then(|look| Some(look.state?.terminated?.exit_code));
            equals(code, Some(0)).map(|()| pod)
        })
        .await;
        assert_eq!(before.metadata.annotations, after.metadata.annotations);
        let (before, after) = (before.spec.unwrap(), after.spec.unwrap());
        assert_eq!((before.init_containers, before.containers), (after.init_containers, after.containers));
        let restarts = pods.get("app").await.unwrap().status.unwrap_or_default();
        let statuses = restarts.container_statuses.into_iter().chain(restarts.init_container_statuses).flatten();
        assert!(statuses.into_iter().all(|container| container.restart_count == 0 && container.ready));
    })
    .await;
}
