//! Service meshes: which containers are theirs, and where the agent has a network.

use serde_json::Value;

/// They must run before anything else has a network, and they get no secrets.
const CONTAINERS: &[&str] =
    &["istio-init", "istio-validation", "istio-proxy", "linkerd-init", "linkerd-network-validator", "linkerd-proxy"];
/// Those of them that carry the pod's traffic.
const PROXIES: &[&str] = &["istio-proxy", "linkerd-proxy"];
/// Those that only look whether a CNI plug-in has redirected the pod's traffic.
const VALIDATORS: &[&str] = &["istio-validation", "linkerd-network-validator"];

fn is_one_of(container: &Value, names: &[&str]) -> bool {
    container["name"].as_str().is_some_and(|name| names.contains(&name))
}

/// Whether a container is a mesh's.
pub fn owns(container: &Value) -> bool {
    is_one_of(container, CONTAINERS)
}

/// Whether a mesh's proxy is a native sidecar, and so carries traffic while other init containers run.
pub fn has_native_proxy(init_containers: &[Value]) -> bool {
    init_containers.iter().any(|container| is_one_of(container, PROXIES) && container["restartPolicy"] == "Always")
}

/// The first place among the init containers where the agent has a network: behind a mesh whose proxy runs by then, but
/// before everything else where traffic is redirected to a proxy which starts only after all init containers.
pub fn first_place(init_containers: &[Value]) -> usize {
    match init_containers.iter().rposition(owns) {
        Some(last) if has_native_proxy(init_containers) => last + 1,
        _ => 0,
    }
}

/// The last place where it has one.
pub fn last_place(init_containers: &[Value]) -> usize {
    match init_containers.iter().position(owns) {
        Some(first) if !has_native_proxy(init_containers) => first,
        _ => init_containers.len(),
    }
}

/// Whether a CNI plug-in has redirected the traffic before any container starts, to a proxy that is not there before all
/// init containers have ended: the agent would wait for a network for ever.
pub fn cuts_off(init_containers: &[Value]) -> bool {
    !has_native_proxy(init_containers) && init_containers.iter().any(|container| is_one_of(container, VALIDATORS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn containers(names: &[&str]) -> Vec<Value> {
        let one = |name: &&str| match name.strip_suffix('!') {
            Some(name) => json!({"name": name, "restartPolicy": "Always"}),
            None => json!({ "name": name }),
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn the_agent_is_where_it_has_a_network() {
        for (names, first, last) in [
            (&["migrate"][..], 0, 1),
            // Native proxies carry the agent's traffic.
            (&["istio-init", "istio-proxy!", "migrate"], 2, 3),
            (&["linkerd-init", "linkerd-proxy!"], 2, 2),
            (&["istio-validation", "istio-proxy!"], 2, 2),
            // Classic ones start too late: the agent logs in before traffic is redirected to them.
            (&["istio-init", "migrate"], 0, 0),
            (&["migrate", "linkerd-init"], 0, 1),
        ] {
            let containers = containers(names);
            assert_eq!((first_place(&containers), last_place(&containers)), (first, last), "{names:?}");
        }
    }

    #[test]
    fn a_cni_plug_in_without_a_native_proxy_cuts_the_agent_off() {
        assert!(cuts_off(&containers(&["istio-validation"])));
        assert!(cuts_off(&containers(&["linkerd-network-validator", "migrate"])));
        assert!(!cuts_off(&containers(&["istio-validation", "istio-proxy!"])));
        assert!(!cuts_off(&containers(&["istio-init"])));
    }
}
