//! Pods as the injectors of Istio and Linkerd leave them: their containers' names, kinds and order, as their documentation shows
//! them; images and arguments do not matter here.

use super::*;

const NONE: [&str; 0] = [];

/// `name!` is a native sidecar, `name+` holds those behind it back by a postStart hook.
fn containers(names: &[&str]) -> Value {
    let one = |name: &&str| {
        let plain = name.trim_end_matches(['!', '+']);
        let mut container = json!({"name": plain, "command": [format!("/bin/{plain}")]});
        match name.as_bytes().last() {
            Some(b'!') => container["restartPolicy"] = json!("Always"),
            Some(b'+') => container["lifecycle"] = json!({"postStart": {"exec": {"command": ["wait"]}}}),
            _ => {}
        }
        container
    };
    names.iter().map(one).collect()
}

struct Mesh {
    what: &'static str,
    init: &'static [&'static str],
    containers: &'static [&'static str],
    ordered: &'static [&'static str],
    warns: bool,
}

/// An application with an init container of its own, in each mesh.
const MESHES: [Mesh; 8] = [
    Mesh {
        what: "Istio with native sidecars",
        init: &["istio-init", "istio-proxy!", "migrate"],
        containers: &["app"],
        ordered: &["istio-init", "istio-proxy", "lessor-agent", "migrate"],
        warns: false,
    },
    Mesh {
        what: "Istio with a CNI plug-in and native sidecars",
        init: &["istio-validation", "istio-proxy!", "migrate"],
        containers: &["app"],
        ordered: &["istio-validation", "istio-proxy", "lessor-agent", "migrate"],
        warns: false,
    },
    Mesh {
        what: "Istio as an ordinary container",
        init: &["migrate", "istio-init"],
        containers: &["app", "istio-proxy"],
        ordered: &["lessor-agent", "migrate", "istio-init"],
        warns: false,
    },
    Mesh {
        what: "Istio with holdApplicationUntilProxyStarts",
        init: &["istio-init", "migrate"],
        containers: &["istio-proxy+", "app"],
        ordered: &["lessor-agent", "istio-init", "migrate"],
        warns: false,
    },
    Mesh {
        what: "Istio with a CNI plug-in as an ordinary container",
        init: &["istio-validation", "migrate"],
        containers: &["istio-proxy+", "app"],
        ordered: &["lessor-agent", "istio-validation", "migrate"],
        warns: true,
    },
    Mesh {
        what: "Linkerd with native sidecars",
        init: &["linkerd-init", "linkerd-proxy!", "migrate"],
        containers: &["app"],
        ordered: &["linkerd-init", "linkerd-proxy", "lessor-agent", "migrate"],
        warns: false,
    },
    Mesh {
        what: "Linkerd with proxy-await",
        init: &["migrate", "linkerd-init"],
        containers: &["linkerd-proxy+", "app"],
        ordered: &["lessor-agent", "migrate", "linkerd-init"],
        warns: false,
    },
    Mesh {
        what: "Linkerd with a CNI plug-in",
        init: &["linkerd-network-validator", "migrate"],
        containers: &["linkerd-proxy+", "app"],
        ordered: &["lessor-agent", "linkerd-network-validator", "migrate"],
        warns: true,
    },
];

#[test]
fn the_agent_has_a_network_and_the_application_its_files() {
    for mesh in MESHES {
        let spec = || json!({"initContainers": containers(mesh.init), "containers": containers(mesh.containers)});
        for mode in ["sidecar", "classic", "once", "exec"] {
            let what = format!("{}, {mode}", mesh.what);
            let mut annotations = ours(json!({"lessor.dev/mode": mode}));
            if mode == "exec" {
                annotations["lessor.dev/env-db"] = json!("URL");
            }
            let (found, warnings) = warned(pod(&annotations, spec())).unwrap();
            let found = typed(found).spec.unwrap();
            let order = |list: &[core::Container]| {
                list.iter().map(|one| one.name.replace("lessor-agent-init", "lessor-agent")).collect::<Vec<_>>()
            };
            assert_eq!(order(found.init_containers.as_ref().unwrap()), mesh.ordered, "{what}");
            let mut after: Vec<_> = mesh.containers.iter().map(|name| name.trim_end_matches('+')).collect();
            after.extend((mode == "classic").then_some("lessor-agent"));
            assert_eq!(order(&found.containers), after, "{what}: a proxy that comes first stays first");

            let all = found.init_containers.iter().flatten().chain(&found.containers);
            for container in all.filter(|one| one.name.starts_with("istio-") || one.name.starts_with("linkerd-")) {
                assert_eq!(mounts(container), NONE, "{what}: {} gets no secrets", container.name);
                assert!(container.env.is_none(), "{what}: {} is left alone", container.name);
            }
            let app = found.containers.iter().find(|container| container.name == "app").unwrap();
            let gets = if mode == "exec" { "/run/lessor/bin" } else { "/lessor/secrets" };
            assert!(mounts(app).contains(&gets), "{what}");
            let excluded = warnings.iter().any(|warning| warning.contains("excludeOutboundPorts"));
            // In mode exec the agent begins with the application, behind the proxy.
            assert_eq!(excluded, mesh.warns && mode != "exec", "{what}: {warnings:?}");
        }
    }
}
