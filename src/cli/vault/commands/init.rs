//! `operator init`: the first start of an engine.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, exactly};
use super::super::output::value::plain;
use super::super::request::Ask;
use super::super::session::Session;
use super::super::{Failure, Outcome, pgp_keys};

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "operator init",
    operands: "",
    arity: exactly(0),
    summary: "Initialises an engine: makes its keys and its first root token.",
    about: "What it prints is shown this once only. With -status it ends with 0 when the engine is initialised, and with 2 when \
            it is not. What is encrypted with PGP keys is read with `echo ... | base64 --decode | gpg -dq`.\n    operator init \
            -key-shares=5 -key-threshold=3\n    operator init -key-shares=2 -key-threshold=2 -pgp-keys=ada.asc,bob.asc",
    flags: &[
        Flag::switch("status", "Only tells whether the engine is initialised."),
        Flag::number("key-shares", "How many shares the key is divided into. Default: 5.").also(&["n"]),
        Flag::number("key-threshold", "How many of them open the engine. Default: 3.").also(&["t"]),
        Flag::list(
            "pgp-keys",
            "Files with PGP public keys, one for each key share, which is encrypted with it; binary, armored or base64.",
        ),
        Flag::text("root-token-pgp-key", "A file with a PGP public key, which the root token is encrypted with."),
        Flag::number(
            "recovery-shares",
            "How many shares the recovery key of an engine that opens itself has. Default: 5.",
        ),
        Flag::number("recovery-threshold", "How many of them have its authority. Default: 3."),
        Flag::list("recovery-pgp-keys", "As -pgp-keys, for the recovery shares of an engine that opens itself."),
        Flag::number("stored-shares", "Taken for old scripts' sake; it means nothing."),
    ],
    shared: Shared::Format,
    run: ask!(init),
}];

async fn init(session: &Session<'_>) -> Outcome {
    let values = session.values;
    if values.on("status") {
        let data = session.raw(&Ask::get("sys/init"), "Error checking init status").await?;
        let initialized = data["initialized"].as_bool().unwrap_or(false);
        let said = if initialized { "Vault is initialized" } else { "Vault is not initialized" };
        session.show(&json!({ "initialized": initialized }), || format!("{said}\n"))?;
        return Ok(if initialized { 0 } else { 2 });
    }
    let seal = session.look(&Ask::get("sys/seal-status")).await?;
    let recovery = seal.body["recovery_seal"].as_bool().unwrap_or(false);
    let ask = Ask::put("sys/init", body(session, recovery)?);
    let made = session.raw(&ask, "Error initializing").await?;
    show(session, &ask, &made)
}

/// What `sys/init` takes differs with the seal, and so do the flags that apply.
fn body(session: &Session<'_>, recovery: bool) -> Result<Value, Failure> {
    let values = session.values;
    let (own, other) = if recovery { ("recovery", "key") } else { ("key", "recovery") };
    for flag in [format!("{other}-shares"), format!("{other}-threshold")] {
        // Vault's scripts name key shares for engines that open themselves, too; they mean nothing there.
        if values.has(&flag) && !recovery {
            return Err(Failure::local(format!(
                "-{flag} is for an engine that opens itself: this one takes key shares"
            )));
        }
    }
    let number = |kind: &str, default: i64| {
        let said = values.number(&format!("{own}-{kind}"));
        said.or_else(|| values.number(&format!("{other}-{kind}")).filter(|_| recovery)).unwrap_or(default)
    };
    let (shares, threshold) = (number("shares", 5), number("threshold", 3));
    let front = if recovery { "recovery" } else { "secret" };
    let mut body = Map::new();
    body.insert(format!("{front}_shares"), shares.into());
    body.insert(format!("{front}_threshold"), threshold.into());
    pgp_keys::add(&mut body, "pgp_keys", (values, "pgp-keys", true))?;
    pgp_keys::add(&mut body, "recovery_pgp_keys", (values, "recovery-pgp-keys", true))?;
    pgp_keys::add(&mut body, "root_token_pgp_key", (values, "root-token-pgp-key", false))?;
    Ok(body.into())
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn show(session: &Session<'_>, asked: &Ask, made: &Value) -> Outcome {
    let list = |key: &str| json!(texts(&made[key]));
    let asked = asked.body.clone().unwrap_or_default();
    let number = |key: &str| asked.get(key).cloned().unwrap_or_else(|| 0.into());
    let machine = json!({
        "unseal_keys_b64": list("keys_base64"), "unseal_keys_hex": list("keys"),
        "unseal_shares": number("secret_shares"), "unseal_threshold": number("secret_threshold"),
        "recovery_keys_b64": list("recovery_keys_base64"), "recovery_keys_hex": list("recovery_keys"),
        "recovery_keys_shares": number("recovery_shares"), "recovery_keys_threshold": number("recovery_threshold"),
        "root_token": made["root_token"],
    });
    session.show(&machine, || table(made, &asked))
}

fn table(made: &Value, asked: &Value) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (kind, key) in [("Unseal", "keys_base64"), ("Recovery", "recovery_keys_base64")] {
        for (at, share) in texts(&made[key]).iter().enumerate() {
            let _ = writeln!(text, "{kind} Key {}: {share}", at + 1);
        }
    }
    let _ = write!(text, "\nInitial Root Token: {}\n\n", plain(&made["root_token"]));
    if asked.get("secret_shares").is_some() {
        let (shares, threshold) = (plain(&asked["secret_shares"]), plain(&asked["secret_threshold"]));
        let _ = write!(
            text,
            "Vault initialized with {shares} key shares and a key threshold of {threshold}. Give each share to\n\
             another person: after every start or sealing, {threshold} of them are needed to open the\n\
             engine again. It does not keep them, and without them its data cannot be read.\n\
             \"operator rekey\" divides the key anew.\n"
        );
    } else {
        let (shares, threshold) = (plain(&asked["recovery_shares"]), plain(&asked["recovery_threshold"]));
        let _ = write!(
            text,
            "Success! Vault is initialized\n\n\
             Recovery key initialized with {shares} key shares and a key threshold of {threshold}. The\n\
             engine opens itself; {threshold} of these shares can make a new root token. It does not\n\
             keep them.\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_keys_and_token() {
        let made = json!({ "keys_base64": ["a=", "b="], "root_token": "hvs.x" });
        let text = table(&made, &json!({ "secret_shares": 2, "secret_threshold": 1 }));
        assert!(text.starts_with("Unseal Key 1: a=\nUnseal Key 2: b=\n\nInitial Root Token: hvs.x\n"), "{text}");
        let made = json!({ "recovery_keys_base64": ["r="], "keys_base64": [], "root_token": "hvs.x" });
        let text = table(&made, &json!({ "recovery_shares": 1, "recovery_threshold": 1 }));
        assert!(
            text.starts_with("Recovery Key 1: r=\n\nInitial Root Token: hvs.x\n\nSuccess! Vault is initialized"),
            "{text}"
        );
    }
}
