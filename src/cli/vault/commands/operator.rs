//! `operator unseal`, `seal`, `step-down`, `rotate`, `key-status`, `members`.

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::grammar::{Command, Flag, Shared, ask, between, exactly};
use super::super::output::columns::{columns, titled};
use super::super::output::value::plain;
use super::super::request::Ask;
use super::super::session::Session;
use super::status::show_seal;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "operator unseal",
        operands: "[KEY]",
        arity: between(0, 1),
        summary: "Hands in a share of the key that opens the engine.",
        about: "Without an argument it asks for the share, without showing what is typed. - reads it from standard input.",
        flags: &[
            Flag::switch("reset", "Forgets the shares that were handed in so far."),
            Flag::switch("migrate", "Moves to another kind of seal; Lessor keeps the one it was initialised with."),
        ],
        shared: Shared::Field,
        run: ask!(unseal),
    },
    Command {
        name: "operator seal",
        operands: "",
        arity: exactly(0),
        summary: "Seals the engine: it answers nothing until it is opened again.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(seal),
    },
    Command {
        name: "operator step-down",
        operands: "",
        arity: exactly(0),
        summary: "Has the active node of a cluster leave its place to another.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(step_down),
    },
    Command {
        name: "operator rotate",
        operands: "",
        arity: exactly(0),
        summary: "Makes a new key for what is written from now on.",
        about: "Nothing else changes: neither shares nor tokens, and what is stored stays readable.",
        flags: &[],
        shared: Shared::Format,
        run: ask!(rotate),
    },
    Command {
        name: "operator key-status",
        operands: "",
        arity: exactly(0),
        summary: "Tells since when the present key is in use.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(key_status),
    },
    Command {
        name: "operator members",
        operands: "",
        arity: exactly(0),
        summary: "Lists the nodes of a cluster.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(members),
    },
];

async fn unseal(session: &Session<'_>) -> Outcome {
    let migrate = session.values.on("migrate");
    let body = if session.values.on("reset") {
        json!({ "reset": true })
    } else {
        let given = session.values.arguments.first().map(String::as_str);
        let share = session.secret_argument(given, "Unseal Key")?;
        json!({ "key": share.expose().trim(), "migrate": migrate })
    };
    let seal = session.raw(&Ask::put("sys/unseal", body), "Error unsealing").await?;
    show_seal(session, seal)
}

async fn seal(session: &Session<'_>) -> Outcome {
    session.raw(&Ask::put("sys/seal", json!({})), "Error sealing").await?;
    session.succeed("Success! Vault is sealed.")
}

async fn step_down(session: &Session<'_>) -> Outcome {
    session.raw(&Ask::put("sys/step-down", json!({})), "Error stepping down").await?;
    session.succeed(format!("Success! Stepped down: {}", session.client()?.address()))
}

async fn rotate(session: &Session<'_>) -> Outcome {
    session.raw(&Ask::put("sys/rotate", json!({})), "Error rotating key").await?;
    let status = session.data(&Ask::get("sys/key-status"), "Error reading key status").await?;
    session.show(&status, || format!("Success! Rotated key\n\n{}", key_table(&status)))
}

async fn key_status(session: &Session<'_>) -> Outcome {
    let status = session.data(&Ask::get("sys/key-status"), "Error reading key status").await?;
    session.show(&status, || key_table(&status))
}

fn key_table(status: &Value) -> String {
    let rows = [("Key Term", "term"), ("Install Time", "install_time"), ("Encryption Count", "encryptions")];
    columns(&rows.map(|(title, key)| vec![title.to_owned(), plain(&status[key])]))
}

async fn members(session: &Session<'_>) -> Outcome {
    let data = session.data(&Ask::get("sys/ha-status"), "Error reading the cluster's members").await?;
    let nodes = data["nodes"].as_array().cloned().unwrap_or_default();
    session.show(&data, || {
        let cells = ["hostname", "api_address", "cluster_address", "active_node", "version", "last_echo"];
        let rows = nodes.iter().map(|node| cells.iter().map(|cell| cell_text(&node[*cell])).collect());
        titled(&["Host Name", "API Address", "Cluster Address", "Active Node", "Version", "Last Echo"], rows)
    })
}

fn cell_text(value: &Value) -> String {
    if value.is_null() { String::new() } else { plain(value) }
}
