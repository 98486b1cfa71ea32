//! `lease …`: what was leased, how long it lives, and its end.

use serde_json::{Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, between, exactly};
use super::super::output::columns::{keys, titled};
use super::super::output::value::plain;
use super::super::request::{Ask, clean};
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "lease list",
        operands: "[PREFIX]",
        arity: between(0, 1),
        summary: "Lists what is leased below a prefix, one level at a time.",
        about: "    lease list database/creds/app\n    lease list -stuck",
        flags: &[Flag::switch("stuck", "The revocations that do not get through, and why, instead.")],
        shared: Shared::Format,
        run: ask!(list),
    },
    Command {
        name: "lease lookup",
        operands: "ID",
        arity: exactly(1),
        summary: "Tells about a lease.",
        about: "",
        flags: &[],
        shared: Shared::Format,
        run: ask!(lookup),
    },
    Command {
        name: "lease renew",
        operands: "ID",
        arity: exactly(1),
        summary: "Prolongs a lease.",
        about: "    lease renew -increment=1h database/creds/app/27e1b9a1",
        flags: &[Flag::duration("increment", "By how much; the server may give less.").also(&["i"])],
        shared: Shared::Format,
        run: ask!(renew),
    },
    Command {
        name: "lease revoke",
        operands: "ID",
        arity: exactly(1),
        summary: "Ends a lease, or all below a prefix.",
        about: "    lease revoke -prefix database/creds/app",
        flags: &[
            Flag::switch("prefix", "All that is leased below the argument."),
            Flag::switch(
                "force",
                "Forgets the leases even where what they stand for cannot be taken back; needs -prefix.",
            )
            .also(&["f"]),
            Flag::switch("sync", "Waits until it is done, and says what was refused."),
        ],
        shared: Shared::Format,
        run: ask!(revoke),
    },
];

async fn list(session: &Session<'_>) -> Outcome {
    if session.values.on("stuck") {
        return stuck(session).await;
    }
    let path = format!("sys/leases/lookup/{}", clean(session.argument(0)));
    let ask = Ask::list(path.trim_end_matches('/'));
    let secret = session.secret(&ask, "Error listing leases").await?;
    let found = secret.and_then(|secret| secret.data.get("keys")?.as_array().cloned()).unwrap_or_default();
    session.show(&found, || match found.is_empty() {
        true => "no leases there\n".to_owned(),
        false => keys(found.iter().filter_map(Value::as_str)),
    })
}

async fn stuck(session: &Session<'_>) -> Outcome {
    if !session.values.arguments.is_empty() {
        return Err(Failure::local("-stuck is about all leases: leave the prefix out"));
    }
    let data = session.data(&Ask::get("sys/lessor/leases/stuck"), "Error listing stuck revocations").await?;
    let found = data["leases"].as_array().cloned().unwrap_or_default();
    session.show(&found, || {
        if found.is_empty() {
            return "no revocation is stuck\n".to_owned();
        }
        let cells = ["lease_id", "failures", "next_attempt", "error"];
        let rows = found.iter().map(|lease| cells.iter().map(|cell| plain(&lease[*cell])).collect());
        titled(&["Lease ID", "Failures", "Next Attempt", "Error"], rows)
    })
}

async fn lookup(session: &Session<'_>) -> Outcome {
    let ask = Ask::put("sys/leases/lookup", json!({ "lease_id": session.argument(0).trim() }));
    let secret = session.secret(&ask, "Error looking up lease").await?;
    session.show_secret(&secret.unwrap_or_default())
}

async fn renew(session: &Session<'_>) -> Outcome {
    let increment = session.values.seconds("increment").unwrap_or(0);
    let body = json!({ "lease_id": session.argument(0).trim(), "increment": increment });
    let secret = session.secret(&Ask::put("sys/leases/renew", body), "Error renewing lease").await?;
    session.show_secret(&secret.unwrap_or_default())
}

async fn revoke(session: &Session<'_>) -> Outcome {
    let (prefix, force) = (session.values.on("prefix"), session.values.on("force"));
    if force && !prefix {
        return Err(Failure::local("Specifying -force requires also specifying -prefix"));
    }
    if force {
        session.around.say("Warning! What forgotten leases stood for stays: users in databases, for example.");
    }
    // A forced revocation asks nobody outside, so it is always done when it is answered.
    let sync = session.values.on("sync") || force;
    let id = clean(session.argument(0));
    let (path, doing, done) = match (prefix, force) {
        (_, true) => ("revoke-force/", "force revoking leases with prefix", "Force revoked any leases with prefix: "),
        (true, false) => ("revoke-prefix/", "revoking leases with prefix", "Revoked any leases with prefix: "),
        (false, false) => ("revoke", "revoking lease", "Revoked lease: "),
    };
    let ask = match prefix {
        true => Ask::put(format!("sys/leases/{path}{id}"), json!({ "sync": sync })),
        false => Ask::put(format!("sys/leases/{path}"), json!({ "lease_id": id, "sync": sync })),
    };
    let reply = session.send(&ask).await?;
    read_secret(reply, &ask, &format!("Error {doing} {id}"))?;
    session.succeed(match sync {
        true => format!("Success! {done}{id}"),
        false => "All revocation operations queued successfully!".to_owned(),
    })
}
