//! Pods as users of the Vault Agent Injector write them, its agent replaced by ours through the image annotation.

use lessor_e2e::cluster::apply;
use lessor_e2e::environment::variable;
use lessor_e2e::postgres::Postgres;

use super::{EXPORTS, applied, as_it_is, in_restricted, note, pod};
use crate::manifests::STAY;
use crate::workload::author;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_vaults_injector_works_and_is_told_what_has_no_effect() {
    in_restricted("theirs", as_it_is, |client, namespace| async move {
        let image = variable("LESSOR_IMAGE");
        let annotations = [
            ("vault.hashicorp.com/agent-inject", "true"),
            ("vault.hashicorp.com/agent-image", image.as_str()),
            ("vault.hashicorp.com/role", "@NS.app"),
            ("vault.hashicorp.com/agent-inject-secret-db-creds", "database/creds/@NS.app"),
            ("vault.hashicorp.com/agent-inject-template-db-creds", EXPORTS),
            ("vault.hashicorp.com/agent-inject-file-db-creds", "conf/db.env"),
            ("vault.hashicorp.com/agent-inject-perms-db-creds", "0640"),
            ("vault.hashicorp.com/agent-inject-token", "true"),
            ("vault.hashicorp.com/secret-volume-path", "/etc/secrets"),
            ("vault.hashicorp.com/agent-pre-populate", "true"),
            ("vault.hashicorp.com/agent-init-first", "true"),
            ("vault.hashicorp.com/agent-limits-mem", "64Mi"),
            ("vault.hashicorp.com/agent-revoke-on-shutdown", "true"),
            ("vault.hashicorp.com/template-static-secret-render-interval", "30s"),
            ("vault.hashicorp.com/agent-run-as-same-user", "true"),
            ("vault.hashicorp.com/agent-cache-enable", "true"),
            ("vault.hashicorp.com/agent-cache-use-auto-auth-token", "force"),
            ("vault.hashicorp.com/log-format", "json"),
            // Without effect here.
            ("vault.hashicorp.com/go-max-procs", "1"),
            ("vault.hashicorp.com/agent-disable-keep-alives", "auto-auth"),
        ];
        let text = format!(
            "test -s /etc/secrets/token || exit 6; . /etc/secrets/conf/db.env; {} || exit 8; {STAY}",
            note("theirs in @NS")
        );
        let told = applied(&namespace, &pod("app", &namespace, &annotations, &text)).await;
        for name in ["go-max-procs", "agent-disable-keep-alives"] {
            assert!(told.contains(&format!("Warning: vault.hashicorp.com/{name} has no effect: ")), "{told}");
        }
        assert_eq!(told.matches("Warning: vault.hashicorp.com").count(), 2, "{told}");
        author(&Postgres::connect().await, &client, &namespace, "app", &format!("theirs in {namespace}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configmap_with_the_agents_configuration_works() {
    in_restricted("configmap", as_it_is, |client, namespace| async move {
        // As Vault's documentation writes it; where the engine is, the installation says.
        let map = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: agent}
data:
  config.hcl: |
    "auto_auth" = {
      "method" = {
        "config" = { "role" = "@NS.app" }
        "type" = "kubernetes"
      }
      "sink" = {
        "config" = { "path" = "/home/vault/.token" }
        "type" = "file"
      }
    }
    "exit_after_auth" = false
    "pid_file" = "/home/vault/.pid"
    "template" = {
      "source" = "/vault/configs/db.ctmpl"
      "destination" = "/vault/secrets/db"
    }
  db.ctmpl: |
    {{ with secret "database/creds/@NS.app" }}export PGUSER='{{ .Data.username }}' PGPASSWORD='{{ .Data.password }}'{{ end }}
"#;
        apply(&client, &namespace, &map.replace("@NS", &namespace)).await.unwrap();
        let annotations =
            [("vault.hashicorp.com/agent-inject", "true"), ("vault.hashicorp.com/agent-configmap", "agent")];
        let text = format!("test -s /vault/secrets/db || exit 7; . /vault/secrets/db; {} || exit 8; {STAY}", note("map in @NS"));
        apply(&client, &namespace, &pod("app", &namespace, &annotations, &text)).await.unwrap();
        author(&Postgres::connect().await, &client, &namespace, "app", &format!("map in {namespace}")).await;
    })
    .await;
}
