//! `token …`: tokens and what they may do.

use serde_json::{Map, Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, between};
use super::super::request::Ask;
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome};

const ACCESSOR: Flag = Flag::switch("accessor", "The argument is the token's accessor.");

const CREATE: &[Flag] = &[
    Flag::text("id", "This value instead of a random one. Takes sudo."),
    Flag::list("policy", "A policy of the token; may be given several times. Default: those of the token that asks."),
    Flag::duration("ttl", "How long it lives until it is renewed. Default: that of the token mount."),
    Flag::duration("explicit-max-ttl", "How long it may live, however often it is renewed."),
    Flag::duration("period", "Each renewal prolongs it by this, for as long as somebody renews it."),
    Flag::switch("renewable", "Whether it may be renewed. Default: true."),
    Flag::switch("orphan", "It outlives the token that makes it."),
    Flag::switch("no-default-policy", "It does not get the policy \"default\"."),
    Flag::number("use-limit", "How often it may be used; 0 is without limit."),
    Flag::text("display-name", "A name for logs and user names."),
    Flag::pairs("metadata", "Something about it for logs, key=value; may be given several times."),
    Flag::text("role", "The token role to make it by."),
    Flag::text("type", "service or batch.").one_of(&["service", "batch"]),
    Flag::text("entity-alias", "The entity's alias that it belongs to; needs -role."),
];

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "token create",
        operands: "",
        arity: between(0, 0),
        summary: "Makes a token.",
        about: "    token create -policy=app -ttl=1h",
        flags: CREATE,
        shared: Shared::Field,
        run: ask!(create),
    },
    Command {
        name: "token lookup",
        operands: "[TOKEN]",
        arity: between(0, 1),
        summary: "Tells about a token; without an argument about the one in use.",
        about: "",
        flags: &[ACCESSOR],
        shared: Shared::Field,
        run: ask!(lookup),
    },
    Command {
        name: "token renew",
        operands: "[TOKEN]",
        arity: between(0, 1),
        summary: "Prolongs a token; without an argument the one in use.",
        about: "",
        flags: &[ACCESSOR, Flag::duration("increment", "By how much; the server may give less.").also(&["i"])],
        shared: Shared::Field,
        run: ask!(renew),
    },
    Command {
        name: "token revoke",
        operands: "[TOKEN]",
        arity: between(0, 1),
        summary: "Ends a token with everything that was leased with it, and the tokens that it made.",
        about: "    token revoke -self\n    token revoke -accessor 9793c9b3-e04a-46f3-e7b8-748d7da248da",
        flags: &[
            ACCESSOR,
            Flag::switch("self", "The token in use."),
            Flag::text("mode", "orphan: the tokens that it made live on. path is not offered.")
                .one_of(&["orphan", "path"]),
        ],
        shared: Shared::Http,
        run: ask!(revoke),
    },
    Command {
        name: "token capabilities",
        operands: "[TOKEN] PATH",
        arity: between(1, 2),
        summary: "Tells what a token may do at a path; without a token, the one in use.",
        about: "    token capabilities database/creds/app",
        flags: &[ACCESSOR],
        shared: Shared::Format,
        run: ask!(capabilities),
    },
];

/// Durations travel as texts, as Vault's program sends them.
fn seconds(session: &Session<'_>, flag: &str) -> Option<Value> {
    session.values.seconds(flag).map(|seconds| Value::from(format!("{seconds}s")))
}

async fn create(session: &Session<'_>) -> Outcome {
    let values = session.values;
    let mut body = Map::new();
    let mut set = |key: &str, value: Option<Value>| value.map(|value| body.insert(key.to_owned(), value));
    let text = |flag: &str| values.text(flag).map(Value::from);
    set("id", text("id"));
    set("policies", values.has("policy").then(|| json!(values.list("policy"))));
    for (flag, key) in [("ttl", "ttl"), ("explicit-max-ttl", "explicit_max_ttl"), ("period", "period")] {
        set(key, seconds(session, flag));
    }
    set("renewable", Some(values.switch("renewable").unwrap_or(true).into()));
    set("no_parent", values.switch("orphan").map(Value::from));
    set("no_default_policy", values.switch("no-default-policy").map(Value::from));
    set("num_uses", values.number("use-limit").map(Value::from));
    set("display_name", text("display-name"));
    set("meta", values.has("metadata").then(|| values.pairs("metadata").into()));
    set("type", text("type"));
    set("entity_alias", text("entity-alias"));
    let path =
        values.text("role").map_or_else(|| "auth/token/create".to_owned(), |role| format!("auth/token/create/{role}"));
    let secret = session.secret(&Ask::post(path, body.into()), "Error creating token").await?;
    session.show_secret(&secret.unwrap_or_default())
}

/// The token that a command is about: the argument, or the one in use.
fn subject(session: &Session<'_>) -> Result<Option<String>, Failure> {
    match session.values.arguments.first().map(String::as_str) {
        None => Ok(None),
        Some("-") => Ok(Some(session.secret_argument(Some("-"), "Token")?.expose().to_owned())),
        Some(token) => Ok(Some(token.to_owned())),
    }
}

async fn lookup(session: &Session<'_>) -> Outcome {
    let ask = match (subject(session)?, session.values.on("accessor")) {
        (None, true) => return Err(Failure::local("Missing accessor: name it behind -accessor")),
        (None, false) => Ask::get("auth/token/lookup-self"),
        (Some(accessor), true) => Ask::post("auth/token/lookup-accessor", json!({ "accessor": accessor })),
        (Some(token), false) => Ask::post("auth/token/lookup", json!({ "token": token })),
    };
    let secret = session.secret(&ask, "Error looking up token").await?;
    session.show_secret(&secret.ok_or_else(|| Failure::server("Error looking up token: there is none"))?)
}

async fn renew(session: &Session<'_>) -> Outcome {
    let increment = session.values.seconds("increment").unwrap_or(0);
    let ask = match (subject(session)?, session.values.on("accessor")) {
        (None, true) => return Err(Failure::local("Missing accessor: name it behind -accessor")),
        (None, false) => Ask::put("auth/token/renew-self", json!({ "increment": increment })),
        (Some(accessor), true) => {
            Ask::put("auth/token/renew-accessor", json!({ "accessor": accessor, "increment": increment }))
        }
        (Some(token), false) => Ask::put("auth/token/renew", json!({ "token": token, "increment": increment })),
    };
    let secret = session.secret(&ask, "Error renewing token").await?;
    session.show_secret(&secret.unwrap_or_default())
}

async fn revoke(session: &Session<'_>) -> Outcome {
    let values = session.values;
    let orphan = match values.text("mode") {
        Some("path") => {
            return Err(Failure::local("-mode=path is not offered: use \"lease revoke -prefix auth/PATH\""));
        }
        mode => mode == Some("orphan"),
    };
    let ask = match (values.on("self"), values.on("accessor"), orphan, subject(session)?) {
        (true, false, false, None) => Ask::put("auth/token/revoke-self", json!({})),
        (true, ..) => return Err(Failure::local("-self goes with no other flag and no argument")),
        (_, true, true, _) => return Err(Failure::local("-accessor and -mode exclude each other")),
        (.., None) => return Err(Failure::local("Not enough arguments: name a token, or use -self")),
        (_, true, _, Some(accessor)) => Ask::post("auth/token/revoke-accessor", json!({ "accessor": accessor })),
        (.., true, Some(token)) => Ask::put("auth/token/revoke-orphan", json!({ "token": token })),
        (.., Some(token)) => Ask::put("auth/token/revoke", json!({ "token": token })),
    };
    let reply = session.send(&ask).await?;
    read_secret(reply, &ask, "Error revoking token")?;
    session.succeed("Success! Revoked token (if it existed)")
}

async fn capabilities(session: &Session<'_>) -> Outcome {
    let accessor = session.values.on("accessor");
    let (token, path) = match &session.values.arguments[..] {
        [path] if !accessor => (None, path),
        [token, path] => (Some(token), path),
        _ => return Err(Failure::local("Not enough arguments: name the accessor and the path")),
    };
    let ask = match token {
        None => Ask::post("sys/capabilities-self", json!({ "paths": [path] })),
        Some(id) if accessor => Ask::post("sys/capabilities-accessor", json!({ "accessor": id, "paths": [path] })),
        Some(token) => Ask::post("sys/capabilities", json!({ "token": token, "paths": [path] })),
    };
    let data = session.data(&ask, "Error listing capabilities").await?;
    let mut found: Vec<String> = serde_json::from_value(data[path.as_str()].clone())
        .or_else(|_| serde_json::from_value(data["capabilities"].clone()))
        .unwrap_or_default();
    found.sort();
    session.show(&found, || format!("{}\n", found.join(", ")))
}
