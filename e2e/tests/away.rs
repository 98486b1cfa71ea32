//! The webhook away: who asks for an agent waits for it with an event, and nobody else notices.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams};
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::postgres::Postgres;

use crate::manifests::{STAY, annotations, pod, pod_spec, program};
use crate::operator::OPERATOR;
use crate::workload::with_role;

const SOON: Duration = Duration::from_secs(60);
/// A controller tries again after growing waits.
const RECOVERED: Duration = Duration::from_secs(120);

/// Waits until no pod of a part is left.
pub async fn gone(component: &str) {
    let selector = format!("app.kubernetes.io/component={component}");
    let wait =
        ["wait", "--for=delete", "pod", "--selector", &selector, "--namespace", LESSOR_NAMESPACE, "--timeout=60s"];
    let (gone, said) = kubectl(&wait).await;
    assert!(gone, "{said}");
}

/// Scales the installed webhook, and waits until it is so.
async fn scale(replicas: &str) {
    let count = format!("--replicas={replicas}");
    let (scaled, said) =
        kubectl(&["scale", "deployment/lessor-webhook", "--namespace", LESSOR_NAMESPACE, &count]).await;
    assert!(scaled, "{said}");
    if replicas == "0" {
        // One that is ending still answers for a while.
        gone("webhook").await;
    }
    eventually("the webhook is scaled", SOON, || async {
        let path = "jsonpath={.status.replicas}/{.status.readyReplicas}";
        let get = ["get", "deployment/lessor-webhook", "--namespace", LESSOR_NAMESPACE, "--output", path];
        let expected = if replicas == "0" { "/".to_owned() } else { format!("{replicas}/{replicas}") };
        equals(kubectl(&get).await.1, expected)
    })
    .await;
}

async fn runs(client: &Client, namespace: &str, name: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    eventually(&format!("{namespace}/{name} runs"), SOON, || async {
        let status = pods.get(name).await.unwrap().status.unwrap_or_default();
        equals(status.phase, Some("Running".to_owned()))
    })
    .await;
    assert_eq!(pods.get(name).await.unwrap().spec.unwrap().init_containers, None, "{namespace}/{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_webhook_only_pods_that_ask_for_it_wait() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("away", |client, namespace| async move {
        with_role(&client, &namespace).await;
        let name = unique("exempt");
        let exempt: [&str; 2] = ["kube-system", LESSOR_NAMESPACE];
        let test = async {
            scale("0").await;
            let spec = pod_spec(STAY, 2);
            let plain = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: plain}}\nspec:\n{spec}");
            apply(&client, &namespace, &plain).await.unwrap();
            runs(&client, &namespace, "plain").await;
            let declines = pod("declines", &namespace, STAY)
                .replace("lessor.dev/inject: \"true\"", "lessor.dev/inject: \"false\"");
            apply(&client, &namespace, &declines).await.unwrap();
            runs(&client, &namespace, "declines").await;
            for exempt in exempt {
                let asks =
                    pod(&name, &namespace, STAY).replace("serviceAccountName: app\n", "serviceAccountName: default\n");
                apply(&client, exempt, &asks)
                    .await
                    .expect("the webhook's own namespace and kube-system do not wait for it");
                runs(&client, exempt, &name).await;
            }
            refused(&client, &namespace).await;
        };
        let restore = async {
            scale("2").await;
            for namespace in exempt {
                let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
                let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                let _ = pods.delete(&name, &at_once).await;
            }
        };
        restoring(test, restore).await;
        let database = Postgres::connect().await;
        let what = "what was refused has come by itself, with its user";
        eventually(what, RECOVERED, || async { database.author_of(&namespace).await.ok_or("nobody") }).await;
    })
    .await;
}

/// A Deployment whose pods ask for an agent gets none, and an event says which webhook is missed.
async fn refused(client: &Client, namespace: &str) {
    let spec = pod_spec(&program("/lessor/secrets/db", namespace, STAY), 6)
        .replace("restartPolicy: Never", "restartPolicy: Always");
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: asks}}\nspec:\n  selector: {{matchLabels: {{app: asks}}}}\n  \
         template:\n    metadata:\n      labels: {{app: asks}}\n      annotations:\n{}    spec:\n{spec}",
        annotations(namespace, 8)
    );
    apply(client, namespace, &deployment).await.unwrap();
    let template = "go-template={{range .items}}{{.reason}} {{.note}}{{\"\\n\"}}{{end}}";
    let (line, _) = eventually("an event says why there is no pod", SOON, || async {
        let told = kubectl(&["get", "events.events.k8s.io", "--namespace", namespace, "--output", template]).await.1;
        told.lines().find(|line| line.starts_with("FailedCreate")).map(str::to_owned).ok_or(told)
    })
    .await;
    eprintln!("{namespace}: {line}");
    assert!(line.contains("failed calling webhook \"inject.lessor.dev\""), "{line}");
}
