//! How much later an injected pod is ready than the same pod without an agent.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use lessor_e2e::cluster::{self, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::{equals, eventually};
use serde_json::json;

use crate::budget::{Budget, number};
use crate::operator;

/// Pods of each kind, in turns, besides the first pair, which counts for nothing.
const PAIRS: usize = 11;
const SOON: Duration = Duration::from_secs(60);

/// Adds the budget, and returns what else there is to say.
pub async fn measure(budgets: &mut Vec<Budget>) -> String {
    let client = cluster::client().await;
    let namespace = unique("bench");
    apply(&client, &namespace, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"))
        .await
        .unwrap();
    apply(&client, &namespace, &operator::database()).await.unwrap();
    eventually("the role is Ready", SOON, || async {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let get = ["get", "databaserole", "app", "--namespace", &namespace, "--output", path];
        equals(kubectl(&get).await.1, "True".to_owned())
    })
    .await;
    let (mut plain, mut injected) = (Vec::new(), Vec::new());
    for index in 0..=PAIRS {
        let pair =
            [ready_after(&client, &namespace, index, false).await, ready_after(&client, &namespace, index, true).await];
        if index > 0 {
            plain.push(pair[0]);
            injected.push(pair[1]);
        }
    }
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    let [plain, injected] = [plain, injected].map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[PAIRS / 2]
    });
    let what = "injected pod Ready later than the same pod without an agent, p50, ms";
    budgets.push(Budget::at_most(what, injected - plain, 350.0, " (vault-k8s 700 to 1500)"));
    format!(
        "- created to Ready, p50 of {PAIRS}: {} ms without an agent, {} ms with one\n",
        number(plain),
        number(injected)
    )
}

/// Milliseconds from the request for a pod until it is seen to be ready.
async fn ready_after(client: &Client, namespace: &str, index: usize, injected: bool) -> f64 {
    let name = format!("{}-{index}", if injected { "injected" } else { "plain" });
    let template =
        format!("{{{{ with secret \"database/creds/{namespace}.app\" }}}}{{{{ .Data.username }}}}{{{{ end }}}}");
    let annotations =
        json!({ "lessor.dev/inject": "true", "lessor.dev/role": "app", "lessor.dev/template-db": template });
    let container = json!({
        "name": "app", "image": variable("LESSOR_TESTAPP_IMAGE"), "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"],
    });
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": name, "annotations": if injected { annotations } else { json!({}) } },
        "spec": {
            "serviceAccountName": "app", "terminationGracePeriodSeconds": 5, "containers": [container],
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532 },
        },
    }))
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let seen = tokio::time::timeout(SOON, await_condition(pods.clone(), &name, is_ready)).await;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    seen.unwrap_or_else(|_| panic!("{name} is not ready")).unwrap();
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    // The next one has the machine for itself.
    let gone = tokio::time::timeout(SOON, await_condition(pods, &name, |pod: Option<&Pod>| pod.is_none())).await;
    gone.unwrap_or_else(|_| panic!("{name} does not end")).unwrap();
    took
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let status = pod.and_then(|pod| pod.status.as_ref());
    let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
