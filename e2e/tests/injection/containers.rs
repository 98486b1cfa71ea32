//! Pods of several containers: who starts before the agent, who after it, and that all of them share one user.

use kube::Client;
use lessor_e2e::cluster::apply;
use lessor_e2e::installed::Installed;
use lessor_e2e::postgres::Postgres;
use serde_json::{Value, json};

use super::{BASE, EXPORTS, as_it_is, changed, in_restricted, note, pod, uid};
use crate::manifests::STAY;
use crate::workload::author;

/// What a container does that has the file from its first moment.
fn works(file: &str, body: &str, then: &str) -> String {
    format!("test -s {file} || exit 7; . {file}; {} || exit 8; {then}", note(body))
}

/// The pod with a second application, and with init containers given by name, shell text and whether they stay.
fn with(pod: &str, namespace: &str, second: &str, init: &[(&str, &str, bool)]) -> String {
    changed(pod, |pod| {
        let first = pod["spec"]["containers"][0].clone();
        let like = |name: &str, text: &str| {
            let mut container = first.clone();
            container["name"] = json!(name);
            container["args"] = json!([text.replace("@NS", namespace)]);
            container
        };
        let init = init.iter().map(|(name, text, stays)| {
            let mut container = like(name, text);
            if *stays {
                container["restartPolicy"] = json!("Always");
            }
            container
        });
        pod["spec"]["initContainers"] = init.collect::<Value>();
        pod["spec"]["containers"].as_array_mut().unwrap().push(like("second", second));
    })
}

/// The pod's user, whom all of these notes are by and who is its only one.
async fn one_user(client: &Client, namespace: &str, pod: &str, notes: &[&str]) {
    let database = Postgres::connect().await;
    let mut users = Vec::new();
    for note in notes {
        users.push(author(&database, client, namespace, pod, &format!("{note} in {namespace}")).await);
    }
    users.dedup();
    assert_eq!(users.len(), 1, "{pod}: {users:?}");
    let leases = Installed::as_operator(client).await.leases_of(&uid(client, namespace, pod).await).await;
    assert_eq!(leases.len(), 1, "{pod}: {leases:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_start_on_the_side_of_the_agent_where_they_belong() {
    in_restricted("containers", as_it_is, |client, namespace| async move {
        // A mesh's proxy starts before the agent and gets no files; an init container of the pod's own starts after it.
        let file = "/lessor/secrets/db";
        let manifest = with(
            &pod("early", &namespace, &BASE, &works(file, "first of early in @NS", STAY)),
            &namespace,
            &works(file, "second of early in @NS", STAY),
            &[
                ("istio-proxy", &format!("test ! -e /lessor/secrets || exit 9; {STAY}"), true),
                ("prepare", &works(file, "prepare of early in @NS", "exit 0"), false),
            ],
        );
        apply(&client, &namespace, &manifest).await.unwrap();

        // As theirs is made: the agent comes last.
        let theirs = [
            ("vault.hashicorp.com/agent-inject", "true"),
            ("vault.hashicorp.com/role", "@NS/app"),
            ("vault.hashicorp.com/agent-inject-template-db", EXPORTS),
        ];
        let file = "/vault/secrets/db";
        let manifest = with(
            &pod("late", &namespace, &theirs, &works(file, "first of late in @NS", STAY)),
            &namespace,
            &works(file, "second of late in @NS", STAY),
            &[("prepare", "test ! -e /vault/secrets || exit 9", false)],
        );
        apply(&client, &namespace, &manifest).await.unwrap();

        one_user(&client, &namespace, "early", &["prepare of early", "first of early", "second of early"]).await;
        one_user(&client, &namespace, "late", &["first of late", "second of late"]).await;
    })
    .await;
}
