//! Annotations of pods: what the webhook makes of them, and whether an agent understands what it is told.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lessor::webhook::admission::review;
use lessor::webhook::{Options, Settings};
use serde_json::{Map, Value, json};

const PREFIXES: [&str; 2] = ["lessor.dev/", "vault.hashicorp.com/"];

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| Settings::new(&Options::default()).unwrap_or_else(|error| panic!("the defaults: {error}")))
}

/// A pod that has something for most annotations to be about.
fn spec() -> Value {
    let token = json!({"serviceAccountToken": {"path": "token"}});
    json!({
        "securityContext": {"runAsUser": 1000},
        "initContainers": [{"name": "istio-init"}, {"name": "migrate"}],
        "containers": [
            {"name": "app", "command": ["/server"], "args": ["$(DB)"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            {"name": "beside", "ports": [{"containerPort": 8100}]},
        ],
        "volumes": [{"name": "tokens", "projected": {"sources": [token]}}, {"name": "data", "emptyDir": {}}],
    })
}

/// Annotations with a NUL between them, each `NAME=VALUE` without its prefix.
pub(crate) fn annotations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for prefix in PREFIXES {
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        let said = pairs.map(|(name, value)| (format!("{prefix}{name}"), Value::from(value)));
        admit(&said.collect());
    }
}

fn admit(said: &Map<String, Value>) {
    let mut pod = json!({"metadata": {"annotations": said}, "spec": spec()});
    let request = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "kind": {"kind": "Pod"}, "namespace": "shop", "operation": "CREATE", "object": pod},
    });
    let Ok((_, answer)) = review(request.to_string().as_bytes(), settings()) else { panic!("it is a review") };
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let response = &answer["response"];
    if response["allowed"] == false {
        assert!(response["status"]["message"].as_str().is_some_and(|message| !message.is_empty()), "it says why");
        return;
    }
    let Some(patch) = response["patch"].as_str() else { return };
    let patch = STANDARD.decode(patch).ok().and_then(|patch| serde_json::from_slice::<json_patch::Patch>(&patch).ok());
    let Some(patch) = patch else { panic!("it is a patch: {response}") };
    if let Err(error) = json_patch::patch(&mut pod, &patch) {
        panic!("it can be applied: {error}");
    }
    // What a patch or a ConfigMap of theirs says is theirs.
    if !said.keys().any(|name| name.ends_with("json-patch") || name.ends_with("configmap")) {
        understood(&pod);
    }
}

/// Every agent of the pod is told what an agent understands.
fn understood(pod: &Value) {
    let containers = ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array());
    for variable in containers.flatten().filter_map(|container| container["env"].as_array()).flatten() {
        if variable["name"] != "LESSOR_AGENT_CONFIG" {
            continue;
        }
        // As Kubernetes hands it to the container.
        let text = variable["value"].as_str().unwrap_or_default().replace("$$", "$");
        if let Err(problem) = crate::agent::read(&text) {
            let problem = problem.to_string();
            assert!(problem.contains("cannot read"), "{problem}: {text}");
        }
    }
}
