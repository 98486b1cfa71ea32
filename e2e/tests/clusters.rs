//! One engine for several clusters, and its namespaces: an operator ends the workloads of its own cluster, and those only.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams};
use lessor_e2e::environment::unique;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::{restoring, with_temp_ns};
use lessor_e2e::pods::{Ghost, Way, lost_node};
use lessor_e2e::postgres::{self, CREATION, Postgres};
use serde_json::{Value, json};

use crate::operator::OPERATOR;
use crate::workload::with_role;

/// A name of the API server that nothing of the chart uses, in place of another cluster's.
const ELSEWHERE: &str = "https://kubernetes.default";
/// From the end of a pod that nobody watches to the end of its user.
const FOUND: Duration = Duration::from_secs(60);
/// From the end of an injected pod.
const DROPPED: Duration = Duration::from_secs(5);

async fn write(root: &Installed, path: &str, body: Value) {
    let (status, body) = root.post(path, body).await;
    assert!(matches!(status, 200 | 204), "{path}: {status} {}", body["errors"]);
}

async fn remove(root: &Installed, path: &str) {
    let (status, body) = root.delete(path).await;
    assert!(matches!(status, 200 | 202 | 204), "{path}: {status} {}", body["errors"]);
}

async fn read(root: &Installed, path: &str) -> Value {
    let (status, mut body) = root.get(path).await;
    assert_eq!(status, 200, "{path}: {}", body["errors"]);
    body["data"].take()
}

/// Makes a kubernetes login in `lead` (empty: root) with a role `app` for the ServiceAccount `app` of a cluster's namespace.
async fn login_mount(root: &Installed, lead: &str, name: &str, host: Value, account_of: &str, policies: Value) {
    write(root, &format!("{lead}sys/auth/{name}"), json!({ "type": "kubernetes" })).await;
    write(root, &format!("{lead}auth/{name}/config"), json!({ "kubernetes_host": host })).await;
    let role = json!({
        "bound_service_account_names": "app", "bound_service_account_namespaces": account_of, "audience": "lessor",
        "token_policies": policies, "lease_owner": "workload",
    });
    write(root, &format!("{lead}auth/{name}/role/app"), role).await;
}

async fn gone(database: &Postgres, what: &str, user: &str, within: Duration) {
    eventually(what, within, || async { equals(database.has_role(user).await, false) }).await;
}

/// Runs a test with a root token and a node that nobody tends.
async fn with_node<F: Future<Output = ()>>(client: &Client, test: impl FnOnce(Installed, String) -> F) {
    let (root, node) = (Installed::as_root(client).await, unique("clusters"));
    lost_node(client, &node).await;
    restoring(test(root, node.clone()), async {
        let nodes: Api<Node> = Api::all(client.clone());
        let _ = nodes.delete(&node, &DeleteParams::default()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_another_clusters_pod_survives_until_its_login_mount_goes() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("clusters", |client, namespace| async move {
        with_role(&client, &namespace).await;
        with_node(&client, async |root, node| {
            let mount = unique("elsewhere");
            let role = read(&root, &format!("auth/kubernetes/role/{namespace}.app")).await;
            login_mount(&root, "", &mount, json!(ELSEWHERE), &namespace, role["token_policies"].clone()).await;
            let (login, path) = (format!("auth/{mount}"), format!("database/creds/{namespace}.app"));
            let way = Way { login: &login, role: "app", path: &path };
            let test = async {
                let theirs = Ghost::start_by(&client, &namespace, &node, "theirs", false, way).await;
                let ours = Ghost::start(&client, &namespace, &node, "ours", false).await;
                theirs.delete(0).await;
                ours.delete(0).await;
                let database = Postgres::connect().await;
                // Both are in the list that the operator compares, if either is.
                gone(&database, "the user of our pod", &ours.user, FOUND).await;
                assert!(database.has_role(&theirs.user).await, "whether their pod has ended, nobody here can tell");
                let holder = read(&root, &format!("sys/lessor/users/{}", theirs.user)).await;
                assert_eq!(holder["users"][0]["holder"]["login"], json!(login));
                remove(&root, &format!("sys/auth/{mount}")).await;
                gone(&database, "the user of a workload without a login mount", &theirs.user, DROPPED).await;
            };
            restoring(test, async { drop(root.delete(&format!("sys/auth/{mount}")).await) }).await;
        })
        .await;
    })
    .await;
}

/// A namespace of the engine with a login for this cluster, and a database with a role `app`.
async fn engine_namespace(root: &Installed, lead: &str, account_of: &str) {
    write(root, &format!("sys/namespaces/{}", lead.trim_end_matches('/')), json!({})).await;
    write(root, &format!("{lead}sys/mounts/database"), json!({ "type": "database" })).await;
    write(root, &format!("{lead}database/config/pg"), postgres::connection(&postgres::address())).await;
    let role = json!({ "db_name": "pg", "creation_statements": CREATION, "default_ttl": "1h", "max_ttl": "24h" });
    write(root, &format!("{lead}database/roles/app"), role).await;
    let policy = json!({ "policy": "path \"database/creds/app\" { capabilities = [\"read\"] }" });
    write(root, &format!("{lead}sys/policies/acl/app"), policy).await;
    let host = read(root, "auth/kubernetes/config").await["kubernetes_host"].take();
    login_mount(root, lead, "cluster", host, account_of, json!(["app"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_in_a_namespace_of_the_engine_ends_with_its_pod() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("spaces", |client, namespace| async move {
        with_role(&client, &namespace).await;
        with_node(&client, async |root, node| {
            let lead = format!("{}/", unique("team"));
            let (login, path) = (format!("{lead}auth/cluster"), format!("{lead}database/creds/app"));
            let way = Way { login: &login, role: "app", path: &path };
            let test = async {
                engine_namespace(&root, &lead, &namespace).await;
                let injected = Ghost::start_by(&client, &namespace, &node, "injected", true, way).await;
                let plain = Ghost::start_by(&client, &namespace, &node, "plain", false, way).await;
                let alive = Ghost::start_by(&client, &namespace, &node, "alive", false, way).await;
                injected.delete(0).await;
                plain.delete(0).await;
                let database = Postgres::connect().await;
                gone(&database, "the user of an injected pod", &injected.user, DROPPED).await;
                gone(&database, "the user of a pod that nobody watches", &plain.user, FOUND).await;
                assert!(database.has_role(&alive.user).await, "the pod runs");
            };
            let name = lead.trim_end_matches('/');
            restoring(test, async { drop(root.delete(&format!("sys/namespaces/{name}")).await) }).await;
        })
        .await;
    })
    .await;
}
