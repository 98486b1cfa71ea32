//! The containers and volumes that an injected pod gets.
//!
//! The application waits for its files by the agent's postStart hook: the kubelet starts no later container before the hook
//! has ended. Measured on Kubernetes 1.36, pod created to Ready, 12 pods each, median: without an agent 0.67 s; with the
//! hook 0.84 s; with a second init container that waits 1.32 s; with an init container before the sidecar 1.63 s; with a
//! startup probe, which looks once a second, 1.81 s.

use k8s_openapi::api::core::v1::Container;
use serde_json::{Map, Value, json};

use super::Settings;
use super::agent_config::{PRIVATE_FOLDER, Part, SOCKET, START_TIMEOUT, agent_config, folder};
use super::annotations::{ContainerSetting, FileSetting, Injection, Mistake, Mode, Setting};
use super::plan::{OWN_TOKEN_VOLUME, Plan, list};
use super::resources::resources;

/// The agent's container.
pub const CONTAINER: &str = crate::api::names::AGENT_CONTAINER;
/// The first of two.
pub const INIT_CONTAINER: &str = "lessor-agent-init";
/// In every injected pod: the agent's own folder.
pub const PRIVATE_VOLUME: &str = "lessor-agent";
/// The volume of the files, which the pod's containers see read-only.
const FILES_VOLUME: &str = "lessor-secrets";
const PROGRAM_VOLUME: &str = "lessor-program";
const TLS_VOLUME: &str = "lessor-tls";
const EXTRA_VOLUME: &str = "lessor-extra";
const CONFIG_VOLUME: &str = "lessor-config";

const PROGRAM: &str = "/lessor-agent";
/// Where the agent is in the container of an application that it runs.
const PROGRAM_FOLDER: &str = "/run/lessor/bin";
/// Where pods made for Vault's injector expect these.
const TLS_FOLDER: &str = "/vault/tls";
const EXTRA_FOLDER: &str = "/vault/custom";
const CONFIG_FOLDER: &str = "/vault/configs";
/// The home of the agent that configurations of pods were written for.
const HOME: &str = "/home/vault";
/// Where a login looks for a token that was not told otherwise.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a start may take before the agent is restarted with an event. While the hook runs, Kubernetes neither shows the
/// agent's log nor deletes the pod, so this is the grace period that people are used to, and no longer.
const HOOK_DEADLINE: &str = "30s";
const CONFIG_VARIABLE: &str = "LESSOR_AGENT_CONFIG";
/// Linux takes 128 KiB for a variable with its name, `=` and the end.
const LONGEST_VARIABLE: usize = 128 * 1024 - 2;
/// For the projected token; the kubelet renews it at 80 %.
const TOKEN_SECONDS: u32 = 3600;

/// Everything that is made from one injection.
pub struct Parts<'a> {
    pub injection: &'a Injection,
    pub settings: &'a Settings,
    pub plan: &'a Plan<'a>,
}

impl Parts<'_> {
    /// The container that ends before the application starts, if there is one.
    ///
    /// # Errors
    /// When its patch cannot be applied.
    pub fn init(&self) -> Result<Option<Value>, Mistake> {
        let Injection { mode, waits, .. } = self.injection;
        let writes = !self.injection.folders.is_empty();
        let container = match mode {
            Mode::Sidecar => return Ok(None),
            Mode::Classic if !waits || !writes => return Ok(None),
            Mode::Classic => self.once(INIT_CONTAINER),
            Mode::Once => self.once(CONTAINER),
            Mode::Exec => self.install(),
        };
        let patch = self.injection.agent.init_json_patch.as_ref();
        self.patched(container, patch, ContainerSetting::InitJsonPatch).map(Some)
    }

    /// The container that stays, if there is one.
    ///
    /// # Errors
    /// When its patch cannot be applied.
    pub fn main(&self) -> Result<Option<Value>, Mistake> {
        if !self.injection.mode.stays() {
            return Ok(None);
        }
        let mut container = self.container(CONTAINER, self.command("run", "config.hcl"), Part::Main);
        if self.injection.mode == Mode::Sidecar {
            container["restartPolicy"] = json!("Always");
            if self.injection.waits {
                let wait = [PROGRAM, "wait", "--timeout", HOOK_DEADLINE, "--socket", SOCKET];
                container["lifecycle"] = json!({"postStart": {"exec": {"command": wait}}});
            }
        }
        self.patched(container, self.injection.agent.json_patch.as_ref(), ContainerSetting::JsonPatch).map(Some)
    }

    fn once(&self, name: &str) -> Value {
        let mut command = self.command("once", "config-init.hcl");
        command.extend(["--timeout".to_owned(), START_TIMEOUT.to_owned()]);
        self.container(name, command, Part::Init)
    }

    /// Puts the agent where the application's container can run it.
    fn install(&self) -> Value {
        let mut container = self.bare(CONTAINER, vec![PROGRAM.to_owned(), "install".to_owned(), supervisor()]);
        container["volumeMounts"] = json!([{"name": PROGRAM_VOLUME, "mountPath": PROGRAM_FOLDER}]);
        container
    }

    fn command(&self, verb: &str, config: &str) -> Vec<String> {
        let mut command = vec![PROGRAM.to_owned(), verb.to_owned()];
        if self.injection.agent.config_map.is_some() {
            command.push(format!("-config={CONFIG_FOLDER}/{config}"));
        }
        command
    }

    fn container(&self, name: &str, command: Vec<String>, part: Part) -> Value {
        let mut container = self.bare(name, command);
        container["env"] = json!(self.environment(part));
        let mut mounts = self.agent_mounts();
        let taken: Vec<String> = mounts.iter().map(mount_path).collect();
        let copied = self.plan.copied_mounts.iter().filter(|mount| {
            let path = mount_path(mount);
            path != SERVICE_ACCOUNT && !taken.contains(&path)
        });
        mounts.extend(copied.cloned());
        container["volumeMounts"] = json!(mounts);
        container
    }

    fn bare(&self, name: &str, command: Vec<String>) -> Value {
        let agent = &self.injection.agent;
        let mut container = json!({
            "name": name,
            "image": agent.image.as_ref().unwrap_or(&self.settings.agent_image),
            "command": command,
            "resources": resources(&agent.resources),
            "terminationMessagePolicy": "FallbackToLogsOnError",
        });
        if agent.has_security_context {
            container["securityContext"] = self.security_context();
        }
        if let Some(policy) = &self.settings.agent_image_pull_policy {
            container["imagePullPolicy"] = json!(policy);
        }
        container
    }

    fn patched(
        &self,
        mut container: Value,
        patch: Option<&json_patch::Patch>,
        setting: ContainerSetting,
    ) -> Result<Value, Mistake> {
        let Some(patch) = patch else { return Ok(container) };
        let wrong = |problem: String| self.injection.mistake(Setting::Container(setting), problem);
        json_patch::patch(&mut container, patch).map_err(|error| wrong(format!("cannot be applied: {error}")))?;
        serde_json::from_value::<Container>(container.clone())
            .map_err(|error| wrong(format!("leaves no container behind: {error}")))?;
        Ok(container)
    }

    /// The mounts of a container in which an agent runs.
    fn agent_mounts(&self) -> Vec<Value> {
        let injection = self.injection;
        let folders = 0..injection.folders.len();
        let mut mounts: Vec<Value> = folders
            .map(|number| json!({"name": files_volume(number), "mountPath": folder(injection, number)}))
            .collect();
        mounts.push(json!({"name": PRIVATE_VOLUME, "mountPath": PRIVATE_FOLDER}));
        mounts.extend(self.plan.token.as_ref().map(super::plan::Token::mount));
        let read_only = |volume: &str, folder: &str| json!({"name": volume, "mountPath": folder, "readOnly": true});
        if injection.engine.secret.is_some() {
            mounts.push(read_only(TLS_VOLUME, TLS_FOLDER));
        }
        if injection.agent.extra_secret.is_some() {
            mounts.push(read_only(EXTRA_VOLUME, EXTRA_FOLDER));
        }
        if injection.agent.config_map.is_some() {
            mounts.push(read_only(CONFIG_VOLUME, CONFIG_FOLDER));
            mounts.push(json!({"name": PRIVATE_VOLUME, "mountPath": HOME}));
            let elsewhere = self.plan.token.as_ref().filter(|token| token.folder != SERVICE_ACCOUNT);
            mounts.extend(elsewhere.map(|token| read_only(&token.volume, SERVICE_ACCOUNT)));
        }
        mounts
    }

    /// What one of the pod's own containers gets: the files to read, or all that an agent needs where one runs in it and that
    /// it has not got yet, as its pod's own volume with the token.
    pub fn target_mounts(&self, target: &Value) -> Vec<Value> {
        if self.injection.mode == Mode::Exec {
            let program = json!({"name": PROGRAM_VOLUME, "mountPath": PROGRAM_FOLDER, "readOnly": true});
            let has = |mount: &Value| {
                let same = |own: &Value| own["name"] == mount["name"] && mount_path(own) == mount_path(mount);
                list(target, "volumeMounts").iter().any(same)
            };
            return self.agent_mounts().into_iter().chain([program]).filter(|mount| !has(mount)).collect();
        }
        let folders = self.injection.folders.iter().enumerate();
        folders
            .map(|(number, path)| json!({"name": files_volume(number), "mountPath": path, "readOnly": true}))
            .collect()
    }

    /// Program and arguments of a container whose own command runs under the agent.
    pub fn supervising(&self) -> (Vec<String>, Vec<String>) {
        let mut command = vec![supervisor(), "run".to_owned()];
        command.extend(self.command("run", "config.hcl").into_iter().skip(2));
        let arguments = ["--".to_owned()].into_iter().chain(self.plan.supervised.iter().cloned());
        (command, arguments.collect())
    }

    /// Files in memory only, so that no secret reaches a disk; and the pod's token, made for the engine alone and bound to
    /// this pod.
    pub fn volumes(&self) -> Vec<Value> {
        let injection = self.injection;
        let memory =
            |name: &str, limit: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}});
        let mut volumes: Vec<Value> =
            (0..injection.folders.len()).map(|number| memory(&files_volume(number), "4Mi")).collect();
        volumes.push(memory(PRIVATE_VOLUME, "1Mi"));
        if self.plan.token.as_ref().is_some_and(|token| token.volume == OWN_TOKEN_VOLUME) {
            volumes.push(self.token_volume());
        }
        if injection.mode == Mode::Exec {
            volumes.push(json!({"name": PROGRAM_VOLUME, "emptyDir": {"sizeLimit": "64Mi"}}));
        }
        let secret = |name: &str, secret: &String| json!({"name": name, "secret": {"secretName": secret}});
        volumes.extend(injection.engine.secret.iter().map(|name| secret(TLS_VOLUME, name)));
        volumes.extend(injection.agent.extra_secret.iter().map(|name| secret(EXTRA_VOLUME, name)));
        let config_map = |name| json!({"name": CONFIG_VOLUME, "configMap": {"name": name}});
        volumes.extend(injection.agent.config_map.iter().map(config_map));
        volumes
    }

    fn token_volume(&self) -> Value {
        json!({
            "name": OWN_TOKEN_VOLUME,
            "projected": {"sources": [{"serviceAccountToken": {
                "path": super::agent_config::TOKEN_FILE,
                "audience": self.settings.token_audience,
                "expirationSeconds": TOKEN_SECONDS,
            }}]},
        })
    }

    /// # Errors
    /// When there is more of templates than an environment variable holds: the container could not start.
    pub fn check_size(&self) -> Result<(), Mistake> {
        for part in [Part::Init, Part::Main] {
            let size =
                CONFIG_VARIABLE.len() + agent_config(self.injection, self.settings, self.plan, part).to_string().len();
            if size > LONGEST_VARIABLE {
                let problem = format!(
                    "all templates and settings together come to {} KiB, and an agent is told {} KiB at most: put templates into a \
                     ConfigMap or Secret that the agent mounts, and name their files",
                    size.div_ceil(1024),
                    LONGEST_VARIABLE / 1024
                );
                return Err(self.injection.mistake(Setting::File(FileSetting::TemplateFile), problem));
            }
        }
        Ok(())
    }

    /// Of a container in which an agent runs.
    pub fn environment(&self, part: Part) -> Vec<Value> {
        let config = agent_config(self.injection, self.settings, self.plan, part).to_string();
        let engine = &self.injection.engine;
        let mut environment = vec![json!({"name": CONFIG_VARIABLE, "value": unexpanded(config)})];
        let mut put = |name: &str, value: Option<String>| {
            environment.extend(value.map(|value| json!({"name": name, "value": value})));
        };
        put("LESSOR_MAX_RETRIES", engine.max_retries.map(|number| number.to_string()));
        put("LESSOR_CLIENT_TIMEOUT", engine.timeout.clone());
        put("LESSOR_PROXY_ADDR", engine.proxy.clone());
        environment
    }

    /// Passes the Pod Security Standard `restricted`, whatever the pod itself may do.
    fn security_context(&self) -> Value {
        let mut context = Map::new();
        context.insert("allowPrivilegeEscalation".to_owned(), json!(false));
        context.insert("capabilities".to_owned(), json!({"drop": ["ALL"]}));
        context.insert("readOnlyRootFilesystem".to_owned(), json!(true));
        context.insert("runAsNonRoot".to_owned(), json!(true));
        context.insert("seccompProfile".to_owned(), json!({"type": "RuntimeDefault"}));
        if let Some(user) = self.plan.user {
            context.insert("runAsUser".to_owned(), json!(user));
        }
        if let Some(group) = self.injection.agent.group {
            context.insert("runAsGroup".to_owned(), json!(group));
        }
        Value::Object(context)
    }
}

fn supervisor() -> String {
    format!("{PROGRAM_FOLDER}{PROGRAM}")
}

fn files_volume(number: usize) -> String {
    if number == 0 { FILES_VOLUME.to_owned() } else { format!("{FILES_VOLUME}-{number}") }
}

/// Where a mount is, without a slash at the end.
pub fn mount_path(mount: &Value) -> String {
    mount["mountPath"].as_str().unwrap_or_default().trim_end_matches('/').to_owned()
}

/// Kubernetes puts variables into values, `$(NAME)`, and takes `$$` for a dollar: a template is to arrive as it was written.
fn unexpanded(text: String) -> String {
    if text.contains("$(") || text.contains("$$") { text.replace('$', "$$") } else { text }
}
