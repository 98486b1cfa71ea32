//! `read`, `list`, `write`, `patch`, `delete`, `unwrap`: any path of any engine.

use serde_json::Value;

use super::super::grammar::{Command, Flag, Shared, ask, at_least, between, exactly};
use super::super::output::{Secret, columns};
use super::super::request::{Ask, Reply, clean};
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome, body};

const FORCE: Flag = Flag::switch("force", "Write without any data.").also(&["f"]);

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "read",
        operands: "PATH [K=V...]",
        arity: at_least(1),
        summary: "Reads data and retrieves secrets.",
        about: "Arguments behind the path become parameters of the request.\n    read database/creds/app\n    read -field=password database/creds/app",
        flags: &[],
        shared: Shared::Field,
        run: ask!(read),
    },
    Command {
        name: "list",
        operands: "PATH",
        arity: exactly(1),
        summary: "Lists the keys below a path.",
        about: "    list -format=json database/roles",
        flags: &[],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "write",
        operands: "PATH [K=V...]",
        arity: at_least(1),
        summary: "Writes data, configuration and secrets.",
        about: "A value that begins with @ is read from that file, - is read from standard input. Without keys, - is a whole \
                JSON object from standard input, and @file one from a file.\n    write database/roles/app db_name=pg \
                creation_statements=@create.sql\n    write -f database/rotate-root/pg",
        flags: &[FORCE],
        shared: Shared::Field,
        run: ask!(write),
    },
    Command {
        name: "patch",
        operands: "PATH [K=V...]",
        arity: at_least(1),
        summary: "Changes some fields of what is there.",
        about: "Arguments are as for write.",
        flags: &[FORCE],
        shared: Shared::Field,
        run: ask!(patch),
    },
    Command {
        name: "delete",
        operands: "PATH",
        arity: at_least(1),
        summary: "Deletes secrets and configuration.",
        about: "    delete database/roles/app",
        flags: &[],
        shared: Shared::Field,
        run: ask!(delete),
    },
    Command {
        name: "unwrap",
        operands: "[TOKEN]",
        arity: between(0, 1),
        summary: "Fetches an answer that waits behind a wrapping token.",
        about: "Without an argument, the wrapping token is the one that requests carry (VAULT_TOKEN). - reads it from standard \
                input.",
        flags: &[],
        shared: Shared::Field,
        run: ask!(unwrap),
    },
];

/// Puts `key=value` arguments behind the path into the request.
fn with_parameters(session: &Session<'_>, mut ask: Ask) -> Result<Ask, Failure> {
    for (key, value) in body::parse(session.around, session.values.arguments.get(1..).unwrap_or_default())? {
        ask = match &value {
            Value::Array(list) => list.iter().fold(ask, |ask, item| ask.with(&key, &text(item))),
            value => ask.with(&key, &text(value)),
        };
    }
    Ok(ask)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Nothing was found. What the engine says besides an empty list of errors follows, since it may be that nothing is mounted.
fn nothing_at(path: &str, reply: &Reply) -> Failure {
    let mut words = format!("No value found at {path}");
    for error in reply.errors() {
        words += &format!("\n* {error}");
    }
    Failure::server(words)
}

async fn read(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = with_parameters(session, Ask::get(&path))?;
    let reply = session.send(&ask).await?;
    let nothing = nothing_at(&path, &reply);
    if session.values.text("format") == Some("raw") && reply.is_success() {
        session.around.print(&format!("{}\n", if reply.body.is_null() { reply.text } else { reply.body.to_string() }));
        return Ok(0);
    }
    let raw = reply.is_success() && reply.body.is_object() && reply.body.get("request_id").is_none();
    if raw {
        // sys/health, sys/seal-status and their like answer without an envelope.
        return session.show_secret(&Secret { data: reply.body, ..Secret::default() });
    }
    let missing = reply.status == 404;
    let secret = read_secret(reply, &ask, &format!("Error reading {path}"))?;
    match secret {
        Some(secret) if !missing || secret.has_content() => session.show_secret(&secret),
        secret => {
            if let Some(secret) = secret {
                session.warn(&secret)?;
            }
            Err(nothing)
        }
    }
}

async fn list(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = Ask::list(&path);
    let reply = session.send(&ask).await?;
    let nothing = nothing_at(&path, &reply);
    show_list(session, read_secret(reply, &ask, &format!("Error listing {path}"))?, nothing)
}

/// Keys for people, an array for programs.
pub(super) fn show_list(session: &Session<'_>, secret: Option<Secret>, nothing: Failure) -> Outcome {
    let keys = secret.as_ref().and_then(|secret| secret.data.get("keys")?.as_array().cloned()).unwrap_or_default();
    if let Some(secret) = secret.filter(|secret| !secret.wrap_info.is_null()) {
        return session.show_secret(&secret);
    }
    if keys.is_empty() {
        // Programs get an empty object beside the code, as from Vault.
        if let Some(text) = session.format()?.render(&serde_json::json!({})).map_err(Failure::local)? {
            session.around.print(&text);
            return Ok(2);
        }
        return Err(nothing);
    }
    session.show(&keys, || columns::keys(keys.iter().filter_map(Value::as_str)))
}

async fn write(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let body = written(session)?;
    store(session, &Ask::put(&path, body), "writing data to").await
}

async fn patch(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let body = written(session)?;
    store(session, &Ask::patch(&path, body), "patching").await
}

fn written(session: &Session<'_>) -> Result<Value, Failure> {
    let arguments = session.values.arguments.get(1..).unwrap_or_default();
    if arguments.is_empty() && !session.values.on("force") {
        return Err(Failure::local("Must supply data or use -force"));
    }
    Ok(Value::Object(body::parse(session.around, arguments)?))
}

/// Sends a write and shows what it answers.
pub(super) async fn store(session: &Session<'_>, ask: &Ask, doing: &str) -> Outcome {
    let reply = session.send(ask).await?;
    match read_secret(reply, ask, &format!("Error {doing} {}", ask.path))? {
        Some(secret) if secret.has_content() => session.show_secret(&secret),
        secret => {
            if let Some(secret) = secret {
                session.warn(&secret)?;
            }
            if let Some(field) = session.values.text("field") {
                return session.show_field(None, field);
            }
            session.succeed(format!("Success! Data written to: {}", ask.path))
        }
    }
}

async fn delete(session: &Session<'_>) -> Outcome {
    let path = clean(session.argument(0));
    let ask = with_parameters(session, Ask::delete(&path))?;
    match session.secret(&ask, &format!("Error deleting {path}")).await? {
        Some(secret) if secret.has_content() => session.show_secret(&secret),
        _ => session.succeed(format!("Success! Data deleted (if it existed) at: {path}")),
    }
}

async fn unwrap(session: &Session<'_>) -> Outcome {
    let given = session.values.arguments.first().map(String::as_str);
    let token = given.map(|token| session.secret_argument(Some(token), "Token")).transpose()?;
    // With a token of ours beside it, the wrapping token travels in the body; without one it is the token itself.
    let own = session.client()?.token().is_some();
    let body = match &token {
        Some(token) if own => serde_json::json!({ "token": token.expose() }),
        _ => serde_json::json!({}),
    };
    let ask = Ask::put("sys/wrapping/unwrap", body);
    let reply = match &token {
        Some(token) if !own => session.send_as(Some(token), &ask).await?,
        _ => session.send(&ask).await?,
    };
    let secret = read_secret(reply, &ask, "Error unwrapping")?;
    session.show_secret(&secret.ok_or_else(|| Failure::server("Could not find wrapped response"))?)
}
