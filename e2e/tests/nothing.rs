//! Nothing for nothing: what changes nothing that matters makes no lease and no rollout, and what a crash leaves behind ends.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::installed::Installed;
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::{self, Postgres};
use serde_json::json;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(60);
const EDITS: usize = 1000;
const NAMES: [&str; 3] = ["one", "two", "three"];

/// DynamicDatabaseSecrets of a namespace, without their types.
pub fn objects(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("lessor.dev", "v1alpha1", "DynamicDatabaseSecret");
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// The UID of a DynamicDatabaseSecret.
pub async fn uid(client: &Client, namespace: &str, name: &str) -> String {
    objects(client, namespace).get(name).await.unwrap().metadata.uid.unwrap()
}

/// Ends the operator's pods as an eviction would; their Deployment makes new ones.
pub async fn restart_operator() {
    let selector = "app.kubernetes.io/component=operator";
    let delete = ["delete", "pod", "--namespace", LESSOR_NAMESPACE, "--selector", selector, "--grace-period", "1"];
    let (deleted, said) = kubectl(&delete).await;
    assert!(deleted, "{said}");
}

/// Everything that must not change: leases, versions of Secrets, generations of workloads.
pub async fn state(client: &Client, namespace: &str, engine: &Installed) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    for name in NAMES {
        let leases = engine.leases_of(&uid(client, namespace, name).await).await;
        found.insert(format!("leases of {name}"), leases.join(" "));
        let secret = secrets.get(name).await.unwrap();
        found.insert(format!("Secret {name}"), secret.metadata.resource_version.unwrap());
    }
    for deployment in deployments.list(&Default::default()).await.unwrap() {
        let generation = deployment.metadata.generation.unwrap_or_default();
        found.insert(format!("generation of {}", deployment.metadata.name.unwrap()), generation.to_string());
    }
    found
}

/// A DynamicDatabaseSecret and a Deployment of the same name that it restarts.
pub fn restarted(name: &str) -> String {
    let image = variable("LESSOR_TESTAPP_IMAGE");
    format!(
        "{}  restart:\n    targets: [{{kind: Deployment, name: {name}}}]\n---\napiVersion: apps/v1\nkind: Deployment\n\
         metadata: {{name: {name}}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
         securityContext: {{runAsNonRoot: true, runAsUser: 65532}}\n      containers:\n        - name: app\n          \
         image: \"{image}\"\n          imagePullPolicy: IfNotPresent\n          command: [sleep, infinity]\n",
        dynamic_secret(name, "app", "app")
    )
}

/// Changes annotations that mean nothing and, now and then, a field that changes nothing of the credential.
async fn edit(client: &Client, namespace: &str, number: usize) {
    let name = NAMES[number % NAMES.len()];
    let mut patch = json!({ "metadata": { "annotations": { "example.com/edit": number.to_string() } } });
    if number.is_multiple_of(20) {
        patch["spec"] = json!({ "renewalPercent": 50 + number / 20 % 2 });
    }
    objects(client, namespace).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_edits_and_lost_statuses_make_no_lease_and_no_rollout() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("nothing", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        for name in NAMES {
            apply(&client, &namespace, &restarted(name)).await.unwrap();
        }
        for name in NAMES {
            credential(&client, &namespace, name).await;
        }
        let engine = Installed::as_operator(&client).await;
        let before = state(&client, &namespace, &engine).await;
        eprintln!("{before:#?}");

        stream::iter(0..EDITS).for_each_concurrent(20, |number| edit(&client, &namespace, number)).await;
        for name in NAMES {
            let lost = json!({ "status": null });
            let dynamic = objects(&client, &namespace);
            dynamic.patch_status(name, &PatchParams::default(), &Patch::Merge(&lost)).await.unwrap();
        }
        for _ in 0..3 {
            restart_operator().await;
            // When the new one has served a new object, it has seen the old ones, too.
            let fresh = lessor_e2e::environment::unique("fresh");
            apply(&client, &namespace, &dynamic_secret(&fresh, "app", "app")).await.unwrap();
            credential(&client, &namespace, &fresh).await;
            for name in NAMES {
                eventually("the status is there again", SOON, || async {
                    let object = objects(&client, &namespace).get(name).await.map_err(|error| error.to_string())?;
                    let lease = &object.data["status"]["lease"];
                    if lease.is_object() { Ok(()) } else { Err(object.data["status"].to_string()) }
                })
                .await;
            }
        }
        assert_eq!(state(&client, &namespace, &engine).await, before);
        eprintln!("{EDITS} edits, 3 lost statuses, 3 restarts: 0 new leases, 0 rewritten Secrets, 0 rollouts");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_never_reached_its_secret_ends() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("crash", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        let (user, password) = credential(&client, &namespace, "app-db").await;
        let uid = uid(&client, &namespace, "app-db").await;
        // What an operator that crashes between the engine's answer and its own write leaves behind.
        let role = format!("{namespace}.app");
        let crashed = Installed::as_tenant(&client, &namespace, "app", &role, &uid, "app-db").await;
        let (status, body) = crashed.get(&format!("database/creds/{role}")).await;
        assert_eq!(status, 200, "{}", body["errors"]);
        let lost = body["data"]["username"].as_str().unwrap().to_owned();
        let engine = Installed::as_operator(&client).await;
        assert_eq!(engine.leases_of(&uid).await.len(), 2);

        let database = Postgres::connect().await;
        let (_, took) =
            eventually("the lost user is dropped", SOON, || async { equals(database.has_role(&lost).await, false) })
                .await;
        eprintln!("a user that never reached its Secret was dropped after {took:.2?}");
        postgres::login(&user, &password).await.expect("the delivered credential works on");
        assert_eq!(engine.leases_of(&uid).await.len(), 1);
    })
    .await;
}
