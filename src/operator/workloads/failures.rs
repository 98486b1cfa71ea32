//! Agents that have failed, as events of their pods: the kubelet's own events never say why.
//!
//! It says `PostStartHook failed` or `Back-off restarting`, and the cause stands in the container's last state only.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;

use crate::api::names::AGENT_CONTAINER;

/// An agent's failed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The pod's UID, and how often the container was started: no two failures of a cluster share both.
    pub(super) run: (String, i32),
    /// What people are told.
    pub(super) text: String,
}

impl Failure {
    /// The last failed run of the pod's agent, if the cluster has kept one.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let statuses = pod.status.as_ref()?;
        let all = statuses.init_container_statuses.iter().chain(&statuses.container_statuses).flatten();
        all.filter(|status| status.name.starts_with(AGENT_CONTAINER)).find_map(|status| {
            let ended = terminated(status).filter(|ended| ended.exit_code != 0)?;
            let run = (pod.uid()?, status.restart_count);
            Some(Self { run, text: format!("{} {}", status.name, told(ended)) })
        })
    }
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| status.last_state.as_ref().and_then(|state| state.terminated.as_ref()))
}

/// The agent's last word, which names the cause; of one that could not say any, how it ended.
fn told(ended: &ContainerStateTerminated) -> String {
    let message = ended.message.as_deref().unwrap_or_default();
    match message.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(last) => {
            format!("has failed: {}", last.strip_prefix("lessor-agent: ").unwrap_or(last))
        }
        None => {
            format!("ended with code {} ({})", ended.exit_code, ended.reason.as_deref().unwrap_or("no reason is known"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(state: Value, last_state: Value) -> Pod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app", "namespace": "shop", "uid": "u" },
            "status": { "initContainerStatuses": [
                { "name": "lessor-agent", "image": "", "imageID": "", "ready": false, "restartCount": 2,
                  "state": state, "lastState": last_state },
            ] },
        }))
        .unwrap()
    }

    #[test]
    fn the_last_line_names_the_cause() {
        let ended = json!({ "terminated": { "exitCode": 1, "message": "INFO starting\nlessor-agent: cannot log in: denied\n" } });
        let failure = Failure::of(&pod(json!({ "running": {} }), ended.clone())).unwrap();
        assert_eq!(failure.run, ("u".to_owned(), 2));
        assert_eq!(failure.text, "lessor-agent has failed: cannot log in: denied");
        assert_eq!(Failure::of(&pod(ended, json!({}))).unwrap(), failure, "of an init container that is not restarted");
    }

    #[test]
    fn an_agent_that_was_killed_ended_somehow_and_one_that_ended_well_is_no_news() {
        let killed = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        let failure = Failure::of(&pod(json!({ "running": {} }), killed)).unwrap();
        assert_eq!(failure.text, "lessor-agent ended with code 137 (OOMKilled)");
        assert_eq!(Failure::of(&pod(json!({ "terminated": { "exitCode": 0 } }), json!({}))), None);
    }
}
