//! `plugin …`: what is built in.

use serde_json::Value;

use super::super::grammar::{Command, Shared, ask, between, exactly};
use super::super::output::columns::titled;
use super::super::request::Ask;
use super::super::session::Session;
use super::super::{Failure, Outcome};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "plugin list",
        operands: "[TYPE]",
        arity: between(0, 1),
        summary: "Lists what is built in, all or of one type: auth, database, secret.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "plugin info",
        operands: "TYPE NAME",
        arity: exactly(2),
        summary: "Tells about one of them.",
        about: "    plugin info database postgresql-database-plugin",
        flags: &[],
        shared: Shared::Field,
        run: ask!(info),
    },
];

async fn list(session: &Session<'_>) -> Outcome {
    let data = session.data(&Ask::get("sys/plugins/catalog"), "Error listing available plugins").await?;
    let wanted = session.argument(0);
    let text = |plugin: &Value, key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<Value> = data["detailed"].as_array().cloned().unwrap_or_default();
    found.retain(|plugin| wanted.is_empty() || plugin["type"] == wanted);
    if found.is_empty() {
        return Err(Failure::server("No plugins found: the types are auth, database and secret"));
    }
    let rows = found.iter().map(|plugin| vec![text(plugin, "name"), text(plugin, "type"), text(plugin, "version")]);
    let table = titled(&["Name", "Type", "Version"], rows);
    session.show(&found, || table)
}

async fn info(session: &Session<'_>) -> Outcome {
    let (kind, name) = (session.argument(0), session.argument(1));
    let ask = Ask::get(format!("sys/plugins/catalog/{kind}/{name}"));
    let secret = session.secret(&ask, &format!("Error reading plugin named {name}")).await?;
    session.show_secret(&secret.ok_or_else(|| Failure::server(format!("No value found for plugin named {name}")))?)
}
