//! What each annotation of the catalog does to a pod, under both prefixes: the same thing, and nothing without it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::catalog::{CATALOG, Family, Setting};
use super::find::{find, full_name};
use super::{Injection, opted_in};
use crate::webhook::patch::{Pod, inject};
use crate::webhook::settings_for_tests;

/// An annotation, its value, what else has to be said for it, where its effect is seen, and that effect. A name without a prefix
/// stands for that annotation under `lessor.dev/`, and for the one of the same meaning under `vault.hashicorp.com/`.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, Value);

const IMAGE: (&str, &str) = ("image", "agent:2");
const OWN_TEMPLATE: (&str, &str) = ("template-db", "x");
const EXEC: [(&str, &str); 2] = [("mode", "exec"), ("containers", "app")];
const CERTIFICATE: (&str, &str) = ("client-cert", "/vault/tls/tls.crt");
const KEY: (&str, &str) = ("client-key", "/vault/tls/tls.key");
const PATCH: &str = r#"[{"op": "add", "path": "/tty", "value": true}]"#;

fn files() -> Vec<Row> {
    let contents = "/config/template/0/contents";
    let lines = |path: &str| {
        let row = "{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}";
        json!(format!("{{{{ with secret \"{path}\" }}}}{row}{{{{ end }}}}"))
    };
    let all_as_json = "{{ with secret \"database/creds/app\" }}{{ .Data | toJSON }}\n{{ end }}";
    vec![
        ("secret-db", "database/creds/other", &[], contents, lines("database/creds/other")),
        ("template-db", "text", &[], contents, json!("text")),
        ("template-file-db", "/vault/custom/t", &[], "/config/template/0/source", json!("/vault/custom/t")),
        ("file-db", "conf/a.env", &[], "/config/template/0/destination", json!("/run/lessor/files/conf/a.env")),
        ("perms-db", "0440", &[], "/config/template/0/perms", json!("0440")),
        ("path-db", "/etc/app", &[], "/app/volumeMounts/1/mountPath", json!("/etc/app")),
        ("ttl-db", "10m", &[], contents, lines("database/creds/app?ttl=10m")),
        ("env-db", "URL", &EXEC, "/config/env_template/0/title", json!("URL")),
        ("reload-db", "http://127.0.0.1:1/r", &[], "/config/template/0/reload/0/url", json!("http://127.0.0.1:1/r")),
        ("command-db", "touch /x", &[IMAGE], "/config/template/0/command", json!("touch /x")),
        ("left-delim-db", "<<", &[OWN_TEMPLATE], "/config/template/0/left_delimiter", json!("<<")),
        ("right-delim-db", ">>", &[OWN_TEMPLATE], "/config/template/0/right_delimiter", json!(">>")),
        ("error-on-missing-key-db", "true", &[], "/config/template/0/error_on_missing_key", json!(true)),
        (
            "vault.hashicorp.com/preserve-secret-case-Kept",
            "true",
            &[("secret-Kept", "a/b")],
            "/config/template/0/destination",
            json!("/run/lessor/files/Kept"),
        ),
        (
            "vault.hashicorp.com/preserve-secret-case",
            "true",
            &[("secret-Kept", "a/b")],
            "/config/template/0/destination",
            json!("/run/lessor/files/Kept"),
        ),
        ("default-template", "json", &[], contents, json!(all_as_json)),
        ("token", "true", &[], "/config/auto_auth/sink/0/config/path", json!("/run/lessor/files/token")),
        ("containers", "app", &[], "/spec/containers/1/volumeMounts", Value::Null),
        ("path", "/etc/app", &[], "/app/volumeMounts/1/mountPath", json!("/etc/app")),
    ]
}

fn life() -> Vec<Row> {
    let rendering = |name, value, key, gives| (name, value, &[][..], key, gives);
    vec![
        ("mode", "once", &[], "/agent/command/1", json!("once")),
        ("once", "true", &[], "/agent/command/1", json!("once")),
        ("pre-populate", "false", &[], "/agent/lifecycle", Value::Null),
        ("lessor.dev/init-first", "false", &[], "/spec/initContainers/1/name", json!("lessor-agent")),
        ("vault.hashicorp.com/agent-init-first", "true", &[], "/spec/initContainers/0/name", json!("lessor-agent")),
        ("share-process-namespace", "true", &[], "/spec/shareProcessNamespace", json!(true)),
        rendering(
            "template-config-exit-on-retry-failure",
            "false",
            "/config/template_config/exit_on_retry_failure",
            json!(false),
        ),
        rendering(
            "template-static-secret-render-interval",
            "30s",
            "/config/template_config/static_secret_render_interval",
            json!("30s"),
        ),
        rendering(
            "template-max-connections-per-host",
            "3",
            "/config/template_config/max_connections_per_host",
            json!(3),
        ),
        rendering(
            "template-lease-renewal-threshold",
            "0.5",
            "/config/template_config/lease_renewal_threshold",
            json!(0.5),
        ),
        ("proxy", "true", &[], "/config/listener/0/address", json!("127.0.0.1:8200")),
        ("proxy-port", "8100", &[("proxy", "true")], "/config/listener/0/address", json!("127.0.0.1:8100")),
        ("proxy-token", "force", &[("proxy", "true")], "/config/cache/use_auto_auth_token", json!("force")),
        ("vault.hashicorp.com/agent-enable-quit", "true", &[], "/config/listener/0/agent_api/enable_quit", json!(true)),
    ]
}

fn engine() -> Vec<Row> {
    vec![
        ("role", "shop/other", &[], "/config/auto_auth/method/config/role", json!("shop.other")),
        ("auth-type", "jwt", &[], "/config/auto_auth/method/type", json!("jwt")),
        ("auth-path", "machines", &[], "/config/auto_auth/method/mount_path", json!("auth/machines")),
        ("auth-config-token-path", "/t", &[], "/config/auto_auth/method/config/token_path", json!("/t")),
        ("auth-config-token_path", "/t", &[], "/config/auto_auth/method/config/token_path", json!("/t")),
        ("auth-min-backoff", "2s", &[], "/config/auto_auth/method/min_backoff", json!("2s")),
        ("auth-max-backoff", "9s", &[], "/config/auto_auth/method/max_backoff", json!("9s")),
        ("exit-on-auth-error", "true", &[], "/config/auto_auth/method/exit_on_err", json!(true)),
        (
            "token-volume",
            "tokens",
            &[],
            "/config/auto_auth/method/config/token_path",
            json!("/var/run/secrets/lessor.dev/own"),
        ),
        ("address", "https://bao:8200", &[], "/config/vault/address", json!("https://bao:8200")),
        ("namespace", "team", &[], "/config/vault/namespace", json!("team")),
        (
            "proxy-address",
            "http://proxy:3128",
            &[],
            "/agent/env/1",
            json!({"name": "LESSOR_PROXY_ADDR", "value": "http://proxy:3128"}),
        ),
        ("tls-skip-verify", "true", &[], "/config/vault/tls_skip_verify", json!(true)),
        ("tls-server-name", "engine", &[], "/config/vault/tls_server_name", json!("engine")),
        ("tls-secret", "client", &[], "/spec/volumes/5/secret/secretName", json!("client")),
        ("ca-cert", "/vault/tls/ca.crt", &[], "/config/vault/ca_cert", json!("/vault/tls/ca.crt")),
        ("client-cert", "/vault/tls/tls.crt", &[KEY], "/config/vault/client_cert", json!("/vault/tls/tls.crt")),
        ("client-key", "/vault/tls/tls.key", &[CERTIFICATE], "/config/vault/client_key", json!("/vault/tls/tls.key")),
        ("client-max-retries", "7", &[], "/agent/env/1", json!({"name": "LESSOR_MAX_RETRIES", "value": "7"})),
        ("client-timeout", "5s", &[], "/agent/env/1", json!({"name": "LESSOR_CLIENT_TIMEOUT", "value": "5s"})),
    ]
}

fn container() -> Vec<Row> {
    vec![
        ("image", "agent:2", &[], "/agent/image", json!("agent:2")),
        ("log-level", "debug", &[], "/config/log_level", json!("debug")),
        ("log-format", "json", &[], "/config/log_format", json!("json")),
        ("configmap", "agent", &[], "/agent/command/2", json!("-config=/vault/configs/config.hcl")),
        ("extra-secret", "extra", &[], "/spec/volumes/5/secret/secretName", json!("extra")),
        ("copy-volume-mounts", "app", &[], "/agent/volumeMounts/3/mountPath", json!("/data")),
        ("run-as-user", "2000", &[], "/agent/securityContext/runAsUser", json!(2000)),
        ("run-as-group", "3000", &[], "/agent/securityContext/runAsGroup", json!(3000)),
        ("run-as-same-user", "true", &[], "/agent/securityContext/runAsUser", json!(1234)),
        ("set-security-context", "false", &[], "/agent/securityContext", Value::Null),
        ("json-patch", PATCH, &[], "/agent/tty", json!(true)),
        ("init-json-patch", PATCH, &[("once", "true")], "/agent/tty", json!(true)),
        ("limits-cpu", "100m", &[], "/agent/resources/limits/cpu", json!("100m")),
        ("limits-mem", "48Mi", &[], "/agent/resources/limits/memory", json!("48Mi")),
        ("limits-ephemeral", "9Mi", &[], "/agent/resources/limits/ephemeral-storage", json!("9Mi")),
        ("requests-cpu", "5m", &[], "/agent/resources/requests/cpu", json!("5m")),
        ("requests-mem", "8Mi", &[], "/agent/resources/requests/memory", json!("8Mi")),
        ("requests-ephemeral", "1Mi", &[], "/agent/resources/requests/ephemeral-storage", json!("1Mi")),
    ]
}

fn rows() -> Vec<Row> {
    [files(), life(), engine(), container()].concat()
}

/// How a family writes it; nothing where it has no such annotation.
fn spelled(family: Family, name: &str) -> Option<String> {
    if name.contains('/') {
        return name.starts_with(family.prefix()).then(|| name.to_owned());
    }
    let (setting, rest) = find(Family::Lessor, name)?;
    let full = full_name(family, setting);
    (full != family.prefix()).then(|| full.replace("NAME", rest.unwrap_or_default()))
}

/// What a pod becomes: its agent, what that is told, the application's container and all of the rest.
fn view(family: Family, said: &[(&str, &str)]) -> Result<Value, String> {
    let base = [("role", "shop/app"), ("secret-db", "database/creds/app")];
    let mut annotations = BTreeMap::from([(family.opt_in().to_owned(), "true".to_owned())]);
    for (name, value) in base.iter().chain(said) {
        annotations.extend(spelled(family, name).map(|name| (name, (*value).to_owned())));
    }
    let tokens = json!({"sources": [{"serviceAccountToken": {"path": "own"}}]});
    let mut spec = json!({
        "securityContext": {"runAsUser": 1234},
        "initContainers": [{"name": "migrate"}],
        "containers": [
            {"name": "app", "command": ["/server"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            {"name": "beside"},
        ],
        "volumes": [{"name": "tokens", "projected": tokens}, {"name": "data", "emptyDir": {}}],
    });
    assert_eq!(opted_in(&annotations), Ok(Some(family)));
    let told = |mistakes: Vec<super::Mistake>| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let injection = Injection::parse(family, &annotations, "shop", true).map_err(told)?;
    let pod = Pod { annotations: None, labels: None, spec: &spec };
    let (patch, more) = inject(pod, &injection, &settings_for_tests()).map_err(|mistake| told(vec![mistake]))?;
    let mut whole = json!({"metadata": {"name": "p"}, "spec": spec.take()});
    json_patch::patch(&mut whole, &patch).unwrap();
    let spec = &whole["spec"];
    let all = ["initContainers", "containers"].into_iter().flat_map(|list| spec[list].as_array().unwrap());
    let agent = all.clone().find(|container| container["name"] == "lessor-agent").unwrap();
    let variables = all.flat_map(|container| container["env"].as_array().into_iter().flatten());
    let config = variables.into_iter().find(|variable| variable["name"] == "LESSOR_AGENT_CONFIG").unwrap();
    let config: Value = serde_json::from_str(config["value"].as_str().unwrap()).unwrap();
    let warnings = [injection.warnings, more].concat();
    Ok(json!({"agent": agent, "config": config, "app": spec["containers"][0], "spec": spec, "warnings": warnings}))
}

#[test]
fn each_has_its_effect_and_no_other_cause() {
    for (name, value, with, at, gives) in rows() {
        for family in [Family::Lessor, Family::Vault] {
            let Some(full) = spelled(family, name) else { continue };
            let seen =
                |said: &[(&str, &str)]| view(family, said).map(|view| view.pointer(at).cloned().unwrap_or_default());
            assert_eq!(seen(&[with, &[(name, value)]].concat()), Ok(gives.clone()), "{full}");
            assert_ne!(seen(with), Ok(gives.clone()), "{full} changes nothing");
        }
    }
}

#[test]
fn each_is_in_the_tables_of_this_test() {
    let tried: BTreeSet<String> = rows()
        .iter()
        .flat_map(|(name, ..)| [Family::Lessor, Family::Vault].map(|family| (family, spelled(family, name))))
        .filter_map(|(family, full)| Some((family, full?.strip_prefix(family.prefix())?.to_owned())))
        .filter_map(|(family, name)| find(family, &name).map(|(setting, _)| format!("{setting:?}")))
        .collect();
    let elsewhere =
        |setting| matches!(setting, Setting::Inject | Setting::Nothing | Setting::Revoke | Setting::Unsupported(_));
    for entry in CATALOG.iter().filter(|entry| !elsewhere(entry.setting)) {
        assert!(tried.contains(&format!("{:?}", entry.setting)), "{:?} has no row", entry.setting);
    }
}

#[test]
fn what_has_no_effect_is_refused_or_a_warning_and_what_always_holds_is_neither() {
    for entry in CATALOG {
        let Setting::Unsupported(reason) = entry.setting else { continue };
        for family in [Family::Lessor, Family::Vault].into_iter().filter(|family| !entry.spelling(*family).is_empty()) {
            let name = format!("{}{}", family.prefix(), entry.spelling(family).replace('*', "x"));
            match (family, view(family, &[(&name, "1")])) {
                (Family::Lessor, Err(problem)) => assert_eq!(problem, format!("{name}: {reason}")),
                (Family::Vault, Ok(view)) => {
                    assert_eq!(view["warnings"], json!([format!("{name} has no effect: {reason}")]));
                }
                (_, other) => panic!("{name}: {other:?}"),
            }
        }
    }
    let theirs = |name: &str, value| view(Family::Vault, &[(name, value)]).unwrap();
    let plain = view(Family::Vault, &[]).unwrap();
    assert_eq!(plain["warnings"], json!([]));
    assert_eq!(theirs("vault.hashicorp.com/agent-request-namespace", "shop"), plain);
    assert_eq!(theirs("vault.hashicorp.com/agent-revoke-on-shutdown", "true"), plain);
    let kept = theirs("vault.hashicorp.com/agent-revoke-on-shutdown", "false");
    let reason = "vault.hashicorp.com/agent-revoke-on-shutdown has no effect: what a pod was given always ends with it";
    assert_eq!((&kept["warnings"], &kept["config"]), (&json!([reason]), &plain["config"]));
}
