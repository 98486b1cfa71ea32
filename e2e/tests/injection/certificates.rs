//! Pods at an engine that hears nobody without a certificate: they log in by that, by another one, or with a token from a file.

use kube::Client;
use lessor_e2e::cluster::apply;
use lessor_e2e::environment::variable;
use lessor_e2e::postgres::Postgres;
use lessor_e2e::tls_engine::TlsEngine;
use serde_json::json;

use super::{as_it_is, in_restricted, note, pod};
use crate::manifests::STAY;
use crate::workload::author;

const TEMPLATE: &str = "{{ with secret \"database/creds/app\" }}export PGUSER='{{ .Data.username }}' \
                        PGPASSWORD='{{ .Data.password }}'{{ end }}\n";

/// The name under `lessor.dev/`, the one under `vault.hashicorp.com/`, and the value.
type Said = &'static [(&'static str, &'static str, &'static str)];

/// For every pod. `IMAGE` and the addresses stand for themselves.
const ALL: Said = &[
    ("inject", "agent-inject", "true"),
    ("template-db", "agent-inject-template-db", TEMPLATE),
    ("image", "agent-image", "IMAGE"),
    ("tls-secret", "tls-secret", "tls"),
    ("ca-cert", "ca-cert", "/vault/tls/ca.crt"),
];

/// The certificate that every request comes with.
const SHOWN: Said = &[
    ("address", "service", "DEMANDING"),
    ("client-cert", "client-cert", "/vault/tls/tls.crt"),
    ("client-key", "client-key", "/vault/tls/tls.key"),
];

/// By the name of the pod: what is said of its login.
const LOGINS: [(&str, &[Said]); 3] = [
    ("cert", &[SHOWN, &[("auth-type", "auth-type", "cert"), ("auth-config-name", "auth-config-name", "app")]]),
    (
        "token-file",
        &[
            SHOWN,
            &[
                ("auth-type", "auth-type", "token_file"),
                ("extra-secret", "agent-extra-secret", "token"),
                ("auth-config-token-file-path", "auth-config-token-file-path", "/vault/custom/token"),
            ],
        ],
    ),
    // The login has a certificate of its own, and no other request shows one.
    (
        "own-cert",
        &[&[
            ("address", "service", "ASKING"),
            ("auth-type", "auth-type", "cert"),
            ("auth-path", "auth-path", "auth/cert"),
            ("auth-config-client-cert", "auth-config-client_cert", "/vault/tls/tls.crt"),
            ("auth-config-client-key", "auth-config-client_key", "/vault/tls/tls.key"),
            ("auth-config-ca-cert", "auth-config-ca_cert", "/vault/tls/ca.crt"),
        ]],
    ),
];

async fn set_up(client: &Client, namespace: &str) -> TlsEngine {
    let mut started = TlsEngine::start(client, namespace).await;
    let engine = &mut started.engine;
    "database".clone_into(&mut engine.mount);
    engine.mount_database("1h", "24h").await;
    engine.write("sys/auth/cert", json!({ "type": "cert" })).await;
    let (token, (certificate, key)) = (started.token("database").await, started.certificate("app"));
    let role = json!({
        "certificate": started.authority(), "allowed_common_names": "app", "token_policies": "database",
    });
    started.engine.write("auth/cert/certs/app", role).await;
    let files = json!({ "ca.crt": started.authority(), "tls.crt": certificate, "tls.key": key });
    for (name, data) in [("tls", files), ("token", json!({ "token": token }))] {
        let metadata = json!({ "name": name });
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data });
        apply(client, namespace, &secret.to_string()).await.unwrap();
    }
    started
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_show_certificates_and_bring_tokens_in_both_spellings() {
    in_restricted("certificates", as_it_is, |client, namespace| async move {
        let other = set_up(&client, &namespace).await;
        let image = variable("LESSOR_IMAGE");
        let mut pods = Vec::new();
        for (login, said) in LOGINS {
            for (prefix, family) in [("lessor.dev", "ours"), ("vault.hashicorp.com", "theirs")] {
                let all = ALL.iter().chain(said.iter().copied().flatten());
                let said: Vec<(String, String)> = all
                    .map(|(ours, theirs, value)| {
                        let value = value.replace("DEMANDING", &other.demanding).replace("ASKING", &other.asking);
                        let name = if family == "ours" { ours } else { theirs };
                        (format!("{prefix}/{name}"), value.replace("IMAGE", &image))
                    })
                    .collect();
                let said: Vec<_> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let folder = if family == "ours" { "/lessor/secrets" } else { "/vault/secrets" };
                let name = format!("{login}-{family}");
                let text = format!(". {folder}/db || exit 7; {} || exit 8; {STAY}", note(&format!("{name} in @NS")));
                apply(&client, &namespace, &pod(&name, &namespace, &said, &text)).await.unwrap();
                pods.push(name);
            }
        }
        let (database, mut users) = (Postgres::connect().await, Vec::new());
        for name in &pods {
            users.push(author(&database, &client, &namespace, name, &format!("{name} in {namespace}")).await);
        }
        users.sort();
        users.dedup();
        assert_eq!(users.len(), pods.len(), "each pod has its own");
        let leases = other.engine.leases().await;
        assert_eq!(leases.len(), pods.len(), "{leases:?}");
    })
    .await;
}
