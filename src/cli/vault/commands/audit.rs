//! `audit …`: devices that record every request.

use serde_json::{Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, at_least, exactly};
use super::super::output::columns::titled;
use super::super::output::value::plain;
use super::super::request::{Ask, clean};
use super::super::session::Session;
use super::super::{Failure, Outcome, body};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "audit list",
        operands: "",
        arity: exactly(0),
        summary: "Lists the audit devices.",
        about: "",
        flags: &[Flag::switch("detailed", "With their options.")],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "audit enable",
        operands: "TYPE [K=V...]",
        arity: at_least(1),
        summary: "Enables an audit device with its options.",
        about: "    audit enable file file_path=/var/log/lessor/audit.log",
        flags: &[
            Flag::text("path", "Its path. Default: its type."),
            Flag::text("description", "Words for people."),
            Flag::switch("local", "It records on this node only, and is not replicated."),
        ],
        shared: Shared::Http,
        run: ask!(enable),
    },
    Command {
        name: "audit disable",
        operands: "PATH",
        arity: exactly(1),
        summary: "Disables an audit device. What it recorded stays; hashes of new entries will differ.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(disable),
    },
];

async fn list(session: &Session<'_>) -> Outcome {
    let data = session.data(&Ask::get("sys/audit"), "Error listing audits").await?;
    let found = data.as_object().cloned().unwrap_or_default();
    if found.is_empty() {
        session.show(&data, || "No audit devices are enabled.\n".to_owned())?;
        return Ok(2);
    }
    let detailed = session.values.on("detailed");
    session.show(&data, || {
        let rows = found.iter().map(|(path, device)| {
            let text = |key: &str| device[key].as_str().unwrap_or_default().to_owned();
            let mut row = vec![path.clone(), text("type"), text("description")];
            if detailed {
                let local = device["local"].as_bool().unwrap_or(false);
                row.push(if local { "local" } else { "replicated" }.to_owned());
                row.push(options(&device["options"]));
            }
            row
        });
        match detailed {
            true => titled(&["Path", "Type", "Description", "Replication", "Options"], rows),
            false => titled(&["Path", "Type", "Description"], rows),
        }
    })
}

fn options(options: &Value) -> String {
    let pairs = options.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", plain(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

async fn enable(session: &Session<'_>) -> Outcome {
    let kind = session.argument(0);
    if kind.contains('=') {
        return Err(Failure::local(
            "the first argument must be the device's type, as in: audit enable file file_path=…",
        ));
    }
    let options = body::parse(session.around, &session.values.arguments[1..])?;
    let path = clean(session.values.text("path").unwrap_or(kind));
    let body = json!({
        "type": kind, "description": session.values.text("description").unwrap_or_default(), "options": options,
        "local": session.values.on("local"),
    });
    session.raw(&Ask::put(format!("sys/audit/{path}"), body), "Error enabling audit device").await?;
    session.succeed(format!("Success! Enabled the {kind} audit device at: {path}/"))
}

async fn disable(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    session.raw(&Ask::delete(format!("sys/audit/{path}")), "Error disabling audit device").await?;
    session.succeed(format!("Success! Disabled audit device (if it was enabled) at: {path}/"))
}
