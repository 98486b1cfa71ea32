//! Patches applied to pods, and what Kubernetes' own types make of the result.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::*;
use crate::webhook::annotations::opted_in;
use crate::webhook::settings_for_tests;

fn pod(annotations: &Value, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": annotations}, "spec": spec})
}

fn ours(more: Value) -> Value {
    let mut all = json!({
        "lessor.dev/inject": "true", "lessor.dev/role": "app", "lessor.dev/secret-db": "database/creds/shop.app",
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

fn patched(pod: Value) -> Result<Value, Mistake> {
    warned(pod).map(|(pod, _)| pod)
}

fn warned(mut pod: Value) -> Result<(Value, Vec<String>), Mistake> {
    let annotations: BTreeMap<String, String> = serde_json::from_value(pod["metadata"]["annotations"].clone()).unwrap();
    let labels: Option<BTreeMap<String, String>> = serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap();
    let family = opted_in(&annotations).unwrap().unwrap();
    let mut injection = Injection::parse(family, &annotations, "shop", true).unwrap();
    let view = Pod { annotations: Some(&annotations), labels: labels.as_ref(), spec: &pod["spec"] };
    let (patch, warnings) = inject(view, &injection, &settings_for_tests())?;
    injection.warnings.extend(warnings);
    json_patch::patch(&mut pod, &patch).unwrap();
    let annotations: BTreeMap<String, String> = serde_json::from_value(pod["metadata"]["annotations"].clone()).unwrap();
    assert!(is_injected(Pod { annotations: Some(&annotations), labels: None, spec: &pod["spec"] }, family));
    Ok((pod, injection.warnings))
}

/// What the agent of a container is told.
fn config(container: &Value) -> Value {
    let variable =
        container["env"].as_array().unwrap().iter().find(|one| one["name"] == "LESSOR_AGENT_CONFIG").unwrap();
    serde_json::from_str(variable["value"].as_str().unwrap()).unwrap()
}

fn typed(pod: Value) -> core::Pod {
    serde_json::from_value(pod).unwrap()
}

fn mounts(container: &core::Container) -> Vec<&str> {
    container.volume_mounts.iter().flatten().map(|mount| mount.mount_path.as_str()).collect()
}

#[test]
fn the_result_is_a_pod_that_restricted_namespaces_admit() {
    let pod = typed(patched(pod(&ours(json!({})), json!({"containers": [{"name": "app"}]}))).unwrap());
    assert_eq!(pod.metadata.labels.unwrap()["lessor.dev/injected"], "true");
    let spec = pod.spec.unwrap();
    let agent = &spec.init_containers.as_ref().unwrap()[0];
    assert_eq!((agent.name.as_str(), agent.restart_policy.as_deref()), ("lessor-agent", Some("Always")));
    let security = agent.security_context.as_ref().unwrap();
    assert_eq!(security.run_as_non_root, Some(true));
    assert_eq!(security.read_only_root_filesystem, Some(true));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(security.capabilities.as_ref().unwrap().drop.as_deref(), Some(&["ALL".to_owned()][..]));
    assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(security.run_as_user, None, "OpenShift chooses the user");
    let hook = agent.lifecycle.as_ref().unwrap().post_start.as_ref().unwrap().exec.as_ref().unwrap();
    assert_eq!(hook.command.as_ref().unwrap()[..2], ["/lessor-agent", "wait"]);
    let requests = agent.resources.as_ref().unwrap().requests.as_ref().unwrap();
    assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("10m", "16Mi"));
}

#[test]
fn files_are_in_memory_and_the_token_is_the_agents_alone() {
    let spec = typed(patched(pod(&ours(json!({})), json!({"containers": [{"name": "app"}]}))).unwrap()).spec.unwrap();
    let volumes = spec.volumes.as_ref().unwrap();
    for volume in &volumes[..2] {
        assert_eq!(volume.empty_dir.as_ref().unwrap().medium.as_deref(), Some("Memory"), "{}", volume.name);
    }
    let sources = volumes[2].projected.as_ref().unwrap().sources.as_ref().unwrap();
    let token = sources[0].service_account_token.as_ref().unwrap();
    assert_eq!((token.audience.as_deref(), token.expiration_seconds), (Some("lessor"), Some(3600)));
    let app = &spec.containers[0];
    assert_eq!(mounts(app), ["/lessor/secrets"]);
    assert_eq!(app.volume_mounts.as_ref().unwrap()[0].read_only, Some(true));
}

#[test]
fn the_agent_is_told_where_and_what() {
    let annotations =
        ours(json!({"lessor.dev/perms-db": "0440", "lessor.dev/token": "true", "lessor.dev/log-level": "debug"}));
    let pod = patched(pod(&annotations, json!({"containers": [{"name": "app"}]}))).unwrap();
    let config = config(&pod["spec"]["initContainers"][0]);
    assert_eq!(config["vault"]["address"], "https://lessor.lessor-system.svc:8200");
    assert_eq!(config["auto_auth"]["method"]["config"]["role"], "shop.app");
    assert_eq!(config["auto_auth"]["method"]["config"]["token_path"], "/var/run/secrets/lessor.dev/token");
    assert_eq!(config["auto_auth"]["method"]["mount_path"], "auth/kubernetes");
    assert_eq!(config["auto_auth"]["sink"][0]["config"]["path"], "/run/lessor/files/token");
    assert_eq!(config["template"][0]["destination"], "/run/lessor/files/db");
    assert_eq!(config["template"][0]["perms"], "0440");
    assert_eq!(config["log_level"], "debug");
    assert_eq!(config["vault"]["ca_cert_bytes"], "PEM");
    assert_eq!(config["template_config"]["swap_folders"], true);
}

#[test]
fn another_engine_is_not_checked_with_the_installations_ca() {
    let annotations = ours(json!({"lessor.dev/address": "https://bao:8200"}));
    let pod = patched(pod(&annotations, json!({"containers": [{"name": "app"}]}))).unwrap();
    let config = config(&pod["spec"]["initContainers"][0]);
    assert_eq!(config["vault"], json!({"address": "https://bao:8200"}));
}

#[test]
fn the_agent_comes_first_but_after_a_mesh_and_migrations_get_the_files() {
    let spec = json!({
        "initContainers": [{"name": "istio-init"}, {"name": "istio-proxy", "restartPolicy": "Always"}, {"name": "migrate"}],
        "containers": [{"name": "app", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}, {"name": "istio-proxy"}],
        "volumes": [{"name": "x", "emptyDir": {}}],
    });
    let spec = typed(patched(pod(&ours(json!({})), spec)).unwrap()).spec.unwrap();
    let init = spec.init_containers.as_ref().unwrap();
    let names: Vec<_> = init.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["istio-init", "istio-proxy", "lessor-agent", "migrate"]);
    assert_eq!(mounts(&init[3]), ["/lessor/secrets"]);
    assert_eq!(mounts(&init[0]), [""; 0]);
    assert_eq!(mounts(&spec.containers[0]), ["/x", "/lessor/secrets"]);
    assert_eq!(mounts(&spec.containers[1]), [""; 0], "a mesh needs no secrets");
    assert_eq!(spec.volumes.unwrap().len(), 4);
}

#[test]
fn under_vaults_prefix_the_agent_comes_last() {
    let annotations = json!({
        "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": "app",
        "vault.hashicorp.com/agent-inject-secret-db": "database/creds/app",
    });
    let spec = json!({"initContainers": [{"name": "migrate"}], "containers": [{"name": "app"}]});
    let pod = patched(pod(&annotations, spec)).unwrap();
    assert_eq!(pod["metadata"]["annotations"]["vault.hashicorp.com/agent-inject-status"], "injected");
    assert_eq!(pod["metadata"]["annotations"]["lessor.dev/status"], "injected");
    let spec = typed(pod).spec.unwrap();
    assert_eq!(spec.init_containers.as_ref().unwrap()[1].name, "lessor-agent");
    assert_eq!(mounts(&spec.init_containers.unwrap()[0]), [""; 0]);
    assert_eq!(mounts(&spec.containers[0]), ["/vault/secrets"]);
}

#[test]
fn a_job_that_needs_no_renewal_gets_an_init_container() {
    let annotations = ours(json!({"lessor.dev/once": "true"}));
    let pod = patched(pod(&annotations, json!({"containers": [{"name": "app"}]}))).unwrap();
    let agent = &pod["spec"]["initContainers"][0];
    assert_eq!(agent["command"], json!(["/lessor-agent", "once", "--timeout", "60s"]));
    assert!(agent["restartPolicy"].is_null() && agent["lifecycle"].is_null());
}

#[test]
fn the_agent_is_never_root_and_users_may_choose() {
    let root = json!({"containers": [{"name": "app"}], "securityContext": {"runAsUser": 0}});
    let pod1 = patched(pod(&ours(json!({})), root)).unwrap();
    assert_eq!(pod1["spec"]["initContainers"][0]["securityContext"]["runAsUser"], 65532);
    let annotations = ours(json!({
        "lessor.dev/run-as-user": "1234", "lessor.dev/limits-mem": "0", "lessor.dev/requests-cpu": "20m",
    }));
    let pod2 = patched(pod(&annotations, json!({"containers": [{"name": "app"}]}))).unwrap();
    let agent = &pod2["spec"]["initContainers"][0];
    assert_eq!(agent["securityContext"]["runAsUser"], 1234);
    assert_eq!(agent["resources"], json!({"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {}}));
}

#[test]
fn only_named_containers_get_the_files() {
    let spec = || json!({"containers": [{"name": "app"}, {"name": "helper"}]});
    let named = patched(pod(&ours(json!({"lessor.dev/containers": "app"})), spec())).unwrap();
    assert!(named["spec"]["containers"][1]["volumeMounts"].is_null());
    let mistake = patched(pod(&ours(json!({"lessor.dev/containers": "helpr"})), spec())).unwrap_err();
    assert_eq!(mistake.annotation, "lessor.dev/containers");
    assert!(mistake.problem.contains("did you mean \"helper\"?"), "{mistake}");
}

#[test]
fn what_the_pod_has_of_its_own_is_not_overwritten() {
    let mistake = |spec: Value| patched(pod(&ours(json!({})), spec)).unwrap_err();
    let container = mistake(json!({"containers": [{"name": "lessor-agent"}]}));
    assert_eq!(container.annotation, "lessor.dev/inject");
    let volume = mistake(json!({"containers": [{"name": "app"}], "volumes": [{"name": "lessor-token"}]}));
    assert!(volume.problem.contains("lessor-token"));
    let spec =
        json!({"containers": [{"name": "app", "volumeMounts": [{"name": "x", "mountPath": "/lessor/secrets/"}]}]});
    let mount = mistake(spec);
    assert_eq!(mount.annotation, "lessor.dev/path");
    assert!(mount.problem.contains("container \"app\""));
}

#[test]
fn a_copied_status_does_not_let_a_pod_slip_through() {
    let annotations = BTreeMap::from([("lessor.dev/status".to_owned(), "injected".to_owned())]);
    let spec = json!({"containers": [{"name": "app"}]});
    assert!(!is_injected(Pod { annotations: Some(&annotations), labels: None, spec: &spec }, Family::Lessor));
}

mod commands;
mod kinds;
mod meshes;
