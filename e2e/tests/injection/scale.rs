//! A user for each pod, or one for a workload: scaled from one replica to many and back, with a change of users in between.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use lessor_e2e::cluster::{apply, kubectl};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::postgres::Postgres;
use serde_json::json;

use super::{BASE, SOON, in_restricted, note, pod, template};
use crate::manifests::{STAY, dynamic_secret};
use crate::operator::ready;

/// For the start of many pods, by the pod: what the kubelet takes on two busy cores, for both Deployments at once.
const START: Duration = Duration::from_secs(4);
/// From the end of pods to the end of their users.
const DROPPED: Duration = Duration::from_secs(15);

/// To how many replicas it goes. CI's machine has little time; the promise is for 50.
fn many() -> usize {
    std::env::var("LESSOR_TEST_REPLICAS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// Users that live for twenty seconds and cannot be renewed beyond; those of the role `shared` stay.
fn roles(text: String) -> String {
    let role = text.rsplit_once("---\n").expect("the role is the last").1.replace("name: app}", "name: shared}");
    let short = text.replace("defaultTTL: 1h", "defaultTTL: 20s").replace("maxTTL: 24h", "maxTTL: 20s");
    format!("{short}---\n{role}")
}

/// A Deployment of one replica of that pod.
fn deployment(pod: &str) -> serde_json::Value {
    let mut template = template(pod);
    template["spec"]["restartPolicy"] = json!("Always");
    let labels = template["metadata"]["labels"].clone();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": labels["app"] },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": template },
    })
}

/// Writes a note with each user that its file gets, and ends when one of them is refused.
const EACH: &str = "trap 'exit 0' TERM; while :; do . /lessor/secrets/db; if test \"$PGUSER\" != \"$LAST\"; then \
                    NOTE || exit 8; LAST=$PGUSER; fi; sleep 1 & wait $!; done";

struct Scale {
    client: Client,
    namespace: String,
    database: Postgres,
    engine: Installed,
}

impl Scale {
    async fn scale(&self, name: &str, replicas: usize) {
        let replicas = format!("--replicas={replicas}");
        let done = kubectl(&["scale", "deployment", name, "--namespace", &self.namespace, &replicas]).await;
        assert!(done.0, "{}", done.1);
    }

    async fn pods(&self, name: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.list(&ListParams::default().labels(&format!("app={name}"))).await.unwrap().items
    }

    /// The leases of a role, of which there is one for each user.
    async fn leases(&self, role: &str) -> Vec<String> {
        self.engine.list(&format!("sys/leases/lookup/database/creds/{}.{role}", self.namespace)).await
    }

    /// How many pods of a Deployment have worked with at least so many users.
    async fn worked_with(&self, name: &str, users: usize) -> usize {
        let bodies = format!("SELECT body FROM notes WHERE body LIKE '{name} {} %'", self.namespace);
        let query = format!(
            "SELECT count(*)::text FROM ({bodies} GROUP BY body HAVING count(DISTINCT author) >= {users}) pods"
        );
        self.database.text(&query).await.parse().unwrap()
    }

    async fn until_worked_with(&self, name: &str, users: usize, pods: usize) {
        let what = format!("{pods} pods of {name} have worked with {users} users");
        let (_, took) = eventually(&what, SOON + START * pods as u32, || async {
            equals(self.worked_with(name, users).await, pods)
        })
        .await;
        eprintln!("{}: {what} after {took:.1?}", self.namespace);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scaled_workload_has_as_many_users_as_it_asks_for() {
    in_restricted("scale", roles, |client, namespace| async move {
        let (database, engine) = (Postgres::connect().await, Installed::as_operator(&client).await);
        let it = Scale { client: client.clone(), namespace: namespace.clone(), database, engine };
        let many = many();

        let text = EACH.replace("NOTE", &note("each @NS $HOSTNAME"));
        apply(&client, &namespace, &deployment(&pod("each", &namespace, &BASE, &text)).to_string()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("shared", "shared", "app")).await.unwrap();
        let text = format!("{} || exit 8; {STAY}", note("shared @NS $HOSTNAME"));
        let mut shared = deployment(&pod("shared", &namespace, &[], &text));
        let variable = |name: &str, key: &str| json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": "shared", "key": key } } });
        shared["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap()
            .extend([variable("PGUSER", "username"), variable("PGPASSWORD", "password")]);
        apply(&client, &namespace, &shared.to_string()).await.unwrap();
        for name in ["each", "shared"] {
            it.until_worked_with(name, 1, 1).await;
        }

        for name in ["each", "shared"] {
            it.scale(name, many).await;
        }
        it.until_worked_with("shared", 1, many).await;
        let before = it.leases("shared").await;
        assert_eq!(before.len(), 1, "many replicas, one user: {before:?}");
        it.until_worked_with("each", 2, many).await;
        eventually("every pod has a user and, for a while, the one before it", DROPPED, || async {
            let leases = it.leases("app").await.len();
            if (many..=2 * many).contains(&leases) { Ok(()) } else { Err(leases) }
        })
        .await;
        let path = format!("database/creds/{namespace}.shared/{}", before[0]);
        let (status, body) = it.engine.post("sys/leases/revoke", json!({ "lease_id": path })).await;
        assert_eq!(status, 204, "{}", body["errors"]);
        let (_, took) = eventually("one other shared user", SOON, || async {
            let leases = it.leases("shared").await;
            let ready = ready("dynamicdatabasesecret", &namespace, "shared").await;
            if leases.len() == 1 && leases != before && ready.starts_with("True") { Ok(()) } else { Err((leases, ready)) }
        })
        .await;
        eprintln!("{namespace}: another shared user after {took:.1?}");

        for name in ["each", "shared"] {
            it.scale(name, 1).await;
        }
        let (kept, _) = eventually("one pod is left", SOON, || async {
            let pods = it.pods("each").await;
            if let [pod] = &pods[..] { Ok(pod.clone()) } else { Err(pods.len()) }
        })
        .await;
        let (_, took) = eventually("only the user of that pod is left", DROPPED, || async {
            let own = it.engine.leases_of(kept.metadata.uid.as_deref().unwrap()).await;
            let others = it.leases("app").await;
            let others = others.iter().filter(|lease| !own.iter().any(|own| own.ends_with(lease.as_str()))).count();
            if others == 0 && (1..=2).contains(&own.len()) { Ok(()) } else { Err((own.len(), others)) }
        })
        .await;
        eprintln!("{namespace}: only the users of one pod {took:.1?} after the others' end");
        assert_eq!(it.leases("shared").await.len(), 1);
        let restarts = kept.status.and_then(|status| status.container_statuses).unwrap_or_default();
        assert!(restarts.iter().all(|container| container.restart_count == 0), "no user was refused");

        it.scale("each", 0).await;
        eventually("no user of a pod is left", DROPPED, || async { equals(it.leases("app").await.len(), 0) }).await;
    })
    .await;
}
