//! Pods at another engine, annotated as Vault's public documentation does it, with each login that it shows.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Client;
use kube::api::{Api, DeleteParams};
use lessor_e2e::cluster::apply;
use lessor_e2e::environment::variable;
use lessor_e2e::eventually::{equals, eventually};
use lessor_e2e::namespace::restoring;
use lessor_e2e::other_engine::OtherEngine;
use lessor_e2e::postgres::{CREATION, Postgres};
use serde_json::{Value, json};

use super::{SOON, applied, as_it_is, in_restricted, pod};
use crate::manifests::STAY;
use crate::workload::author;

/// The documentation's secret, in its own template and in the default one.
const SECRETS: [(&str, &str); 4] = [
    ("vault.hashicorp.com/agent-inject", "true"),
    ("vault.hashicorp.com/agent-inject-secret-db-creds", "database/creds/db-app"),
    (
        "vault.hashicorp.com/agent-inject-template-db-creds",
        "{{- with secret \"database/creds/db-app\" -}}\npostgres://{{ .Data.username }}:{{ .Data.password \
         }}@POSTGRES?sslmode=disable\n{{- end }}\n",
    ),
    ("vault.hashicorp.com/agent-inject-secret-plain", "database/creds/db-app"),
];

/// What it says of the login, by the name of the method.
const LOGINS: [(&str, &[(&str, &str)]); 3] = [
    ("kubernetes", &[("vault.hashicorp.com/agent-inject-status", "update"), ("vault.hashicorp.com/role", "db-app")]),
    (
        "approle",
        &[
            ("vault.hashicorp.com/agent-extra-secret", "approle-example"),
            ("vault.hashicorp.com/auth-type", "approle"),
            ("vault.hashicorp.com/auth-path", "auth/approle"),
            ("vault.hashicorp.com/auth-config-role-id-file-path", "/vault/custom/role-id"),
            ("vault.hashicorp.com/auth-config-secret-id-file-path", "/vault/custom/secret-id"),
            ("vault.hashicorp.com/role", "db-app"),
        ],
    ),
    (
        "jwt",
        &[
            ("vault.hashicorp.com/auth-type", "jwt"),
            ("vault.hashicorp.com/auth-path", "auth/jwt"),
            ("vault.hashicorp.com/role", "db-app"),
            ("vault.hashicorp.com/agent-image", "hashicorp/vault:1.21.1"),
        ],
    ),
];

/// What each is told to have no effect.
const WARNED: [&[&str]; 3] = [&[], &["role has no effect: the login approle "], &["agent-image has no effect: "]];

/// The documentation's engine: the role `db-app` of `database`, and of each login at its usual mount.
async fn set_up(client: &Client, namespace: &str) -> OtherEngine {
    let mut other = OtherEngine::start(client, namespace).await;
    "database".clone_into(&mut other.mount);
    other.mount_database("1h", "24h").await;
    other.write("database/roles/db-app", json!({ "db_name": "pg", "creation_statements": CREATION })).await;
    for (login, _) in LOGINS {
        other.write(&format!("sys/auth/{login}"), json!({ "type": login })).await;
    }

    other.write("auth/kubernetes/config", json!({ "kubernetes_host": "https://kubernetes.default.svc" })).await;
    let role = json!({
        "bound_service_account_names": "app", "bound_service_account_namespaces": namespace, "policies": "database",
    });
    other.write("auth/kubernetes/role/db-app", role).await;

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let (ca, _) = eventually("the cluster's CA is in the namespace", SOON, || async {
        let map = maps.get_opt("kube-root-ca.crt").await.unwrap();
        map.and_then(|map| map.data?.remove("ca.crt")).ok_or("not yet")
    })
    .await;
    let config = json!({ "jwks_url": "https://kubernetes.default.svc/openid/v1/jwks", "jwks_ca_pem": ca });
    other.write("auth/jwt/config", config).await;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": "lessor", "policies": "database",
        "bound_subject": format!("system:serviceaccount:{namespace}:app"),
    });
    other.write("auth/jwt/role/db-app", role).await;

    other.write("auth/approle/role/db-app", json!({ "policies": "database" })).await;
    let (_, id) = other.ask(http::Method::GET, "auth/approle/role/db-app/role-id", Value::Null).await;
    let secret = other.write("auth/approle/role/db-app/secret-id", json!({})).await;
    let data = json!({ "role-id": id["data"]["role_id"], "secret-id": secret["data"]["secret_id"] });
    let metadata = json!({ "name": "approle-example" });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data });
    apply(client, namespace, &secret.to_string()).await.unwrap();
    other
}

/// What Vault's documentation advises: the engine may ask whose tokens it is shown, for the login `kubernetes`, and anybody may read
/// the keys of these tokens, for `jwt`.
fn bindings(namespace: &str) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let binding = |role: &str, subject: Value| {
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{namespace}-{}", role.replace(':', "-")) },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role }, "subjects": [subject],
        })
    };
    let anybody = json!({ "apiGroup": group, "kind": "Group", "name": "system:unauthenticated" });
    [
        binding("system:auth-delegator", json!({ "kind": "ServiceAccount", "name": "engine", "namespace": namespace })),
        binding("system:service-account-issuer-discovery", anybody),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_vaults_documentation_work_with_each_of_its_logins() {
    in_restricted("elsewhere", as_it_is, |client, namespace| async move {
        let made = bindings(&namespace);
        for binding in &made {
            apply(&client, &namespace, &binding.to_string()).await.unwrap();
        }
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        restoring(each_login(&client, &namespace), async {
            for binding in &made {
                let name = binding["metadata"]["name"].as_str().unwrap();
                bindings.delete(name, &DeleteParams::default()).await.unwrap();
            }
        })
        .await;
    })
    .await;
}

async fn each_login(client: &Client, namespace: &str) {
    let other = set_up(client, namespace).await;
    let [host, port, name] = ["LESSOR_PG_HOST", "LESSOR_PG_PORT", "LESSOR_PG_DATABASE"].map(variable);
    let postgres = format!("{host}:{port}/{name}");
    let image = variable("LESSOR_IMAGE");
    for ((login, said), warned) in LOGINS.into_iter().zip(WARNED) {
        let mut all = [&SECRETS[..], said, &[("vault.hashicorp.com/service", &other.address)]].concat();
        if said.iter().all(|(name, _)| *name != "vault.hashicorp.com/agent-image") {
            all.push(("vault.hashicorp.com/agent-image", &image));
        }
        let text = format!(
            "url=$(cat /vault/secrets/db-creds); user=${{url#postgres://}}; user=${{user%%:*}}\n\
             grep -qx \"username: $user\" /vault/secrets/plain || exit 6\n\
             psql --quiet --set ON_ERROR_STOP=1 --command \"INSERT INTO notes (body) VALUES ('{login} in @NS')\" \"$url\" || exit 8\n{STAY}"
        );
        let told = applied(namespace, &pod(login, namespace, &all, &text).replace("POSTGRES", &postgres)).await;
        let has = |warning: &&str| told.contains(&format!("Warning: vault.hashicorp.com/{warning}"));
        assert!(warned.iter().all(has) && told.matches("Warning").count() == warned.len(), "{told}");
    }
    let (database, mut users) = (Postgres::connect().await, Vec::new());
    for (login, _) in LOGINS {
        users.push(author(&database, client, namespace, login, &format!("{login} in {namespace}")).await);
    }
    let leases = other.list("sys/leases/lookup/database/creds/db-app").await;
    assert_eq!(leases.len(), LOGINS.len(), "one for both files of a pod: {leases:?}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for (login, _) in LOGINS {
        pods.delete(login, &DeleteParams::default()).await.unwrap();
    }
    eventually("their agents have given every user back", SOON, || async {
        equals(other.list("sys/leases/lookup/database/creds/db-app").await.len(), 0)
    })
    .await;
    for user in &users {
        assert!(!database.has_role(user).await, "{user}");
    }
}
