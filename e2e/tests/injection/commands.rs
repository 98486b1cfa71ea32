//! An agent whose image has a shell runs a command after each writing, in a container that stays beside the application.

use lessor_e2e::cluster::apply;
use lessor_e2e::environment::variable;
use lessor_e2e::postgres::Postgres;
use serde_json::json;

use super::{EXPORTS, changed, in_restricted, note, pod, short_lived};
use crate::manifests::STAY;
use crate::workload::author;

/// What the agent is told, as the pod's family writes it; `FILES` is where the agent has the files.
const SAID: [(&str, &str, &str); 6] = [
    ("inject", "agent-inject", "true"),
    ("role", "role", "@NS/app"),
    ("template-db", "agent-inject-template-db", EXPORTS),
    ("image", "agent-image", "IMAGE"),
    ("copy-volume-mounts", "agent-copy-volume-mounts", "app"),
    // As a file is handed over that nobody may see half-written.
    ("command-db", "agent-inject-command-db", "cp FILES/db /work/new && mv /work/new /work/told"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_runs_a_command_after_each_writing() {
    in_restricted("commands", short_lived, |client, namespace| async move {
        let image = variable("LESSOR_TOOLBOX_IMAGE");
        let kinds = [("ours", "lessor.dev", "/run/lessor/files"), ("theirs", "vault.hashicorp.com", "/vault/secrets")];
        for (name, prefix, files) in kinds {
            let said: Vec<(String, String)> = SAID
                .iter()
                .map(|(ours, theirs, value)| {
                    let value = value.replace("IMAGE", &image).replace("FILES", files);
                    (format!("{prefix}/{}", if name == "ours" { ours } else { theirs }), value)
                })
                .collect();
            let said: Vec<_> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            // It has run before the application starts; the second time is for another user.
            let text = format!(
                "test -s /work/told || exit 7; . /work/told; first=$PGUSER; {} || exit 8\n\
                 while . /work/told; test \"$PGUSER\" = \"$first\"; do sleep 0.2; done; {} || exit 9; {STAY}",
                note(&format!("{name} first in @NS")),
                note(&format!("{name} again in @NS")),
            );
            let manifest = changed(&pod(name, &namespace, &said, &text), |pod| {
                pod["spec"]["volumes"] = json!([{ "name": "work", "emptyDir": { "medium": "Memory" } }]);
                pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "work", "mountPath": "/work" }]);
            });
            apply(&client, &namespace, &manifest).await.unwrap();
        }
        let database = Postgres::connect().await;
        for (name, ..) in kinds {
            let first = author(&database, &client, &namespace, name, &format!("{name} first in {namespace}")).await;
            let again = author(&database, &client, &namespace, name, &format!("{name} again in {namespace}")).await;
            assert_ne!(first, again, "{name}: told of another user");
        }
    })
    .await;
}
