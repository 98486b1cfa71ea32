//! Files as users ask for them, in both spellings of the annotations, from an engine whose certificate the pod's own Secret vouches for.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::Api;
use lessor_e2e::cluster::{LESSOR_NAMESPACE, apply, kubectl};
use lessor_e2e::eventually::eventually;
use lessor_e2e::postgres::Postgres;
use serde_json::json;

use super::{EXPORTS, SOON, as_it_is, changed, in_restricted, note, pod};
use crate::manifests::STAY;
use crate::workload::author;

/// The name under `lessor.dev/`, the one under `vault.hashicorp.com/`, and the value.
const ASKED: [(&str, &str, &str); 15] = [
    ("inject", "agent-inject", "true"),
    ("role", "role", "@NS/app"),
    ("extra-secret", "agent-extra-secret", "templates"),
    ("template-file-db", "agent-inject-template-file-db", "/vault/custom/db.ctmpl"),
    ("file-db", "agent-inject-file-db", "conf/db.env"),
    ("perms-db", "agent-inject-perms-db", "0400"),
    ("path-db", "secret-volume-path-db", "/etc/app"),
    ("copy-volume-mounts", "agent-copy-volume-mounts", "app"),
    ("template-file-from", "agent-inject-template-file-from", "/templates/from.ctmpl"),
    ("containers", "agent-inject-containers", "app"),
    ("run-as-same-user", "agent-run-as-same-user", "true"),
    ("tls-secret", "tls-secret", "engine-ca"),
    ("ca-cert", "ca-cert", "/vault/tls/ca.crt"),
    ("tls-server-name", "tls-server-name", "@SERVER"),
    ("address", "service", "https://@ENGINE:8200"),
];

/// The installed engine's address without a name, and its CA.
async fn engine(client: &Client) -> (String, String) {
    let path = "jsonpath={.spec.clusterIP}";
    let get = ["get", "service", "lessor-engine", "--namespace", LESSOR_NAMESPACE, "--output", path];
    let (found, address) = kubectl(&get).await;
    assert!(found, "{address}");
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), LESSOR_NAMESPACE);
    let mut data = secrets.get("lessor-engine-tls").await.unwrap().data.unwrap();
    (address, String::from_utf8(data.remove("ca.crt").expect("the engine's CA").0).unwrap())
}

/// What the pods mount: templates, and the CA.
async fn sources(client: &Client, namespace: &str, ca: &str) {
    let object = |kind: &str, name: &str, key: &str, data: serde_json::Value| {
        json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, key: data }).to_string()
    };
    let template = EXPORTS.replace("@NS", namespace);
    for object in [
        object("Secret", "templates", "stringData", json!({ "db.ctmpl": template })),
        object("ConfigMap", "templates", "data", json!({ "from.ctmpl": "export FROM={{ \"copied\" | toUpper }}\n" })),
        object("Secret", "engine-ca", "stringData", json!({ "ca.crt": ca })),
    ] {
        apply(client, namespace, &object).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_template_name_mode_and_place_that_were_asked_for() {
    in_restricted("files", as_it_is, |client, namespace| async move {
        let (address, ca) = engine(&client).await;
        sources(&client, &namespace, &ca).await;
        let server = format!("lessor-engine.{LESSOR_NAMESPACE}.svc");
        for (name, prefix, folder) in [("ours", "lessor.dev", "lessor"), ("theirs", "vault.hashicorp.com", "vault")] {
            let said: Vec<(String, String)> = ASKED
                .iter()
                .map(|(ours, theirs, value)| {
                    let value = value.replace("@SERVER", &server).replace("@ENGINE", &address);
                    (format!("{prefix}/{}", if name == "ours" { ours } else { theirs }), value)
                })
                .collect();
            let said: Vec<_> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let text = format!(
                "test \"$(stat -L -c %a:%u /etc/app/conf/db.env)\" = 400:12345 || exit 5; . /etc/app/conf/db.env\n\
                 . /{folder}/secrets/from; test \"$FROM\" = COPIED || exit 6; {} || exit 8; {STAY}",
                note(&format!("{name} in @NS"))
            );
            let manifest = changed(&pod(name, &namespace, &said, &text), |pod| {
                let spec = &mut pod["spec"];
                let mut beside = spec["containers"][0].clone();
                beside["name"] = json!("beside");
                beside["args"] =
                    json!([format!("test ! -e /etc/app && test ! -e /{folder}/secrets || exit 9; {STAY}")]);
                let application = &mut spec["containers"][0];
                application["securityContext"]["runAsUser"] = json!(12345);
                application["volumeMounts"] = json!([{ "name": "templates", "mountPath": "/templates" }]);
                spec["containers"].as_array_mut().unwrap().push(beside);
                spec["volumes"] = json!([{ "name": "templates", "configMap": { "name": "templates" } }]);
            });
            apply(&client, &namespace, &manifest).await.unwrap();
        }
        let database = Postgres::connect().await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        for name in ["ours", "theirs"] {
            author(&database, &client, &namespace, name, &format!("{name} in {namespace}")).await;
            eventually("both containers run, with the file and without it", SOON, || async {
                let status = pods.get(name).await.unwrap().status.unwrap_or_default();
                let containers = status.container_statuses.unwrap_or_default();
                let running = containers.iter().all(|container| container.ready);
                if containers.len() == 2 && running { Ok(()) } else { Err(containers) }
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_after_its_file_was_written() {
    in_restricted("command", as_it_is, |client, namespace| async move {
        let said = [
            ("lessor.dev/inject", "true"),
            ("lessor.dev/role", "app"),
            ("lessor.dev/mode", "exec"),
            ("lessor.dev/secret-db", "database/creds/@NS.app"),
            ("lessor.dev/file-db", "db"),
            ("lessor.dev/command-db", "cp /lessor/secrets/db /tmp/copy && mv /tmp/copy /tmp/told"),
            ("lessor.dev/env-db", "PGUSER=username,PGPASSWORD=password"),
        ];
        let text = format!(
            "until test -e /tmp/told; do sleep 0.1; done; grep -qx \"username: $PGUSER\" /tmp/told || exit 6; {} || exit 8; {STAY}",
            note("command in @NS")
        );
        apply(&client, &namespace, &pod("app", &namespace, &said, &text)).await.unwrap();
        author(&Postgres::connect().await, &client, &namespace, "app", &format!("command in {namespace}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_what_its_annotations_make_of_it() {
    in_restricted("agent", as_it_is, |client, namespace| async move {
        let template = EXPORTS.replace("{{", "<<").replace("}}", ">>") + "export PATCHED=<< env \"PATCHED\" >>\n";
        let said = [
            ("lessor.dev/inject", "true"),
            ("lessor.dev/role", "app"),
            ("lessor.dev/template-db", template.as_str()),
            ("lessor.dev/left-delim-db", "<<"),
            ("lessor.dev/right-delim-db", ">>"),
            ("lessor.dev/error-on-missing-key-db", "true"),
            ("lessor.dev/secret-plain", "database/creds/@NS.app"),
            ("lessor.dev/default-template", "json"),
            ("lessor.dev/json-patch", r#"[{"op": "add", "path": "/env/-", "value": {"name": "PATCHED", "value": "1"}}]"#),
            ("lessor.dev/token-volume", "tokens"),
            ("lessor.dev/pre-populate", "false"),
            ("lessor.dev/requests-cpu", "5m"),
            ("lessor.dev/limits-mem", "48Mi"),
        ];
        let text = format!(
            "until test -s /lessor/secrets/db; do sleep 0.1; done; . /lessor/secrets/db; test \"$PATCHED\" = 1 || exit 5\n\
             grep -q \"\\\"username\\\":\\\"$PGUSER\\\"\" /lessor/secrets/plain || exit 6; {} || exit 8; {STAY}",
            note("agent in @NS")
        );
        let manifest = changed(&pod("app", &namespace, &said, &text), |pod| {
            let token = json!({ "serviceAccountToken": { "audience": "lessor", "path": "engine", "expirationSeconds": 600 } });
            pod["spec"]["volumes"] = json!([{ "name": "tokens", "projected": { "sources": [token] } }]);
        });
        apply(&client, &namespace, &manifest).await.unwrap();
        author(&Postgres::connect().await, &client, &namespace, "app", &format!("agent in {namespace}")).await;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let agent = pods.get("app").await.unwrap().spec.unwrap().init_containers.unwrap().remove(0);
        let resources = serde_json::to_value(agent.resources).unwrap();
        assert_eq!(resources, json!({ "limits": { "memory": "48Mi" }, "requests": { "cpu": "5m", "memory": "16Mi" } }));
    })
    .await;
}
