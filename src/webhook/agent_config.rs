//! The agent's configuration for one pod, with Vault Agent's keys.

use serde_json::{Map, Value, json};

use super::Settings;
use super::annotations::{Body, Family, File, Injection, Mode, Reload, Variable};
use super::plan::Plan;

/// Where the agent finds the pod's token, in a volume that no other container has.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/lessor.dev";
/// The token's file there.
pub const TOKEN_FILE: &str = "token";
/// Where the agent writes the files. Not where the containers find them: that path may be taken in the agent's image, as
/// `/lessor` is in ours.
const FILES_FOLDER: &str = "/run/lessor/files";
/// The agent's own memory-backed folder.
pub const PRIVATE_FOLDER: &str = "/run/lessor/agent";
/// Where others ask whether the files are written.
pub const SOCKET: &str = "/run/lessor/agent/socket";
/// How long the application is kept waiting by its agent, in the modes that have a deadline of their own.
pub const START_TIMEOUT: &str = "60s";

/// Which of a pod's agents is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The one that ends before the application starts.
    Init,
    /// The one that stays.
    Main,
}

/// Where the agent has a folder of files. Where somebody has written for it what is done with them (a configuration of the
/// pod's own, a command), and where it runs in the application's container, that is the path that the application knows.
pub fn folder(injection: &Injection, number: usize) -> String {
    let path = &injection.folders[number];
    let in_our_image = path == "/lessor" || path.starts_with("/lessor/");
    let is_written_of =
        injection.agent.config_map.is_some() || injection.files.values().any(|file| file.command.is_some());
    match injection.mode {
        Mode::Exec => path.clone(),
        _ if is_written_of && !in_our_image => path.clone(),
        _ if number == 0 => FILES_FOLDER.to_owned(),
        _ => format!("{FILES_FOLDER}-{number}"),
    }
}

/// The value of `LESSOR_AGENT_CONFIG`. It holds templates and addresses, but nothing secret: it stands in the pod's spec.
pub fn agent_config(injection: &Injection, settings: &Settings, plan: &Plan<'_>, part: Part) -> Value {
    let mut config = json!({
        "vault": vault(injection, settings),
        "template": templates(injection, plan),
        "template_config": template_config(injection),
        "ready_socket": SOCKET,
    });
    let described = injection.agent.config_map.is_none() || injection.login.is_described;
    if described {
        config["auto_auth"] = auto_auth(injection, settings, plan);
    }
    for (key, value) in [("log_level", &injection.agent.log_level), ("log_format", &injection.agent.log_format)] {
        if let Some(value) = value {
            config[key] = json!(value);
        }
    }
    if part == Part::Main && injection.api.listens() && injection.mode != Mode::Once {
        config["listener"] = json!([listener(injection)]);
        if injection.api.passes_on {
            config["cache"] = json!({"use_auto_auth_token": injection.api.token});
        }
    }
    match injection.mode {
        Mode::Exec => {
            config["env_template"] = injection.variables.iter().map(variable).collect();
            config["exec"] = exec(injection);
            config["start_timeout"] = json!(START_TIMEOUT);
        }
        // In the agents' own folder: what a killed agent leaves, or the first of two, the next one goes on with.
        Mode::Sidecar | Mode::Classic => config["state_file"] = json!(format!("{PRIVATE_FOLDER}/state")),
        Mode::Once => {}
    }
    if injection.mode == Mode::Classic {
        // Both containers are told to end at the same moment, and the application may take its time with its connections.
        config["revoke_on_shutdown"] = json!(false);
    }
    config
}

fn vault(injection: &Injection, settings: &Settings) -> Value {
    let engine = &injection.engine;
    let mut vault = Map::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| vault.insert(key.to_owned(), value));
    put("address", Some(json!(engine.address.as_ref().unwrap_or(&settings.engine_address))));
    // The installation's CA says nothing about another engine that a pod has named.
    put("ca_cert_bytes", settings.engine_ca.as_ref().filter(|_| !engine.brings_its_trust()).map(|ca| json!(ca)));
    put("namespace", engine.namespace.as_ref().map(|text| json!(text)));
    put("tls_skip_verify", engine.skip_verify.map(|flag| json!(flag)));
    put("tls_server_name", engine.server_name.as_ref().map(|text| json!(text)));
    put("ca_cert", engine.ca_cert.as_ref().map(|text| json!(text)));
    put("client_cert", engine.client_cert.as_ref().map(|text| json!(text)));
    put("client_key", engine.client_key.as_ref().map(|text| json!(text)));
    // There the application's own VAULT_ADDR, VAULT_NAMESPACE or VAULT_SKIP_VERIFY would go before all this.
    put("own_variables_only", (injection.mode == Mode::Exec).then_some(json!(true)));
    Value::Object(vault)
}

fn auto_auth(injection: &Injection, settings: &Settings, plan: &Plan<'_>) -> Value {
    let login = &injection.login;
    let mut config: Map<String, Value> =
        login.parameters.iter().map(|(key, text)| (key.clone(), json!(text))).collect();
    if let Some(role) = &login.role {
        config.entry("role").or_insert(json!(role));
    }
    if let (Some(parameter), Some(token)) = (login.method.token_parameter(), &plan.token)
        && !config.contains_key(parameter)
    {
        config.insert(parameter.to_owned(), json!(token.path()));
        if parameter == "path" {
            // The kubelet's, which it exchanges itself.
            config.insert("remove_jwt_after_reading".to_owned(), json!(false));
        }
    }
    let mount = match (&login.path, login.method.name()) {
        (Some(path), _) => path.clone(),
        (None, "kubernetes") => settings.auth_mount.clone(),
        (None, other) => format!("auth/{other}"),
    };
    let mut method = json!({
        "type": login.method.name(),
        "mount_path": mount,
        "exit_on_err": login.exit_on_error,
        "config": config,
    });
    for (key, value) in [("min_backoff", &login.min_backoff), ("max_backoff", &login.max_backoff)] {
        if let Some(value) = value {
            method[key] = json!(value);
        }
    }
    let mut auto_auth = json!({ "method": method });
    if injection.token {
        let path = format!("{}/token", folder(injection, 0));
        auto_auth["sink"] = json!([{"type": "file", "config": {"path": path, "mode": "0644"}}]);
    }
    auto_auth
}

fn templates(injection: &Injection, plan: &Plan<'_>) -> Value {
    injection.files.iter().map(|(name, file)| template(injection, plan, name, file)).collect()
}

fn template(injection: &Injection, plan: &Plan<'_>, name: &str, file: &File) -> Value {
    let mut template = body(&file.template, file.delimiters.as_ref(), file.missing_key_fails);
    template["destination"] = json!(format!("{}/{}", folder(injection, file.folder), file.destination));
    for (key, value) in [("perms", &file.mode), ("command", &file.command)] {
        if let Some(value) = value {
            template[key] = json!(value);
        }
    }
    match (&file.reload, plan.programs.get(name)) {
        (Reload::Http(url), _) => template["reload"] = json!([{"type": "http", "url": url}]),
        (Reload::Signal { signal, .. }, Some(program)) => {
            template["reload"] = json!([{"type": "signal", "signal": signal, "process": program}]);
        }
        _ => {}
    }
    template
}

fn variable(variable: &Variable) -> Value {
    let mut template = body(&variable.template, variable.delimiters.as_ref(), variable.missing_key_fails);
    template["title"] = json!(variable.name);
    template
}

fn body(body: &Body, delimiters: Option<&(String, String)>, missing_key_fails: bool) -> Value {
    let mut template = match body {
        Body::Text(text) => json!({ "contents": text }),
        Body::File(path) => json!({ "source": path }),
    };
    if let Some((left, right)) = delimiters {
        template["left_delimiter"] = json!(left);
        template["right_delimiter"] = json!(right);
    }
    if missing_key_fails {
        template["error_on_missing_key"] = json!(true);
    }
    template
}

fn template_config(injection: &Injection) -> Value {
    let rendering = &injection.rendering;
    // Links, as in a ConfigMap's volume: what was made for Vault's injector may count on plain files.
    let mut config = json!({"swap_folders": injection.family == Family::Lessor});
    if let Some(exits) = rendering.exit_on_retry_failure {
        config["exit_on_retry_failure"] = json!(exits);
    }
    if let Some(interval) = &rendering.static_interval {
        config["static_secret_render_interval"] = json!(interval);
    }
    if let Some(connections) = rendering.max_connections {
        config["max_connections_per_host"] = json!(connections);
    }
    if let Some(threshold) = rendering.renewal_threshold {
        config["lease_renewal_threshold"] = json!(threshold);
    }
    config
}

fn listener(injection: &Injection) -> Value {
    let api = &injection.api;
    let mut listener = json!({"type": "tcp", "address": format!("127.0.0.1:{}", api.port), "tls_disable": true});
    if !api.passes_on {
        listener["role"] = json!("metrics_only");
    }
    if api.quit {
        listener["agent_api"] = json!({"enable_quit": true});
    }
    listener
}

/// The command itself stands in the container's arguments, where Kubernetes puts variables in.
fn exec(injection: &Injection) -> Value {
    let mut exec = json!({"restart_on_secret_changes": if injection.restarts { "always" } else { "never" }});
    let signal = injection.files.values().find_map(|file| match &file.reload {
        Reload::Signal { signal, .. } => Some(signal),
        _ => None,
    });
    if let Some(signal) = signal {
        exec["reload_signal"] = json!(signal);
    }
    exec
}
