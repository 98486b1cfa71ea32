//! How long a rollout will take: guessed before the first one, and projected while one goes on.

use serde_json::Value;

use super::pods::PodFacts;
use super::workload::Workload;
use crate::base::{Timestamp, clock};

/// What the controllers take for a step, whole seconds.
const STEP: u64 = 1;
/// Most programs end sooner than they are granted, whole seconds.
const LONGEST_END: u64 = 10;

/// How long a rollout of `workload` takes, whole seconds, judging by how long its pods took to become ready. `None` while none
/// of them is ready.
pub fn estimate(workload: &Workload, own: &[&PodFacts]) -> Option<u64> {
    let wanted = u64::try_from(workload.wanted()).unwrap_or(0);
    if wanted == 0 {
        return Some(0);
    }
    let mut times: Vec<u64> = own.iter().filter_map(|pod| pod.ready_after).collect();
    times.sort_unstable();
    // A pod that became ready a second time shows too long a time, so not the longest is taken.
    let ready = *times.get(times.len().checked_sub(1)? / 2)?;
    let spec = &workload.object.data["spec"];
    let settle = spec["minReadySeconds"].as_u64().unwrap_or(0);
    let end = spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30).min(LONGEST_END);
    let start = ready + settle + STEP;
    Some(match rounds(workload, wanted) {
        Rounds::Surging(rounds) => rounds * start + end,
        Rounds::Replacing(rounds) => rounds * (start + end),
    })
}

/// In how many rounds pods are replaced.
#[derive(Debug, PartialEq, Eq)]
enum Rounds {
    /// New pods start before old ones end.
    Surging(u64),
    /// New pods start when old ones have ended.
    Replacing(u64),
}

fn rounds(workload: &Workload, wanted: u64) -> Rounds {
    let spec = &workload.object.data["spec"];
    match workload.reference.kind.as_str() {
        "StatefulSet" | "DaemonSet" => {
            let rolling = &spec["updateStrategy"]["rollingUpdate"];
            let surge = share(&rolling["maxSurge"], 0, wanted, true);
            let unavailable = share(&rolling["maxUnavailable"], 1, wanted, false);
            if surge > 0 {
                Rounds::Surging(wanted.div_ceil(surge))
            } else {
                Rounds::Replacing(wanted.div_ceil(unavailable.max(1)))
            }
        }
        _ if spec["strategy"]["type"] == "Recreate" => Rounds::Replacing(1),
        _ => {
            let strategy = &spec["strategy"];
            let rolling = [&strategy["rollingUpdate"], &strategy["canary"]].into_iter().find(|part| part.is_object());
            let rolling = rolling.unwrap_or(&Value::Null);
            let quarter = |up: bool| if up { wanted.div_ceil(4) } else { wanted / 4 };
            let surge = share(&rolling["maxSurge"], quarter(true), wanted, true);
            let unavailable = share(&rolling["maxUnavailable"], quarter(false), wanted, false);
            Rounds::Surging(wanted.div_ceil((surge + unavailable).max(1)))
        }
    }
}

/// A number, or a percentage of `whole`; surges are rounded up as Kubernetes does.
fn share(value: &Value, default: u64, whole: u64, up: bool) -> u64 {
    if let Some(number) = value.as_u64() {
        return number;
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|number| number.parse::<u64>().ok());
    percent.map_or(default, |percent| {
        let part = whole * percent;
        if up { part.div_ceil(100) } else { part / 100 }
    })
}

/// When a rollout that began at `begun` will have ended, `moved` of `all` pods being exchanged at `now`; before the first one
/// it is what was `expected`, whole seconds.
pub fn projected_end(now: Timestamp, begun: Timestamp, moved: usize, all: usize, expected: u64) -> Timestamp {
    if moved == 0 || all == 0 {
        return clock::add_seconds(begun, expected).max(now);
    }
    let elapsed = clock::seconds_between(begun, now);
    let (moved, left) = (moved as u64, all.saturating_sub(moved) as u64);
    clock::add_seconds(now, (elapsed * left).div_ceil(moved))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::pods::tests::{at, pod};
    use super::super::workload::tests::workload;
    use super::*;

    fn guess(kind: &str, spec: Value, status: Value) -> Option<u64> {
        let pods = [pod(None, None), pod(None, None)];
        estimate(&workload(kind, spec, status), &pods.iter().collect::<Vec<_>>())
    }

    #[test]
    fn one_pod_at_a_time_takes_as_many_rounds_as_there_are_pods() {
        let strategy = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
        let template = json!({ "spec": { "terminationGracePeriodSeconds": 5 } });
        let spec = json!({ "replicas": 6, "strategy": strategy, "template": template });
        assert_eq!(guess("Deployment", spec, json!({})), Some(6 * 11 + 5));
    }

    #[test]
    fn defaults_and_percentages_are_kubernetes() {
        assert_eq!(guess("Deployment", json!({ "replicas": 8 }), json!({})), Some(2 * 11 + 10), "2 and 2 at once");
        let strategy = json!({ "rollingUpdate": { "maxSurge": "10%", "maxUnavailable": "0%" } });
        let spec = json!({ "replicas": 5, "strategy": strategy, "minReadySeconds": 4 });
        assert_eq!(guess("Deployment", spec, json!({})), Some(5 * 15 + 10));
        let spec = json!({ "replicas": 5, "strategy": { "type": "Recreate" } });
        assert_eq!(guess("Deployment", spec, json!({})), Some(11 + 10));
        assert_eq!(guess("StatefulSet", json!({ "replicas": 3 }), json!({})), Some(3 * 21));
        assert_eq!(guess("DaemonSet", json!({}), json!({ "desiredNumberScheduled": 4 })), Some(4 * 21));
        assert_eq!(guess("Deployment", json!({ "replicas": 0 }), json!({})), Some(0));
    }

    #[test]
    fn nothing_is_guessed_before_a_pod_is_ready() {
        let starting = PodFacts { ready_after: None, ..pod(None, None) };
        assert_eq!(estimate(&workload("Deployment", json!({}), json!({})), &[&starting]), None);
    }

    #[test]
    fn the_end_is_projected_from_what_has_moved() {
        assert_eq!(projected_end(at(1010), at(1000), 0, 6, 70), at(1070));
        assert_eq!(projected_end(at(1100), at(1000), 0, 6, 70), at(1100));
        assert_eq!(projected_end(at(1030), at(1000), 2, 6, 70), at(1090));
        assert_eq!(projected_end(at(1030), at(1000), 6, 6, 70), at(1030));
    }
}
