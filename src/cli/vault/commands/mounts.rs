//! `secrets` and `auth`: lists of what is mounted, and its end.

use serde_json::Value;

use super::super::Outcome;
use super::super::grammar::{Command, Flag, Shared, ask, exactly};
use super::super::output::columns::titled;
use super::super::output::value::plain;
use super::super::request::{Ask, clean};
use super::super::session::Session;

const DETAILED: Flag = Flag::switch("detailed", "With versions, times and options.");

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "secrets list",
        operands: "",
        arity: exactly(0),
        summary: "Lists the secrets engines that are mounted.",
        about: "",
        flags: &[DETAILED],
        shared: Shared::Format,
        run: ask!(secrets_list),
    },
    Command {
        name: "secrets disable",
        operands: "PATH",
        arity: exactly(1),
        summary: "Disables a secrets engine: what it leased is taken back, what it keeps is removed.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(secrets_disable),
    },
    Command {
        name: "auth list",
        operands: "",
        arity: exactly(0),
        summary: "Lists the login methods that are mounted.",
        about: "",
        flags: &[DETAILED],
        shared: Shared::Format,
        run: ask!(auth_list),
    },
    Command {
        name: "auth disable",
        operands: "PATH",
        arity: exactly(1),
        summary: "Disables a login method: tokens that came from it end, what it keeps is removed.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(auth_disable),
    },
    Command {
        name: "auth help",
        operands: "TYPE",
        arity: exactly(1),
        summary: "Tells how login takes the arguments of a method.",
        about: "    auth help userpass",
        flags: &[],
        shared: Shared::Nothing,
        run: ask!(super::login::method_help),
    },
];

async fn secrets_list(session: &Session<'_>) -> Outcome {
    let data = session.data(&Ask::get("sys/mounts"), "Error listing secrets engines").await?;
    let detailed = session.values.on("detailed");
    session.show(&data, || if detailed { detailed_table(&data, None) } else { table(&data, false) })
}

async fn auth_list(session: &Session<'_>) -> Outcome {
    let data = session.data(&Ask::get("sys/auth"), "Error listing enabled authentications").await?;
    let detailed = session.values.on("detailed");
    session.show(&data, || if detailed { detailed_table(&data, Some("Token Type")) } else { table(&data, true) })
}

fn text(mount: &Value, key: &str) -> String {
    mount[key].as_str().unwrap_or_default().to_owned()
}

fn table(mounts: &Value, versions: bool) -> String {
    let mut titles = vec!["Path", "Type", "Accessor", "Description"];
    titles.extend(versions.then_some("Version"));
    let rows = mounts.as_object().into_iter().flatten().map(|(path, mount)| {
        let mut row = vec![path.clone(), text(mount, "type"), text(mount, "accessor"), text(mount, "description")];
        row.extend(versions.then(|| text(mount, "plugin_version")));
        row
    });
    titled(&titles, rows)
}

fn detailed_table(mounts: &Value, token_type: Option<&'static str>) -> String {
    let mut titles = vec!["Path", "Plugin", "Accessor", "Default TTL", "Max TTL"];
    titles.push(token_type.unwrap_or("Force No Cache"));
    titles.extend([
        "Replication",
        "Seal Wrap",
        "External Entropy Access",
        "Options",
        "Description",
        "UUID",
        "Version",
        "Running Version",
        "Running SHA256",
        "Deprecation Status",
    ]);
    let rows = mounts.as_object().into_iter().flatten().map(|(path, mount)| {
        let config = &mount["config"];
        let ttl = |key: &str| match config[key].as_u64() {
            Some(seconds) if seconds > 0 => seconds.to_string(),
            _ => "system".to_owned(),
        };
        let middle = match token_type {
            Some(_) => text(config, "token_type"),
            None => config["force_no_cache"].as_bool().unwrap_or(false).to_string(),
        };
        let local = mount["local"].as_bool().unwrap_or(false);
        let options = mount["options"].as_object().map_or_else(|| "map[]".to_owned(), |map| plain(&map.clone().into()));
        vec![
            path.clone(),
            text(mount, "type"),
            text(mount, "accessor"),
            ttl("default_lease_ttl"),
            ttl("max_lease_ttl"),
            middle,
            if local { "local" } else { "replicated" }.to_owned(),
            mount["seal_wrap"].as_bool().unwrap_or(false).to_string(),
            mount["external_entropy_access"].as_bool().unwrap_or(false).to_string(),
            options,
            text(mount, "description"),
            text(mount, "uuid"),
            text(mount, "plugin_version"),
            text(mount, "running_plugin_version"),
            text(mount, "running_sha256"),
            text(mount, "deprecation_status"),
        ]
    });
    titled(&titles, rows)
}

async fn secrets_disable(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = Ask::delete(format!("sys/mounts/{path}"));
    session.raw(&ask, &format!("Error disabling secrets engine at {path}/")).await?;
    session.succeed(format!("Success! Disabled the secrets engine (if it existed) at: {path}/"))
}

async fn auth_disable(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = Ask::delete(format!("sys/auth/{path}"));
    session.raw(&ask, &format!("Error disabling auth method at {path}/")).await?;
    session.succeed(format!("Success! Disabled the auth method (if it existed) at: {path}/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_have_vaults_columns() {
        let mounts = json!({ "database/": { "type": "database", "accessor": "database_1", "description": "",
            "config": { "default_lease_ttl": 0, "max_lease_ttl": 60 }, "options": { "version": "2" } } });
        assert_eq!(
            table(&mounts, false),
            "Path         Type        Accessor      Description\n----         ----        --------      -----------\n\
             database/    database    database_1    n/a\n"
        );
        assert!(table(&mounts, true).starts_with("Path         Type        Accessor      Description    Version\n"));
        let detailed = detailed_table(&mounts, None);
        assert!(detailed.contains("system") && detailed.contains("map[version:2]"), "{detailed}");
    }
}
