//! From a pod and what it asked for to a JSON patch; nothing here talks to anybody.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, MoveOperation, Patch, PatchOperation};
use serde_json::{Value, json};

use super::Settings;
use super::agent_config::Part;
use super::annotations::{Family, Injection, Mistake, Mode, Setting};
use super::mesh;
use super::plan::{Plan, list, names};
use super::sidecar::{self, Parts, mount_path};

/// Tells the operator which pods to watch for their end.
const INJECTED_LABEL: &str = "lessor.dev/injected";
const INJECTED: &str = "injected";

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
        && names(pod.spec, "volumes").any(|name| name == sidecar::PRIVATE_VOLUME)
}

/// Puts the agent into the pod; with the patch come warnings for the one who applied it.
///
/// # Errors
/// When the pod has something of its own where the agent's parts belong, or lacks what the annotations name.
pub fn inject(pod: Pod<'_>, injection: &Injection, settings: &Settings) -> Result<(Patch, Vec<String>), Mistake> {
    let address = injection.engine.address.as_ref().unwrap_or(&settings.engine_address);
    let mut plan = Plan::new(pod.spec, injection, address)?;
    let warnings = std::mem::take(&mut plan.warnings);
    let parts = Parts { injection, settings, plan: &plan };
    refuse_collisions(pod.spec, &parts)?;
    parts.check_size()?;
    let mut operations = Operations::default();

    let label = BTreeMap::from([(INJECTED_LABEL, "true")]);
    operations.entries("labels", pod.labels, &label);
    let mut status = BTreeMap::from([(Family::Lessor.status(), INJECTED)]);
    status.insert(injection.family.status(), INJECTED);
    operations.entries("annotations", pod.annotations, &status);

    operations.append(&["spec", "volumes"], &pod.spec["volumes"], parts.volumes());
    // Before the agent is inserted, since that moves the init containers behind it.
    for target in &plan.targets {
        let path = |key| ["spec", target.list, &target.index.to_string(), key].map(str::to_owned);
        operations.append(
            &path("volumeMounts"),
            &target.container["volumeMounts"],
            parts.target_mounts(target.container),
        );
        if injection.mode == Mode::Exec {
            operations.append(&path("env"), &target.container["env"], parts.environment(Part::Main));
            let (command, arguments) = parts.supervising();
            operations.add(&path("command"), json!(command));
            operations.add(&path("args"), json!(arguments));
        }
    }
    if injection.shares_processes {
        operations.add(&["spec", "shareProcessNamespace"], json!(true));
    }
    let (first, stays) = (parts.init()?, parts.main()?);
    let (init, beside) = match injection.mode {
        Mode::Sidecar => (stays, None),
        _ => (first, stays),
    };
    if let Some(container) = init {
        operations.insert(&["spec", "initContainers"], &pod.spec["initContainers"], plan.agent_at, container);
    }
    if let Some(container) = beside {
        operations.append(&["spec", "containers"], &pod.spec["containers"], vec![container]);
    }
    Ok((Patch(operations.0), warnings))
}

/// For a pod that was injected before a mesh's native sidecar came: moves the agent behind it, so that it has a network from
/// its start to its end. Nothing that waits for the files may stand between.
pub fn behind_mesh(spec: &Value) -> Option<Patch> {
    let init = list(spec, "initContainers");
    let is_agent =
        |container: &Value| container["name"] == sidecar::CONTAINER && container["restartPolicy"] == "Always";
    let from = init.iter().position(is_agent)?;
    let to = init.iter().rposition(mesh::owns).filter(|to| *to > from)?;
    if !mesh::has_native_proxy(init) || !init[from + 1..to].iter().all(mesh::owns) {
        return None;
    }
    let at = |index: usize| PointerBuf::from_tokens(["spec", "initContainers", &index.to_string()]);
    Some(Patch(vec![PatchOperation::Move(MoveOperation { from: at(from), path: at(to) })]))
}

fn refuse_collisions(spec: &Value, parts: &Parts<'_>) -> Result<(), Mistake> {
    let injection = parts.injection;
    let opt_in = |problem: String| Mistake { annotation: injection.family.opt_in().to_owned(), problem };
    let taken = names(spec, "initContainers").chain(names(spec, "containers"));
    if let Some(name) = taken.into_iter().find(|name| [sidecar::CONTAINER, sidecar::INIT_CONTAINER].contains(name)) {
        return Err(opt_in(format!("the pod has a container {name:?} of its own: rename it")));
    }
    for volume in parts.volumes() {
        if let Some(taken) = names(spec, "volumes").find(|name| volume["name"] == *name) {
            return Err(opt_in(format!("the pod has a volume {taken:?} of its own: rename it")));
        }
    }
    for target in &parts.plan.targets {
        let added: Vec<String> = parts.target_mounts(target.container).iter().map(mount_path).collect();
        let mut mounts = list(target.container, "volumeMounts").iter().map(mount_path);
        if let Some(at) = mounts.find(|at| added.contains(at)) {
            let name = target.container["name"].as_str().unwrap_or_default();
            let problem =
                format!("container {name:?} mounts something else at {at}: choose another path for the files");
            return Err(injection.mistake(Setting::Path, problem));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Operations(Vec<PatchOperation>);

impl Operations {
    fn add(&mut self, path: &[impl AsRef<str>], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().map(AsRef::as_ref));
        self.0.push(PatchOperation::Add(AddOperation { path, value }));
    }

    /// Items behind those of a list, which may be absent.
    fn append(&mut self, path: &[impl AsRef<str>], present: &Value, items: Vec<Value>) {
        if !present.is_array() && !items.is_empty() {
            return self.add(path, Value::Array(items));
        }
        for item in items {
            self.put(path, "-", item);
        }
    }

    /// An item at a place of a list, which may be absent.
    fn insert(&mut self, path: &[impl AsRef<str>], present: &Value, at: usize, item: Value) {
        if present.is_array() {
            self.put(path, &at.to_string(), item);
        } else {
            self.add(path, json!([item]));
        }
    }

    fn put(&mut self, path: &[impl AsRef<str>], last: &str, item: Value) {
        let whole: Vec<&str> = path.iter().map(AsRef::as_ref).chain([last]).collect();
        self.add(&whole, item);
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
