//! What an injection means for one pod: which containers take part, as whom the agent runs, with which token it logs in.

use std::collections::BTreeMap;

use serde_json::Value;

use super::annotations::{
    ContainerSetting, Family, FileSetting, Injection, LoginSetting, Mistake, Mode, Reload, Setting, full_name,
};
use super::mesh;
use crate::base::nearest::nearest;

mod limits;
mod token;

pub use token::{OWN_VOLUME as OWN_TOKEN_VOLUME, Token};

/// Never root, not even beside those who are.
const USER: i64 = 65532;
/// Programs that only start others, so that a signal for them would be lost.
const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "tini", "dumb-init", "env"];

/// One container of the pod's own.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `initContainers` or `containers`.
    pub list: &'static str,
    /// In that list.
    pub index: usize,
    /// Itself.
    pub container: &'a Value,
}

impl<'a> Target<'a> {
    fn name(&self) -> &'a str {
        self.container["name"].as_str().unwrap_or_default()
    }
}

/// What an injection means for one pod.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The agent's place among the init containers.
    pub agent_at: usize,
    /// Who gets the files; in [`Mode::Exec`] the one whose command runs under the agent.
    pub targets: Vec<Target<'a>>,
    /// The pod's token, if the agent logs in with it.
    pub token: Option<Token>,
    /// The agent's user; without one the pod's, or else the image's: OpenShift refuses pods that name one of their own.
    pub user: Option<i64>,
    /// Mounts of another container's that the agent gets as well.
    pub copied_mounts: Vec<Value>,
    /// Which program hears of a change, by the NAME of the file.
    pub programs: BTreeMap<&'a str, String>,
    /// The command that the agent runs.
    pub supervised: Vec<String>,
    /// For the one who applied the pod.
    pub warnings: Vec<String>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// What the pod lacks, or has of its own where it cannot be.
    pub fn new(spec: &'a Value, injection: &'a Injection, address: &str) -> Result<Self, Mistake> {
        let init = list(spec, "initContainers");
        let first = injection.init_first || injection.mode == Mode::Exec;
        let agent_at = if first { mesh::first_place(init) } else { mesh::last_place(init) };
        let targets = targets(spec, injection, agent_at)?;
        let mut plan = Self {
            agent_at,
            supervised: supervised(injection, &targets)?,
            token: Token::find(spec, injection)?,
            user: None,
            copied_mounts: copied_mounts(spec, injection)?,
            programs: programs(injection, &targets)?,
            warnings: Vec::new(),
            targets,
        };
        plan.user = plan.user(spec, injection)?;
        limits::check(spec, injection)?;
        plan.warnings.extend(limits::warnings(spec, injection, address));
        Ok(plan)
    }

    fn user(&mut self, spec: &Value, injection: &Injection) -> Result<Option<i64>, Mistake> {
        let pods = spec["securityContext"]["runAsUser"].as_i64();
        let application = self.targets.iter().find(|target| target.list == "containers").or(self.targets.first());
        let stated = application.and_then(|target| target.container["securityContext"]["runAsUser"].as_i64()).or(pods);
        let setting = Setting::Container(ContainerSetting::SameUser);
        if let Some(user) = injection.agent.user {
            return Ok(Some(user));
        }
        if injection.agent.same_user {
            let reason = match stated {
                None => "neither pod nor container states a runAsUser that could be the agent's",
                Some(0) => "the agent never runs as root",
                Some(user) => return Ok(Some(user)),
            };
            if injection.family == Family::Lessor {
                return Err(injection.mistake(setting, reason));
            }
            self.warnings.push(format!("{} has no effect: {reason}", full_name(injection.family, setting)));
        }
        if !self.programs.is_empty() {
            match stated {
                // A signal needs the same user.
                Some(user) if user != 0 => return Ok(Some(user)),
                _ => self.warnings.push(format!(
                    "{}: only processes of the agent's own user get its signals; state a runAsUser other than 0",
                    full_name(injection.family, Setting::File(FileSetting::Reload))
                )),
            }
        }
        Ok((pods == Some(0)).then_some(USER))
    }
}

/// The containers that get the files: those that were named, or all that start after the agent.
fn targets<'a>(spec: &'a Value, injection: &Injection, agent_at: usize) -> Result<Vec<Target<'a>>, Mistake> {
    let numbered = |key: &'static str| {
        let numbered = list(spec, key).iter().enumerate();
        numbered.map(move |(index, container)| Target { list: key, index, container })
    };
    let exec = injection.mode == Mode::Exec;
    let later = numbered("initContainers").skip(if exec { usize::MAX } else { agent_at });
    let all: Vec<Target<'_>> = later.chain(numbered("containers")).collect();
    let chosen = match &injection.containers {
        None => all.into_iter().filter(|target| !mesh::owns(target.container)).collect(),
        Some(wanted) => {
            if let Some(wish) = wanted.iter().find(|wish| !all.iter().any(|target| target.name() == *wish)) {
                let hint = nearest(wish, all.iter().map(Target::name)).map(|near| format!("; did you mean {near:?}?"));
                let problem = format!("no container is called {wish:?}, or it starts before the agent");
                return Err(injection.mistake(Setting::Containers, problem + &hint.unwrap_or_default()));
            }
            all.into_iter().filter(|target| wanted.iter().any(|wish| wish == target.name())).collect::<Vec<_>>()
        }
    };
    if exec && chosen.len() != 1 {
        let problem =
            format!("mode \"exec\" runs the command of one container, and this means {}: name one", chosen.len());
        return Err(injection.mistake(Setting::Containers, problem));
    }
    Ok(chosen)
}

/// The words of the command that the agent is to run. Only what the pod says: an image's own entry point stands in a
/// registry, and none is ever asked.
fn supervised(injection: &Injection, targets: &[Target<'_>]) -> Result<Vec<String>, Mistake> {
    let ([target], Mode::Exec) = (targets, injection.mode) else { return Ok(Vec::new()) };
    let words = |key: &str| list(target.container, key).iter().filter_map(Value::as_str).map(str::to_owned);
    let command: Vec<String> = words("command").collect();
    if command.is_empty() {
        let problem = format!(
            "container {:?} states no command, and no registry is asked for its image's: write it into the container",
            target.name()
        );
        return Err(injection.mistake(Setting::Mode, problem));
    }
    Ok(command.into_iter().chain(words("args")).collect())
}

/// Which program gets the signal of each file.
fn programs<'a>(injection: &'a Injection, targets: &[Target<'_>]) -> Result<BTreeMap<&'a str, String>, Mistake> {
    let mut programs = BTreeMap::new();
    for (name, file) in injection.files.iter().filter(|_| injection.mode.stays()) {
        let Reload::Signal { process, .. } = &file.reload else { continue };
        let program = match process {
            Some(process) => process.clone(),
            None => program(targets).map_err(|reason| Mistake {
                annotation: full_name(injection.family, Setting::File(FileSetting::Reload)).replace("NAME", name),
                problem: format!("{reason}: name the program, as in \"signal:HUP:nginx\""),
            })?,
        };
        programs.insert(name.as_str(), program);
    }
    Ok(programs)
}

/// What the application's only container runs.
fn program(targets: &[Target<'_>]) -> Result<String, String> {
    let mut applications = targets.iter().filter(|target| target.list == "containers");
    let (Some(target), None) = (applications.next(), applications.next()) else {
        return Err("several containers may be meant".to_owned());
    };
    let first = target.container["command"][0].as_str();
    let Some(first) = first else { return Err(format!("container {:?} states no command", target.name())) };
    match first.rsplit('/').next().unwrap_or_default() {
        shell if SHELLS.contains(&shell) => Err(format!("{shell} only starts another program")),
        program => Ok(program.to_owned()),
    }
}

/// What the agent sees of another container's volumes.
fn copied_mounts(spec: &Value, injection: &Injection) -> Result<Vec<Value>, Mistake> {
    let Some(wish) = &injection.agent.copy_mounts else { return Ok(Vec::new()) };
    let all = || list(spec, "containers").iter().chain(list(spec, "initContainers"));
    let names = || all().filter_map(|container| container["name"].as_str());
    let Some(container) = all().find(|container| container["name"] == wish.as_str()) else {
        let hint = nearest(wish, names()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let setting = Setting::Container(ContainerSetting::CopyMounts);
        return Err(injection.mistake(setting, format!("no container is called {wish:?}{hint}")));
    };
    Ok(list(container, "volumeMounts").iter().cloned().map(without_propagation).collect())
}

/// Only privileged containers may pass mounts on, and the agent is none.
fn without_propagation(mut mount: Value) -> Value {
    if let Some(mount) = mount.as_object_mut() {
        mount.remove("mountPropagation");
    }
    mount
}

/// A list of an object; empty if there is none.
pub fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The names of a list's items.
pub fn names<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    list(object, key).iter().filter_map(|item| item["name"].as_str())
}

/// The setting that names the pod's own volume for the token.
const TOKEN_VOLUME: Setting = Setting::Login(LoginSetting::TokenVolume);
