//! From a pod and what it asked for to a JSON patch; nothing here talks to anybody.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Value, json};

use super::Settings;
use super::annotations::{Family, Injection, Mistake, Setting, distance, full_name};
use super::sidecar;

/// Tells the operator which pods to watch for their end.
const INJECTED_LABEL: &str = "lessor.dev/injected";
const INJECTED: &str = "injected";

/// Service meshes' containers, which must run before anything else has a network. They get no secrets.
const MESH: &[&str] =
    &["istio-init", "istio-validation", "istio-proxy", "linkerd-init", "linkerd-network-validator", "linkerd-proxy"];

/// What of a pod the patch depends on.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    /// `metadata.annotations`.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// `metadata.labels`.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// `spec`.
    pub spec: &'a Value,
}

/// Whether the agent is in this pod already: the status alone proves nothing, as people copy annotations.
pub fn is_injected(pod: Pod<'_>, family: Family) -> bool {
    let status = pod.annotations.and_then(|annotations| annotations.get(family.status()));
    status.is_some_and(|status| status == INJECTED)
        && names(pod.spec, "initContainers").any(|name| name == sidecar::CONTAINER)
}

/// Puts the agent into the pod.
///
/// # Errors
/// When the pod has something of its own where the agent's parts belong, or the annotations name a container that is not
/// there.
pub fn inject(pod: Pod<'_>, injection: &Injection, settings: &Settings) -> Result<Patch, Mistake> {
    refuse_collisions(pod.spec, injection)?;
    let at = agent_position(pod.spec, injection);
    let mut operations = Operations::default();

    let label = BTreeMap::from([(INJECTED_LABEL, "true")]);
    operations.entries("labels", pod.labels, &label);
    let mut status = BTreeMap::from([(Family::Lessor.status(), INJECTED)]);
    status.insert(injection.family.status(), INJECTED);
    operations.entries("annotations", pod.annotations, &status);

    operations.append(&["spec", "volumes"], &pod.spec["volumes"], sidecar::volumes(settings).to_vec());
    // Before the agent is inserted, since that moves the init containers behind it.
    let mount = sidecar::files_mount(injection);
    for (list, index, container) in targets(pod.spec, injection, at)? {
        let path = ["spec", list, &index.to_string(), "volumeMounts"];
        operations.append(&path, &container["volumeMounts"], vec![mount.clone()]);
    }
    let agent = sidecar::container(injection, settings, pod.spec);
    if pod.spec["initContainers"].is_array() {
        operations.add(&["spec", "initContainers", &at.to_string()], agent);
    } else {
        operations.add(&["spec", "initContainers"], json!([agent]));
    }
    Ok(Patch(operations.0))
}

/// Among the init containers: first, so that the pod's own may use the files (a migration, say), but after a mesh's,
/// without which there may be no network; or last.
fn agent_position(spec: &Value, injection: &Injection) -> usize {
    let own = list(spec, "initContainers");
    if !injection.init_first {
        return own.len();
    }
    own.iter()
        .rposition(|container| container["name"].as_str().is_some_and(|name| MESH.contains(&name)))
        .map_or(0, |at| at + 1)
}

type Target<'a> = (&'static str, usize, &'a Value);

/// The containers that get the files: those that were named, or all that start after the agent.
fn targets<'a>(spec: &'a Value, injection: &Injection, agent_at: usize) -> Result<Vec<Target<'a>>, Mistake> {
    let numbered =
        |key: &'static str| list(spec, key).iter().enumerate().map(move |(at, container)| (key, at, container));
    let later = numbered("initContainers").skip(agent_at);
    let all: Vec<Target<'_>> = later.chain(numbered("containers")).collect();
    let name = |target: &Target<'a>| target.2["name"].as_str().unwrap_or_default();
    let Some(wanted) = &injection.containers else {
        return Ok(all.into_iter().filter(|target| !MESH.contains(&name(target))).collect());
    };
    for wish in wanted {
        if !all.iter().any(|target| name(target) == wish) {
            let near = all.iter().map(name).min_by_key(|known| distance(known, wish)).unwrap_or_default();
            let annotation = full_name(injection.family, Setting::Containers);
            let problem =
                format!("no container is called {wish:?}, or it starts before the agent; did you mean {near:?}?");
            return Err(Mistake { annotation, problem });
        }
    }
    Ok(all.into_iter().filter(|target| wanted.iter().any(|wish| wish == name(target))).collect())
}

fn refuse_collisions(spec: &Value, injection: &Injection) -> Result<(), Mistake> {
    let opt_in = |problem: String| Mistake { annotation: injection.family.opt_in().to_owned(), problem };
    if names(spec, "initContainers").chain(names(spec, "containers")).any(|name| name == sidecar::CONTAINER) {
        return Err(opt_in(format!("the pod has a container {:?} of its own: rename it", sidecar::CONTAINER)));
    }
    if let Some(taken) = sidecar::VOLUMES.iter().find(|volume| names(spec, "volumes").any(|name| name == **volume)) {
        return Err(opt_in(format!("the pod has a volume {taken:?} of its own: rename it")));
    }
    for container in list(spec, "initContainers").iter().chain(list(spec, "containers")) {
        let mut mounts = list(container, "volumeMounts").iter();
        if mounts
            .any(|mount| mount["mountPath"].as_str().is_some_and(|at| at.trim_end_matches('/') == injection.mount_path))
        {
            let name = container["name"].as_str().unwrap_or_default();
            let problem = format!(
                "container {name:?} mounts something else at {}: choose another path for the files",
                injection.mount_path
            );
            return Err(Mistake { annotation: full_name(injection.family, Setting::Path), problem });
        }
    }
    Ok(())
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn names<'a>(spec: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    list(spec, key).iter().filter_map(|item| item["name"].as_str())
}

#[derive(Default)]
struct Operations(Vec<PatchOperation>);

impl Operations {
    fn add(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.0.push(PatchOperation::Add(AddOperation { path, value }));
    }

    /// Items behind those of a list, which may be absent.
    fn append(&mut self, path: &[&str], present: &Value, items: Vec<Value>) {
        if !present.is_array() {
            return self.add(path, Value::Array(items));
        }
        for item in items {
            self.add(&[path, &["-"]].concat(), item);
        }
    }

    /// Entries of a map of the metadata, which may be absent.
    fn entries(&mut self, map: &str, present: Option<&BTreeMap<String, String>>, entries: &BTreeMap<&str, &str>) {
        if present.is_none() {
            return self.add(&["metadata", map], json!(entries));
        }
        for (key, value) in entries {
            self.add(&["metadata", map, key], json!(value));
        }
    }
}

#[cfg(test)]
mod tests;
