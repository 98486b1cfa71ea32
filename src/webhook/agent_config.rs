//! The agent's configuration for one pod, with Vault Agent's keys.

use serde_json::{Map, Value, json};

use super::Settings;
use super::annotations::Injection;

/// Where the agent finds the pod's token, in a volume that no other container has.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/lessor.dev";
/// The token's file there.
pub const TOKEN_FILE: &str = "token";
/// Where the agent writes the files. Not where the containers find them: that path may be taken in the agent's image, as
/// `/lessor` is in ours.
pub const FILES_FOLDER: &str = "/run/lessor/files";
/// The agent's own memory-backed folder.
pub const PRIVATE_FOLDER: &str = "/run/lessor/agent";

/// The value of `LESSOR_AGENT_CONFIG`. It holds templates and addresses, but nothing secret: it stands in the pod's spec.
pub fn agent_config(injection: &Injection, settings: &Settings) -> Value {
    let chosen = &injection.overrides;
    let address = chosen.address.as_ref().unwrap_or(&settings.engine_address);
    let mut vault = Map::from_iter([("address".to_owned(), json!(address))]);
    if let Some(namespace) = &chosen.namespace {
        vault.insert("namespace".to_owned(), json!(namespace));
    }
    let mut auto_auth = json!({
        "method": {
            "type": "kubernetes",
            "mount_path": chosen.auth_path.as_ref().unwrap_or(&settings.auth_mount),
            "exit_on_err": injection.exit_on_auth_error,
            "config": {"role": injection.role, "token_path": format!("{TOKEN_FOLDER}/{TOKEN_FILE}")},
        },
    });
    if injection.token {
        let path = format!("{FILES_FOLDER}/token");
        auto_auth["sink"] = json!([{"type": "file", "config": {"path": path, "mode": "0644"}}]);
    }
    let mut config = json!({
        "vault": vault,
        "auto_auth": auto_auth,
        "template": templates(injection),
        "ready_socket": format!("{PRIVATE_FOLDER}/socket"),
        "state_file": format!("{PRIVATE_FOLDER}/state"),
    });
    for (key, value) in [("log_level", &injection.log_level), ("log_format", &injection.log_format)] {
        if let Some(value) = value {
            config[key] = json!(value);
        }
    }
    config
}

fn templates(injection: &Injection) -> Vec<Value> {
    let one = |file: &super::annotations::File| {
        let mut template = json!({
            "destination": format!("{FILES_FOLDER}/{}", file.destination),
            "contents": file.template,
        });
        if let Some(mode) = &file.mode {
            template["perms"] = json!(mode);
        }
        if let Some((left, right)) = &file.delimiters {
            template["left_delimiter"] = json!(left);
            template["right_delimiter"] = json!(right);
        }
        if file.missing_key_fails {
            template["error_on_missing_key"] = json!(true);
        }
        template
    };
    injection.files.values().map(one).collect()
}
