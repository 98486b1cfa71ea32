//! What cannot be in a pod together, and what may surprise.

use serde_json::Value;

use super::super::agent_config::folder;
use super::super::annotations::{Api, Injection, Mistake, Mode, Setting, full_name};
use super::super::annotations::{ApiSetting, EngineSetting, FileSetting};
use super::super::mesh;
use super::list;

/// # Errors
/// What would harm others, or could not start.
pub fn check(spec: &Value, injection: &Injection) -> Result<(), Mistake> {
    if spec["os"]["name"] == "windows" || spec["nodeSelector"]["kubernetes.io/os"] == "windows" {
        let annotation = injection.family.opt_in().to_owned();
        let problem = "the pod is for Windows, and the agent runs on Linux only: remove it".to_owned();
        return Err(Mistake { annotation, problem });
    }
    if injection.shares_processes && spec["hostPID"] == true {
        let problem = "the pod sees the host's processes (hostPID): remove that, or what needs a shared namespace";
        return Err(injection.mistake(Setting::ShareProcesses, problem));
    }
    if injection.api.listens() {
        check_api(spec, injection, &injection.api)?;
    }
    Ok(())
}

fn check_api(spec: &Value, injection: &Injection, api: &Api) -> Result<(), Mistake> {
    if spec["hostNetwork"] == true {
        let setting = if api.passes_on { ApiSetting::Enable } else { ApiSetting::Quit };
        let problem = "the pod is on its host's network, where every program of the host could use the agent's token";
        return Err(injection.mistake(Setting::Api(setting), problem));
    }
    let taken = list(spec, "containers").iter().find(|container| {
        list(container, "ports").iter().any(|port| port["containerPort"].as_u64() == Some(u64::from(api.port)))
    });
    let Some(container) = taken else { return Ok(()) };
    let name = container["name"].as_str().unwrap_or_default();
    let problem = format!("container {name:?} listens on port {}: choose another", api.port);
    Err(injection.mistake(Setting::Api(ApiSetting::Port), problem))
}

/// For the one who applied the pod.
pub fn warnings(spec: &Value, injection: &Injection, address: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let resolves_services = matches!(spec["dnsPolicy"].as_str(), Some("ClusterFirstWithHostNet" | "None"));
    if spec["hostNetwork"] == true && !resolves_services && !is_ip(address) {
        warnings.push(format!(
            "the pod is on its host's network and so resolves no Services: set dnsPolicy: ClusterFirstWithHostNet, or {} to an \
             address that the host resolves",
            full_name(injection.family, Setting::Engine(EngineSetting::Address))
        ));
    }
    if injection.mode == Mode::Classic && spec["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        warnings.push(
            "the agent is an ordinary container and keeps this pod from finishing: use a mode other than classic"
                .to_owned(),
        );
    }
    if injection.mode != Mode::Exec && mesh::cuts_off(list(spec, "initContainers")) {
        warnings.push(
            "the mesh's proxy starts after the agent and all traffic goes there: use native sidecars, or exclude the engine's \
             port (traffic.sidecar.istio.io/excludeOutboundPorts, config.linkerd.io/skip-outbound-ports)"
                .to_owned(),
        );
    }
    warnings.extend(lost_commands(injection));
    warnings
}

/// Commands that name a file where only the application has it.
fn lost_commands(injection: &Injection) -> impl Iterator<Item = String> {
    injection.files.iter().filter_map(|(name, file)| {
        let (path, here) = (&injection.folders[file.folder], folder(injection, file.folder));
        let names_it = file.command.as_ref().is_some_and(|command| command.contains(&format!("{path}/")));
        let command = full_name(injection.family, Setting::File(FileSetting::Command)).replace("NAME", name);
        (names_it && here != *path).then(|| format!("{command}: the agent has the files of {path} at {here}"))
    })
}

fn is_ip(address: &str) -> bool {
    let uri: Option<http::Uri> = address.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}
