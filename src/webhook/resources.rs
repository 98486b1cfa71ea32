//! What the agent's container asks for and is limited to: defaults that give way where a pod has chosen the other side.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// 10m and 16Mi, with room for the files, which count as the agent's memory. No limit of CPU: it would slow the start.
const REQUESTS: &[(&str, &str)] = &[("cpu", "10m"), ("memory", "16Mi")];
const LIMITS: &[(&str, &str)] = &[("memory", "32Mi")];

/// What was chosen, by `limits` or `requests` and the resource's name; `None` takes one away.
pub type Chosen = BTreeMap<(&'static str, &'static str), Option<String>>;

/// The container's `resources`. A default that contradicts what was chosen becomes equal to it: Kubernetes refuses a pod that
/// requests more than its limit.
pub fn resources(chosen: &Chosen) -> Value {
    let side = |kind: &'static str, defaults: &[(&'static str, &str)]| -> BTreeMap<&'static str, String> {
        let mut all: BTreeMap<_, _> = defaults.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        for ((_, name), quantity) in chosen.iter().filter(|((of, _), _)| *of == kind) {
            match quantity {
                Some(quantity) => drop(all.insert(*name, quantity.clone())),
                None => drop(all.remove(*name)),
            }
        }
        all
    };
    let (mut requests, mut limits) = (side("requests", REQUESTS), side("limits", LIMITS));
    for (name, request) in &mut requests {
        let Some(limit) = limits.get_mut(name).filter(|limit| amount(limit) < amount(request)) else { continue };
        match (chosen.contains_key(&("requests", *name)), chosen.contains_key(&("limits", *name))) {
            (true, false) => limit.clone_from(request),
            (false, true) => request.clone_from(limit),
            // Who has chosen both is told by the API server.
            _ => {}
        }
    }
    let object = |side: BTreeMap<&str, String>| {
        side.into_iter().map(|(name, quantity)| (name.to_owned(), json!(quantity))).collect::<Map<_, _>>()
    };
    json!({"requests": object(requests), "limits": object(limits)})
}

/// What a quantity comes to, in the resource's own unit.
fn amount(quantity: &str) -> f64 {
    let end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let factor = match unit {
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    number.parse::<f64>().unwrap_or_default() * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(chosen: &[((&'static str, &'static str), &str)]) -> Value {
        resources(&chosen.iter().map(|(key, text)| (*key, (!text.is_empty()).then(|| (*text).to_owned()))).collect())
    }

    #[test]
    fn defaults_give_way_to_what_was_chosen() {
        assert_eq!(of(&[]), json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}}));
        // Pods made for a larger agent state what they request, and count on its larger limit.
        let request = of(&[(("requests", "memory"), "64Mi")]);
        assert_eq!((&request["requests"]["memory"], &request["limits"]["memory"]), (&json!("64Mi"), &json!("64Mi")));
        let limit = of(&[(("limits", "memory"), "12M"), (("limits", "cpu"), "0.005")]);
        assert_eq!(
            limit,
            json!({"requests": {"cpu": "0.005", "memory": "12M"}, "limits": {"cpu": "0.005", "memory": "12M"}})
        );
        let both = of(&[(("requests", "memory"), "64Mi"), (("limits", "memory"), "48Mi")]);
        assert_eq!(both["limits"]["memory"], "48Mi", "whoever said both meant it");
        assert_eq!(of(&[(("limits", "memory"), "")])["limits"], json!({}));
        assert_eq!(of(&[(("requests", "memory"), "20Mi")])["limits"]["memory"], "32Mi", "there is room");
    }

    #[test]
    fn quantities_compare_across_units() {
        assert!(amount("1Gi") > amount("1000Mi") && amount("1G") < amount("1Gi") && amount("500m") < amount("1"));
        assert_eq!(amount("1.5Ki"), 1536.0);
    }
}
