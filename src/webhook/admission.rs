//! One admission review: the API server's question about a pod, and the answer to it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Settings;
use super::annotations::{Injection, Mistake, opted_in};
use super::patch::{self, Pod};

/// The API server cuts longer warnings off (and says so to nobody).
const WARNING_BYTES: usize = 250;

/// What became of a review, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The agent was put in.
    Injected,
    /// The pod did not ask for it, or has it already.
    Untouched,
    /// The pod asks for something that cannot be.
    Refused,
}

/// A body that is no review of a pod.
#[derive(Debug, thiserror::Error)]
pub enum BadReview {
    /// Not JSON, or without what every review has.
    #[error("the body is no AdmissionReview")]
    Unreadable(#[from] serde_json::Error),
    /// Another version or kind.
    #[error("expected an AdmissionReview of admission.k8s.io/v1, but this is {0:?}")]
    Version(String),
    /// A patch that cannot be written down.
    #[error("the answer cannot be written")]
    Answer(#[source] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    operation: String,
    /// Such as `ephemeralcontainers`, whose object is the whole pod.
    #[serde(default)]
    sub_resource: String,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    generate_name: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// Answers one review: `body` in, the answering AdmissionReview out.
///
/// # Errors
/// When there is nothing to answer; a pod that must not be admitted is an answer.
pub fn review(body: &[u8], settings: &Settings) -> Result<(Outcome, Vec<u8>), BadReview> {
    let review: Review = serde_json::from_slice(body)?;
    if review.api_version != "admission.k8s.io/v1" || review.kind != "AdmissionReview" {
        return Err(BadReview::Version(format!("{} {}", review.api_version, review.kind)));
    }
    let request = review.request;
    let mut response = json!({"uid": request.uid, "allowed": true});
    let outcome = match decide(&request, settings) {
        Ok(None) => Outcome::Untouched,
        Ok(Some((patch, warnings))) => {
            let patch = serde_json::to_vec(&patch).map_err(BadReview::Answer)?;
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch));
            if !warnings.is_empty() {
                response["warnings"] = warnings.iter().map(|warning| cut(warning)).collect();
            }
            Outcome::Injected
        }
        Err(mistakes) => {
            let message = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::info!(namespace = request.namespace, pod = pod_name(&request), %message, "refused a pod");
            response["allowed"] = json!(false);
            response["status"] = json!({"code": 400, "reason": "BadRequest", "message": message});
            Outcome::Refused
        }
    };
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    serde_json::to_vec(&answer).map(|answer| (outcome, answer)).map_err(BadReview::Answer)
}

type Decision = Option<(json_patch::Patch, Vec<String>)>;

fn decide(request: &Request, settings: &Settings) -> Result<Decision, Vec<Mistake>> {
    // A pod that runs, or is given an ephemeral container, keeps what it started with.
    let begins = request.kind.kind == "Pod" && request.operation == "CREATE" && request.sub_resource.is_empty();
    let Some(object) = request.object.as_ref().filter(|_| begins) else { return Ok(None) };
    let Some(annotations) = &object.metadata.annotations else { return Ok(None) };
    let Some(family) = opted_in(annotations).map_err(|mistake| vec![mistake])? else { return Ok(None) };
    let pod = Pod { annotations: Some(annotations), labels: object.metadata.labels.as_ref(), spec: &object.spec };
    if patch::is_injected(pod, family) {
        return Ok(patch::behind_mesh(&object.spec).map(|patch| (patch, Vec::new())));
    }
    let mut injection = Injection::parse(family, annotations, &request.namespace, settings.native_sidecars)?;
    let (patch, more) = patch::inject(pod, &injection, settings).map_err(|mistake| vec![mistake])?;
    tracing::debug!(
        namespace = request.namespace,
        pod = pod_name(request),
        role = injection.login.role,
        mode = ?injection.mode,
        "injected the agent"
    );
    injection.warnings.extend(more);
    Ok(Some((patch, injection.warnings)))
}

/// A pod that a controller makes has no name yet, only how it begins.
fn pod_name(request: &Request) -> &str {
    let begins = request.object.as_ref().and_then(|object| object.metadata.generate_name.as_deref());
    if request.name.is_empty() { begins.unwrap_or_default() } else { &request.name }
}

fn cut(warning: &str) -> &str {
    let mut end = warning.len().min(WARNING_BYTES);
    while !warning.is_char_boundary(end) {
        end -= 1;
    }
    &warning[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::settings_for_tests;

    fn ask(kind: &str, annotations: Value) -> (Outcome, Value) {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": kind}, "namespace": "shop", "operation": "CREATE",
                "object": {
                    "metadata": {"generateName": "app-", "annotations": annotations},
                    "spec": {"containers": [{"name": "app", "image": "app:1"}]},
                },
            },
        });
        let (outcome, answer) = review(body.to_string().as_bytes(), &settings_for_tests()).unwrap();
        (outcome, serde_json::from_slice(&answer).unwrap())
    }

    #[test]
    fn an_opted_in_pod_is_patched() {
        let annotations = json!({
            "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": "app",
            "vault.hashicorp.com/agent-inject-secret-db": "database/creds/app", "vault.hashicorp.com/go-max-procs": "1",
        });
        let (outcome, answer) = ask("Pod", annotations);
        assert_eq!(outcome, Outcome::Injected);
        let response = &answer["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        assert_eq!(response["patchType"], "JSONPatch");
        let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        assert!(serde_json::from_slice::<json_patch::Patch>(&patch).unwrap().len() > 3);
        assert!(response["warnings"][0].as_str().unwrap().contains("go-max-procs"));
    }

    #[test]
    fn a_pod_that_runs_keeps_what_it_started_with() {
        for (operation, sub_resource) in [("UPDATE", ""), ("UPDATE", "ephemeralcontainers"), ("CREATE", "eviction")] {
            let body = json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {
                    "uid": "u-1", "kind": {"kind": "Pod"}, "namespace": "shop", "operation": operation,
                    "subResource": sub_resource,
                    "object": {
                        "metadata": {"annotations": {"lessor.dev/inject": "true"}},
                        "spec": {"containers": [{"name": "app"}], "ephemeralContainers": [{"name": "debug"}]},
                    },
                },
            });
            let (outcome, _) = review(body.to_string().as_bytes(), &settings_for_tests()).unwrap();
            assert_eq!(outcome, Outcome::Untouched, "{operation} {sub_resource}");
        }
    }

    #[test]
    fn others_pass_untouched() {
        for (kind, annotations) in [
            ("Pod", Value::Null),
            ("Pod", json!({"lessor.dev/inject": "false"})),
            ("Deployment", json!({"lessor.dev/inject": "true"})),
        ] {
            let (outcome, answer) = ask(kind, annotations);
            assert_eq!(outcome, Outcome::Untouched);
            assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
        }
    }

    #[test]
    fn a_mistake_refuses_the_pod_with_a_message() {
        let (outcome, answer) = ask("Pod", json!({"lessor.dev/inject": "true", "lessor.dev/secret-db": "a/b"}));
        assert_eq!(outcome, Outcome::Refused);
        assert_eq!(answer["response"]["allowed"], false);
        assert!(answer["response"]["status"]["message"].as_str().unwrap().starts_with("lessor.dev/role: is missing"));
    }

    #[test]
    fn other_bodies_are_told_apart() {
        let settings = settings_for_tests();
        assert!(matches!(review(b"{", &settings), Err(BadReview::Unreadable(_))));
        let old = json!({
            "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview",
            "request": {"uid": "", "kind": {"kind": "Pod"}},
        });
        assert!(matches!(review(old.to_string().as_bytes(), &settings), Err(BadReview::Version(_))));
    }

    #[test]
    fn warnings_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert!(cut(&"é".repeat(200)).len() <= WARNING_BYTES);
    }
}
