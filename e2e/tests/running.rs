//! Running the operator: replicas that hand over, objects in any order, databases that are not up yet, GitOps tools that
//! apply the same again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::environment::{unique, variable};
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::figures::{self, Figures, Source};
use lessor_e2e::namespace::with_temp_ns;
use lessor_e2e::postgres::Postgres;

use crate::manifests::{database, dynamic_secret};
use crate::operator::{OPERATOR, credential};

const SOON: Duration = Duration::from_secs(60);
/// From the request to stop until another replica has served a new object.
const HAND_OVER: Duration = Duration::from_secs(5);

/// Sets the number of replicas, and waits until they are there and one works.
pub async fn scale(replicas: usize) {
    let count = format!("--replicas={replicas}");
    let scale = ["scale", "deployment", figures::OPERATOR, "--namespace", LESSOR_NAMESPACE, &count];
    let (scaled, said) = kubectl(&scale).await;
    assert!(scaled, "{said}");
    eventually("the operator has that many replicas, and one works", SOON, || async {
        let pods = figures::pods("operator").await;
        let path = "jsonpath={.status.readyReplicas}";
        let get = ["get", "deployment", figures::OPERATOR, "--namespace", LESSOR_NAMESPACE, "--output", path];
        let ready = kubectl(&get).await.1;
        let works = pods.contains(&figures::leader().await);
        equals((pods.len(), ready, works), (replicas, replicas.to_string(), true))
    })
    .await;
}

/// The version of a Secret: it changes with every write.
async fn version(client: &Client, namespace: &str, name: &str) -> String {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.get(name).await.unwrap().metadata.resource_version.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_hands_over_within_five_seconds_and_without_a_new_lease() {
    let _alone = OPERATOR.write().await;
    with_temp_ns("leader", |client, namespace| async move {
        apply(&client, &namespace, &database()).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("before", "app", "app")).await.unwrap();
        let (user, _) = credential(&client, &namespace, "before").await;
        scale(2).await;
        let held = version(&client, &namespace, "before").await;
        let first = figures::leader().await;

        let begun = Instant::now();
        let delete = ["delete", "pod", &first, "--namespace", LESSOR_NAMESPACE, "--wait=false"];
        let (deleted, said) = kubectl(&delete).await;
        assert!(deleted, "{said}");
        let (second, _) = eventually("another replica leads", SOON, || async {
            let holder = figures::leader().await;
            if holder.is_empty() || holder == first { Err(holder) } else { Ok(holder) }
        })
        .await;
        let elected = begun.elapsed();
        apply(&client, &namespace, &dynamic_secret("after", "app", "app")).await.unwrap();
        credential(&client, &namespace, "after").await;
        let served = begun.elapsed();
        eprintln!(
            "hand-over: another replica leads after {elected:.2?}, and has served a new object after {served:.2?}"
        );
        assert!(served < HAND_OVER, "{served:?}");

        let figures = Figures::of(&second, Source::Operator).await.expect("the new leader answers");
        assert_eq!(figures.sum("lessor_operator_leading", &[]), Some(1.0));
        let issued = figures.sum("lessor_operator_credentials_issued_total", &[]);
        eprintln!("hand-over: {issued:?} credential issued by the new leader, for the one new object");
        assert_eq!(issued, Some(1.0));
        assert_eq!(version(&client, &namespace, "before").await, held, "the Secret was rewritten");
        assert!(Postgres::connect().await.has_role(&user).await);
        scale(1).await;
    })
    .await;
}

/// What objects have come to: `KIND NAME CONDITION=STATUS REASON`, sorted.
async fn conditions(namespace: &str) -> Vec<String> {
    let template = "go-template={{range .items}}{{$kind := .kind}}{{$name := .metadata.name}}{{range .status.conditions}}\
                    {{$kind}} {{$name}} {{.type}}={{.status}} {{.reason}}{{\"\\n\"}}{{end}}{{end}}";
    let kinds = "databaseconnections,databaseroles,dynamicdatabasesecrets";
    let text = kubectl(&["get", kinds, "--namespace", namespace, "--output", template]).await.1;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_any_order_end_in_the_same_state() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("order", |client, namespace| async move {
        let other = &format!("{namespace}-r");
        apply(&client, &namespace, &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {other}}}\n"))
            .await
            .unwrap();
        let all = format!("{}---{}", database(), dynamic_secret("app-db", "app", "app"));
        let objects: Vec<&str> = all.split("\n---\n").collect();
        for object in &objects {
            apply(&client, &namespace, object).await.unwrap();
        }
        for object in objects.iter().rev() {
            apply(&client, other, object).await.unwrap();
        }
        credential(&client, &namespace, "app-db").await;
        credential(&client, other, "app-db").await;
        let (state, took) = eventually("both orders have come to the same", SOON, || async {
            let (one, two) = (conditions(&namespace).await, conditions(other).await);
            if one == two && one.len() >= 5 { Ok(one) } else { Err((one, two)) }
        })
        .await;
        eprintln!("both orders after {took:.2?} more: {state:#?}");
        assert!(state.iter().any(|line| line == "DynamicDatabaseSecret app-db Ready=True Issued"), "{state:?}");
        assert!(!state.iter().any(|line| line.contains("Reconciling") || line.contains("Stalled")), "{state:?}");
        kubectl(&["delete", "namespace", other, "--wait=false"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_database_is_down_is_pending_and_tried_again() {
    let _steady = OPERATOR.read().await;
    with_temp_ns("pending", |client, namespace| async move {
        let superuser = Postgres::connect().await;
        let closed = unique("closed").replace('-', "_");
        superuser.run(&format!("CREATE DATABASE {closed}")).await;
        superuser.run(&format!("ALTER DATABASE {closed} ALLOW_CONNECTIONS false")).await;
        let place = format!("/{}\n", variable("LESSOR_PG_DATABASE"));
        apply(&client, &namespace, &database().replace(&place, &format!("/{closed}\n"))).await.unwrap();
        apply(&client, &namespace, &dynamic_secret("app-db", "app", "app")).await.unwrap();
        eventually("everybody waits and says what for", SOON, || async {
            let found = conditions(&namespace).await;
            let waits = [
                "DatabaseConnection postgres Ready=False ConnectionFailed",
                "DatabaseConnection postgres Reconciling=True ConnectionFailed",
                "DatabaseRole app Ready=False ConnectionNotReady",
                "DynamicDatabaseSecret app-db Ready=False RoleNotReady",
            ];
            let stalled = found.iter().any(|line| line.contains("Stalled"));
            if !stalled && waits.iter().all(|line| found.iter().any(|found| found == line)) {
                Ok(())
            } else {
                Err(found)
            }
        })
        .await;
        superuser.run(&format!("ALTER DATABASE {closed} ALLOW_CONNECTIONS true")).await;
        let begun = Instant::now();
        credential(&client, &namespace, "app-db").await;
        eprintln!("a credential {:.2?} after the database has come up", begun.elapsed());
        kubectl(&["delete", "dynamicdatabasesecret", "app-db", "--namespace", &namespace]).await;
        kubectl(&["delete", "databaserole", "app", "--namespace", &namespace]).await;
        kubectl(&["delete", "databaseconnection", "postgres", "--namespace", &namespace]).await;
        // With users of before its pool may still hold a session.
        superuser.run(&format!("DROP DATABASE {closed} WITH (FORCE)")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_again_conflicts_with_nobody_and_changes_nothing() {
    const TIMES: usize = 20;
    let _steady = OPERATOR.read().await;
    with_temp_ns("gitops", |client, namespace| async move {
        let file = tempfile::NamedTempFile::new().unwrap();
        let manifest = format!("{}---{}", database(), dynamic_secret("app-db", "app", "app"));
        std::fs::write(file.path(), manifest).unwrap();
        let path = file.path().to_str().unwrap();
        let tool = ["--server-side", "--field-manager=gitops", "--namespace", &namespace, "--filename", path];
        let (applied, said) = kubectl(&[&["apply"][..], &tool].concat()).await;
        assert!(applied, "{said}");
        let (user, _) = credential(&client, &namespace, "app-db").await;
        let settled = || async {
            let found = conditions(&namespace).await;
            if found.iter().filter(|line| line.contains("Ready=True")).count() == 3 { Ok(()) } else { Err(found) }
        };
        eventually("all three are ready", SOON, settled).await;
        let held = version(&client, &namespace, "app-db").await;
        let before = generations(&namespace).await;
        for _ in 0..TIMES {
            let (applied, said) = kubectl(&[&["apply"][..], &tool].concat()).await;
            assert!(applied, "a conflict: {said}");
        }
        let (same, difference) = kubectl(&[&["diff"][..], &tool].concat()).await;
        assert!(same, "the cluster differs from what was applied:\n{difference}");
        assert_eq!(generations(&namespace).await, before);
        assert!(before.values().all(|generation| generation == "1"), "{before:?}");
        assert_eq!(version(&client, &namespace, "app-db").await, held, "the Secret was rewritten");
        assert_eq!(credential(&client, &namespace, "app-db").await.0, user);
        only_the_operator_writes_status(&namespace).await;
        each_event_was_told_once(&namespace).await;
    })
    .await;
}

async fn generations(namespace: &str) -> BTreeMap<String, String> {
    let template = "go-template={{range .items}}{{.kind}} {{.metadata.generation}}{{\"\\n\"}}{{end}}";
    let kinds = "databaseconnections,databaseroles,dynamicdatabasesecrets";
    let text = kubectl(&["get", kinds, "--namespace", namespace, "--output", template]).await.1;
    text.lines().filter_map(|line| line.split_once(' ')).map(|(kind, at)| (kind.to_owned(), at.to_owned())).collect()
}

/// The fields of an object have one owner each: the tool has the spec, the operator its finalizer and the status.
async fn only_the_operator_writes_status(namespace: &str) {
    let template =
        "go-template={{range .metadata.managedFields}}{{.manager}} {{.operation}} {{.subresource}}{{\"\\n\"}}{{end}}";
    let get = ["get", "dynamicdatabasesecret", "app-db", "--namespace", namespace, "--show-managed-fields", "--output"];
    let text = kubectl(&[&get[..], &[template]].concat()).await.1;
    let mut owners: Vec<&str> = text.lines().map(|line| line.trim_end_matches("<no value>").trim()).collect();
    owners.sort_unstable();
    assert_eq!(owners, ["gitops Apply", "lessor-operator Apply status", "lessor-operator Update"]);
}

async fn each_event_was_told_once(namespace: &str) {
    let template = "go-template={{range .items}}{{.regarding.kind}} {{.regarding.name}} {{.reason}} {{with .series}}{{.count}}\
                    {{else}}1{{end}}{{\"\\n\"}}{{end}}";
    let get = ["get", "events.events.k8s.io", "--namespace", namespace, "--output", template];
    let text = kubectl(&get).await.1;
    let issued = "DynamicDatabaseSecret app-db Issued 1";
    let told = |line: &&str| line.contains("app-db") && line.contains("Issued");
    assert_eq!(text.lines().filter(told).collect::<Vec<_>>(), [issued], "{text}");
}
