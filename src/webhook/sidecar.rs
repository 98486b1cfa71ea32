//! The container and the volumes that an injected pod gets.
//!
//! The application waits for its files by the agent's postStart hook: the kubelet starts no later container before the hook
//! has ended. Measured on Kubernetes 1.36, pod created to Ready, 12 pods each, median: without an agent 0.67 s; with the
//! hook 0.84 s; with a second init container that waits 1.32 s; with an init container before the sidecar 1.63 s; with a
//! startup probe, which looks once a second, 1.81 s.

use serde_json::{Map, Value, json};

use super::Settings;
use super::agent_config::{FILES_FOLDER, PRIVATE_FOLDER, TOKEN_FILE, TOKEN_FOLDER, agent_config};
use super::annotations::Injection;

/// The agent's container.
pub const CONTAINER: &str = crate::api::names::AGENT_CONTAINER;
/// The volume of the files, which the pod's containers see read-only.
pub const FILES_VOLUME: &str = "lessor-secrets";
const PRIVATE_VOLUME: &str = "lessor-agent";
const TOKEN_VOLUME: &str = "lessor-token";
/// Every volume that is added.
pub const VOLUMES: [&str; 3] = [FILES_VOLUME, PRIVATE_VOLUME, TOKEN_VOLUME];

const PROGRAM: &str = "/lessor-agent";
/// How long a start may take before the agent is restarted with an event. While the hook runs, Kubernetes neither shows the
/// agent's log nor deletes the pod, so this is the grace period that people are used to, and no longer.
const START_DEADLINE: &str = "30s";
/// The user where the pod itself runs as root, which the agent never does. Elsewhere the pod's user, or else the image's,
/// is right: OpenShift refuses pods that name one of their own.
const USER: i64 = 65532;
/// For the projected token; the kubelet renews it at 80 %.
const TOKEN_SECONDS: u32 = 3600;

/// The agent: a native sidecar, or an ordinary init container if files are to be written once.
pub fn container(injection: &Injection, settings: &Settings, pod_spec: &Value) -> Value {
    let mut container = json!({
        "name": CONTAINER,
        "image": injection.overrides.image.as_ref().unwrap_or(&settings.agent_image),
        "command": [PROGRAM, if injection.once { "once" } else { "run" }],
        "env": environment(injection, settings),
        "resources": resources(injection),
        "securityContext": security_context(injection, pod_spec),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": FILES_VOLUME, "mountPath": FILES_FOLDER},
            {"name": PRIVATE_VOLUME, "mountPath": PRIVATE_FOLDER},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": true},
        ],
    });
    if let Some(policy) = &settings.agent_image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if !injection.once {
        container["restartPolicy"] = json!("Always");
        container["lifecycle"] = json!({
            "postStart": {"exec": {"command": [PROGRAM, "wait", "--timeout", START_DEADLINE]}},
        });
    }
    container
}

/// The mount that the pod's own containers get.
pub fn files_mount(injection: &Injection) -> Value {
    json!({"name": FILES_VOLUME, "mountPath": injection.mount_path, "readOnly": true})
}

/// Memory only, so that no secret reaches a disk; and the pod's token, made for the engine alone and bound to this pod.
pub fn volumes(settings: &Settings) -> [Value; 3] {
    let memory = |name: &str, limit: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}});
    [
        memory(FILES_VOLUME, "4Mi"),
        memory(PRIVATE_VOLUME, "1Mi"),
        json!({
            "name": TOKEN_VOLUME,
            "projected": {"sources": [{"serviceAccountToken": {
                "path": TOKEN_FILE,
                "audience": settings.token_audience,
                "expirationSeconds": TOKEN_SECONDS,
            }}]},
        }),
    ]
}

fn environment(injection: &Injection, settings: &Settings) -> Vec<Value> {
    let config = agent_config(injection, settings).to_string();
    let mut environment = vec![json!({"name": "LESSOR_AGENT_CONFIG", "value": config})];
    // The installation's CA says nothing about another engine that a pod has named.
    if let (Some(ca), None) = (&settings.engine_ca, &injection.overrides.address) {
        environment.push(json!({"name": "LESSOR_CACERT_BYTES", "value": ca}));
    }
    environment
}

/// 10m and 16Mi, with room for the files, which count as the agent's memory. No limit of CPU: it would slow the start.
fn resources(injection: &Injection) -> Value {
    let mut all = json!({
        "requests": {"cpu": "10m", "memory": "16Mi"},
        "limits": {"memory": "32Mi"},
    });
    for ((kind, resource), quantity) in &injection.resources {
        let Some(group) = all[*kind].as_object_mut() else { continue };
        match quantity {
            Some(quantity) => drop(group.insert((*resource).to_owned(), json!(quantity))),
            None => drop(group.remove(*resource)),
        }
    }
    all
}

/// Passes the Pod Security Standard `restricted`, whatever the pod itself may do.
fn security_context(injection: &Injection, pod_spec: &Value) -> Value {
    let mut context = Map::new();
    context.insert("allowPrivilegeEscalation".to_owned(), json!(false));
    context.insert("capabilities".to_owned(), json!({"drop": ["ALL"]}));
    context.insert("readOnlyRootFilesystem".to_owned(), json!(true));
    context.insert("runAsNonRoot".to_owned(), json!(true));
    context.insert("seccompProfile".to_owned(), json!({"type": "RuntimeDefault"}));
    let pod_is_root = pod_spec["securityContext"]["runAsUser"] == json!(0);
    if let Some(user) = injection.run_as.0.or(pod_is_root.then_some(USER)) {
        context.insert("runAsUser".to_owned(), json!(user));
    }
    if let Some(group) = injection.run_as.1 {
        context.insert("runAsGroup".to_owned(), json!(group));
    }
    Value::Object(context)
}
