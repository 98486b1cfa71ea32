//! `namespace …`: engines within the engine.

use serde_json::json;

use super::super::grammar::{Command, Flag, Shared, ask, between, exactly};
use super::super::request::{Ask, clean};
use super::super::session::Session;
use super::super::{Failure, Outcome};
use super::data::show_list;

const METADATA: Flag = Flag::pairs("custom-metadata", "Something about it, key=value; may be given several times.");

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "namespace list",
        operands: "",
        arity: exactly(0),
        summary: "Lists the namespaces below the present one.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "namespace create",
        operands: "PATH",
        arity: exactly(1),
        summary: "Makes a namespace below the present one.",
        about: "    namespace create team-a",
        flags: &[METADATA],
        shared: Shared::Field,
        run: ask!(create),
    },
    Command {
        name: "namespace patch",
        operands: "PATH",
        arity: exactly(1),
        summary: "Changes what is noted about a namespace.",
        about: "",
        flags: &[METADATA, Flag::list("remove-custom-metadata", "A key to forget; may be given several times.")],
        shared: Shared::Field,
        run: ask!(patch),
    },
    Command {
        name: "namespace lookup",
        operands: "PATH",
        arity: exactly(1),
        summary: "Tells about a namespace.",
        about: "",
        flags: &[],
        shared: Shared::Field,
        run: ask!(lookup),
    },
    Command {
        name: "namespace delete",
        operands: "PATH",
        arity: between(1, 1),
        summary: "Deletes a namespace with everything in it.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(delete),
    },
];

async fn list(session: &Session<'_>) -> Outcome {
    let secret = session.secret(&Ask::list("sys/namespaces"), "Error listing namespaces").await?;
    show_list(session, secret, Failure::server("No namespaces found"))
}

fn path(session: &Session<'_>) -> String {
    format!("sys/namespaces/{}", clean(session.argument(0)))
}

async fn create(session: &Session<'_>) -> Outcome {
    let body = json!({ "custom_metadata": session.values.pairs("custom-metadata") });
    let secret = session.secret(&Ask::put(path(session), body), "Error creating namespace").await?;
    session.show_secret(&secret.unwrap_or_default())
}

async fn patch(session: &Session<'_>) -> Outcome {
    let mut metadata = session.values.pairs("custom-metadata");
    metadata.extend(session.values.list("remove-custom-metadata").iter().map(|key| (key.clone(), json!(null))));
    let body = json!({ "custom_metadata": metadata });
    let secret = session.secret(&Ask::patch(path(session), body), "Error patching namespace").await?;
    session.show_secret(&secret.unwrap_or_default())
}

async fn lookup(session: &Session<'_>) -> Outcome {
    let secret = session.secret(&Ask::get(path(session)), "Error looking up namespace").await?;
    session.show_secret(&secret.ok_or_else(|| Failure::server("Namespace not found"))?)
}

async fn delete(session: &Session<'_>) -> Outcome {
    session.raw(&Ask::delete(path(session)), "Error deleting namespace").await?;
    session.succeed(format!("Success! Namespace deleted if it existed: {}/", clean(session.argument(0))))
}
