//! `operator rekey`: the engine's key, divided anew among its keepers.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, between};
use super::super::output::pairs;
use super::super::output::value::plain;
use super::super::request::Ask;
use super::super::session::Session;
use super::super::{Failure, Outcome, pgp_keys};

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "operator rekey",
    operands: "[KEY]",
    arity: between(0, 1),
    summary: "Divides the engine's key into new shares.",
    about: "First somebody begins with -init, then the keepers hand in their shares, one call for each, with the nonce that \
            was printed. - reads the share from standard input.\n    operator rekey -init -key-shares=3 -key-threshold=2\n    \
            operator rekey -nonce=2a1e0f7c-…\n    operator rekey -init -key-shares=2 \
            -key-threshold=2 -pgp-keys=ada.asc,bob.asc -backup",
    flags: &[
        Flag::switch("init", "Begins, with -key-shares and -key-threshold."),
        Flag::switch("cancel", "Gives up what was begun."),
        Flag::switch("status", "Tells how far it is."),
        Flag::switch(
            "verify",
            "With -init: the new shares have to be verified. Else: the command is about that, and not about the old ones.",
        ),
        Flag::number("key-shares", "How many new shares. Default: 5.").also(&["n"]),
        Flag::number("key-threshold", "How many of them are needed. Default: 3.").also(&["t"]),
        Flag::text("nonce", "The nonce that -init printed; asked for from the engine where it is left out."),
        Flag::text("target", "barrier: the key that opens the engine. recovery: that of an engine that opens itself.")
            .one_of(&["barrier", "recovery"]),
        Flag::list(
            "pgp-keys",
            "For -init: files with PGP public keys, one for each new share, which is encrypted with it.",
        ),
        Flag::switch("backup", "For -init with -pgp-keys: the engine keeps the encrypted shares, too."),
        Flag::switch("backup-retrieve", "Prints the encrypted shares that the engine kept."),
        Flag::switch("backup-delete", "Removes them."),
    ],
    shared: Shared::Format,
    run: ask!(rekey),
}];

async fn rekey(session: &Session<'_>) -> Outcome {
    let values = session.values;
    let front = match values.text("target") {
        Some("recovery") => "sys/rekey-recovery-key",
        _ => "sys/rekey",
    };
    let status = format!("{front}/{}", if values.on("verify") { "verify" } else { "init" });
    if values.on("backup-retrieve") {
        return show_kept(session, front).await;
    }
    if values.on("backup-delete") {
        session.raw(&Ask::delete(kept(front)), "Error deleting backed-up keys").await?;
        return session.succeed("Success! Delete backup keys (if they existed)");
    }
    if values.on("init") {
        return begin(session, front).await;
    }
    if values.on("cancel") {
        session.raw(&Ask::delete(&status), "Error canceling rekey").await?;
        return session.succeed("Success! Canceled rekeying (if it was started)");
    }
    let known = session.raw(&Ask::get(&status), "Error getting rekey status").await?;
    if values.on("status") {
        return show_status(session, &known);
    }
    hand_in(session, front, &known).await
}

async fn begin(session: &Session<'_>, front: &str) -> Outcome {
    let number = |flag: &str, default| session.values.number(flag).unwrap_or(default);
    let mut body = Map::new();
    body.insert("secret_shares".to_owned(), number("key-shares", 5).into());
    body.insert("secret_threshold".to_owned(), number("key-threshold", 3).into());
    pgp_keys::add(&mut body, "pgp_keys", (session.values, "pgp-keys", true))?;
    for (flag, field) in [("backup", "backup"), ("verify", "require_verification")] {
        if session.values.on(flag) {
            body.insert(field.to_owned(), true.into());
        }
    }
    let ask = Ask::put(format!("{front}/init"), body.into());
    let mut status = session.raw(&ask, "Error initializing rekey").await?;
    if status.is_null() {
        status = session.raw(&Ask::get(format!("{front}/init")), "Error getting rekey status").await?;
    }
    show_status(session, &status)
}

async fn hand_in(session: &Session<'_>, front: &str, known: &Value) -> Outcome {
    let verify = session.values.on("verify");
    if !known["started"].as_bool().unwrap_or(false) {
        return Err(Failure::local("No rekey is in progress. Start a rekey process with -init."));
    }
    let own = if verify { "verification_nonce" } else { "nonce" };
    let nonce = session
        .values
        .text("nonce")
        .map_or_else(|| known.get(own).or(known.get("nonce")).map(plain), |nonce| Some(nonce.to_owned()));
    let given = session.values.arguments.first().map(String::as_str);
    let share = session.secret_argument(given, "Unseal Key")?;
    let body = json!({ "key": share.expose().trim(), "nonce": nonce });
    let path = format!("{front}/{}", if verify { "verify" } else { "update" });
    let answer = session.raw(&Ask::put(path, body), "Error posting unseal key").await?;
    if answer["complete"].as_bool().unwrap_or(false) {
        return session.show(&answer, || finished(&answer, verify));
    }
    let status = format!("{front}/{}", if verify { "verify" } else { "init" });
    let known = session.raw(&Ask::get(status), "Error getting rekey status").await?;
    show_status(session, &known)
}

fn finished(answer: &Value, verify: bool) -> String {
    if verify {
        return "Success! Rekey verification successful. The new shares are in use.\n".to_owned();
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (at, share) in answer["keys_base64"].as_array().into_iter().flatten().enumerate() {
        let _ = match answer["pgp_fingerprints"][at].as_str() {
            Some(whose) => writeln!(text, "Key {} fingerprint: {whose}; value: {}", at + 1, plain(share)),
            None => writeln!(text, "Key {}: {}", at + 1, plain(share)),
        };
    }
    let _ = writeln!(text, "\nOperation nonce: {}\n", plain(&answer["nonce"]));
    if answer["backup"].as_bool().unwrap_or(false) {
        text +=
            "The engine keeps the encrypted shares, too: -backup-retrieve shows them, -backup-delete removes them.\n";
    }
    match answer["verification_required"].as_bool().unwrap_or(false) {
        true => text + "The old shares are in use until the new ones are verified, with -verify.\n",
        false => text + "The new shares are in use. Give each to another person; the old ones mean nothing any more.\n",
    }
}

/// Where Vault's clients look for what the engine kept.
fn kept(front: &str) -> &'static str {
    if front == "sys/rekey" { "sys/rekey/backup" } else { "sys/rekey/recovery-key-backup" }
}

async fn show_kept(session: &Session<'_>, front: &str) -> Outcome {
    let answer = session.secret(&Ask::get(kept(front)), "Error retrieving backed-up keys").await?.unwrap_or_default();
    let kept = &answer.data;
    session.show(&answer, || {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for (whose, shares) in kept["keys_base64"].as_object().into_iter().flatten() {
            for share in shares.as_array().into_iter().flatten() {
                let _ = writeln!(text, "Key fingerprint: {whose}; value: {}", plain(share));
            }
        }
        let _ = writeln!(text, "\nOperation nonce: {}", plain(&kept["nonce"]));
        text
    })
}

fn show_status(session: &Session<'_>, status: &Value) -> Outcome {
    session.show(status, || {
        let mut rows = vec![("Nonce", plain(&status["nonce"])), ("Started", plain(&status["started"]))];
        if status["started"].as_bool().unwrap_or(false) {
            rows.push(("Rekey Progress", format!("{}/{}", plain(&status["progress"]), plain(&status["required"]))));
            rows.push(("New Shares", plain(&status["n"])));
            rows.push(("New Threshold", plain(&status["t"])));
            // What is verified tells nothing of it.
            rows.extend(status.get("verification_required").map(|required| ("Verification Required", plain(required))));
            if status["pgp_fingerprints"].is_array() {
                rows.push(("PGP Fingerprints", plain(&status["pgp_fingerprints"])));
                rows.push(("Backup", plain(&status["backup"])));
            }
        }
        pairs(rows)
    })
}
